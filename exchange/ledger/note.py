"""C2SP signed notes: text with signature lines, the checkpoints of a log, and the policy that says whose count.

A note is text that ends in a newline, a blank line, and one line per signature (c2sp.org/signed-note):

    puente.hub.example/audit/both       the origin: which log speaks
    20852163                            how many leaves its tree has
    CsUYapGGPo4dkMgIAUqom/Xajj7h2f...   the RFC 6962 root over them

    — puente.hub.example/audit/both Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRD...
    — witness.us.example/a jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3...

The log signs the text itself (type 0x01); a witness signs the text and the time at which this was the largest tree it
had seen (type 0x04, c2sp.org/tlog-cosignature). Lines of unknown keys are ignored, so that keys can be added later.
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import ClassVar, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from certs.faults import Fault

LOG_TYPE = 0x01
"""Ed25519 over the note text: what a log signs with."""

WITNESS_TYPE = 0x04
"""Ed25519 over a time and the note text (`cosignature/v1`): what a witness signs with."""

NOTE_LIMIT_BYTES = 1_000_000
SIGNATURE_LIMIT = 100
"""Signature lines in one note. The specification asks for at least 16; a bound keeps a hostile note cheap."""

SIZE_LIMIT = 2**63
"""Tree sizes and times stay below it, as in every other implementation."""

_DASH = "\N{EM DASH} "
_CONTROL = re.compile(rb"[\x00-\x09\x0b-\x1f]")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


class NoteFault(Fault, ValueError):
    """A note, key or policy that must not be believed. `code` is stable; `en` and `es` are for people."""


def strict_base64(text: str, length: int | None = None) -> bytes:
    """Decode standard base64, accepting exactly one spelling of each value. Raises ValueError."""
    try:
        data = b64decode(text, validate=True)
    except Base64Error as error:
        raise ValueError(f"not base64: {error}") from None
    if b64encode(data).decode() != text or (length is not None and len(data) != length):
        raise ValueError("not base64 in its one canonical form, or of another length")
    return data


def decimal(text: str) -> int:
    """Decode an ASCII decimal without leading zeroes, below SIZE_LIMIT. Raises ValueError."""
    if _DECIMAL.fullmatch(text) is None or int(text) >= SIZE_LIMIT:
        raise ValueError(f"not a decimal number in range: {text[:40]!r}")
    return int(text)


# --- checkpoints ---


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log states about itself: this origin has this many leaves under this root (c2sp.org/tlog-checkpoint)."""

    origin: str
    size: int
    root: bytes

    def body(self) -> str:
        """The note text that is signed."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, body: str) -> "Checkpoint":
        """Raises NoteFault. Extension lines are refused: nobody could audit what they say."""
        lines = body.split("\n")
        if len(lines) > 4:
            raise NoteFault(
                "checkpoint-extension",
                "The checkpoint has extension lines.",
                "El punto de control tiene líneas de extensión.",
            )
        try:
            origin, size, root, end = lines
            if not origin or end:
                raise ValueError("no origin, or no final newline")
            return cls(origin, decimal(size), strict_base64(root, 32))
        except ValueError:
            raise NoteFault(
                "checkpoint-malformed",
                "The text is not a checkpoint: origin, size and root hash.",
                "El texto no es un punto de control: origen, tamaño y hash raíz.",
            ) from None


# --- keys ---


def _key_id(name: str, kind: int, public: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


def _check_name(name: str) -> None:
    if not name or "+" in name or any(sign.isspace() or sign < " " for sign in name):
        raise _bad_key(
            "a key name must not be empty nor contain spaces or “+”",
            "un nombre de llave no puede estar vacío ni contener espacios ni «+»",
        )


@dataclass(frozen=True)
class Verifier:
    """A public key with its name and the one kind of signature it may make."""

    name: str
    kind: int
    public: bytes

    @cached_property
    def key_id(self) -> bytes:
        """The 4 bytes that open this key's signatures. A pointer, not a proof: collisions are easy to make."""
        return _key_id(self.name, self.kind, self.public)

    @property
    def vkey(self) -> str:
        """`name+hex(key id)+base64(type || public key)`."""
        return f"{self.name}+{self.key_id.hex()}+{b64encode(bytes([self.kind]) + self.public).decode()}"

    @classmethod
    def parse(cls, vkey: str) -> "Verifier":
        """Read a vkey. Raises NoteFault for anything but Ed25519 keys of types 0x01 and 0x04 whose id is right."""
        name, key_id, kind, public = _split_key(vkey)
        found = cls(name, kind, public)
        if found.key_id.hex() != key_id:
            raise _bad_key("the key id does not belong to the key", "el identificador no corresponde a la llave")
        return found

    def check(self, body: str, signature: bytes) -> int | None:
        """The time in seconds that a cosignature states, None for a log's signature. Raises InvalidSignature."""
        time_seconds, message = None, body.encode()
        if self.kind == WITNESS_TYPE:
            time_seconds = int.from_bytes(signature[:8], "big")
            if not 0 < time_seconds < SIZE_LIMIT:
                raise InvalidSignature
            message, signature = _cosigned_message(body, time_seconds), signature[8:]
        Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        return time_seconds


@dataclass(frozen=True)
class _SecretKey:
    """What the keys of logs and witnesses share: a name and a secret that never shows."""

    name: str
    _seed: bytes = field(repr=False)

    KIND: ClassVar[int]

    @cached_property
    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self._seed)

    @cached_property
    def verifier(self) -> Verifier:
        return Verifier(self.name, self.KIND, self._private.public_key().public_bytes_raw())

    @property
    def vkey(self) -> str:
        """The public half, as policies and witnesses list it."""
        return self.verifier.vkey

    def encode(self) -> str:
        """`PRIVATE+KEY+name+hex(key id)+base64(type || seed)`: secret; callers keep it in a file of mode 0600."""
        data = b64encode(bytes([self.KIND]) + self._seed).decode()
        return f"PRIVATE+KEY+{self.name}+{self.verifier.key_id.hex()}+{data}"

    @classmethod
    def decode(cls, text: str) -> Self:
        """Read what `encode` wrote. Raises NoteFault, which never quotes the secret."""
        return cls(*_decode_secret(text, cls.KIND))

    def _line(self, signature: bytes) -> str:
        return f"{_DASH}{self.name} {b64encode(self.verifier.key_id + signature).decode()}"


@dataclass(frozen=True)
class LogKey(_SecretKey):
    """The key a log signs its checkpoints with. Its name is the log's origin."""

    KIND = LOG_TYPE

    def line(self, body: str) -> str:
        """The signature line over a note text."""
        return self._line(self._private.sign(body.encode()))

    def sign(self, body: str) -> bytes:
        """The whole signed note. Ed25519 is deterministic: the same text gives the same note."""
        return f"{body}\n{self.line(body)}\n".encode()


@dataclass(frozen=True)
class WitnessKey(_SecretKey):
    """The key a witness cosigns checkpoints with."""

    KIND = WITNESS_TYPE

    def cosign(self, body: str, time_seconds: int) -> str:
        """The cosignature line: at this POSIX time, this was the largest consistent tree this witness had seen."""
        if not 0 < time_seconds < SIZE_LIMIT:
            raise ValueError("a cosignature needs a time after 1970")
        signature = self._private.sign(_cosigned_message(body, time_seconds))
        return self._line(time_seconds.to_bytes(8, "big") + signature)


def new_log_key(origin: str) -> LogKey:
    """A fresh key for the log of that origin."""
    _check_name(origin)
    return LogKey(origin, Ed25519PrivateKey.generate().private_bytes_raw())


def new_witness_key(name: str) -> WitnessKey:
    """A fresh key for a witness of that name."""
    _check_name(name)
    return WitnessKey(name, Ed25519PrivateKey.generate().private_bytes_raw())


def _cosigned_message(body: str, time_seconds: int) -> bytes:
    # The header line keeps this from being a type 0x01 signature over any checkpoint: no origin is "cosignature/v1".
    return f"cosignature/v1\ntime {time_seconds}\n{body}".encode()


def _bad_key(en: str, es: str) -> NoteFault:
    return NoteFault("key-malformed", f"Not a usable key: {en}.", f"La llave no es utilizable: {es}.")


def _split_key(text: str) -> tuple[str, str, int, bytes]:
    try:
        # Base64 may contain "+" itself; names may not.
        name, key_id, material = text.split("+", 2)
        data = strict_base64(material, 33)
    except ValueError:
        raise _bad_key(
            "it is not name+id+base64 of an Ed25519 key", "no es nombre+id+base64 de una llave Ed25519"
        ) from None
    _check_name(name)
    if data[0] not in (LOG_TYPE, WITNESS_TYPE):
        raise _bad_key(f"type 0x{data[0]:02x} is not supported", f"el tipo 0x{data[0]:02x} no se admite")
    return name, key_id, data[0], data[1:]


def _decode_secret(text: str, kind: int) -> tuple[str, bytes]:
    prefix = "PRIVATE+KEY+"
    if not text.startswith(prefix):
        raise _bad_key("it does not begin with PRIVATE+KEY+", "no comienza con PRIVATE+KEY+")
    name, key_id, found, seed = _split_key(text.removeprefix(prefix))
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    if found != kind or _key_id(name, kind, public).hex() != key_id:
        raise _bad_key("it is of another type, or its id is wrong", "es de otro tipo, o su identificador es incorrecto")
    return name, seed


# --- notes ---


@dataclass(frozen=True, slots=True)
class Signature:
    """One line that verified."""

    key: Verifier
    line: str
    """Without its final newline."""
    time_seconds: int | None
    """Of a cosignature; None for a log's signature."""


@dataclass(frozen=True, slots=True)
class Note:
    """A text and the signatures on it that verified under known keys."""

    body: str
    signatures: tuple[Signature, ...]


def split_note(data: bytes) -> tuple[str, list[str]]:
    """The text of a note and its signature lines, nothing verified: NOT to be believed. Raises NoteFault."""
    if len(data) > NOTE_LIMIT_BYTES:
        raise _malformed("it is too large", "es demasiado grande")
    if _CONTROL.search(data):
        raise _malformed("it holds a control character", "contiene un carácter de control")
    try:
        text, gap, tail = data.decode().rpartition("\n\n")
    except UnicodeDecodeError:
        raise _malformed("it is not UTF-8", "no está en UTF-8") from None
    if not (text and gap and tail.endswith("\n")):
        raise _malformed(
            "it needs text, a blank line and complete signature lines",
            "requiere texto, una línea en blanco y líneas de firma completas",
        )
    lines = tail[:-1].split("\n")
    if len(lines) > SIGNATURE_LIMIT:
        raise _malformed(f"it has more than {SIGNATURE_LIMIT} signatures", f"tiene más de {SIGNATURE_LIMIT} firmas")
    return text + "\n", lines


def open_note(data: bytes, verifiers: Iterable[Verifier]) -> Note:
    """Check a note under the known keys (c2sp.org/signed-note). Raises NoteFault.

    Lines of unknown keys are ignored. One bad line of a known key spoils the note, and so does a second line of one
    key: nobody honest makes either. A note without any known signature is refused.
    """
    body, lines = split_note(data)
    known = {(key.name, key.key_id): key for key in verifiers}
    found: dict[Verifier, Signature] = {}
    for line in lines:
        name, key_id, signature = _split_line(line)
        key = known.get((name, key_id))
        if key is None:
            continue
        if key in found:
            raise NoteFault("note-duplicate", f"The key {name} signed twice.", f"La llave {name} firmó dos veces.")
        try:
            found[key] = Signature(key, line, key.check(body, signature))
        except InvalidSignature:
            raise NoteFault(
                "note-bad-signature", f"The signature of {name} does not verify.", f"La firma de {name} no es válida."
            ) from None
    if not found:
        raise NoteFault("note-unsigned", "No known key signed the note.", "Ninguna llave conocida firmó la nota.")
    return Note(body, tuple(found.values()))


def note_text(note: bytes, lines: Iterable[str]) -> bytes:
    """A note with more signature lines added at its end."""
    return note + "".join(line.removesuffix("\n") + "\n" for line in lines).encode()


def _split_line(line: str) -> tuple[str, bytes, bytes]:
    name, gap, text = line.removeprefix(_DASH).partition(" ")
    try:
        data = strict_base64(text)
        if not (line.startswith(_DASH) and gap and len(data) > 4):
            raise ValueError("not a dash, a name and a signature")
        _check_name(name)
    except ValueError:
        raise _malformed("a signature line is not well formed", "una línea de firma no está bien formada") from None
    return name, data[:4], data[4:]


def _malformed(en: str, es: str) -> NoteFault:
    return NoteFault("note-malformed", f"Not a signed note: {en}.", f"No es una nota firmada: {es}.")


# --- policies ---


class PolicyFault(NoteFault):
    """A policy file that cannot be used; `line` counts from 1, and is 0 when the fault is of the file as a whole."""

    def __init__(self, line: int, en: str, es: str) -> None:
        super().__init__("policy-malformed", f"Policy, line {line}: {en}.", f"Política, línea {line}: {es}.")
        self.line = line


@dataclass(frozen=True, slots=True)
class Group:
    """At least `threshold` of the members must have witnessed; a member is a witness or an earlier group."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Checked:
    """A checkpoint that a policy holds for, and who says so."""

    checkpoint: Checkpoint
    cosigned: Mapping[str, int]
    """Witness name in the policy to the POSIX time of its cosignature."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Whose signatures make a checkpoint valid (c2sp.org/tlog-policy): any listed log, and the quorum of witnesses.

    With `group US any …`, `group MX any …`, `group BOTH all US MX` and `quorum BOTH`, no country can do it alone.
    """

    logs: tuple[Verifier, ...]
    witnesses: Mapping[str, Verifier]
    groups: Mapping[str, Group]
    quorum: str
    """A witness, a group, or "none"."""
    urls: Mapping[str, str] = field(default_factory=dict)
    """Witness name, or origin of a log, to its URL where the policy gives one."""

    @classmethod
    def parse(cls, text: str) -> "Policy":
        """Read a policy file. Raises PolicyFault naming the line."""
        reader = _PolicyReader()
        for number, line in enumerate(text.split("\n"), 1):
            reader.read(number, line)
        return reader.finish()

    def text(self) -> str:
        """The policy as a file that `parse` reads back."""
        lines = [f"log {key.vkey} {self.urls.get(key.name, '')}".rstrip() for key in self.logs]
        lines += [
            f"witness {name} {key.vkey} {self.urls.get(name, '')}".rstrip() for name, key in self.witnesses.items()
        ]
        lines += [
            f"group {name} {_threshold_word(group)} {' '.join(group.members)}" for name, group in self.groups.items()
        ]
        return "\n".join([*lines, f"quorum {self.quorum}", ""])

    def witness_names(self) -> tuple[str, ...]:
        return tuple(self.witnesses)

    def satisfied(self, names: AbstractSet[str]) -> bool:
        """Whether cosignatures of these witnesses are a quorum. Names that the policy does not know count nothing."""
        if self.quorum == "none":
            return True
        held = {name for name in self.witnesses if name in names}
        for name, group in self.groups.items():  # members are defined before their group
            if sum(member in held for member in group.members) >= group.threshold:
                held.add(name)
        return self.quorum in held

    def check(self, data: bytes) -> Checked:
        """Open a cosigned checkpoint: signed by the log of its origin, cosigned by a quorum. Raises NoteFault."""
        note = open_note(data, (*self.logs, *self.witnesses.values()))
        checkpoint = Checkpoint.parse(note.body)
        if not any(one.key.kind == LOG_TYPE and one.key.name == checkpoint.origin for one in note.signatures):
            raise NoteFault(
                "log-unsigned",
                f"No log key of the policy signed for the origin {checkpoint.origin}.",
                f"Ninguna llave de registro de la política firmó por el origen {checkpoint.origin}.",
            )
        names = {key: name for name, key in self.witnesses.items()}
        cosigned = {names[one.key]: one.time_seconds for one in note.signatures if one.time_seconds is not None}
        if not self.satisfied(cosigned.keys()):
            by = ", ".join(sorted(cosigned)) or "–"
            raise NoteFault(
                "quorum-missing",
                f"The cosignatures ({by}) are not the quorum {self.quorum} of the policy.",
                f"Las cofirmas ({by}) no alcanzan el quórum {self.quorum} de la política.",
            )
        return Checked(checkpoint, cosigned)


def cosigned_by(policy: Policy, name: str, note: bytes, lines: Sequence[str]) -> str | None:
    """The first of the lines that is the named witness's valid cosignature of the note, or None.

    A witness may answer with lines of several keys; those that the policy does not list under this name are ignored.
    """
    key = policy.witnesses.get(name)
    if key is None:
        return None
    try:
        body, _ = split_note(note)
        return open_note(note_text(body.encode() + b"\n", lines), [key]).signatures[0].line
    except NoteFault:
        return None


def _threshold_word(group: Group) -> str:
    count = len(group.members)
    return "all" if group.threshold == count else "any" if group.threshold == 1 else str(group.threshold)


class _PolicyReader:
    """Reads a policy line by line; what a line may refer to must stand above it, which also rules out circles."""

    def __init__(self) -> None:
        self.logs: list[Verifier] = []
        self.witnesses: dict[str, Verifier] = {}
        self.groups: dict[str, Group] = {}
        self.urls: dict[str, str] = {}
        self.quorum: str | None = None
        self.publics: set[bytes] = set()
        self.grouped: set[str] = set()
        self.words: dict[str, Callable[[int, list[str]], None]] = {
            "log": self._log,
            "witness": self._witness,
            "group": self._group,
            "quorum": self._quorum,
        }

    def read(self, number: int, line: str) -> None:
        if any((sign < " " and sign != "\t") or sign == "\x7f" for sign in line):
            raise PolicyFault(number, "it holds a control character", "contiene un carácter de control")
        # Only space and tab separate words: other Unicode spaces may be part of a name.
        words = [word for word in re.split("[ \t]+", line) if word]
        if not words or words[0].startswith("#"):
            return
        handler = self.words.get(words[0])
        if handler is None:
            raise PolicyFault(number, f"unknown word {words[0]!r}", f"palabra desconocida {words[0]!r}")
        handler(number, words[1:])

    def finish(self) -> Policy:
        if self.quorum is None:
            raise PolicyFault(0, "there is no quorum line", "falta la línea quorum")
        return Policy(tuple(self.logs), self.witnesses, self.groups, self.quorum, self.urls)

    def _log(self, number: int, words: list[str]) -> None:
        if len(words) not in (1, 2):
            raise PolicyFault(number, "expected: log <vkey> [<url>]", "se esperaba: log <vkey> [<url>]")
        key = self._key(number, words[0], LOG_TYPE)
        self.logs.append(key)
        self._url(key.name, words[1:])

    def _witness(self, number: int, words: list[str]) -> None:
        if len(words) not in (2, 3):
            raise PolicyFault(
                number, "expected: witness <name> <vkey> [<url>]", "se esperaba: witness <name> <vkey> [<url>]"
            )
        name = self._new_name(number, words[0])
        self.witnesses[name] = self._key(number, words[1], WITNESS_TYPE)
        self._url(name, words[2:])

    def _group(self, number: int, words: list[str]) -> None:
        if len(words) < 3:
            raise PolicyFault(
                number,
                "expected: group <name> all|any|<k> <member>…",
                "se esperaba: group <name> all|any|<k> <member>…",
            )
        name, members = self._new_name(number, words[0]), words[2:]
        for member in members:
            self._defined(number, member)
            # Otherwise one witness could vote twice.
            if member in self.grouped:
                raise PolicyFault(number, f"{member!r} is a member already", f"{member!r} ya es integrante")
            self.grouped.add(member)
        try:
            threshold = {"all": len(members), "any": 1}.get(words[1]) or decimal(words[1])
        except ValueError:
            threshold = 0
        if not 1 <= threshold <= len(members):
            raise PolicyFault(
                number,
                "the threshold must lie between 1 and the number of members",
                "el umbral debe estar entre 1 y el número de integrantes",
            )
        self.groups[name] = Group(threshold, tuple(members))

    def _quorum(self, number: int, words: list[str]) -> None:
        if len(words) != 1 or self.quorum is not None:
            raise PolicyFault(number, "expected one line: quorum <name>", "se esperaba una sola línea: quorum <name>")
        if words[0] != "none":
            self._defined(number, words[0])
        self.quorum = words[0]

    def _url(self, name: str, words: list[str]) -> None:
        if words:
            self.urls[name] = words[0]

    def _defined(self, number: int, name: str) -> None:
        if name not in self.witnesses and name not in self.groups:
            raise PolicyFault(number, f"{name!r} is not defined above", f"{name!r} no está definido antes")

    def _new_name(self, number: int, name: str) -> str:
        if name == "none" or name in self.witnesses or name in self.groups:
            raise PolicyFault(number, f"the name {name!r} is taken", f"el nombre {name!r} ya está en uso")
        return name

    def _key(self, number: int, vkey: str, kind: int) -> Verifier:
        try:
            key = Verifier.parse(vkey)
        except NoteFault as fault:
            raise PolicyFault(number, fault.en.removesuffix("."), fault.es.removesuffix(".")) from None
        if key.kind != kind:
            raise PolicyFault(
                number,
                f"a key of type 0x{key.kind:02x} may not stand here",
                f"una llave de tipo 0x{key.kind:02x} no puede estar aquí",
            )
        # The same key under two names or types would be one voice counted twice.
        if key.public in self.publics:
            raise PolicyFault(number, "this public key is listed already", "esta llave pública ya está en la lista")
        self.publics.add(key.public)
        return key
