"""Values that indicators are made of: read from others' text, put into one form each, written into patterns."""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Literal

from exchange.errors import Text

Kind = Literal[
    "url", "domain", "ip", "network", "host", "address", "ip-port", "md5", "sha1", "sha256", "sha512", "hash",
    "cert-sha1", "email", "asn", "any",
]  # fmt: skip
"""`host` is a domain or an IP address, `address` an IP address or a network (CIDR), `hash` one of the four by its length,
`any` whatever the text looks like."""


class NoValue(ValueError):
    """A text that is no value of the kind it should be. Its text may be shown."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"no {kind}: {text[:60]!r}")
        self.text = Text(f"This is no {kind}: {text[:60]!r}.", f"Esto no es un valor de tipo {kind}: {text[:60]!r}.")


@dataclass(frozen=True, slots=True)
class Value:
    """One value in its one form. `kind` says what it is, `text` is what it is known by."""

    kind: str
    text: str
    port: int = 0


def read_value(kind: Kind, text: str) -> Value:
    """The value that a text stands for. Raises NoValue."""
    text = text.strip()
    if not text or len(text) > 4096 or not text.isprintable():
        raise NoValue(kind, text)
    found = _READERS[kind](text)
    if found is None:
        raise NoValue(kind, text)
    return found


def pattern(value: Value) -> str:
    """The STIX pattern that matches the value. The text of a value is another's: it is escaped."""
    text = _quoted(value.text)
    if value.kind == "ip-port":
        version = "ipv6-addr" if value.text.startswith("[") else "ipv4-addr"
        address = _quoted(value.text.rpartition(":")[0].strip("[]"))
        return (
            f"[network-traffic:dst_ref.type = '{version}' AND network-traffic:dst_ref.value = {address}"
            f" AND network-traffic:dst_port = {value.port}]"
        )
    return _PATTERNS[value.kind](text)


def read_hashes(hashes: Mapping[str, str]) -> dict[str, str]:
    """The hashes of one file, by the Standard's names of their algorithms, less those that are blank. Raises NoValue."""
    found = {
        # SSDEEP and TLSH are no hexadecimal numbers, and the former tells capitals apart.
        name: read_value(_HASH_KINDS[name], text).text if name in _HASH_KINDS else text.strip()
        for name, text in hashes.items()
        if text.strip()
    }
    if not found:
        raise NoValue("hash", "")
    return found


def file_pattern(hashes: Mapping[str, str]) -> str:
    """Any of these hashes of a file."""
    return "[" + " OR ".join(_file_hash(name, _quoted(text)) for name, text in hashes.items()) + "]"


_HASH_KINDS: Mapping[str, Kind] = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-512": "sha512"}


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _file_hash(name: str, text: str) -> str:
    return f"file:hashes.{name} = {text}" if name.isalnum() else f"file:hashes.'{name}' = {text}"


_PATTERNS: Mapping[str, Callable[[str], str]] = {
    "url": "[url:value = {}]".format,
    "domain": "[domain-name:value = {}]".format,
    "ipv4": "[ipv4-addr:value = {}]".format,
    "ipv6": "[ipv6-addr:value = {}]".format,
    "network4": "[ipv4-addr:value ISSUBSET {}]".format,
    "network6": "[ipv6-addr:value ISSUBSET {}]".format,
    "email": "[email-addr:value = {}]".format,
    "cert-sha1": "[x509-certificate:hashes.'SHA-1' = {}]".format,
    "asn": lambda text: f"[autonomous-system:number = {text.strip(chr(39))}]",
    "md5": lambda text: f"[{_file_hash('MD5', text)}]",
    "sha1": lambda text: f"[{_file_hash('SHA-1', text)}]",
    "sha256": lambda text: f"[{_file_hash('SHA-256', text)}]",
    "sha512": lambda text: f"[{_file_hash('SHA-512', text)}]",
}

# --- one reader for each kind; None for a text that is no such value ---

_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)+(?![0-9]+\Z){_LABEL}").fullmatch
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_DOTTED = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}").fullmatch
_HEX = re.compile(r"[0-9a-fA-F]+").fullmatch
_BY_LENGTH = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30})://(?:([^/?#@\\]*)@)?(\[[0-9A-Fa-f:.%a-z]+\]|[^/?#:@\\]+)(?::([0-9]{0,5}))?([/?#].*)?").fullmatch  # fmt: skip
_PORTS = {"http": "80", "https": "443", "ftp": "21"}
_LOCAL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}").fullmatch


def host_name(text: str) -> str | None:
    """A domain name in lower case and A-labels, without a point at its end; None for what is none."""
    name = text.lower().rstrip(".")
    if not name.isascii():
        with suppress(UnicodeError):
            name = name.encode("idna").decode("ascii")
    return name if len(name) <= 253 and _DOMAIN(name) is not None else None


def _domain(text: str) -> Value | None:
    name = host_name(text)
    return None if name is None else Value("domain", name)


def _ip(text: str) -> Value | None:
    if _DOTTED(text) is not None:
        return Value("ipv4", text)
    # A zone (RFC 4007) means something on one machine only.
    try:
        address = ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    return Value(f"ipv{address.version}", str(address)) if address.version == 6 else None


def _network(text: str) -> Value | None:
    """Host bits are dropped; a network of one address is that address."""
    if "/" not in text:
        return None
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return None
    if network.prefixlen == network.max_prefixlen:
        return _ip(str(network.network_address))
    return Value(f"network{network.version}", str(network))


def _address(text: str) -> Value | None:
    return _network(text) if "/" in text else _ip(text)


def _host(text: str) -> Value | None:
    return _ip(text) if text[-1:].isdigit() or ":" in text else _domain(text)


def _ip_port(text: str) -> Value | None:
    host, _, port = text.rpartition(":")
    address = _ip(host)
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 0
    if address is None or not 0 < number < 65536 or (address.kind == "ipv6" and not host.startswith("[")):
        return None
    shown = f"[{address.text}]" if address.kind == "ipv6" else address.text
    return Value("ip-port", f"{shown}:{number}", number)


def _url(text: str) -> Value | None:
    """Scheme and host in lower case, the scheme's own port dropped; all else is as it was, for servers tell it apart."""
    parts = _URL(text)
    if parts is None or " " in text:
        return None
    scheme, user, host, port, rest = parts.groups()
    place = _host(host.strip("[]"))
    if place is None:
        return None
    scheme = scheme.lower()
    name = f"[{place.text}]" if place.kind == "ipv6" else place.text
    at = f"{user}@" if user is not None else ""
    numbered = f":{port}" if port and port != _PORTS.get(scheme) else ""
    return Value("url", f"{scheme}://{at}{name}{numbered}{rest or ''}")


def _hash(*lengths: int) -> Callable[[str], Value | None]:
    def read(text: str) -> Value | None:
        return Value(_BY_LENGTH[len(text)], text.lower()) if len(text) in lengths and _HEX(text) else None

    return read


def _cert(text: str) -> Value | None:
    digest = text.replace(":", "").lower()
    return Value("cert-sha1", digest) if len(digest) == 40 and _HEX(digest) else None


def _email(text: str) -> Value | None:
    local, _, host = text.rpartition("@")
    name = host_name(host)
    return Value("email", f"{local}@{name}") if name is not None and _LOCAL(local) is not None else None


def _asn(text: str) -> Value | None:
    number = text[2:] if text[:2].upper() == "AS" else text
    plausible = number.isascii() and number.isdigit() and len(number) <= 10 and int(number) < 2**32
    return Value("asn", str(int(number))) if plausible else None


def _any(text: str) -> Value | None:
    if "://" in text:
        return _url(text)
    if "@" in text:
        return _email(text)
    if "/" in text:
        return _network(text)
    return _any_hash(text) or _ip_port(text) or _host(text)


_any_hash = _hash(*_BY_LENGTH)
_READERS: Mapping[str, Callable[[str], Value | None]] = {
    "url": _url, "domain": _domain, "ip": _ip, "network": _network, "host": _host, "address": _address,
    "ip-port": _ip_port, "md5": _hash(32), "sha1": _hash(40), "sha256": _hash(64), "sha512": _hash(128),
    "hash": _any_hash, "cert-sha1": _cert, "email": _email, "asn": _asn, "any": _any,
}  # fmt: skip
