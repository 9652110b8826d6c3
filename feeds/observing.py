"""The observables of STIX 2.0, which lay inside observed data under local names, made objects of STIX 2.1 (section 6)."""

from collections.abc import Callable, Container, Mapping
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from certs.jcs import canonical
from certs.relay import HASH_NAMES
from exchange.model.observables import CONTRIBUTING, sco_id
from feeds.identity import Identities
from feeds.stable import stable

DEEPEST: Final = 20
"""Archives in archives: an id is computed of the ids that it depends on."""

_TIMES_OF_FILES: Final = {"created": "ctime", "modified": "mtime", "accessed": "atime"}
_RENAMED: Final[Mapping[str, Mapping[str, str]]] = {
    "directory": _TIMES_OF_FILES,
    "file": _TIMES_OF_FILES,
    "process": {"created": "created_time", "binary_ref": "image_ref"},
    "user-account": {"password_last_changed": "credential_last_changed"},
    "windows-registry-key": {"modified": "modified_time"},
}
_GONE: Final[Mapping[str, frozenset[str]]] = {
    "file": frozenset({"is_encrypted", "encryption_algorithm", "decryption_key"}),
    "process": frozenset({"name", "arguments"}),
    "archive-ext": frozenset({"version"}),
    "raster-image-ext": frozenset({"image_compression_algorithm"}),
    "socket-ext": frozenset({"protocol_family"}),
}
"""What 2.1 has no place for, by type or extension."""

_NEVER: Final = frozenset({"id", "spec_version", "created", "modified", "revoked", "granular_markings"})
"""They mean something in 2.1 that no observable of 2.0 can have meant."""

_EXTENSIONS: Final = frozenset({
    "archive-ext", "ntfs-ext", "pdf-ext", "raster-image-ext", "windows-pebinary-ext", "http-request-ext", "icmp-ext",
    "socket-ext", "tcp-ext", "windows-process-ext", "windows-service-ext", "unix-account-ext",
})  # fmt: skip
_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "artifact": ("payload_bin", "url"), "email-message": ("is_multipart",), "file": ("hashes", "name"),
    "network-traffic": ("src_ref", "dst_ref"), "software": ("name",), "user-account": (), "windows-registry-key": (),
    "x509-certificate": (),
}  # fmt: skip
"""One of these makes it an observable, where that is not what its id is computed of; of those with none, anything."""

_HASHES: Final = {name.replace("-", ""): name for name in HASH_NAMES}


def is_known(one: Any) -> bool:
    """Whether it is an observable of a type that 2.1 has too."""
    return isinstance(one, dict) and isinstance(one.get("type"), str) and one["type"] in CONTRIBUTING


def observables(old: Mapping[str, Any], ids: Identities) -> list[dict[str, Any]]:
    """The observables of one 2.0 observed-data; custom ones, and what says nothing without them, are left out.

    The same value has the same id wherever it was observed, so they say nothing of who observed it. Raises ValueError,
    KeyError, TypeError or AttributeError for what is not of the form that 2.0 gives it.
    """
    if any(str(one).startswith("objects") for mark in old.get("granular_markings", ()) for one in mark["selectors"]):
        raise ValueError("a part of an observable is marked by itself")  # which its object in 2.1 would not say
    found = _Observables(old, ids)
    made: dict[str, dict[str, Any]] = {}
    for name in found.left:
        one = found.made(name)
        made.setdefault(one["id"], one)
    if not made:
        raise ValueError("none of its observables can be raised")
    return list(made.values())


class _Observables:
    """The observables of one observed-data by their local names, of which each knows what it is called outside."""

    def __init__(self, old: Mapping[str, Any], ids: Identities) -> None:
        objects = old["objects"]
        known = {name: stable(_renewed(one["type"], one)) for name, one in objects.items() if is_known(one)}
        self.left = {name: one for name, one in known.items() if _says(one, known)}
        self._ids = ids
        # An observable has no versions: when anything of it changed, what has no id by its content is another one.
        self._key = f"{old['id']} {sha256(canonical(objects)).hexdigest()}"
        self._named: dict[str, str] = {}

    def made(self, name: str) -> dict[str, Any]:
        made = {**self._pointed(self.left[name], 0), "spec_version": "2.1", "id": self._id(name, 0)}
        if made["type"] == "network-traffic" and "end" in made:
            made.setdefault("is_active", False)  # 6.12: must be said of what has ended; common tools refuse it unsaid
        return stable(made)

    def _id(self, name: str, depth: int) -> str:
        if name not in self._named:
            if depth == DEEPEST:
                raise ValueError("its observables refer to each other in a ring")
            one = self.left[name]
            seed = {key: one[key] for key in ("type", *CONTRIBUTING[one["type"]]) if key in one}
            self._named[name] = sco_id(stable(self._pointed(seed, depth + 1))) or self._own(one["type"], name)
        return self._named[name]

    def _own(self, kind: str, name: str) -> str:
        # 2.9: version 4 where nothing contributes. Not drawn but derived: the same record gives the same objects.
        return f"{kind}--{UUID(self._ids.make(kind, f'{self._key} {name}')[-36:], version=4)}"

    def _pointed(self, part: Mapping[str, Any], depth: int) -> dict[str, Any]:
        """With ids for local names. What they name and is not raised is left out."""
        made: dict[str, Any] = {}
        for name, value in part.items():
            if name == "extensions":
                made[name] = {kind: self._inner(one, depth) for kind, one in value.items()}
            elif name == "body_multipart":
                made[name] = [self._inner(one, depth) for one in value]
            elif name.endswith("_refs"):
                made[name] = [self._id(one, depth) for one in value if one in self.left]
            elif not name.endswith("_ref"):
                made[name] = value
            elif value in self.left:
                made[name] = self._id(value, depth)
        return made

    def _inner(self, part: Mapping[str, Any], depth: int) -> dict[str, Any]:
        """A part that is about what it points at is nothing without it."""
        whole = all(_holds(name, value, self.left) for name, value in part.items())
        return self._pointed(part, depth) if whole else {}


def _says(one: Mapping[str, Any], known: Container[str]) -> bool:
    needed = _NEEDED.get(one["type"], CONTRIBUTING[one["type"]]) or one.keys() - {"type"}
    return any(_holds(name, one[name], known) for name in needed if name in one)


def _holds(name: str, value: Any, known: Container[str]) -> bool:
    """Whether a property says something: a reference, only of what is there."""
    if name.endswith("_refs"):
        return any(one in known for one in value)
    return not name.endswith("_ref") or value in known


# --- from the words of 2.0 to those of 2.1 ---


def _renewed(kind: str, part: Mapping[str, Any]) -> dict[str, Any]:
    renamed, gone = _RENAMED.get(kind, {}), _GONE.get(kind, frozenset())
    made: dict[str, Any] = {}
    for old, value in part.items():
        name = renamed.get(old, old)
        if not name.startswith("x_") and name not in _NEVER and name not in gone:
            made[name] = _INNER[name](value) if name in _INNER else value
    return made


def _extensions(value: Mapping[str, Any]) -> dict[str, Any]:
    return {kind: _renewed(kind, one) for kind, one in value.items() if kind in _EXTENSIONS}


def _hashes(value: Mapping[str, Any]) -> dict[str, Any]:
    """By the names of 2.1's vocabulary, which others than those of 2.0's have written in many ways."""
    named = {_HASHES.get(name.replace("-", "").replace("_", "").upper()): one for name, one in value.items()}
    return {name: one for name, one in named.items() if name is not None}


def _lists(value: Mapping[str, Any]) -> dict[str, Any]:
    """Header fields of HTTP: in 2.1 each is a list, for one may be repeated."""
    return {name: one if isinstance(one, list) else [one] for name, one in value.items()}


def _parts(value: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [_renewed("", one) for one in value]


_INNER: Final[Mapping[str, Callable[[Any], Any]]] = {
    "extensions": _extensions,
    "hashes": _hashes,
    "file_header_hashes": _hashes,
    "request_header": _lists,
    "sections": _parts,
    "alternate_data_streams": _parts,
    "optional_header": lambda value: _renewed("", value),
}
