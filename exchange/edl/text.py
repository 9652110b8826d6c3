"""Entries as files: one value a line, CSV, NDJSON, Zeek's. Equal entries give equal bytes, whenever and wherever they are made."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from exchange.edl.selection import Entry
from exchange.edl.table import FOREVER
from exchange.edl.values import KINDS, Kind
from exchange.times import as_text

KINDS_OF: Final[Mapping[str, tuple[Kind, ...]]] = {
    **{f"{kind}.txt": (kind,) for kind in KINDS},
    "indicators.csv": KINDS,
    "indicators.ndjson": KINDS,
    "zeek.intel": KINDS,
}
"""Every file of a list, and the kinds of value in it."""

MEDIA: Final = {
    "txt": "text/plain; charset=utf-8", "csv": "text/csv; charset=utf-8; header=present", "ndjson": "application/x-ndjson",
    "intel": "text/plain; charset=utf-8",
}  # fmt: skip

COLUMNS: Final = ("type", "value", "confidence", "valid_until", "name", "indicator")


class Wanted(NamedTuple):
    """One file of a list as a device asks for it. What does not bear on the file is left at its default."""

    file: str
    top: int | None = None
    """Only so many entries: the surest, of equal ones the newest."""
    comments: bool = False
    """Lines with `#` at the head of a text list, for devices that skip them."""
    strip: bool = False
    """URLs without `http://`, as PAN-OS wants them."""
    wildcard: bool = False
    """Domains twice, with `*.` before them too."""

    @property
    def kinds(self) -> tuple[Kind, ...]:
        return KINDS_OF[self.file]

    @property
    def suffix(self) -> str:
        return self.file.rpartition(".")[2]


def chosen(entries: Sequence[Entry], top: int | None) -> Sequence[Entry]:
    """The surest `top` entries, in their order."""
    if top is None or len(entries) <= top:
        return entries
    by_merit = sorted(range(len(entries)), key=lambda n: _merit(entries[n]), reverse=True)
    return [entries[n] for n in sorted(by_merit[:top])]


def _merit(entry: Entry) -> tuple[int, int]:
    return entry.indicators[0].confidence, entry.indicators[0].tick


def lines(entries: Sequence[Entry], wanted: Wanted, title: str) -> bytes:
    """A text list: sorted, each line once, a line feed after each."""
    found = [entry.text for entry in entries]
    if wanted.strip:
        found = [text.partition("://")[2] for text in found]
    if wanted.wildcard:
        found += [f"*.{text}" for text in found]
    told = sorted(set(found))
    head = [f"# {title} {wanted.file}: {len(told)}"] if wanted.comments else []
    return "".join([f"{line}\n" for line in (*head, *told)]).encode("ascii")


def table(entries: Iterable[Entry]) -> bytes:
    """RFC 4180, every cell quoted, none of them a formula."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for entry in entries:
        surest = entry.indicators[0]
        until = max(one.until_us for one in entry.indicators)
        writer.writerow(
            [
                cell(text)
                for text in (
                    entry.kind, entry.text, str(surest.confidence), "" if until >= FOREVER else as_text(until),
                    surest.name, surest.id,
                )
            ]
        )  # fmt: skip
    return out.getvalue().encode("utf-8", "replace")


_ZEEK: Final[Mapping[Kind, str]] = {
    "ipv4": "ADDR", "ipv6": "ADDR", "domains": "DOMAIN", "urls": "URL", **dict.fromkeys(("sha256", "sha1", "md5"), "FILE_HASH"),
}  # fmt: skip


def intel(entries: Iterable[Entry]) -> bytes:
    """A file of Zeek's intelligence framework: tabs between fields. Free text of members is not in it."""
    rows: list[tuple[str, ...]] = [("#fields", "indicator", "indicator_type", "meta.source", "meta.desc")]
    for entry in entries:
        kind = "SUBNET" if "/" in entry.text and _ZEEK[entry.kind] == "ADDR" else _ZEEK[entry.kind]
        text = entry.text.partition("://")[2] if kind == "URL" else entry.text
        rows.append((text, f"Intel::{kind}", "puente", entry.indicators[0].id))
    return "".join(["\t".join(row) + "\n" for row in rows]).encode("ascii")


_FORMULA: Final = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_CONTROLS: Final = dict.fromkeys((*range(32), *range(127, 160), 8232, 8233), " ")


def cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula (ASVS 1.2.10), on one line."""
    plain = text.translate(_CONTROLS)
    return f"'{plain}" if plain.lstrip().startswith(_FORMULA) else plain
