"""The one encoding of each auditable event: canonical JSON, salted commitments, and which log it goes to."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import sha256
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from certs.jcs import canonical
from exchange.ledger.events import LOGS, must_be_known
from exchange.times import as_text

LEAF_LIMIT_BYTES = 4096
"""Far under the 65,535 bytes that a tlog-tiles entry bundle can frame."""

_COMMIT_DOMAIN = b"hub-commit-v1\0"

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class _Fields(NamedTuple):
    log: str
    t: str
    actor: str
    on: str
    pub: Mapping[str, Any] = _NOTHING
    out: str = "ok"
    private: Mapping[str, Any] | bytes | None = None
    """What only a commitment of goes into the log; the opening lies in a table that can be erased. As bytes it is in its canonical
    form: what is told of many need not be written for each."""


class Entry(_Fields):
    """One event before it has a place in a log. It names organisations and accounts, never people.

    Raises ValueError for an event that is not in events.py, or is there with other fields or for another log.
    """

    __slots__ = ()

    def __new__(
        cls,
        log: str,
        t: str,
        actor: str,
        on: str,
        pub: Mapping[str, Any] = _NOTHING,
        out: str = "ok",
        private: Mapping[str, Any] | bytes | None = None,
    ) -> Self:
        must_be_known(log, t, pub)
        return tuple.__new__(cls, (log, t, actor, on, pub, out, private))


def encode(
    entry: Entry,
    *,
    time_us: int,
    req: str,
    pol: str,
    seq: int | None = None,
    commitment_b64: bytes | None = None,
) -> bytes:
    """The leaf bytes (RFC 8785). `seq` counts the entries that the log's country may see, those of `both`
    and its own, so that it can put them in order; it goes into national logs only. Raises ValueError for a leaf over LEAF_LIMIT_BYTES."""
    before, between, after = _frame(entry.log, entry.t, entry.actor, entry.on, entry.out, pol)
    told = b'"c":"%b",' % commitment_b64 if commitment_b64 is not None else b""
    number = b'"seq":%d,' % seq if seq is not None and entry.log != "both" else b""
    data = b"".join(
        (
            before,
            told,
            between,
            canonical(dict(entry.pub)),
            b',"req":',
            canonical(req),
            b",",
            number,
            after,
            _end(time_us),
        )
    )
    if len(data) > LEAF_LIMIT_BYTES:
        raise ValueError(f"a {entry.t} leaf of {len(data)} bytes is over {LEAF_LIMIT_BYTES}")
    return data


@lru_cache(maxsize=4096)
def _frame(log: str, t: str, actor: str, on: str, out: str, pol: str) -> tuple[bytes, bytes, bytes]:
    """What stands around the names that differ from entry to entry, whose places are given by the order of names: `c`; `pub`,
    `req` and `seq`; `time`."""
    first = canonical({"log": log, "on": on, "out": out, "pol": pol})
    return b'{"actor":%b,' % canonical(actor), first[1:-1] + b',"pub":', b'"t":%b,"time":"' % canonical(t)


@lru_cache(maxsize=16)
def _end(time_us: int) -> bytes:
    """The last of a leaf: all that are committed together have one time."""
    return b'%b","v":1}' % as_text(time_us).encode()


def commitment(salt: bytes, payload: bytes) -> bytes:
    """SHA-256 over a domain tag, 32 bytes of salt and the canonical payload (ledger design, 4)."""
    if len(salt) != 32:
        raise ValueError("a commitment needs 32 bytes of salt")
    return sha256(_COMMIT_DOMAIN + salt + payload).digest()


def national(country: str) -> str:
    """The log of one country's own events."""
    return country.lower()


def route(actor_country: str, touched: Iterable[str]) -> str:
    """`both` as soon as another country is touched, else the actor's own log (ledger design, 2.1)."""
    return national(actor_country) if set(touched) <= {actor_country} else "both"


@lru_cache(maxsize=4096)
def label_name(facets: str) -> str:
    """What entries call a label by; its `decide` entry has the facets."""
    return sha256(facets.encode()).hexdigest()[:16]


def actor(country: str, member: str, account: str) -> str:
    """`us:us-cyber:acct:7f3a`: an account of an organisation."""
    return f"{country.lower()}:{member}:acct:{account}"


STRANGER = "none:none:acct:none"
"""The actor where a credential names no account of the hub."""

HUB = "hub:puente:acct:hub"
"""The actor of what the hub does by itself (start, stop, anchor, degraded)."""


__all__ = [
    "HUB", "LEAF_LIMIT_BYTES", "LOGS", "STRANGER", "Entry", "actor", "commitment", "encode", "label_name", "national", "route",
]  # fmt: skip
