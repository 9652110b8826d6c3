"""How the rows of a source become indicators, as an operator declares it in the catalogue: columns, kinds, constants."""

import re
from datetime import UTC, datetime, tzinfo
from email.utils import parsedate_to_datetime
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from feeds.values import Kind

Column = Annotated[str, Field(max_length=200)]
"""A column of a CSV file or list, a member of a JSON object (`a.b` for one within another); "" for none."""

Percent = Annotated[int, Field(ge=0, le=100)]
HASHES = ("MD5", "SHA-1", "SHA-256", "SHA-512", "SSDEEP", "TLSH")


class When(BaseModel):
    """What holds for rows in which a column has some value, instead of what holds for all. Later ones win."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    column: Annotated[str, Field(min_length=1)]
    equals: list[str] = []
    """One of these; a JSON true is "true"."""
    below: float | None = None
    """A number less than this."""
    skip: bool = False
    """Such rows are none of ours: not mapped, not counted as wrong."""
    confidence: Percent | None = None
    indicator_types: list[str] | None = None

    def holds(self, cell: str) -> bool:
        if self.below is not None:
            try:
                return float(cell) < self.below
            except ValueError:
                return False
        return cell in self.equals


class Mapping(BaseModel):
    """The table `[source.mapping]`. What a row does not give is left out; a row without a good value is told and left."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    # --- how rows are read ---
    format: Literal["lines", "csv", "json", "ndjson"]
    columns: list[str] = []
    """Names of the cells of a row, in order. Without: `value` for lines, the first row for CSV."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """CSV, and lines of several columns."""
    comment: str = "#"
    """What a line that says nothing begins with; in lists also what ends a line. "" for none."""
    items: str = ""
    """JSON: the member that holds the array of rows; "" for an array at the top; "*" for an object whose members are the
    rows, each a row or a list of some, and whose names are the column `_key`."""
    blank: list[str] = [""]
    """Cells that stand for nothing, as "None" or "n/a"."""

    # --- what they say ---
    value: Column = "value"
    kind: Kind = "any"
    kind_column: Column = ""
    kinds: dict[str, Kind] = {}
    """With `kind_column`: what its words mean. Rows of other words are skipped with a reason."""
    port: Column = ""
    """With kind `ip`: the port, in a column of its own."""
    hashes: dict[str, Column] = {}
    """Instead of `value`: the hashes of one file, by the Standard's names. The first is the file's key."""
    refang: bool = False
    key: Column = ""
    """The source's own name for a row; "" for the value itself."""
    first_seen: Column = ""
    last_seen: Column = ""
    valid_until: Column = ""
    """Until when the source itself says that it holds. A row whose end is not after its beginning is told and left."""
    time_format: str = "iso"
    """`iso` (also with a blank for the T), `epoch` (seconds), or as in strptime."""
    time_zone: str = "UTC"
    """An IANA name, for times that do not say."""
    name: str = ""
    """A text with `{column}`s; "" for the value."""
    description: str = ""
    """As `name`; left out when a column in it is blank."""
    malware: Column = ""
    """The malware's family: an object of its own, which the indicator indicates."""
    malware_drop: list[str] = []
    """Ends to cut off its name, as " C&C"."""
    tags: list[Column] = []
    """Columns with tags, a list or a text with commas; they become labels `<source>:<tag>`."""
    labels: list[str] = []
    reference: Column = ""
    """A link to what the source says of this row."""
    indicator_types: list[str] = ["malicious-activity"]
    kill_chain: list[str] = []
    """`<kill chain>/<phase>`."""
    confidence: Percent | None = None
    confidence_column: Column = ""
    confidence_times: Annotated[float, Field(gt=0)] = 1.0
    confidence_most: Percent = 100
    valid_days: Annotated[float, Field(ge=0, le=3650)] = 0.0
    """How long an indicator holds after it was last seen, else first seen; without such columns, while it stays listed
    and at most so long after. 0: for good."""
    when: list[When] = []
    repeats: Literal["count", "indicator"] = "count"
    """What becomes of a value that another source of the operator has an indicator of: a sighting of that one, or an
    indicator of its own."""

    # --- what a fetch says of itself ---
    full_state: bool = False
    """A row that is no longer there has vanished. False for windows on a stream."""
    edition: str = ""
    """The words before the time of this edition, in its first or last lines: an older one is not taken."""
    count: str = ""
    """The words before the number of rows, there: with another number of rows, nothing counts as vanished."""

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.kind_column and not self.kinds:
            raise PydanticCustomError("kinds", "kind_column needs kinds")
        if unknown := set(self.hashes) - set(HASHES):
            raise PydanticCustomError("hashes", f"hashes: not among {', '.join(HASHES)}: {', '.join(sorted(unknown))}")
        if any(chain.count("/") != 1 for chain in self.kill_chain):
            raise PydanticCustomError("kill_chain", "kill_chain needs the form chain/phase")
        if self.time_format not in ("iso", "epoch") and "%" not in self.time_format:
            raise PydanticCustomError("time_format", "time_format is iso, epoch, or as in strptime")
        if self.valid_until and not (self.first_seen or self.last_seen):
            raise PydanticCustomError("valid_until", "valid_until needs first_seen or last_seen")
        try:
            self.zone()
        except (ZoneInfoNotFoundError, ValueError):
            raise PydanticCustomError("time_zone", "time_zone is not the name of a zone") from None
        return self

    def zone(self) -> tzinfo:
        return UTC if self.time_zone == "UTC" else ZoneInfo(self.time_zone)


class Times:
    """Reads the times of one mapping, as microseconds since the epoch."""

    def __init__(self, mapping: Mapping) -> None:
        self._format = mapping.time_format
        self._zone = mapping.zone()

    def read(self, text: str) -> int:
        """Raises ValueError for a text that is no such time."""
        if self._format == "epoch":
            moment = datetime.fromtimestamp(float(text), UTC)
        elif self._format == "iso":
            moment = datetime.fromisoformat(text.removesuffix(" UTC"))
        else:
            moment = datetime.strptime(text, self._format)  # noqa: DTZ007  # the zone is set below
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=self._zone)
        return round(moment.timestamp() * 1000) * 1000


_EDITION = re.compile(
    r"\W{0,6}(?:([0-9]{9,11})(?![0-9-])|([0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9:]{5,8})|([^\n\"#]{16,60}))"
)
_COUNT = re.compile(r"\W{0,6}([0-9]{1,12})")


def edition_us(text: str, words: str) -> int:
    """The time that follows these words in a text, 0 for none."""
    place = text.find(words)
    match = _EDITION.match(text, place + len(words)) if place >= 0 else None
    if match is None:
        return 0
    try:
        if match[1]:
            return int(match[1]) * 1_000_000
        moment = datetime.fromisoformat(match[2]) if match[2] else parsedate_to_datetime(match[3].strip())
    except (ValueError, TypeError):
        return 0
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) * 1_000_000


def declared_count(text: str, words: str) -> int | None:
    """The number that follows these words in a text."""
    place = text.rfind(words)
    match = _COUNT.match(text, place + len(words)) if place >= 0 else None
    return int(match[1]) if match is not None else None
