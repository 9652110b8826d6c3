"""What lies in a pack beside the leaves, a line each: what commitments open to, and lists of objects that need no commitment.

A list is what a page's private part names its objects by. It is given where the private part is not, because that also
says who asked from where: whoever knows all of a page's objects proves its list by hashing them to the entry's `items_root`.
A page that gave what no other entry names to this auditor, since it was published at home and crossed later, has a list of the objects
themselves, beside its private part too (auditing/crossed.py).
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from certs.jcs import canonical, load, load_canonical
from exchange.ledger.entry import commitment
from exchange.ledger.merkle import root
from exchange.ledger.tiles import Tile
from exchange.model.stix import item_hash
from exchange.store.answers import Opening
from exchange.times import as_text

OPENING_LIMIT_BYTES = 4_000_000
"""The largest lists what an envelope placed: 5,000 objects with the longest ids take 2 MB."""

LISTS: Mapping[str, tuple[str, ...]] = {"release": ("ticks", "items"), "publish": ("items", "runs")}
"""By kind of entry, what lists of objects are called, of which it has one. All but a release's `items` are members of its private part."""

_ITEM = re.compile(r"([0-9]{1,16}) (\S+) (\S+) ([0-9a-f]{64})", re.ASCII)
_RUN_LENGTH = {"ticks": 2, "runs": 3}
_OPENED = {"index", "payload", "salt"}
_LISTED = {"index", "list"}


@dataclass(frozen=True, slots=True)
class Page:
    """The list of objects of one entry."""

    index: int
    objects: Mapping[str, Any]

    def beside(self, opening: Opening | None) -> Opening:
        """As readers of private parts take it, with what the entry was opened to. That it has no salt says that nothing committed to it."""
        if opening is None:
            return Opening(self.index, b"", canonical(dict(self.objects)))
        private = load(opening.payload, max_bytes=OPENING_LIMIT_BYTES)
        return Opening(self.index, opening.salt, canonical({**private, **self.objects}))


Line = TypeVar("Line", Opening, Page)
"""What one line of these files reads as."""


def page_of(index: int, kind: str, private: Mapping[str, Any]) -> Page | None:
    """What a private part says of objects, and nothing else of it; None when it says nothing of them."""
    found = {name: private[name] for name in LISTS.get(kind, ()) if name in private}
    return Page(index, found) if found else None


def places(items: Iterable[str]) -> list[list[int]]:
    """The ticks of listed objects, as runs of neighbours: [first, count]."""
    runs: list[list[int]] = []
    for line in items:
        tick = int(line.partition(" ")[0])
        if runs and tick == sum(runs[-1]):
            runs[-1][1] += 1
        else:
            runs.append([tick, 1])
    return runs


# --- where they lie ---


def openings_path(n: int) -> str:
    """Where the openings of bundle `n` lie in the folder of their log."""
    return _beside("open", n)


def pages_path(n: int) -> str:
    """Where its lists lie."""
    return _beside("pages", n)


def _beside(folder: str, n: int) -> str:
    return Tile(None, n).path().replace("tile/entries/", f"{folder}/") + ".jsonl"


# --- lines ---


def opening_line(opening: Opening) -> bytes:
    payload = load(opening.payload, max_bytes=OPENING_LIMIT_BYTES)
    return canonical({"index": opening.index, "payload": payload, "salt": opening.salt.hex()}) + b"\n"


def page_line(page: Page) -> bytes:
    return canonical({"index": page.index, "list": dict(page.objects)}) + b"\n"


def read_opening(line: bytes) -> Opening:
    """Raises ValueError (JsonError is one), TypeError."""
    value = _read(line, _OPENED)
    salt = bytes.fromhex(value["salt"])
    if len(salt) != 32:
        raise ValueError("a salt has 32 bytes")
    return Opening(value["index"], salt, canonical(value["payload"]))


def read_page(line: bytes) -> Page:
    """Raises ValueError, TypeError."""
    value = _read(line, _LISTED)
    [(name, found)] = dict(value["list"]).items()
    if not isinstance(found, list) or not found or not all(_well_formed(name, one) for one in found):
        raise ValueError("not a list of objects")
    return Page(value["index"], value["list"])


def _read(line: bytes, names: set[str]) -> dict[str, Any]:
    value, as_written = load_canonical(line.removesuffix(b"\n"), max_bytes=OPENING_LIMIT_BYTES)
    if not (as_written and line.endswith(b"\n") and isinstance(value, dict) and set(value) == names):
        raise ValueError("not a line of this file")
    if type(value["index"]) is not int:
        raise ValueError("not an index")
    return value


def _well_formed(name: str, one: Any) -> bool:
    if name == "items":
        return isinstance(one, str) and _ITEM.fullmatch(one) is not None
    return (
        isinstance(one, list)
        and len(one) == _RUN_LENGTH.get(name)
        and all(type(number) is int and number > 0 for number in one)
    )


# --- against the leaf ---


def opens(opening: Opening, leaf: Mapping[str, Any]) -> bool:
    """Whether the leaf committed to this."""
    return b64encode(commitment(opening.salt, opening.payload)).decode() == leaf.get("c")


def adds_to(page: Page, opening: Opening) -> bool:
    """Whether a list tells more than what its entry was opened to: the objects at just the places that a release was opened to."""
    private = load(opening.payload, max_bytes=OPENING_LIMIT_BYTES)
    ticks = private.get("ticks") if isinstance(private, dict) else None
    return "items" in page.objects and places(page.objects["items"]) == ticks


def may_speak_of(page: Page, leaf: Mapping[str, Any]) -> bool:
    """Whether the leaf may mean this list: one of its kind, of as many objects, from its first place to its last.

    Where the list has the objects themselves they must hash to its `items_root`. Whether those at a release's ticks do,
    only a walk over the log can tell (auditing/pages.py).
    """
    [(name, found)] = page.objects.items()
    pub = leaf["pub"]
    if name not in LISTS.get(leaf["t"], ()):
        return False
    if name == "items":
        items = [line.split(" ") for line in found]
        runs = [[int(tick), 1] for tick, *_ in items]
        hashes = [item_hash(object_id, version, bytes.fromhex(digest)) for _, object_id, version, digest in items]
        if root(hashes).hex() != pub.get("items_root"):
            return False
    else:
        runs = [[one[0], one[-1]] for one in found]
    span = (as_text(runs[0][0]), as_text(sum(runs[-1]) - 1), sum(size for _, size in runs))
    return span == (pub.get("first"), pub.get("last"), pub.get("count"))
