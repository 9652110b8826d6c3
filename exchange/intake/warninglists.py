"""Known-good values that must not become indicators: private networks, public resolvers, banks, a member's own assets.

A poisoned “block 8.8.8.8” or “block the other port's gateway” is the worst harm a hub like this can do.

The policy, by what a pattern names:

* an address or a network in a private or reserved block, and the hash of an empty file: refused;
* an address, a network or a host on any other list, an asset of a member, a network wider than WIDEST, an address that
  cannot be read: held until somebody with the role releases it;
* a URL: passes on a shared host, because it blocks one page. It is judged as its host when the host is private or an
  asset, or when nothing but a listed host is in it (`https://www.google.com/`);
* an e-mail address: held when its domain is an asset.

Only values that a pattern names outright are judged (`exchange.intake.pattern.values`): MATCHES and LIKE with wildcards
are not. Lists are MISP warninglists. Their types `cidr`, `string` and `hostname` mean what they mean there (an entry of
any of them that begins with a point stands for what is below it too); an entry of a `substring` list is taken as a host
with all below it; `regex` lists are skipped, as are lists for kinds of value that we do not judge.
"""

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from hashlib import new as new_hash
from importlib.resources import files
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Literal

from certs.jcs import Json, load
from exchange.intake.pattern import values

Action = Literal["hold", "refuse"]
Kind = Literal["ip", "host", "url", "email", "hash", "any"]

WIDEST = {4: 16, 6: 32}
"""Networks wider than this are held: one line would block a country."""

LIST_BYTES_AT_MOST = 64 * 1024 * 1024

REFUSED = frozenset(
    {"rfc1918", "rfc5735", "rfc6598", "ipv6-linklocal", "multicast", "empty-hashes"}
    | {"puente-special-use", "puente-special-names"}
)
"""Lists whose values are refused; those of all others are held."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A value that is on a list. "refuse": never; "hold": not until somebody with the role releases it.

    `member` is whose asset it is, or "": for the ledger and the reviewer, not for the submitter.
    """

    value: str
    list_name: str
    list_version: str
    action: Action
    member: str = ""


class Warninglists:
    """Judges the values of a pattern against what is known to be good. Immutable; about 5 µs a value."""

    def __init__(self, known: "KnownGood", assets: Mapping[str, Sequence[str]] | None = None) -> None:
        """`assets`: by member, its networks (CIDR) and domains. Raises ValueError for one that is neither."""
        self._known = known
        self._assets = _Index()
        for member, entries in (assets or {}).items():
            source = _Source("assets of members", "", "hold", member)
            for entry in entries:
                if not self._assets.add_network(entry, source) and not self._assets.add_host("." + entry, source):
                    raise ValueError(f"{entry[:80]!r} is neither a network nor a domain")
        self._assets.close()

    @classmethod
    def packaged(cls, assets: Mapping[str, Sequence[str]] | None = None) -> "Warninglists":
        """The lists that come with the hub."""
        return cls(_packaged(), assets)

    @classmethod
    def of(cls, documents: Mapping[str, Json], assets: Mapping[str, Sequence[str]] | None = None) -> "Warninglists":
        """The packaged lists and these, by name; of two by one name, these. Raises ValueError for what is no list."""
        return cls(KnownGood({**packaged_documents(), **documents}) if documents else _packaged(), assets)

    @property
    def skipped(self) -> Mapping[str, str]:
        """Why a list, or how much of it, is not used; by the list's name."""
        return self._known.skipped

    def hits(self, pattern: str) -> tuple[Hit, ...]:
        """The listed values among those that a pattern names; refusals first."""
        found = [hit for path, value in values(pattern) if (hit := self._hit(path, value)) is not None]
        return tuple(sorted(found, key=lambda hit: hit.action != "refuse"))

    def hits_value(self, kind: Kind, value: str) -> Hit | None:
        """The gravest hit of one value: a refusal, else an asset, else a list. "any" looks at the value for its kind."""
        match kind:
            case "hash":
                source = self._known.hash(value.lower())
            case "url":
                source = self._url(value)
            case "email":
                source = self._assets.host(_host(value.rpartition("@")[2]))
            case "ip":
                block = _block(value)
                source = _UNREADABLE if block is None else self._network(block)
            case "host":
                source = self._place(value)
            case _:
                return self.hits_value(_guess(value), value)
        return None if source is None else Hit(value, source.name, source.version, source.action, source.member)

    def shelters(self, host: str) -> bool:
        """Whether a listed host or an asset lies below this one, so that not all below it may be blocked together."""
        return any(index.shelters(host) for index in (self._known.refused, self._known.held, self._assets))

    def _hit(self, path: str, value: str) -> Hit | None:
        kind = _KINDS.get(path)
        if kind is None:
            if "hashes" in path:
                kind = "hash"
            elif _REFERENCE(path):
                kind = "any"
            else:
                return None
        return self.hits_value(kind, value)

    def _network(self, block: "_Block") -> "_Source | None":
        source = self._known.refused.network(block) or self._assets.network(block)
        if source is None and block[2] < WIDEST[block[0]]:
            return _WIDE
        return source or self._known.held.network(block)

    def _place(self, value: str) -> "_Source | None":
        """A host, which may be an address."""
        host = _host(value)
        block = _block(host) if host[-1:].isdigit() or ":" in host else None
        if block is not None:
            return self._network(block)
        return self._known.refused.host(host) or self._assets.host(host) or self._known.held.host(host)

    def _url(self, value: str) -> "_Source | None":
        parts = _URL(value)
        if parts is None:
            return None
        host, rest = _host(parts[1].strip("[]")), parts[2]
        source = self._place(host)
        if source is None or source.action == "refuse" or source.member:
            return source
        bare = rest.rstrip("?") in ("", "/")
        return source if bare and (self._known.held.names(host) or _block(host) is not None) else None


class KnownGood:
    """What the lists say, in a form that answers fast: networks by prefix length, hosts and their parents, hashes."""

    def __init__(self, documents: Mapping[str, Json]) -> None:
        """`documents`: MISP lists by folder name. Raises ValueError for one that is not."""
        self.refused = _Index()
        self.held = _Index()
        self.skipped: dict[str, str] = {}
        self._hashes: dict[str, _Source] = dict.fromkeys(_EMPTY, _EMPTY_FILE)
        # our own lists first: the first to have a value gives its name to the hit
        for name in sorted(documents, key=lambda name: (not name.startswith("puente-"), name)):
            self._add(name, documents[name])
        self.refused.close()
        self.held.close()

    def hash(self, value: str) -> "_Source | None":
        return self._hashes.get(value)

    def _add(self, name: str, document: Json) -> None:
        source, kind, attributes, entries = _parsed(name, document)
        index = self.refused if name in REFUSED else self.held
        if kind == "regex" or not (attributes & _JUDGED):
            self.skipped[name] = "regular expressions" if kind == "regex" else "for no kind of value that is judged"
            return
        hashes = bool(attributes & _HASHES)
        below = kind in ("hostname", "substring")
        unread = 0
        for entry in entries:
            if hashes:
                self._hashes.setdefault(entry.lower(), source)
            elif kind == "cidr" or (below and entry[-1:].isdigit()):
                unread += not index.add_network(entry, source)
            else:
                unread += not index.add_host("." + entry.lstrip(".") if below else entry, source)
        if unread:
            self.skipped[name] = f"{unread} entries that cannot be read"


@dataclass(frozen=True, slots=True)
class _Source:
    name: str
    version: str
    action: Action
    member: str = ""


_WIDE = _Source("networks too wide to block", "1", "hold")
_UNREADABLE = _Source("addresses that cannot be read", "1", "hold")
_EMPTY_FILE = _Source("hashes of empty files", "1", "refuse")
# MISP's list has five of these; the Standard's vocabulary of hashes has more.
_EMPTY = tuple(
    new_hash(name, b"", usedforsecurity=False).hexdigest()
    for name in ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3_224", "sha3_256", "sha3_384", "sha3_512")
)

_Block = tuple[int, int, int]
"""IP version, first address as an integer, prefix length."""

_BITS = {4: 32, 6: 128}


class _Index:
    """Networks and hosts, each with the list it stands on. Filled, closed, then only read."""

    __slots__ = ("_above", "_below", "_exact", "_firsts", "_lengths", "_networks", "_sources")

    def __init__(self) -> None:
        self._networks: dict[int, dict[int, dict[int, _Source]]] = {4: {}, 6: {}}
        self._lengths: dict[int, tuple[tuple[int, dict[int, _Source]], ...]] = {}
        self._firsts: dict[int, list[int]] = {}
        self._sources: dict[int, list[_Source]] = {}
        self._exact: dict[str, _Source] = {}
        self._below: dict[str, _Source] = {}
        self._above: set[str] = set()

    def add_network(self, entry: str, source: _Source) -> bool:
        block = _block(entry)
        if block is None:
            return False
        version, first, length = block
        self._networks[version].setdefault(length, {}).setdefault(first >> (_BITS[version] - length), source)
        return True

    def add_host(self, entry: str, source: _Source) -> bool:
        host = _host(entry)
        if not host or "/" in host or " " in host or host.rpartition(".")[2].isdigit():
            return False
        (self._below if entry.startswith(".") else self._exact).setdefault(host, source)
        return True

    def close(self) -> None:
        for version, by_length in self._networks.items():
            bits = _BITS[version]
            self._lengths[version] = tuple((length, by_length[length]) for length in sorted(by_length, reverse=True))
            ordered = sorted(
                ((prefix << (bits - length), length) for length, table in by_length.items() for prefix in table)
            )
            self._firsts[version] = [first for first, _ in ordered]
            self._sources[version] = [by_length[length][first >> (bits - length)] for first, length in ordered]
        for host in (*self._exact, *self._below):
            while host := host.partition(".")[2]:
                self._above.add(host)

    def network(self, block: _Block) -> _Source | None:
        """The list that has the closest network around this one, else one within it."""
        version, first, length = block
        bits = _BITS[version]
        for size, table in self._lengths[version]:
            source = table.get(first >> (bits - size)) if size <= length else None
            if source is not None:
                return source
        if length == bits:
            return None
        firsts = self._firsts[version]
        nearest = bisect_left(firsts, first)
        if nearest < len(firsts) and firsts[nearest] < first + (1 << (bits - length)):
            return self._sources[version][nearest]
        return None

    def host(self, host: str) -> _Source | None:
        """The list that has this host, or a domain above it."""
        source = self._exact.get(host)
        while source is None and host:
            source = self._below.get(host)
            host = host.partition(".")[2]
        return source

    def shelters(self, host: str) -> bool:
        return host in self._above

    def names(self, host: str) -> bool:
        return host in self._exact or host in self._below


_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_DOTTED = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}", re.ASCII).fullmatch
"""The usual spelling of an IPv4 address, for which the library takes several times as long."""


def _block(text: str) -> _Block | None:
    """An address or network in any of its spellings, host bits dropped; an IPv4 address within IPv6 as itself."""
    text = text.strip()
    try:
        if _DOTTED(text) is not None:
            return 4, int.from_bytes(bytes(map(int, text.split("."))), "big"), 32
        if "/" in text:
            network = ip_network(text, strict=False)
            version, first, length = network.version, int(network.network_address), network.prefixlen
        else:
            address = ip_address(text)
            version, first, length = address.version, int(address), address.max_prefixlen
    except ValueError:
        return None
    if version == 6 and length >= 96 and first >> 32 in _EMBEDDED:
        return 4, first & 0xFFFFFFFF, length - 96
    return version, first, length


# ::ffff:0:0/96 (RFC 4291) and 64:ff9b::/96 (RFC 6052)
_EMBEDDED = frozenset({0xFFFF, 0x0064_FF9B << 64})


def _host(text: str) -> str:
    """A host name as lists have it: lower case, A-labels, without the points and wildcards around it, not too long."""
    host = text.strip().lower()
    if not host.isascii():
        with suppress(UnicodeError):
            host = host.encode("idna").decode("ascii")
    host = host.strip(".").removeprefix("*.")
    # DNS ends at 253 characters; a text of a thousand labels must not cost a thousand copies
    return host if len(host) <= 253 else host[-253:].partition(".")[2]


# Scheme, user, host, port, the rest (RFC 3986, appendix B, narrowed). Backslashes are read as browsers read them.
_URL = re.compile(
    r"\s*+[A-Za-z][A-Za-z0-9+.-]*+:[/\\]*+(?:[^/?#\\]*@)?(\[[^]/?#]*+\]|[^/?#:\\]*+)(?::[0-9]*+)?([^#]*+)"
).match
_REFERENCE = re.compile(r".*_refs?(?:\[(?:[0-9]+|\*)\])?\.value").fullmatch
_KINDS: Mapping[str, Kind] = {
    "ipv4-addr:value": "ip",
    "ipv6-addr:value": "ip",
    "domain-name:value": "host",
    "url:value": "url",
    "email-addr:value": "email",
    "network-traffic:extensions.'http-request-ext'.request_header.Host": "host",
}


def _guess(value: str) -> Kind:
    if "://" in value:
        return "url"
    return "email" if "@" in value else "host"


_HASHES = frozenset(
    {"md5", "sha1", "sha224", "sha256", "sha384", "sha512", "ssdeep"}
    | {"x509-fingerprint-md5", "x509-fingerprint-sha1", "x509-fingerprint-sha256"}
)
_JUDGED = _HASHES | {"ip-src", "ip-dst", "hostname", "domain", "domain|ip"}


def _parsed(name: str, document: Json) -> tuple[_Source, str, frozenset[str], list[str]]:
    if not isinstance(document, dict):
        raise ValueError(f"warninglist {name}: not an object")
    kind, entries, attributes = (document.get(key) for key in ("type", "list", "matching_attributes"))
    if kind not in ("cidr", "string", "hostname", "substring", "regex"):
        raise ValueError(f"warninglist {name}: unknown type {kind!r}")
    if not isinstance(entries, list) or not isinstance(attributes, list):
        raise ValueError(f"warninglist {name}: list or matching_attributes is missing")
    source = _Source(
        str(document.get("name", name)), str(document.get("version", "")), "refuse" if name in REFUSED else "hold"
    )
    return source, str(kind), frozenset(map(str, attributes)), [str(entry) for entry in entries]


def documents_at(path: Path) -> dict[str, Json]:
    """The lists in a file or directory, by name. A file is one MISP list, or an object of lists by name; a directory has
    `<name>.json` or `<name>/list.json`, as a checkout of MISP/misp-warninglists has them under `lists`. Raises ValueError
    naming the list, OSError."""
    documents: dict[str, Json] = {}
    for file in [*sorted(path.glob("*.json")), *sorted(path.glob("*/list.json"))] if path.is_dir() else [path]:
        name = file.parent.name if file.name == "list.json" else file.name.removesuffix(".json")
        documents |= documents_of(name, file.read_bytes())
    return documents


def documents_of(name: str, data: bytes) -> dict[str, Json]:
    try:
        document = load(data, max_bytes=LIST_BYTES_AT_MOST)
    except ValueError as error:
        raise ValueError(f"warninglist {name}: {error}") from None
    if isinstance(document, dict) and "list" not in document:
        return dict(document)
    return {name: document}


@cache
def _packaged() -> KnownGood:
    return KnownGood(packaged_documents())


@cache
def packaged_documents() -> Mapping[str, Json]:
    """The lists that come with the hub, by name."""
    documents: dict[str, Json] = {}
    for file in (files("exchange.intake") / "lists").iterdir():
        if file.name.endswith(".json"):
            documents |= documents_of(file.name.removesuffix(".json"), file.read_bytes())
    return documents
