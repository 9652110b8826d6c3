"""Pages of a collection as a reader keeps them, and the cursor file by which a walk goes on where it stopped."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from certs.jcs import JsonError, canonical, load
from exchange.client.connection import Answer
from exchange.errors import Conflict, Malformed, Unavailable
from exchange.ledger.generations import of_origin

_CURSOR_LIMIT_BYTES = 10_000

Match = Mapping[str, str]
"""TAXII filters by name: {"type": "indicator,malware", "version": "all"}."""


@dataclass(frozen=True, slots=True)
class Place:
    """Neighbouring entries of one log that record a release or a submission; the last index is included."""

    origin: str
    first: int
    last: int

    @property
    def log(self) -> str:
        """ "both", "us" or "mx", or a later generation, "both/2"."""
        return of_origin(self.origin)


@dataclass(frozen=True, slots=True)
class Page:
    """One page in order of addition. `last` is the cursor: everything added up to it was seen."""

    objects: tuple[dict[str, Any], ...] = field(repr=False)
    more: bool
    next: str
    first: str
    last: str
    leaves: tuple[Place, ...]
    """The entries that record this release, one per log; none for an empty page."""


_PLACE = re.compile(r"\s*(\S+)/([0-9]{1,18})(?:-([0-9]{1,18}))?\s*", re.ASCII)


def places(header: str) -> tuple[Place, ...]:
    """The value of an X-Audit-Leaf header: `origin/index` or `origin/first-last`, separated by commas."""
    found = (_PLACE.fullmatch(item) for item in header.split(",") if item.strip())
    return tuple(Place(one[1], int(one[2]), int(one[3] or one[2])) for one in found if one is not None)


def read_page(answer: Answer) -> Page:
    """Raises Unavailable (`hub-answer`) for what is not a TAXII envelope."""
    value = answer.value
    objects = value.get("objects", []) if isinstance(value, dict) else None
    if not isinstance(objects, list) or not all(isinstance(one, dict) for one in objects):
        raise Unavailable(
            "The hub's answer is not a TAXII envelope.",
            "La respuesta del centro no es un sobre TAXII.",
            code="hub-answer",
        )
    return Page(
        tuple(objects),
        value.get("more") is True,
        str(value.get("next") or ""),
        answer.headers.get("X-TAXII-Date-Added-First", ""),
        answer.headers.get("X-TAXII-Date-Added-Last", ""),
        places(answer.headers.get("X-Audit-Leaf", "")),
    )


# --- the cursor file ---


@dataclass(frozen=True, slots=True)
class CursorFile:
    """Where one walk stands, replaced whole after each page that was consumed: a crash repeats one page at most."""

    path: Path
    walk: str

    @classmethod
    def of(cls, path: Path, hub: str, collection: str, match: Match) -> "CursorFile":
        """A walk is one question to one collection of one hub: another question must not go on from its place."""
        return cls(path, sha256(canonical([hub, collection, dict(match)])).hexdigest())

    def read(self) -> str | None:
        """The `added_after` to go on from, None for a new walk. Raises Conflict for another walk's file."""
        try:
            value = load(self.path.read_bytes(), max_bytes=_CURSOR_LIMIT_BYTES)
            walk, last = value["walk"], value["added_after"]
        except FileNotFoundError:
            return None
        except (JsonError, KeyError, TypeError):
            raise Malformed(
                f"{self.path} is not a cursor file.", f"{self.path} no es un archivo de cursor.", code="cursor-file"
            ) from None
        if walk != self.walk:
            raise Conflict(
                f"{self.path} belongs to another collection, filter or hub.",
                f"{self.path} pertenece a otra colección, filtro o centro.",
                code="cursor-file",
            )
        return str(last)

    def write(self, last: str) -> None:
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        with draft.open("wb") as file:
            file.write(canonical({"walk": self.walk, "added_after": last}))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)
