"""What an indicator names that a device can block: addresses, domains, URLs, hashes, each written one way.

The rule. A value is taken only from a pattern that any one of its comparisons alone makes match: observations and
comparisons joined by OR, each by `=`, IN, or (for networks) ISSUBSET, with no qualifier. Of AND, FOLLOWEDBY, NOT, LIKE,
MATCHES, orders and time windows nothing is taken, for a list cannot say them and would block more than was meant. Nor is
a property taken that names no whole target (a file's name, a port), or a value that is on a warninglist or an asset of
a member, whatever the intake thought of it when it came.
"""

import re
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import quote, urlsplit, urlunsplit

from exchange.intake.pattern import alternatives
from exchange.intake.warninglists import Kind as Judged
from exchange.intake.warninglists import Warninglists

Kind = Literal["ipv4", "ipv6", "domains", "urls", "sha256", "sha1", "md5"]
KINDS: Final[tuple[Kind, ...]] = ("ipv4", "ipv6", "domains", "urls", "sha256", "sha1", "md5")

Reason = Literal[
    "revoked", "not-yet-valid", "expired", "superseded", "not-for-blocking", "pattern-type", "pattern-compound",
    "property", "unreadable", "known-good",
]  # fmt: skip


class Value(NamedTuple):
    """One line of a list."""

    kind: Kind
    text: str


def values_of(indicator: Mapping[str, Any], known: Warninglists) -> tuple[tuple[Value, ...], tuple[Reason, ...]]:
    """The values that an indicator may put on a list, and why others of it are left out. Never raises."""
    if indicator.get("pattern_type") != "stix":
        return (), ("pattern-type",)
    named = alternatives(indicator["pattern"])
    if not named:
        return (), ("pattern-compound",)
    found: dict[Value, None] = {}
    left: list[Reason] = []
    for path, text in named:
        judged = _value(path, text)
        if isinstance(judged, str):
            left.append(judged)
        elif _is_known(judged, text, known):
            left.append("known-good")
        else:
            found[judged] = None
    return tuple(found), tuple(left)


def _is_known(value: Value, written: str, known: Warninglists) -> bool:
    """On a list, as it was written or as we write it; or, as many devices block all that is below a domain, above one."""
    kind = _JUDGED[value.kind]
    if known.hits_value(kind, written) or known.hits_value(kind, value.text):
        return True
    return value.kind == "domains" and known.shelters(value.text)


_JUDGED: Final[Mapping[Kind, Judged]] = {
    "ipv4": "ip", "ipv6": "ip", "domains": "host", "urls": "url", "sha256": "hash", "sha1": "hash", "md5": "hash",
}  # fmt: skip
_HASH: Final = re.compile(r"file:hashes\.'?(MD5|SHA-?1|SHA-?256)'?", re.IGNORECASE).fullmatch
_HEX: Final[Mapping[Kind, int]] = {"md5": 32, "sha1": 40, "sha256": 64}


def _value(path: str, text: str) -> Value | Reason:
    if path in ("ipv4-addr:value", "ipv6-addr:value"):
        return _network(path[:4], text)
    if path == "domain-name:value":
        domain = _domain(text)
        return Value("domains", domain) if domain and "." in domain else "unreadable"
    if path == "url:value":
        url = _url(text)
        return Value("urls", url) if url else "unreadable"
    algorithm = _HASH(path)
    if algorithm is None:
        return "property"
    kind: Kind = _ALGORITHMS[algorithm[1].lower().replace("-", "")]
    digest = text.lower()
    return Value(kind, digest) if re.fullmatch(rf"[0-9a-f]{{{_HEX[kind]}}}", digest) else "unreadable"


_ALGORITHMS: Final[Mapping[str, Kind]] = {"md5": "md5", "sha1": "sha1", "sha256": "sha256"}


def _network(family: str, text: str) -> Value | Reason:
    """An address, or a network without host bits: `198.51.100.7/24` may mean either, so it is neither."""
    try:
        network = ip_network(text.strip())
    except ValueError:
        return "unreadable"
    kind: Kind = "ipv4" if network.version == 4 else "ipv6"
    if kind != family:
        return "unreadable"
    whole = network.prefixlen == network.max_prefixlen
    return Value(kind, str(network.network_address) if whole else str(network))


_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_DOMAIN: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*").fullmatch


def _domain(text: str) -> str:
    """Lower case, A-labels, no last point; "" for what is none."""
    host = text.strip().lower().removesuffix(".")
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            return ""
    return host if _DOMAIN(host) and not host.rpartition(".")[2].isdigit() else ""


def _url(text: str) -> str:
    """Scheme and host in lower case, the rest as it was, in ASCII, without fragment; "" for what a list cannot hold."""
    if any(sign <= " " or sign == "\x7f" for sign in text):
        return ""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
        bracketed = f"[{ip_network(host).network_address}]" if ":" in host else ""
    except ValueError:
        return ""
    numeric = bool(re.fullmatch(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}", host))
    name = bracketed or (host if numeric else _domain(host))
    if parts.scheme not in ("http", "https") or "@" in parts.netloc or not name:
        return ""
    place = name if port is None else f"{name}:{port}"
    return urlunsplit((parts.scheme, place, _ascii(parts.path), _ascii(parts.query), ""))


def _ascii(text: str) -> str:
    return text if text.isascii() else quote(text, safe="".join(map(chr, range(33, 127))))
