"""Forms that the Standard borrows from other documents; a breach is a warning, because peers publish many (TYP-14)."""

import re
from collections.abc import Callable, Iterator
from ipaddress import AddressValueError, IPv6Address
from typing import Any

from exchange.intake.stix.finding import Finding, breach

LANGUAGE = re.compile(r"(?:[A-Za-z]{2,8}|[xXiI](?=-))(?:-[A-Za-z0-9]{1,8})*").fullmatch
"""RFC 5646, well-formedness: subtags of up to eight characters. The registry of subtags is not consulted."""

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}(?:/(?:3[0-2]|[12]?[0-9]))?").fullmatch
# RFC 1034 labels, with the U-labels of RFC 5890 as they are written.
_LABEL = r"[^\W_](?:[^\W_]|-){0,61}[^\W_]|[^\W_]"
_DOMAIN = re.compile(rf"(?:{_LABEL})(?:\.(?:{_LABEL}))*\.?").fullmatch
_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}").fullmatch
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+").fullmatch
_LOCAL = re.compile(r"[^\s@<>]{1,64}").fullmatch


def _ipv6(text: str) -> bool:
    address, slash, prefix = text.partition("/")
    if slash and not (prefix.isascii() and prefix.isdigit() and len(prefix) <= 3 and int(prefix) <= 128):
        return False
    try:
        IPv6Address(address)
    except AddressValueError:
        return False
    return "%" not in address


def _domain(text: str) -> bool:
    return len(text) <= 254 and _DOMAIN(text) is not None


def _email(text: str) -> bool:
    local, at, domain = text.rpartition("@")
    return bool(at) and _LOCAL(local) is not None and _domain(domain)


_FORMS: dict[str, Callable[[str], object]] = {
    "domain-name": _domain,
    "email-addr": _email,
    "ipv4-addr": _IPV4,
    "ipv6-addr": _ipv6,
    "mac-addr": _MAC,
    "url": _URL,
}


def value_findings(obj: dict[str, Any]) -> Iterator[Finding]:
    """TYP-14. A defanged value is meant not to be well formed."""
    form = _FORMS.get(obj["type"])
    if form is not None and not obj.get("defanged") and not form(obj["value"]):
        yield breach("stix-value-format", "value", name=obj["type"])


def language_findings(obj: dict[str, Any]) -> Iterator[Finding]:
    """COM-04 and TYP-15."""
    if "lang" in obj and not (isinstance(obj["lang"], str) and LANGUAGE(obj["lang"])):
        yield breach("stix-language", "lang")
    for index, mark in enumerate(obj.get("granular_markings", ())):
        if "lang" in mark and not LANGUAGE(mark["lang"]):
            yield breach("stix-language", f"granular_markings[{index}].lang")
    if obj["type"] == "language-content" and not all(map(LANGUAGE, obj["contents"])):
        yield breach("stix-contents-language", "contents")


_EXTERNAL_IDS = {
    "cve": ("CVE", re.compile(r"CVE-[0-9]{4}-(?:0[0-9]{3}|[1-9][0-9]{3,})").fullmatch),
    "capec": ("CAPEC", re.compile(r"CAPEC-[0-9]+").fullmatch),
}


def reference_findings(obj: dict[str, Any]) -> Iterator[Finding]:
    """COM-05: CVE and CAPEC ids in their exact form (2.5.2)."""
    for index, reference in enumerate(obj.get("external_references", ())):
        known = _EXTERNAL_IDS.get(reference["source_name"])
        if known is not None and not known[1](reference.get("external_id", "")):
            yield breach("stix-reference-id", f"external_references[{index}].external_id", source=known[0])
