"""Which forms of a STIX object other tools rewrite on its way: they are refused before signing, not found broken after.

Every rule was measured: python-stix2's parse and serialise drops explicit defaults and empty values, gives `created`
and `modified` three fraction digits, takes trailing zeros from other times, and adds what it holds to be missing. A
signature covers the content, so any of these breaks it. tests/interop runs real objects of many makers through it.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from certs.faults import SignatureFault, UnstableForm

SCO_TYPES: Final = frozenset(
    {
        "artifact",
        "autonomous-system",
        "directory",
        "domain-name",
        "email-addr",
        "email-message",
        "file",
        "ipv4-addr",
        "ipv6-addr",
        "mac-addr",
        "mutex",
        "network-traffic",
        "process",
        "software",
        "url",
        "user-account",
        "windows-registry-key",
        "x509-certificate",
    }
)

DEFAULTS: Final = ("revoked", "defanged", "summary")
"""Optional booleans whose explicit default, false, is left out again (`summary` is a sighting's)."""

TIMES: Final = frozenset(
    {
        "valid_from",
        "valid_until",
        "first_seen",
        "last_seen",
        "first_observed",
        "last_observed",
        "published",
        "start_time",
        "stop_time",
        "submitted",
        "analysis_started",
        "analysis_ended",
    }
)

_TIME = re.compile(r"[1-9]\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{0,5}[1-9])?Z")
"""Without trailing zeros, at most microseconds; years before 1000 lose their zeros."""
_VERSION_TIME = re.compile(r"[1-9]\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(?:\d{0,2}[1-9])?Z")
"""`created` and `modified`: three digits, or up to six without trailing zeros."""
_ANY_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
_MILLISECONDS = re.compile(r"[1-9]\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

HASH_NAMES: Final = frozenset(
    {
        "MD5",
        "SHA-1",
        "SHA-224",
        "SHA-256",
        "SHA-384",
        "SHA-512",
        "SHA3-224",
        "SHA3-256",
        "SHA3-384",
        "SHA3-512",
        "SSDEEP",
        "TLSH",
        "WHIRLPOOL",
    }
)

_EN = "common tools change this form, so the signature would not survive a relay"
_ES = "las herramientas comunes cambian esta forma, por lo que la firma no sobreviviría a un retransmisor"


def refuse_observable(obj: Mapping[str, Any]) -> None:
    """Raise SignatureFault("signature-sco") for an observable.

    Several members may hold the same observable under the same derived id; with signatures inside, each would publish
    other content for it. They are covered by an attestation instead.
    """
    extensions = obj.get("extensions")
    kinds = extensions.values() if isinstance(extensions, Mapping) else ()
    if str(obj.get("type")) in SCO_TYPES or any(
        isinstance(kind, Mapping) and kind.get("extension_type") == "new-sco" for kind in kinds
    ):
        raise SignatureFault(
            "signature-sco",
            "An observable bears no signature of its own; cover it with an attestation.",
            "Un observable no lleva firma propia; ampárelo con una atestación.",
        )


def lint(obj: Mapping[str, Any]) -> None:
    """Raise UnstableForm for the first property that a relay would change, or SignatureFault for an observable."""
    refuse_observable(obj)
    for path, value in _leaves(obj, ""):
        if value is None or value == [] or value == {}:
            raise _unstable(path, "an empty value", "un valor vacío")
        if isinstance(value, float) and value.is_integer():
            raise _unstable(path, "a whole number written as a fraction", "un número entero escrito con fracción")
        if path.startswith("objects/"):  # observables inside observed-data, the older form
            _check_nested(path, value)
    if obj.get("spec_version") != "2.1":
        raise _unstable("spec_version", "it must be “2.1”", "debe ser «2.1»")
    for name in _required(obj):
        if obj.get(name, "") == "":
            raise _unstable(name, "it is missing", "falta")
    for name, value in obj.items():
        _check_property(name, value, str(obj.get("type")))


def _check_property(name: str, value: Any, kind: str) -> None:
    if name in DEFAULTS and value is False:
        raise _unstable(name, "an explicit default", "un valor predeterminado explícito")
    if name in ("created", "modified") and not _matches(_VERSION_TIME, value):
        raise _unstable(
            name,
            "it needs three fraction digits, or up to six without trailing zeros",
            "necesita tres dígitos de fracción, o hasta seis sin ceros finales",
        )
    if name in TIMES and not _matches(_TIME, value):
        raise _unstable(name, "a time with trailing zeros or beyond microseconds", "una hora con ceros finales")
    if name == "object_modified" and kind == "language-content" and not _matches(_MILLISECONDS, value):
        raise _unstable(name, "it needs exactly three fraction digits", "necesita exactamente tres dígitos de fracción")
    if name == "external_references" and isinstance(value, list):
        for number, reference in enumerate(value):
            hashes = reference.get("hashes") if isinstance(reference, Mapping) else None
            for key in hashes if isinstance(hashes, Mapping) else ():
                if key not in HASH_NAMES:
                    raise _unstable(
                        f"{name}/{number}/hashes/{key}", "a hash name of its own", "un nombre de resumen propio"
                    )


def _required(obj: Mapping[str, Any]) -> Iterator[str]:
    """What is filled in when it is absent."""
    yield "created"
    if obj.get("type") != "marking-definition":
        yield "modified"
    if obj.get("pattern_type") == "stix":
        yield "pattern_version"


def _check_nested(path: str, value: Any) -> None:
    if path.endswith("/defanged") and value is False:
        raise _unstable(path, "an explicit default", "un valor predeterminado explícito")
    if _matches(_ANY_TIME, value) and not _matches(_TIME, value):
        raise _unstable(path, "a time with trailing zeros or beyond microseconds", "una hora con ceros finales")


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{path}/{key}" if path else key)
    elif isinstance(value, list) and value:
        for number, item in enumerate(value):
            yield from _leaves(item, f"{path}/{number}")
    else:
        yield path, value


def _matches(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _unstable(field: str, en: str, es: str) -> UnstableForm:
    return UnstableForm(field, f"{en}: {_EN}.", f"{es}: {_ES}.")
