"""The agreement document: TOML in, a frozen Agreement out, or every mistake in it."""

import json
import re
import tomllib
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from pydantic import ValidationError

from policies.clauses import Agreement, compile_agreement
from policies.contradictions import contradictions
from policies.document import Document
from policies.examples import TestResult, run_tests
from policies.findings import form_mistakes, sense_mistakes
from policies.mistakes import AgreementError, Finding, locate

__all__ = ["Agreement", "AgreementError", "Finding", "TestResult", "canonical_form", "load", "parse_toml", "run_tests"]

DOCUMENT_LIMIT_BYTES: Final = 1_048_576
"""A hundred times the sample: larger is not an agreement that people read."""

_JSON_SAFE_INTEGER: Final = 2**53 - 1
"""RFC 8785 section 3.2.2.3: greater integers are not the same number everywhere."""


def load(data: bytes) -> Agreement:
    """Read an agreement document. Raises AgreementError with every finding of the first stage that has any.

    The stages: the file (size, UTF-8, TOML), its form, its sense, its contradictions. The document's own examples are
    not run; see `run_tests`.
    """
    text, values = parse_toml(data)
    try:
        document = Document.model_validate(values)
    except ValidationError as error:
        raise AgreementError(locate(form_mistakes(error, values), text)) from None
    for mistakes in (sense_mistakes(document, values), contradictions(document)):
        if findings := locate(mistakes, text):
            raise AgreementError(findings)
    canonical = canonical_form(values)
    return compile_agreement(document, canonical, sha256(canonical).hexdigest())


def canonical_form(values: Mapping[str, Any]) -> bytes:
    """The parsed document as RFC 8785 (JCS) JSON.

    With ASCII keys and no numbers but small integers, sorted compact JSON is JCS; anything else raises ValueError.
    """
    _must_be_plain(values)
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _must_be_plain(value: object) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            if not (isinstance(key, str) and key.isascii()):
                raise ValueError(f"the key {key!r} is not ASCII")
            _must_be_plain(inner)
    elif isinstance(value, list):
        for inner in value:
            _must_be_plain(inner)
    elif not isinstance(value, str | bool) and not (isinstance(value, int) and abs(value) <= _JSON_SAFE_INTEGER):
        raise ValueError(f"{value!r} has no one canonical form")


def parse_toml(data: bytes) -> tuple[str, dict[str, Any]]:
    """The text of a document and what it says. Raises AgreementError when it is no TOML of an accepted size."""
    if len(data) > DOCUMENT_LIMIT_BYTES:
        raise _unreadable("too-large", "The file is larger than 1 MiB.", "El archivo supera 1 MiB.")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise _unreadable("not-utf8", "The file is not UTF-8.", "El archivo no es UTF-8.") from None
    try:
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        raise _unreadable(
            "not-toml", f"Not TOML: {error}.", "El archivo no es TOML válido.", int(line[1]) if line else None
        ) from None
    except RecursionError:
        raise _unreadable("not-toml", "Nested too deeply.", "Los niveles de anidamiento son excesivos.") from None


def _unreadable(code: str, en: str, es: str, line: int | None = None) -> AgreementError:
    return AgreementError([Finding(code, line, "document", en, es)])
