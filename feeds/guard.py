"""Which addresses a feed may call: public ones, over https; or those of a private network that its source names, and no
other. Asked at each connection, when names are addresses."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from yarl import URL

from feeds.faults import FeedFault

_NAT64 = IPv6Network("64:ff9b::/96")
_NEVER = tuple(
    ip_network(text)
    for text in (
        "168.63.129.16/32",  # Azure's wire server: a public address that answers inside their machines only
        "100.100.100.200/32",  # Alibaba's metadata, among the addresses of carriers
        "fd00:ec2::/32",  # Amazon's, among those of private networks
        "192.0.0.0/24",  # protocol assignments, some of which Python calls global
        "192.88.99.0/24",  # 6to4 relays
        "2001::/32",  # Teredo: the address of the other end is whatever its sender wrote
        "64:ff9b:1::/48",  # NAT64 into local networks
    )
)


_PRIVATE = tuple(
    ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
"""RFC 1918, 6598 and 4193. Link-local addresses, where clouds keep their keys, are no place for a feed."""

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Reach:
    """What one source may do beyond the usual. Nothing unless its catalogue entry says so."""

    plain_http: bool = False
    loopback: bool = False
    networks: tuple[Network, ...] = ()
    """Private networks in which it lies: when there are any, nothing else is called, not even what is public."""


def private_network(text: str) -> Network:
    """Raises ValueError for what is no network (CIDR), or not a private one as a whole."""
    network = ip_network(text)
    if not any(network[0] in private and network[-1] in private for private in _PRIVATE):
        raise ValueError(f"{text} is not part of {', '.join(map(str, _PRIVATE))}")
    return network


def check_url(text: str, reach: Reach) -> URL:
    """The URL, if its form may be called. Raises FeedFault (`feed-address`).

    Refused: other schemes, user names and passwords in it, and what two parsers read differently: backslashes, blanks,
    control signs. Its host is judged when it has become an address: `check_address`.
    """
    check_text(text)
    try:
        url = URL(text)
        host = url.host
    except ValueError:
        raise _refused("It is not a URL.", "No es una URL.") from None
    if url.scheme != "https" and not (url.scheme == "http" and reach.plain_http):
        raise _refused("Only https is called.", "Solo se llama a direcciones https.")
    if not host or url.raw_user is not None or url.raw_password is not None:
        raise _refused("It names no host, or a user.", "No nombra un servidor, o nombra un usuario.")
    if _is_number(host):
        raise _refused("Its host is a number.", "Su servidor es un número.")
    return url


def check_text(text: str) -> None:
    """Raise FeedFault for signs that no URL holds, before any parser mends them."""
    if any(sign in "\\ " or not sign.isprintable() for sign in text):
        raise _refused("It holds a blank, a backslash or a control sign.", "Contiene un espacio, una barra invertida u otro carácter impropio.")  # fmt: skip


def check_address(text: str, reach: Reach) -> None:
    """Raise FeedFault (`feed-address`) unless this address, as it will be connected to, is one that `reach` allows."""
    address = ip_address(text.partition("%")[0])
    if reach.loopback and address.is_loopback:
        return
    for one in _meant(address):
        if reach.networks and (_among(one, _NEVER) or not _among(one, reach.networks)):
            said = ", ".join(map(str, reach.networks))
            raise _refused(f"{address} is not called in {said}.", f"{address} no se llama en {said}.")
        if not reach.networks and (_among(one, _NEVER) or not _is_public(one)):
            raise _refused(f"{address} is not a public address.", f"{address} no es una dirección pública.")


def _among(address: IPv4Address | IPv6Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks)


def _is_public(one: IPv4Address | IPv6Address) -> bool:
    return one.is_global and not (one.is_multicast or one.is_reserved or one.is_unspecified)


def _meant(address: IPv4Address | IPv6Address) -> tuple[IPv4Address | IPv6Address, ...]:
    """The addresses that this one leads to: an IPv6 address may only wrap an IPv4 one, or name it as a tunnel's end."""
    if not isinstance(address, IPv6Address):
        return (address,)
    if address in _NAT64:
        return (IPv4Address(int(address) & 0xFFFF_FFFF),)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    return (address,) if address.sixtofour is None else (address, address.sixtofour)


def _is_number(host: str) -> bool:
    """`0177.1`, `2130706433` and `0x7f.1` are addresses to a resolver and names to most eyes."""
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        last = host.rstrip(".").rpartition(".")[2].lower()
        return last.isdigit() or last.startswith("0x")
    return False


def _refused(en: str, es: str) -> FeedFault:
    return FeedFault("feed-address", f"This address is not called. {en}", f"No se llama a esta dirección. {es}")
