"""The catalogue of sources: what each is, who publishes it, under which licence and TLP, and what it is good for."""

import re
import tomllib
from base64 import b64encode
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from exchange.errors import Malformed
from feeds.fetch import Caps, Credential, local_path, secret_of
from feeds.guard import Reach, private_network
from feeds.mapping import Mapping
from policies.label import TLP_DEFINITIONS

MARKING_OF = {word: marking for marking, word in TLP_DEFINITIONS.items()}  # TLP 2.0 is listed last and stands

Words = Annotated[str, Field(min_length=1, max_length=2_000)]

HOW_IT_IS_READ = {
    "cadence_seconds", "size_limit_bytes", "deadline_seconds", "shrink_limit", "plain_http", "loopback", "networks", "vanished",
    "user", "password_file", "secret_in", "ca_file", "user_agent", "good_for_en", "good_for_es",
}  # fmt: skip
"""Keys of a source that change nothing in what is made of a record: with others changed, every record is mapped anew."""


class Source(BaseModel):
    """One feed. Its name goes into the ids of what is made of it and into labels: it never changes."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Annotated[str, Field(pattern=re.compile(r"\A[a-z0-9][a-z0-9-]{0,62}\Z"))]
    adapter: Words
    """Name of an entry point in the group `puente.feeds`."""
    location: Words
    """An https URL, or a file or folder (`file:///…` or a plain path)."""
    publisher: Words
    licence: Words
    tlp: Literal["clear", "green", "amber", "amber+strict"]
    """Of what is made of it, and claimed for its objects that carry no marking."""
    collection: Words
    """Id or alias of the hub's collection that it is submitted to."""
    cadence_seconds: Annotated[int, Field(ge=60)]
    good_for_en: Words
    good_for_es: Words

    size_limit_bytes: Annotated[int, Field(gt=0)] = 200_000_000
    deadline_seconds: Annotated[float, Field(gt=0)] = 120.0
    shrink_limit: Annotated[float, Field(ge=0, le=1)] = 0.2
    """For sources that publish their full state: the share of records that may vanish from one fetch to the next."""
    plain_http: bool = False
    loopback: bool = False
    """May lie on this machine: for demonstrations and tests."""
    networks: list[str] = []
    """Private networks (CIDR) in which an operator's own source lies, as a MISP of its own: it calls these and no others."""
    vanished: Literal["revoke", "expire", "keep"] = "revoke"
    """For sources that publish their full state: what becomes of an object that is no longer listed. It is revoked, or an
    indicator ends now, or it is left to end by itself."""
    user: str = ""
    password_file: str = ""
    """Mode 0600. The password of `user`, or what `secret_in` carries."""
    secret_in: Annotated[str, Field(pattern=re.compile(r"\A(|(header|query):[A-Za-z0-9_-]{1,64})\Z"))] = ""
    """`header:Auth-Key` or `query:auth-key`: how a source without users is told a key."""
    ca_file: str = ""
    user_agent: Annotated[str, Field(pattern=re.compile(r"\A[!-~]{0,200}\Z"))] = ""
    """What a source asks to be called by, as `phishtank/NAME`; "" for ours."""
    member: str = ""
    """Of a source that is an archive (.zip): the file in it to read; "" for all that look like what the adapter reads."""
    added_after: str = ""
    """TAXII: where the first run begins; "" is the very beginning."""
    mapping: Mapping | None = None
    """Adapter `mapped`: how its rows become indicators."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.adapter == "mapped") != (self.mapping is not None):
            raise PydanticCustomError("mapping", "adapter mapped, and no other, needs a mapping")
        if (self.secret_in or self.user) and not self.password_file:
            raise PydanticCustomError("password_file", "password_file is missing")
        try:
            self.reach  # noqa: B018  # it reads the networks
        except ValueError as error:
            raise PydanticCustomError("networks", "networks: {why}", {"why": str(error)}) from None
        return self

    @property
    def marking(self) -> str:
        """The id of its TLP 2.0 marking."""
        return MARKING_OF[self.tlp]

    @property
    def caps(self) -> Caps:
        return Caps(self.size_limit_bytes, self.deadline_seconds)

    @property
    def reach(self) -> Reach:
        return Reach(self.plain_http, self.loopback, tuple(map(private_network, self.networks)))

    @property
    def calls(self) -> str:
        """Where it may call, as it is shown: "public", the private networks it names, "this machine", or "-" for a file."""
        if local_path(self.location) is not None:
            return "-"
        return ", ".join(self.networks) or ("this machine" if self.loopback else "public")

    def credential(self) -> Credential | None:
        """Read at each use, and never kept. Raises FeedFault."""
        if self.secret_in:
            place, _, name = self.secret_in.partition(":")
            return Credential(**{place: name}, secret=secret_of(self.password_file))
        if self.user:
            pair = b64encode(f"{self.user}:{secret_of(self.password_file)}".encode()).decode()
            return Credential(header="Authorization", secret=f"Basic {pair}")
        return None

    def good_for(self, language: str) -> str:
        return self.good_for_es if language == "es" else self.good_for_en


def packaged() -> dict[str, Source]:
    """The sources this release knows, by name."""
    return read(files("feeds").joinpath("catalogue.toml").read_text("utf-8"))


def load(path: Path) -> dict[str, Source]:
    """An operator's own catalogue. Raises Malformed naming the source and the key."""
    try:
        return read(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise Malformed(
            f"{path} cannot be read: {error}", f"No se puede leer {path}: {error}", code="catalogue"
        ) from None


def read(text: str) -> dict[str, Source]:
    """`[[source]]` tables by name. Raises Malformed for another form, an unknown key or a name used twice."""
    try:
        rows = tomllib.loads(text)["source"]
        sources = [parse(row) for row in rows]
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise _malformed(f"no list of sources ({error})", f"no hay una lista de fuentes ({error})") from None
    found = {source.name: source for source in sources}
    if len(found) != len(sources):
        raise _malformed("a name is used twice", "un nombre se usa dos veces")
    return found


def parse(row: object) -> Source:
    """One table of a catalogue. Raises Malformed naming the source and the key."""
    try:
        return Source.model_validate(row)
    except ValidationError as error:
        first = error.errors()[0]
        name = row.get("name", "") if isinstance(row, dict) else ""
        place = ".".join(str(part) for part in (name, *first["loc"]) if part != "")
        raise _malformed(f"{place}: {first['msg']}", f"{place}: {first['type']}") from None


def written(source: Source) -> str:
    """The source as a table of a catalogue: what is as usual is left out."""
    row = source.model_dump(exclude_defaults=True)
    mapping = row.pop("mapping", None)
    lines = ["[[source]]", *(f"{key} = {_toml(value)}" for key, value in row.items())]
    if mapping:
        lines += ["[source.mapping]", *(f"{key} = {_toml(value)}" for key, value in mapping.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_toml(key)} = {_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    # A JSON string is a TOML one, and so are numbers and truth values.
    return orjson.dumps(value).decode().replace("\x7f", "\\u007f")


def _malformed(en: str, es: str) -> Malformed:
    return Malformed(f"Feed catalogue: {en}.", f"Catálogo de fuentes: {es}.", code="catalogue")
