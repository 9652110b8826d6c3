"""Known-good values that must not become indicators: private and reserved networks, public resolvers, empty files.

A poisoned “block 8.8.8.8” or “block the other port's gateway” is the worst harm a hub like this can do.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from exchange.intake.pattern import values

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Hit:
    """A value that is on a list. "refuse": never; "hold": not until somebody with the role releases it."""

    value: str
    list_name: str
    action: str


# Not on the list: the documentation ranges of RFC 5737 and RFC 3849, which samples and tests are made of.
_REFUSED = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
    "224.0.0.0/4", "240.0.0.0/4", "::/128", "::1/128", "fc00::/7", "fe80::/10", "ff00::/8",
)  # fmt: skip
_RESOLVERS = (
    "8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9", "149.112.112.112", "208.67.222.222", "208.67.220.220",
    "2001:4860:4860::8888", "2001:4860:4860::8844", "2606:4700:4700::1111", "2606:4700:4700::1001", "2620:fe::fe",
)  # fmt: skip
_EMPTY = (
    "d41d8cd98f00b204e9800998ecf8427e",
    "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
)

WIDEST = {4: 16, 6: 32}
"""Networks wider than this are held: one line would block a country."""


class Warninglists:
    """Judges the values of a pattern against networks, addresses and hashes known to be good."""

    def __init__(self, refused: Iterable[str], resolvers: Iterable[str], empty: Iterable[str]) -> None:
        self._refused: list[Network] = [ipaddress.ip_network(one) for one in refused]
        self._resolvers = {ipaddress.ip_address(one) for one in resolvers}
        self._empty = frozenset(empty)

    @classmethod
    def packaged(cls) -> "Warninglists":
        """The lists that come with the hub."""
        return cls(_REFUSED, _RESOLVERS, _EMPTY)

    def hits(self, pattern: str) -> tuple[Hit, ...]:
        """The listed values among those that a pattern compares with."""
        found = (self._judge(path, value) for path, value in values(pattern))
        return tuple(hit for hit in found if hit is not None)

    def _judge(self, path: str, value: str) -> Hit | None:
        kind = path.partition(":")[0]
        if kind in ("ipv4-addr", "ipv6-addr") or (kind == "network-traffic" and path.endswith("_ref.value")):
            return self._network(value)
        if "hashes" in path and value.lower() in self._empty:
            return Hit(value, "empty file", "refuse")
        return None

    def _network(self, value: str) -> Hit | None:
        try:
            network = ipaddress.ip_network(value, strict=False)
        except ValueError:
            return None
        same = [one for one in self._refused if one.version == network.version]
        if any(network.overlaps(one) for one in same):
            return Hit(value, "private and reserved networks", "refuse")
        if network.prefixlen < WIDEST[network.version]:
            return Hit(value, "networks too wide to block", "hold")
        if any(address in network for address in self._resolvers if address.version == network.version):
            return Hit(value, "public resolvers", "hold")
        return None
