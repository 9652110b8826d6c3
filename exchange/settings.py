"""Every knob of the hub, its default and its unit, from one TOML file. Unknown keys are refused."""

import tomllib
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from certs.jcs import canonical
from exchange.errors import Malformed, Text

Positive = Annotated[int, Field(gt=0)]
M = TypeVar("M", bound=BaseModel)

_OF_THE_MACHINE = {
    "host", "port", "mtls_port", "database", "database_url", "database_read_url", "database_password_file", "anchors", "keys",
    "tls_certificate", "tls_key", "witness_policy", "crls", "assets", "warninglists",
}  # fmt: skip
"""Where things lie; and what is a member's own, of which a digest in `both` would let the other country guess."""

_WHAT = Text("settings", "configuración")


class Settings(BaseModel):
    """Read once, passed in. Paths are relative to the directory of the settings file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = "puente.hub.example"
    """First part of the three log origins: `<name>/audit/both`, `/us`, `/mx`. Never changes once the hub has run."""
    title: str = "Puente"
    api_root: str = "us-mx"
    """Path segment of the one API root: /taxii2/<api_root>/."""
    public_url: str = "https://localhost:8443"
    """What discovery advertises; scheme, host and port as clients reach them."""
    host: str = "127.0.0.1"
    port: int = Field(default=8443, ge=0, le=65535)
    mtls_port: int = Field(default=8444, ge=0, le=65535)
    """Client certificates are asked for here only, so that browsers and firewalls are not asked on the other port."""

    body_limit_bytes: Positive = 10_000_000
    """TAXII max_content_length: larger bodies get 413."""
    envelope_limit_objects: Positive = 5_000
    page_default_objects: Positive = 1_000
    page_limit_objects: Positive = 5_000
    object_limit_bytes: Positive = 1_000_000
    depth_limit: Positive = 32
    pattern_envelope_terms: Positive = 20_000
    """What one envelope may spend on judging pattern shapes that were not seen lately: about half a second. All the real
    data that we test with needs 2,000."""
    pattern_burst_terms: Positive = 100_000
    """What a member may spend so after a pause, in this process."""
    pattern_terms_per_second: Positive = 500
    """By which a member's allowance fills up again: at most two per cent of a core."""
    future_limit_seconds: Positive = 300
    """How far ahead of the hub's clock `created` and `modified` may lie, and so how far a date added may run ahead of it."""

    assets: dict[str, list[str]] = Field(default_factory=dict)
    """By member, its own networks and domains: never taken in as indicators, never on a block list."""
    warninglists: Path = Path("warninglists")
    """Directory of lists of known-good values (`NAME.json`) that count beside those of this release, or in their place; it
    need not exist. Read at the start; `puente feed warninglists refresh` fills it."""
    list_fall_percent: Positive = 50
    list_fall_entries: Positive = 1_000
    """A member's block list that would lose more than either of these between two builds is held at what it was."""
    list_small_entries: int = Field(default=10, ge=0)
    """Lists shorter than this may fall by any share: one indicator that lapses is no alarm."""
    list_cache_bytes: Positive = 64_000_000

    page_cache_bytes: Positive = 32_000_000
    """Pages kept for other members that ask the same under the same grants."""

    rate_per_second: Positive = 200
    """Requests a member may make per second, on average; one page walk of a million objects must fit."""
    rate_burst: Positive = 2_000
    token_days: Positive = 90
    header_timeout_seconds: Positive = 20
    body_timeout_seconds: Positive = 60
    write_timeout_seconds: Positive = 60
    """How long a client may leave 64 kB of its answer unread. A page in flight holds no more than some 200 kB of its own."""
    keepalive_seconds: Positive = 75
    """How long a connection may wait for its next request: longer than the minute in which pollers come again."""
    connections_limit: Positive = 2_000
    connections_per_address: Positive = 500
    """Further connections are closed at once. Behind a TCP proxy all clients have its address: raise it there."""
    bodies_limit_bytes: Positive = 200_000_000
    """Of all the bodies that are being read and worked on at once; beyond it, 503."""
    shutdown_seconds: Positive = 20

    checkpoint_interval_seconds: float = Field(default=1.0, gt=0)
    witness_interval_seconds: float = Field(default=10.0, gt=0)
    witness_timeout_seconds: float = Field(default=5.0, gt=0)
    witness_silence_seconds: float = Field(default=900.0, gt=0)
    """After so long without cosignatures of both countries nothing crosses the border until they come again."""
    poll_sum_interval_seconds: float = Field(default=60.0, gt=0)
    anchor_interval_seconds: float = Field(default=3600.0, gt=0)
    """How often a salted digest of each national log goes into the one that both countries have."""
    view_interval_seconds: float = Field(default=5.0, gt=0)
    """How often it is looked for what became visible to members that have not asked since."""

    agreement_notice_seconds: float = Field(default=2.0, ge=0)
    """How long after the last approval a version comes into force at the earliest, so that every process is prepared."""

    database: Path = Path("hub.sqlite")
    """The SQLite file, unless `database_url` is set."""
    database_url: str = Field(default="", repr=False)
    """postgresql://user@host/name?sslmode=verify-full: the hub's data lie in PostgreSQL. Never with a password in it."""
    database_read_url: str = Field(default="", repr=False)
    """The same for a hot standby: pages are read there whenever it has caught up."""
    database_password_file: Path | None = Field(default=None, repr=False)
    """Readable by its owner only. Without it PGPASSFILE counts, or a certificate that the URL names."""
    anchors: Path = Path("anchors")
    """Directory of the anchor files. In production: another volume, in no backup set."""
    keys: Path = Path("keys")
    tls_certificate: Path = Path("tls/server.pem")
    tls_key: Path = Path("keys/server.key")
    witness_policy: Path = Path("witness-policy")
    """Directory with one C2SP policy file per log: both, us, mx."""
    witnesses: dict[str, str] = Field(default_factory=dict)
    """Witness name to its submission URL prefix."""
    crls: Path | None = None
    """Directory of the countries' revocation lists (`*.crl`, PEM or DER). Once set, an issuer whose list is missing or out
    of date has every certificate refused. Without it, revocations are what the hub's registry says."""

    @field_validator("database_url", "database_read_url")
    @classmethod
    def _no_password(cls, url: str) -> str:
        parts = urlsplit(url)
        if url and parts.scheme not in ("postgresql", "postgres"):
            raise ValueError("must begin with postgresql:// (debe comenzar con postgresql://)")
        if parts.password is not None or "password" in parse_qs(parts.query):
            raise ValueError("must not hold a password, which database_password_file or PGPASSFILE names"
                             " (no debe contener una contraseña: la indica database_password_file o PGPASSFILE)")  # fmt: skip
        return url

    @property
    def sha256(self) -> str:
        """A digest of every knob, by which an auditor sees that two starts had the same. Paths and secrets are in none."""
        told = self.model_dump(mode="json", exclude=_OF_THE_MACHINE)
        return sha256(canonical(told)).hexdigest()

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Settings":
        """Settings that differ from the defaults in these values. Raises Malformed naming the offending key."""
        return _checked(cls, values, _WHAT)

    @classmethod
    def load(cls, path: Path) -> "Settings":
        """Read the TOML file. Raises Malformed naming the offending key."""
        paths = (
            "database", "database_password_file", "anchors", "keys", "tls_certificate", "tls_key", "witness_policy", "crls",
            "warninglists",
        )  # fmt: skip
        return read_toml(cls, path, paths, _WHAT)


def read_toml(kind: type[M], path: Path, paths: Iterable[str], what: Text) -> M:
    """A frozen model from a TOML file. The keys in `paths` are relative to its directory. Raises Malformed (`settings`)."""
    try:
        values = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Malformed(
            f"The {what.en} file {path} cannot be read: {error}",
            f"No se puede leer el archivo de {what.es} {path}: {error}",
            code="settings",
        ) from None
    for key in paths:
        value = values.get(key, kind.model_fields[key].default)
        if value is not None:
            values[key] = path.parent.absolute() / str(value)
    return _checked(kind, values, what)


def _checked(kind: type[M], values: Mapping[str, Any], what: Text) -> M:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise Malformed(
            f"{what.en.capitalize()}: {name}: {first['msg']}",
            f"{what.es.capitalize()}: {name} no es válido ({first['type']})",
            code="settings",
            field=name,
        ) from None
