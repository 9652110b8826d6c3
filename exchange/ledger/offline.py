#!/usr/bin/env python3
"""Verifies a copy of a Puente ledger without Puente: one file that needs Python 3.11 and `cryptography`, and no network.

Verifica una copia del registro de Puente sin Puente: un archivo que necesita Python 3.11 y `cryptography`, y ninguna red.

    python3 verify.py --policy MY-POLICIES [--kept LAST-TIME] COPY

MY-POLICIES holds a file for each log (both, us, mx): the witness policies that YOU were handed by both countries, never
taken from the copy. LAST-TIME holds the checkpoints kept from the last audit, as <log>/checkpoint.
MY-POLICIES contiene un archivo por registro (both, us, mx): las políticas de testigos que ambos países entregaron a
USTED, nunca tomadas de la copia. LAST-TIME contiene los puntos de control de la última auditoría, como <log>/checkpoint.

What is done, in this order / Qué se hace, en este orden:

  1. MANIFEST: is each file what it was when it was written? (Accidents only: a forger would write another.)
  2. <log>/checkpoint: signed by the log, cosigned by the quorum of your policy (c2sp.org/tlog-cosignature, tlog-policy).
  3. Every entry is hashed again; entries and hash tiles must lead to the root that was signed (RFC 6962, 2.1).
     A log that was closed for ever goes on as <log>/2: its first entry has the last checkpoint of the other, cosigned, and
     says how many entries are left; those of the other must lead to what it says.
  4. The checkpoint that you kept, and every earlier one in the copy, must be a beginning of the same log.
  5. What commitments were opened to is what was committed to; lists of objects fit the entries they are of; receipts prove
     what they say (c2sp.org/tlog-proof).
  6. What entries say: times rise, no release under an agreement that another had superseded, no log's key changes without
     the word of the old and the new one, and the agreements and approvals enclosed are those that entries tell of.

Exit status 0: all of it holds. 1: something does not, and each finding says where. 2: it could not be tried.
"""

import argparse
import base64
import binascii
import json
import re
import struct
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

LOGS = ("both", "us", "mx")
WIDTH = 256
FILE_LIMIT_BYTES = WIDTH * 1_000_000
SIZE_LIMIT = 2**63


class Fault(Exception):
    """What is wrong with one file, in both languages."""


def fault(en: str, es: str) -> NoReturn:
    raise Fault(f"{en} / {es}")


# --- trees: RFC 6962, 2.1 ---


def leaf_hash(data: bytes) -> bytes:
    return sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


def root_of(hashes: list[bytes]) -> bytes:
    """Pairs from the left, an odd last one carried up: the same as a split at the largest power of two."""
    while len(hashes) > 1:
        paired = [node_hash(hashes[i], hashes[i + 1]) for i in range(0, len(hashes) - 1, 2)]
        hashes = paired + hashes[len(paired) * 2 :]
    return hashes[0] if hashes else sha256(b"").digest()


def included(leaf: bytes, index: int, size: int, path: list[bytes], root: bytes) -> bool:
    """RFC 9162, 2.1.3.2."""
    if not 0 <= index < size:
        return False
    first, last, node = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if first & 1 or first == last:
            node = node_hash(sibling, node)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        first, last = first >> 1, last >> 1
    return last == 0 and node == root


def grew(old: int, new: int, old_root: bytes, new_root: bytes, path: list[bytes]) -> bool:
    """RFC 9162, 2.1.4.2: whether the tree under `new_root` begins with that under `old_root`."""
    if old == new or old == 0:
        return not path and old_root == (new_root if old == new else root_of([]))
    if old & (old - 1) == 0:
        path = [old_root, *path]
    first, last = old - 1, new - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    if not path:
        return False
    before = after = path[0]
    for node in path[1:]:
        if last == 0:
            return False
        if first & 1 or first == last:
            before, after = node_hash(node, before), node_hash(node, after)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            after = node_hash(after, node)
        first, last = first >> 1, last >> 1
    return last == 0 and (before, after) == (old_root, new_root)


# --- notes: c2sp.org/signed-note, tlog-checkpoint, tlog-cosignature, tlog-policy ---


def decode(text: str, length: int | None = None) -> bytes:
    """Base64 in its one spelling."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if base64.b64encode(data).decode() != text or (length is not None and len(data) != length):
        fault("Not base64 as it should be.", "No es base64 como debería.")
    return data


def number(text: str) -> int:
    if not re.fullmatch("0|[1-9][0-9]{0,18}", text, re.ASCII) or int(text) >= SIZE_LIMIT:
        fault(f"Not a number: {text[:40]!r}.", f"No es un número: {text[:40]!r}.")
    return int(text)


class Key:
    """A public key with the one kind of signature it may make: 0x01 of a log, 0x04 of a witness."""

    def __init__(self, vkey: str, kind: int) -> None:
        self.name, found, material = [*vkey.split("+", 2), "", ""][:3]
        data = decode(material, 33)
        self.id = sha256(self.name.encode() + b"\n" + data).digest()[:4]
        if data[0] != kind or self.id.hex() != found or not self.name:
            fault(f"Not a key of type {kind}: {vkey[:60]!r}.", f"No es una llave de tipo {kind}: {vkey[:60]!r}.")
        self.kind, self.public = kind, data[1:]

    def verify(self, body: bytes, signature: bytes) -> int:
        """The time a witness states; 0 for a log. Raises InvalidSignature."""
        time = 0
        if self.kind == 4:
            time, signature = int.from_bytes(signature[:8], "big"), signature[8:]
            if not 0 < time < SIZE_LIMIT:
                raise InvalidSignature
            body = b"cosignature/v1\ntime %d\n" % time + body
        Ed25519PublicKey.from_public_bytes(self.public).verify(signature, body)
        return time


class Checkpoint:
    """What a log says of itself: its origin, how many entries it has, and the root over them."""

    def __init__(self, body: str) -> None:
        lines = body.split("\n")
        if len(lines) != 4 or not lines[0] or lines[3]:
            fault("Not a checkpoint.", "No es un punto de control.")
        self.origin, self.size, self.root = lines[0], number(lines[1]), decode(lines[2], 32)
        self.cosigned: dict[str, int] = {}
        self.note = b""

    @classmethod
    def of(cls, note: bytes) -> "Checkpoint":
        """What a note says, whoever signed it: not to be believed."""
        found = cls(split_note(note)[0])
        found.note = note
        return found


def split_note(data: bytes) -> tuple[str, list[str]]:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        fault("A note must be UTF-8.", "Una nota debe estar en UTF-8.")
    body, gap, tail = text.rpartition("\n\n")
    lines = tail[:-1].split("\n")
    if not (body and gap and tail.endswith("\n")) or len(lines) > 100 or re.search(r"[\x00-\x09\x0b-\x1f]", text):
        fault("Not a signed note.", "No es una nota firmada.")
    return body + "\n", lines


def signed_by(line: str) -> tuple[tuple[str, bytes], bytes]:
    """The name and key id that a signature line names, and the signature."""
    name, _, text = line.removeprefix("\N{EM DASH} ").partition(" ")
    data = decode(text)
    if not line.startswith("\N{EM DASH} ") or len(data) < 5:
        fault("Not a signature line.", "No es una línea de firma.")
    return (name, data[:4]), data[4:]


def signers(body: str, lines: list[str], keys: list[Key]) -> int:
    """How many of the keys signed. Raises Fault for what are no signature lines."""
    signed, found = dict(map(signed_by, lines)), set()
    for key in keys:
        with suppress(InvalidSignature):
            key.verify(body.encode(), signed.get((key.name, key.id), b""))
            found.add(key.public)
    return len(found)


class Policy:
    """Whose signatures make a checkpoint count: the log's, and a quorum of witnesses."""

    def __init__(self, text: str, origin: str = "") -> None:
        """Of all logs that the file lists, or of one of them."""
        self.logs: list[Key] = []
        self.witnesses: dict[str, Key] = {}
        self.groups: dict[str, tuple[int, list[str]]] = {}
        self.quorum = ""
        self._taken: set[object] = {"none"}
        for line in text.split("\n"):
            words = line.split()
            if words and not words[0].startswith("#"):
                self._read(words, line)
        self.origins = list(dict.fromkeys(key.name for key in self.logs))
        self.logs = [key for key in self.logs if origin in ("", key.name)]
        if not self.quorum or not self.logs:
            fault("The policy names no log or no quorum.", "La política no nombra registro o quórum.")

    def _read(self, words: list[str], line: str) -> None:
        match words:
            case ["log", vkey, *_]:
                self.logs.append(self._key(vkey, 1))
            case ["witness", name, vkey, *_]:
                self.witnesses[self._once(name)] = self._key(vkey, 4)
            case ["group", name, how, *members] if members and self._known(members):
                # Of one group only, or one witness could vote twice.
                for member in members:
                    self._once(("member", member))
                least = {"all": len(members), "any": 1}.get(how) or number(how)
                if not 1 <= least <= len(members):
                    fault(f"A quorum of {least} cannot be.", f"No puede haber un quórum de {least}.")
                self.groups[self._once(name)] = (least, members)
            case ["quorum", name] if not self.quorum and (name == "none" or self._known([name])):
                self.quorum = name
            case _:
                fault(f"Not a line of a policy: {line[:80]!r}.", f"No es una línea de política: {line[:80]!r}.")

    def _known(self, names: list[str]) -> bool:
        return all(name in self.witnesses or name in self.groups for name in names)

    def _once(self, name: Any) -> Any:
        if name in self._taken:
            fault(f"Listed twice: {name}.", f"Figura dos veces: {name}.")
        self._taken.add(name)
        return name

    def _key(self, vkey: str, kind: int) -> Key:
        key = Key(vkey, kind)
        self._once(key.public)
        return key

    def check(self, note: bytes, told: Iterable[Key] = ()) -> Checkpoint:
        """The checkpoint of a note that the log signed and a quorum cosigned. Raises Fault. `told`: keys that it had."""
        body, lines = split_note(note)
        checkpoint, by_log = Checkpoint.of(note), False
        names = {key: name for name, key in self.witnesses.items()}
        known = {(key.name, key.id): key for key in (*told, *self.logs, *names)}
        seen = set()
        for line in lines:
            place, signature = signed_by(line)
            key = known.get(place)
            if key is None:
                continue  # keys may be added that this policy does not know
            if key in seen:
                fault(f"{key.name} signed twice.", f"{key.name} firmó dos veces.")
            seen.add(key)
            try:
                time = key.verify(body.encode(), signature)
            except InvalidSignature:
                fault(f"The signature of {key.name} does not verify.", f"La firma de {key.name} no es válida.")
            if key in names:
                checkpoint.cosigned[names[key]] = time
            by_log = by_log or (key.kind == 1 and key.name == checkpoint.origin)
        if not by_log:
            fault("The log of the policy did not sign.", "El registro de la política no firmó.")
        held = set(checkpoint.cosigned) | {"none"}
        for name, (least, members) in self.groups.items():
            if sum(member in held for member in members) >= least:
                held.add(name)
        if self.quorum not in held:
            fault(f"The quorum {self.quorum} is missing.", f"Falta el quórum {self.quorum}.")
        return checkpoint


# --- the files ---


class Copy:
    """The files of the copy, each read once and held against MANIFEST; and everything that was found wrong."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.findings: list[tuple[str, str]] = []
        self.paths = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if not _folder(path)}
        self._unread = set(self.paths)
        self._digests: dict[str, str] = {}
        manifest = self.read("MANIFEST") or b""
        text, _, seal = manifest.rpartition(b"# sha256 ")
        for line in text.decode(errors="replace").splitlines():
            digest, _, path = line.partition("  ")
            self._digests[path] = digest
        if seal != sha256(text).hexdigest().encode() + b"\n":
            self.wrong("MANIFEST", "It is damaged. / Está dañado.")

    def wrong(self, path: str, text: str) -> None:
        self.findings.append((path, text))

    def read(self, path: str) -> bytes | None:
        file = self._directory / path
        self._unread.discard(path)
        if path not in self.paths or file.is_symlink() or not file.is_file():
            self.wrong(path, "The file is missing. / Falta el archivo.")
            return None
        if file.stat().st_size > FILE_LIMIT_BYTES:
            self.wrong(path, "The file is too large. / El archivo es demasiado grande.")
            return None
        data = file.read_bytes()
        if path != "MANIFEST" and self._digests.get(path) != sha256(data).hexdigest():
            self.wrong(path, "The file is not the one MANIFEST speaks of. / El archivo no es el que menciona MANIFEST.")
        return data

    def under(self, prefix: str) -> list[str]:
        return sorted(path for path in self.paths if path.startswith(prefix))

    def tried(self, path: str, work: Callable[[bytes], Any]) -> Any:
        """What the work makes of a file, or None with a finding."""
        data = self.read(path)
        return None if data is None else self.judged(path, data, work)

    def judged(self, path: str, data: bytes, work: Callable[[bytes], Any]) -> Any:
        """The same of what was read of it before."""
        try:
            return work(data)
        except Fault as found:
            self.wrong(path, str(found))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as found:
            self.wrong(path, f"It cannot be read. / No puede leerse. ({type(found).__name__})")
        return None

    def pass_over(self, log: str) -> None:
        """A log that nothing can be said of: its files are only held against MANIFEST."""
        for path in self.under(f"{log}/"):
            if path in self._unread:
                self.read(path)

    def finish(self) -> None:
        for path in sorted(self._unread):
            if re.fullmatch(r"README|verify\.py|schemas/[a-z.]+\.json", path):
                self.read(path)
            else:
                self.wrong(path, "The file does not belong to the copy. / El archivo no pertenece a la copia.")
        for path in sorted(self._digests.keys() - self.paths):
            self.wrong(path, "The file is missing. / Falta el archivo.")


def _folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def tile_path(level: str, n: int, width: int = WIDTH) -> str:
    """c2sp.org/tlog-tiles."""
    groups = [f"{n % 1000:03d}"]
    while n := n // 1000:
        groups.insert(0, f"x{n % 1000:03d}")
    return f"tile/{level}/{'/'.join(groups)}" + ("" if width == WIDTH else f".p/{width}")


def cut(data: bytes) -> list[bytes]:
    return [data[i : i + 32] for i in range(0, len(data), 32)]


def unbundle(data: bytes, width: int) -> list[bytes]:
    entries, position = [], 0
    while position + 2 <= len(data):
        (length,) = struct.unpack_from(">H", data, position)
        entries.append(data[position + 2 : position + 2 + length])
        position += 2 + length
    if position != len(data) or len(entries) != width:
        fault("It does not hold the entries it should.", "No contiene los asientos que debería.")
    return entries


# --- generations: a log that was closed for ever goes on as the next, `both` as `both/2`, under an origin of its own ---


def kind(log: str) -> str:
    return log.partition("/")[0]


def generation(log: str) -> int:
    return int(log.partition("/")[2] or 1)


def neighbour(log: str, by: int) -> str:
    number = generation(log) + by
    return kind(log) if number == 1 else f"{kind(log)}/{number}"


def separate(texts: dict[str, str]) -> dict[str, Policy]:
    """By log: a policy lists the keys of all generations, the oldest first."""
    found = {}
    for log, text in texts.items():
        for place, origin in enumerate(Policy(text).origins):
            found[neighbour(log, place)] = Policy(text, origin)
    return found


class Closing:
    """What the first entry of a generation says of the one before: the last checkpoint, and how much is left."""

    def __init__(self, leaf: dict[str, Any], origin: str, before: Policy) -> None:
        public = leaf.get("pub", {})
        self.checkpoint = before.check(str(public.get("note")).encode())
        said = (public.get("origin"), public.get("size"), public.get("root"))
        one = self.checkpoint
        if (leaf.get("t"), public.get("next"), *said) != ("log.close", origin, one.origin, one.size, one.root.hex()):
            fault("The first entry does not say which log goes on.", "El primer asiento no dice qué registro continúa.")
        self.held, self.held_root, self.lost = (
            number(str(public["held"])),
            bytes.fromhex(public["held_root"]),
            public["lost"],
        )

    def covers(self, seen: Checkpoint) -> bool:
        """Whether that may have been seen of the log that was closed."""
        known = {self.checkpoint.size: self.checkpoint.root, self.held: self.held_root}
        return seen.size <= self.checkpoint.size and known.get(seen.size, seen.root) == seen.root


# --- what entries say ---


def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(found)
    if len(value) != len(found):
        raise ValueError("a name occurs twice")
    return value


parse = json.JSONDecoder(object_pairs_hook=pairs).decode


def canonical(value: Any) -> bytes:
    """RFC 8785, for values without floats and with ASCII names, which is all a ledger has."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(value: Any) -> str:
    return sha256(canonical(value)).hexdigest()


class Keys:
    """Which keys sign which log, as the entries of `both` tell it: `log.open` the first one; `key.rotate` one beside it,
    which both have signed; `key.revoke` which of the two goes. Where entries of `both` are lost for ever (`log.close`), they
    may have told of other keys of the other logs: their next `key.rotate` is taken as it is."""

    KINDS = ("log.open", "log.close", "key.rotate", "key.revoke")

    def __init__(self) -> None:
        self.signing: dict[str, list[str]] = {}
        self.ever: dict[str, dict[str, Key]] = {}
        self._doubtful: set[str] = set()

    def take(self, leaf: dict[str, Any]) -> bool:
        """Whether the change is one that the key before it bears out."""
        try:
            public, log = leaf["pub"], leaf["on"].removeprefix("log:")
            if log == leaf["on"]:
                return bool(public.get("purpose") != "log")
            before = self.signing.get(log, [])
            if leaf["t"] == "log.close":
                self._doubtful = self.signing.keys() - {log} if public["lost"] else self._doubtful
                return True
            if leaf["t"] == "log.open":
                now = [public["key"]]
            elif leaf["t"] == "key.rotate":
                now = self._rotated(log, public, before)
            else:
                now = [key for key in before if key != public["key"]]
            found = {key: Key(key, 1) for key in now}
            if leaf["t"] == "key.revoke" and not 0 < len(now) < len(before):
                return False
            self.signing[log] = now
            self._doubtful.discard(log)
            self.ever.setdefault(log, {}).update(found)
        except (Fault, ValueError, KeyError, TypeError, AttributeError):
            return False
        return True

    def _rotated(self, log: str, public: dict[str, Any], before: list[str]) -> list[str]:
        [old], new, origin = public["after"], public["key"], public["origin"]
        text = f"puente-log-key-rotation/v1\n{log}\n{old}\n{new}\n"
        keys = [Key(old, 1), Key(new, 1)]
        signed = signers(text, public["signatures"], keys) == 2 and len(public["signatures"]) == 2
        named = {key.name for key in keys} == {origin} and (public["log"], public["purpose"]) == (log, "log")
        known = before in ([], [old]) or log in self._doubtful
        if not signed or not named or not known:
            raise ValueError("not by the key before it, or not by the new one")
        return [old, new]


class Story:
    """A log's entries read in order."""

    def __init__(self, log: str) -> None:
        self.log = kind(log)
        self.last_time = ""
        self._seq = self._activated = 0
        self.agreed: set[str] = set()
        """Digests of agreements, overlays and approvals that entries tell of."""

    def read(self, data: bytes) -> tuple[dict[str, Any], str]:
        """An entry, and what is wrong with it if something is."""
        try:
            leaf = parse(data.decode())
            what, time, pol, public = leaf["t"], leaf["time"], leaf["pol"], leaf["pub"]
            if leaf["log"] != self.log or len(time) != 27 or leaf["v"] != 1:
                raise ValueError("not an event of this log")
            adoption = int(pol.rpartition("@")[2]) if pol else 0
            wrong = self._order(leaf, what, time, adoption)
            if what in ("policy.activate", "policy.tighten"):
                self.agreed.add(public.get("sha256", ""))
            elif what == "policy.approve":
                self.agreed.add(digest(public))
            return leaf, wrong
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return {}, "The entry is not an event of this log. / El asiento no es un evento de este registro."

    def _order(self, leaf: dict[str, Any], what: str, time: str, adoption: int) -> str:
        wrong = ""
        if time < self.last_time:
            wrong = "It is dated before the entry ahead of it. / Tiene fecha anterior al asiento precedente."
        self.last_time = max(time, self.last_time)
        seq = leaf.get("seq", 0)
        if seq != 0 if self.log == "both" else seq <= self._seq:
            wrong = "The hub-wide number does not rise, or must not be here. / El número global no crece, o sobra."
        self._seq = seq
        if what == "log.close":
            self._activated = adoption
        elif what in ("policy.activate", "policy.tighten", "policy.lift", "policy.lapse", "policy.expire"):
            if adoption <= self._activated:
                wrong = "The agreement is older than one in force. / El acuerdo es anterior a uno en vigor."
            self._activated = max(adoption, self._activated)
        elif what == "release" and (adoption < self._activated or (adoption > self._activated and self.log == "both")):
            wrong = (
                "A release under an agreement that was not in force. / Una entrega conforme a un acuerdo que no regía."
            )
        return wrong


def committed_to(line: dict[str, Any], leaf: dict[str, Any]) -> bool:
    found = sha256(b"hub-commit-v1\0" + bytes.fromhex(line["salt"]) + canonical(line["payload"])).digest()
    return base64.b64encode(found).decode() == leaf.get("c")


LISTS = {("release", "ticks"), ("release", "items"), ("publish", "items"), ("publish", "runs")}


def may_speak_of(opened: dict[int, Any], line: dict[str, Any], leaf: dict[str, Any]) -> bool:
    """Whether the entry may mean this list of objects. Nothing commits to it: the objects themselves, where they are
    known, hash to its items_root; of ticks and runs, the number and the ends must be those it names. Of an entry that was
    opened it may only name the objects at the places that were opened."""
    [(name, found)] = line["list"].items()
    public = leaf.get("pub", {})
    if (leaf.get("t"), name) not in LISTS:
        return False
    if name == "items":
        items = [line.split(" ", 1) for line in found]
        runs = [(number(tick), 1) for tick, _ in items]
        if not all(re.fullmatch(r"\S+ \S+ [0-9a-f]{64}", item) for _, item in items):
            return False
        if root_of([leaf_hash(item.encode()) for _, item in items]).hex() != public.get("items_root"):
            return False
    else:
        if any(
            len(run) != 2 + (name == "runs") or not all(type(one) is int and one > 0 for one in run) for run in found
        ):
            return False
        runs = [(run[0], run[-1]) for run in found]
    if line["index"] in opened and (name != "items" or joined(runs) != opened[line["index"]]["payload"].get("ticks")):
        return False
    ends = [as_text(runs[0][0]), as_text(sum(runs[-1]) - 1), sum(size for _, size in runs)]
    return ends == [public.get("first"), public.get("last"), public.get("count")]


def joined(runs: list[tuple[int, int]]) -> list[list[int]]:
    found: list[list[int]] = []
    for first, size in runs:
        if found and first == sum(found[-1]):
            found[-1][1] += size
        else:
            found.append([first, size])
    return found


def as_text(tick: int) -> str:
    """Microseconds since 1970 as entries have them."""
    moment = datetime(1970, 1, 1) + timedelta(microseconds=tick)  # noqa: DTZ001  # all of it is UTC
    return moment.isoformat(timespec="microseconds") + "Z"


# --- one log ---


class Log:
    """One log of the copy. What a forger cannot make is the checkpoint; everything else must lead to it."""

    def __init__(self, name: str, copy: Copy, policy: Policy, checkpoint: Checkpoint, keys: Keys) -> None:
        self.name, self.copy, self.policy, self.checkpoint = name, copy, policy, checkpoint
        self.story, self.keys = Story(name), keys
        self.size, self.root = checkpoint.size, checkpoint.root
        """What the entries have to lead to."""
        self.ended: Closing | None = None
        self.first: dict[str, Any] = {}
        self.key_changes: list[tuple[str, int, dict[str, Any]]] = []
        """Of `both`: the entries about logs' keys, with their files and indices."""
        self.full: list[bytes] = []
        """The root of each full bundle."""
        self.believed = False

    def _left(self) -> None:
        """Of a log that was closed there is what its closing says is left, unless somebody has all of it."""
        one, ended = self.checkpoint, self.ended
        if ended is None:
            return
        if not ended.covers(one):
            self.copy.wrong(f"{self.name}/checkpoint", "Not the log that was closed. / No es el registro que se cerró.")
        elif (one.size, one.root) == (ended.checkpoint.size, ended.checkpoint.root):
            full, rest = divmod(one.size, WIDTH)
            paths = [tile_path("entries", n) for n in range(full)] + [tile_path("entries", full, rest)] * bool(rest)
            if any(f"{self.name}/{path}" not in self.copy.paths for path in paths):
                self.size, self.root = ended.held, ended.held_root

    def _contains(self, one: Checkpoint, roots: dict[int, bytes]) -> bool:
        if one.size > self.size:
            return self.ended is None or self.ended.covers(one)
        return roots[one.size] == one.root

    def read(self, kept: bytes | None, receipts: "list[Receipt]", tell: Callable[[str, int, int], None]) -> None:
        self._left()
        size, path = self.size, f"{self.name}/checkpoint"
        self.past, self.before, self.receipts = self._past(), self._kept(kept), receipts
        seen = (*self.past.values(), *self.before.values(), *(one.checkpoint for one in receipts))
        wanted = {one.size for one in seen} | {size}
        tails, leaves = self._entries(wanted, {one.index for one in receipts}, tell)
        roots = dict(self._roots(sorted(one for one in wanted if one <= size), tails))
        self.believed = roots[size] == self.root
        if not self.believed:
            self.copy.wrong(
                path, "The entries do not hash to the signed root. / Los asientos no producen la raíz firmada."
            )
        self._upper(size)
        self.roots, self.leaves = roots, leaves

    def tell(self) -> None:
        """Which keys sign which log."""
        for path, index, leaf in self.key_changes:
            if not self.keys.take(leaf):
                text = "It changes a log's key without the word of the old and the new one. / Cambia la llave de un registro sin la palabra de la anterior y la nueva."
                self.copy.wrong(path, f"{index}: {text}")

    def judge(self) -> None:
        """Once the entries of `both` told which keys signed when."""
        roots, leaves = self.roots, self.leaves
        earlier = {**self._signed(self.past), **self.before}
        if not self.believed:
            return  # what is false is named already; a fork is not to be cried because of it
        fork = "This log does not contain that one: keep both, as evidence. / Este registro no contiene aquel: conserve ambos."
        for file, one in earlier.items():
            if not self._contains(one, roots):
                self.copy.wrong(file, fork)
        for receipt in self.receipts:
            other = receipt.checkpoint
            if not self._contains(other, roots) or leaves.get(receipt.index, receipt.leaf) != receipt.leaf:
                self.copy.wrong(receipt.path, fork)

    def _kept(self, kept: bytes | None) -> dict[str, Checkpoint]:
        if kept is None:
            return {}
        path = f"{self.name}/checkpoint"
        try:
            before = Checkpoint(split_note(kept)[0])
        except Fault:
            before = None
        if before is None or before.origin != self.checkpoint.origin:
            self.copy.wrong(
                path, "The kept checkpoint is not of this log. / El punto de control conservado no es de este registro."
            )
        elif before.size > self.checkpoint.size:
            self.copy.wrong(
                path, f"{before.size} entries were seen before. / Ya se habían visto {before.size} asientos."
            )
        else:
            return {path: before}
        return {}

    def _past(self) -> dict[str, Checkpoint]:
        """The earlier checkpoints in the copy, not to be believed before the entries told who signed then."""
        found = {}
        old = f"{self.name}/checkpoint.old"
        for path in [*self.copy.under(f"{self.name}/checkpoints/"), *([old] if old in self.copy.paths else [])]:
            past = self.copy.tried(path, Checkpoint.of)
            if past is None:
                continue
            named = path in (old, f"{self.name}/checkpoints/{past.size}")
            if past.origin != self.checkpoint.origin or past.size > self.checkpoint.size or not named:
                self.copy.wrong(
                    path,
                    "Not an earlier checkpoint of this log. / No es un punto de control anterior de este registro.",
                )
            else:
                found[path] = past
        return found

    def _signed(self, past: dict[str, Checkpoint]) -> dict[str, Checkpoint]:
        """The checkpoint bears every signature that entries ask for; of the earlier ones, those that were signed by a key of
        their time. And the proof from the oldest of them."""
        keys = self.keys
        # Of a closed log, what is lost may tell of other keys.
        whole = (self.size, self.root) == (self.checkpoint.size, self.checkpoint.root)
        signing = keys.signing.get(self.name, []) if self.believed and whole and kind(self.name) == "both" else []
        if signers(*split_note(self.checkpoint.note), [Key(key, 1) for key in signing]) < len(signing):
            text = "A key that signs this log by its entries is silent. / Calla una llave que firma este registro según sus asientos."
            self.copy.wrong(f"{self.name}/checkpoint", text)
        check = partial(self.policy.check, told=keys.ever.get(self.name, {}).values() if self.believed else ())
        found = {path: self.copy.judged(path, one.note, check) for path, one in past.items()}
        old = f"{self.name}/checkpoint.old"
        if old in self.copy.paths:
            self.copy.tried(f"{self.name}/consistency", lambda data: self._consistent(data, found.get(old)))
        return {one: checkpoint for one, checkpoint in found.items() if checkpoint is not None}

    def _consistent(self, data: bytes, old: Checkpoint | None) -> None:
        first, *lines, end = data.decode("ascii").split("\n")
        path = [decode(line, 32) for line in lines]
        new = self.checkpoint
        if old is not None and (
            first != f"old {old.size}" or end or not grew(old.size, new.size, old.root, new.root, path)
        ):
            fault(
                "The proof does not lead from checkpoint.old to checkpoint.",
                "La prueba no lleva de checkpoint.old a checkpoint.",
            )

    def _entries(
        self, sizes: set[int], indexes: set[int], tell: Callable[[str, int, int], None]
    ) -> tuple[dict[int, list[bytes]], dict[int, bytes]]:
        """Hash every entry; answers the hashes after the last full bundle of each size, and those of some leaves."""
        tails, leaves, size = {}, {}, self.size
        for n in range((size + WIDTH - 1) // WIDTH):
            start, width = n * WIDTH, min(WIDTH, size - n * WIDTH)
            hashes = self._bundle(n, width)
            if width == WIDTH:
                self.full.append(root_of(hashes))
            tails.update({one: hashes[: one - start] for one in sizes if start < one < start + WIDTH})
            leaves.update({one: hashes[one - start] for one in indexes if start <= one < start + width})
            tell(self.name, start + width, size)
        return tails, leaves

    def _bundle(self, n: int, width: int) -> list[bytes]:
        """The leaf hashes of a bundle as its entries give them, or else its tile."""
        path, beside = (f"{self.name}/{tile_path(level, n, width)}" for level in ("entries", "0"))
        stored = cut(self.copy.read(beside) or b"")
        entries = self.copy.tried(path, lambda data: unbundle(data, width))
        if entries is None:
            return stored if len(stored) == width else [bytes(32)] * width
        hashes = [leaf_hash(entry) for entry in entries]
        if hashes != stored:
            differ = next((i for i, pair in enumerate(zip(hashes, stored, strict=False)) if pair[0] != pair[1]), 0)
            text = f"Entry {n * WIDTH + differ} and its tile do not agree. / El asiento {n * WIDTH + differ} y su loseta no coinciden."
            self.copy.wrong(path, text)
            self.copy.wrong(beside, text)
        leaves = []
        for index, entry in enumerate(entries, n * WIDTH):
            leaf, wrong = self.story.read(entry)
            leaves.append(leaf)
            if wrong:
                self.copy.wrong(path, f"{index}: {wrong}")
            if leaf.get("t") in Keys.KINDS and kind(self.name) == "both":
                self.key_changes.append((path, index, leaf))
        self.first = self.first if n else leaves[0]
        opened = self._beside(n, "open", {"index", "payload", "salt"}, leaves, committed_to)
        if kind(self.name) == "both":
            self._beside(n, "pages", {"index", "list"}, leaves, partial(may_speak_of, opened))
        return hashes

    def _beside(
        self, n: int, folder: str, names: set[str], leaves: list[dict[str, Any]], fits: Callable[[Any, Any], bool]
    ) -> dict[int, Any]:
        """Lines about the entries of a bundle, one at most of each, by their indices."""
        path = f"{self.name}/{tile_path('entries', n).replace('tile/entries/', f'{folder}/')}.jsonl"
        found: dict[int, Any] = {}
        if path not in self.copy.paths:
            return found

        def check(data: bytes) -> None:
            for line in data.decode().splitlines():
                value = parse(line)
                if value.keys() != names or canonical(value) != line.encode():
                    fault("Not a line of this file.", "No es una línea de este archivo.")
                place = value["index"] - n * WIDTH
                if not 0 <= place < len(leaves) or value["index"] in found or not fits(value, leaves[place]):
                    text = f"{value['index']}"
                    fault(f"It is not what entry {text} means.", f"No es lo que indica el asiento {text}.")
                found[value["index"]] = value

        self.copy.tried(path, check)
        return found

    def _roots(self, sizes: list[int], tails: dict[int, list[bytes]]) -> Iterator[tuple[int, bytes]]:
        """Each size with its root, in one walk: a frontier of complete subtrees that grows by bundles."""
        frontier: list[tuple[int, bytes]] = []  # (leaves under it, hash)
        done = 0
        for size in sizes:
            for node in self.full[done : size // WIDTH]:
                frontier = pushed(frontier, WIDTH, node)
            done = size // WIDTH
            whole = frontier
            for leaf in tails.get(size, []):
                whole = pushed(whole, 1, leaf)
            node = whole[-1][1] if whole else root_of([])
            for _, left in reversed(whole[:-1]):
                node = node_hash(left, node)
            yield size, node

    def _upper(self, size: int) -> None:
        """Tiles of level 1 and above follow from the full bundles."""
        level, hashes = 1, self.full
        while hashes:
            for n in range((len(hashes) + WIDTH - 1) // WIDTH):
                part = hashes[n * WIDTH : (n + 1) * WIDTH]
                path = f"{self.name}/{tile_path(str(level), n, len(part))}"
                data = self.copy.read(path)
                if self.believed and data is not None and data != b"".join(part):
                    self.copy.wrong(path, "It is not what the entries hash to. / No es lo que producen los asientos.")
            level += 1
            hashes = [root_of(hashes[i : i + WIDTH]) for i in range(0, len(hashes) // WIDTH * WIDTH, WIDTH)]


def pushed(frontier: list[tuple[int, bytes]], leaves: int, node: bytes) -> list[tuple[int, bytes]]:
    grown = list(frontier)
    while grown and grown[-1][0] == leaves:
        node, leaves = node_hash(grown.pop()[1], node), leaves * 2
    return [*grown, (leaves, node)]


# --- receipts and agreements ---


class Receipt:
    """A `.tlog-proof` that verified by itself."""

    def __init__(self, path: str, data: bytes, leaf: bytes, policies: dict[str, Policy]) -> None:
        head, gap, note = data.partition(b"\n\n")
        header, *lines = head.decode("ascii").split("\n")
        if lines and lines[0].startswith("extra "):
            lines.pop(0)
        if header != "c2sp.org/tlog-proof@v1" or not gap or not lines or not lines[0].startswith("index "):
            fault("Not a receipt.", "No es un recibo.")
        origin = Checkpoint(split_note(note)[0]).origin
        logs = [log for log, policy in policies.items() if any(key.name == origin for key in policy.logs)]
        if not logs:
            fault("You gave no policy for its log.", "Usted no indicó una política para su registro.")
        self.path, self.log, self.index, self.leaf = path, logs[0], number(lines[0][6:]), leaf_hash(leaf)
        self.checkpoint = policies[self.log].check(note)
        proof = [decode(line, 32) for line in lines[1:]]
        if not included(self.leaf, self.index, self.checkpoint.size, proof, self.checkpoint.root):
            fault(f"It does not prove entry {self.index}.", f"No prueba el asiento {self.index}.")


def _receipt(path: str, leaf: bytes | None, policies: dict[str, Policy], data: bytes) -> Receipt | None:
    return None if leaf is None else Receipt(path, data, leaf, policies)


def read_receipts(copy: Copy, policies: dict[str, Policy]) -> list[Receipt]:
    found = []
    for path in copy.under("receipts/"):
        if path.endswith(".tlog-proof"):
            beside = path.removesuffix(".tlog-proof") + ".leaf"
            leaf = copy.read(beside)
            receipt = copy.tried(path, partial(_receipt, path, leaf, policies))
            if receipt is not None:
                found.append(receipt)
            elif leaf is not None:
                copy.wrong(beside, "No receipt proves it. / Ningún recibo lo prueba.")
    return found


def check_agreements(copy: Copy, agreed: set[str]) -> None:
    """Each text, overlay and approval must be one that an entry tells of."""

    def values(name: str, data: bytes) -> Iterable[Any]:
        if name == "agreement.toml":
            return [tomllib.loads(data.decode())]
        if name == "overlays.json":
            return [tomllib.loads(one["document"]) for one in parse(data.decode())]
        return [
            {"jws": one["jws"], **{word: value for word, value in one["approval"].items() if value is not None}}
            for one in parse(data.decode())
        ]

    def check(name: str, data: bytes) -> None:
        if any(digest(one) not in agreed for one in values(name, data)):
            fault("No entry tells of it.", "Ningún asiento da cuenta de ello.")

    for path in copy.under("agreements/"):
        match = re.fullmatch(r"agreements/[1-9][0-9]*/(agreement\.toml|approvals\.json|overlays\.json)", path)
        if match:
            copy.tried(path, partial(check, match[1]))


# --- the whole ---


def verify(
    directory: Path,
    policies: dict[str, Policy],
    kept: dict[str, bytes],
    tell: Callable[[str, int, int], None] = lambda *_: None,
) -> tuple[Copy, list[Log]]:
    """Everything above, in order. Every log that has a policy must be in the copy, and none without."""
    copy = Copy(directory)
    receipts = read_receipts(copy, policies)
    logs: dict[str, Log] = {}
    closed: dict[str, Closing] = {}
    agreed: set[str] = set()
    keys = Keys()
    # Of one kind the newest first: it says what is left of the one before.
    for name in sorted(policies, key=lambda log: (LOGS.index(kind(log)), -generation(log))):
        checkpoint = copy.tried(f"{name}/checkpoint", policies[name].check)
        if checkpoint is None:
            copy.pass_over(name)
            continue
        log = logs[name] = Log(name, copy, policies[name], checkpoint, keys)
        log.ended = closed.get(name)
        log.read(kept.get(name), [one for one in receipts if one.log == name], tell)
        before = neighbour(name, -1)
        if before in policies:
            try:
                closed[before] = Closing(log.first, checkpoint.origin, policies[before])
            except (Fault, KeyError, ValueError, TypeError) as found:
                copy.wrong(f"{name}/checkpoint", f"It goes on from nothing. / No continúa nada. ({found})")
        agreed |= log.story.agreed if kind(name) == "both" else set()
    for name in sorted((log for log in logs if kind(log) == "both"), key=generation):
        logs[name].tell()  # each generation where the one before ended
    for log in logs.values():
        log.judge()
    if any(kind(name) == "both" for name in logs):
        check_agreements(copy, agreed)
    heads = {
        match[1] for path in copy.paths if (match := re.fullmatch(r"((?:both|us|mx)(?:/[0-9]+)?)/checkpoint", path))
    }
    for name in sorted(heads - policies.keys()):
        text = "You gave no policy for this log. / Usted no indicó una política para este registro."
        copy.wrong(f"{name}/checkpoint", text)
        copy.pass_over(name)
    copy.finish()
    return copy, [logs[name] for name in policies if name in logs]


def _tell(log: str, done: int, size: int) -> None:
    if done == size or done % (WIDTH * 40) == 0:
        sys.stderr.write(f"\r{log}: {done:,} / {size:,}" + ("\n" if done == size else ""))


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--policy", type=Path, required=True, help="your own witness policies / sus propias políticas")
    words.add_argument("--kept", type=Path, help="checkpoints of last time / puntos de control anteriores")
    words.add_argument("--json", action="store_true", help="one JSON value / un valor JSON")
    words.add_argument("copy", type=Path)
    given = words.parse_args()
    try:
        files = {log: given.policy / log for log in LOGS}
        policies = separate({log: file.read_text() for log, file in files.items() if file.exists()})
    except (OSError, ValueError, Fault) as error:
        print(f"--policy: {error}", file=sys.stderr)
        return 2
    if not policies or not given.copy.is_dir():
        print("There is no policy, or no copy. / No hay política, o no hay copia.", file=sys.stderr)
        return 2
    notes = {log: given.kept / log / "checkpoint" for log in policies} if given.kept else {}
    kept = {log: path.read_bytes() for log, path in notes.items() if path.exists()}
    copy, logs = verify(given.copy, policies, kept, _tell if sys.stderr.isatty() else lambda *_: None)
    trusted = [(log.name, log.checkpoint) for log in logs]
    closings = {log.name: log.ended for log in logs if log.ended is not None}
    if given.json:
        found = [{"file": path, "text": text} for path, text in copy.findings]
        held = [
            {"log": log, "size": one.size, "root": one.root.hex(), "cosigned": one.cosigned} for log, one in trusted
        ]
        print(json.dumps({"ok": not found, "findings": found, "logs": held}))
    else:
        for log, one in trusted:
            print(f"{log}: {one.size:,} entries / asientos, {one.root.hex()[:16]}, {', '.join(sorted(one.cosigned))}")
            if log in closings:
                end = closings[log]
                print(
                    f"  closed for ever / cerrado para siempre: {end.held:,} left / quedan, {end.lost:,} lost / se perdieron"
                )
        for path, text in copy.findings:
            print(f"\N{BALLOT X} {ascii(path)[1:-1]}: {text}")
        if not copy.findings:
            print("Verified. / Verificado.")
    return 1 if copy.findings else 0


if __name__ == "__main__":
    sys.exit(main())
