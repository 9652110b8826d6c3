"""What a sound agreement should be told of before it hurts: a legal basis that lapses, a review that is due, an end."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from policies.clauses import Agreement
from policies.mistakes import Finding, Mistake, Path, locate
from policies.words import instant

AHEAD: Final = timedelta(days=90)
"""How long before a date one is told of it: a quarter, the time that a renewal takes two governments."""


def warnings(agreement: Agreement, *, now: str, text: str = "") -> list[Finding]:
    """What is past or near at `now` (RFC 3339). They refuse nothing. `text` is the document's file, for the lines."""
    return locate(_due(agreement, instant(now)), text)


def _due(agreement: Agreement, now: datetime) -> Iterator[Mistake]:
    document = agreement.document
    for party, basis in document.legal_basis.items():
        path: Path = ("legal_basis", party, "valid_until")
        # A basis holds to the end of the day that it names.
        ends = instant(f"{basis.valid_until}T00:00:00Z") + timedelta(days=1)
        if ends <= now:
            yield Mistake(
                "legal-basis-lapsed",
                path,
                f"The legal basis of {party.upper()} lapsed on {basis.valid_until}: {basis.text}.",
                f"El fundamento legal de {party.upper()} venció el {basis.valid_until}: {basis.text}.",
            )
        elif ends - now <= AHEAD:
            yield Mistake(
                "legal-basis-lapses",
                path,
                f"The legal basis of {party.upper()} lapses on {basis.valid_until}: {basis.text}.",
                f"El fundamento legal de {party.upper()} vence el {basis.valid_until}: {basis.text}.",
            )
        if ends <= agreement.ends:
            yield Mistake(
                "legal-basis-ends-first",
                path,
                f"The legal basis of {party.upper()} ends before the agreement does ({agreement.expires[:10]}).",
                f"El fundamento legal de {party.upper()} termina antes que el acuerdo ({agreement.expires[:10]}).",
            )
    if document.review_by is not None and instant(document.review_by) - now <= AHEAD:
        yield Mistake(
            "review-due",
            ("review_by",),
            f"The agreement is to be reviewed by {document.review_by[:10]}.",
            f"El acuerdo debe revisarse a más tardar el {document.review_by[:10]}.",
        )
    if agreement.ends - now <= AHEAD:
        yield Mistake(
            "agreement-ends",
            ("expires",),
            f"The agreement ends on {agreement.expires[:10]}; from then on nothing crosses the border.",
            f"El acuerdo termina el {agreement.expires[:10]}; desde entonces nada cruza la frontera.",
        )
