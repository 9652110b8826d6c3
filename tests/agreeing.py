"""Versions of the sample agreement, tightenings of it, and the signatures of its approvers, for tests of its life."""

import re
from collections.abc import Iterable
from typing import Any

from certs.keys import load_key, read_certificate
from exchange.cli.setup import OPERATOR, Home
from exchange.governance.approvals import Words, of_agreement, of_overlay, sign
from exchange.governance.drafts import Draft
from exchange.rules import agreement_of
from exchange.times import as_text
from exchange.web.services import Services
from policies.agreement import Agreement, load
from policies.overlay import parse_overlay

BOTH = ("US-1", "US-2", "MX-1", "MX-2")


def successor(document: bytes, *changes: tuple[str, str], **keys: object) -> bytes:
    """The next version of a document: texts replaced, top-level keys such as `expires` set. With another term it loses the
    examples that are of certain days."""
    text, agreement = document.decode(), load(document)
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    dated = {"effective_from", "expires"} & keys.keys()
    head, *examples = text.split("[[test]]\n")
    text = "[[test]]\n".join([head, *(one for one in examples if not (dated and re.search(r"\d{4}-\d\d-\d\dT", one)))])
    text = re.sub(r"^prev_sha256 = .*\n", "", text, flags=re.MULTILINE)
    values = {"version": agreement.version + 1, "prev_sha256": agreement.sha256, **keys}
    for key, value in values.items():
        shown = f"{key} = {value}" if isinstance(value, int) else f'{key} = "{value}"'
        text, found = re.subn(rf"^{key} = .*$", shown, text, count=1, flags=re.MULTILINE)
        if not found:
            text = text.replace("\ntitle.en", f"\n{shown}\ntitle.en", 1)
    return text.encode()


def amended(document: bytes, clause: str, old: str, new: str) -> bytes:
    """The next version with one clause altered. Its examples are about the old one, so it has none."""
    text = document.decode().partition("[[test]]")[0]
    start = text.index(f'id = "{clause}"')
    end = text.find("[[", start)
    end = end if end > 0 else len(text)
    assert old in text[start:end], text[start:end]
    return successor(
        (text[:start] + text[start:end].replace(old, new) + text[end:]).encode(),
        prev_sha256=agreement_of(document).sha256,
    )


def signed(home: Home, words: Words, who: str, decision: str = "approve", **said: Any) -> bytes:
    """An approval by "US-1", the first of the US approvers; `said` replaces some of its words."""
    country, number = who.split("-")
    stem = home.root / "pki" / country.lower() / "approvers" / f"appr-{number}"
    certificate = read_certificate(stem.with_suffix(".pem").read_bytes())
    return sign(
        {**words, **said}, decision=decision, key=load_key(stem.with_suffix(".key")), certificate=certificate
    ).encode()


def about(draft: Draft) -> Words:
    return of_agreement(draft.agreement, draft.row.impact_sha256)


def approvals(home: Home, draft: Draft, who: Iterable[str] = BOTH) -> list[bytes]:
    return [signed(home, about(draft), one) for one in who]


async def enact(services: Services, home: Home, document: bytes) -> Draft:
    """Propose a version and have both countries approve it."""
    draft = await services.agreements.propose(OPERATOR, document)
    return await services.agreements.approve(OPERATOR, draft.row.sha256, approvals(home, draft))


async def in_force(services: Services) -> tuple[bytes, Agreement]:
    """The document in force, and what it states without tightenings."""
    row = await services.store.agreement()
    assert row is not None
    return row.document, agreement_of(row.document)


OVERLAY = """\
schema = "bilateral-sharing-overlay/1"
overlay_id = "{name}"
agreement_id = "{agreement.agreement_id}"
agreement_version = {agreement.version}
agreement_sha256 = "{agreement.sha256}"
country = "{country}"
effective_from = "{start}"
expires = "{end}"
reason.en = "A port's systems are being looked into."
reason.es = "Se investigan los sistemas de un puerto."

[[forbid]]
id = "F-{country}-{rule}"
text.en = "Nothing crosses for now."
text.es = "Por ahora nada cruza."
direction = ["US>MX", "MX>US"]
{more}
"""


def overlay(
    agreement: Agreement, now_us: int, *, name: str = "us-ports", country: str = "US", days: float = 7, more: str = "", rule: str = "PORTS"
) -> bytes:  # fmt: skip
    start, end = (as_text(us)[:19] + "Z" for us in (now_us, now_us + round(days * 86_400_000_000)))
    return OVERLAY.format(
        name=name, agreement=agreement, country=country, start=start, end=end, more=more, rule=rule
    ).encode()


def tightening(home: Home, document: bytes, who: Iterable[str], decision: str = "tighten") -> list[bytes]:
    return [signed(home, of_overlay(parse_overlay(document)), one, decision) for one in who]
