"""An originator's consent that what it controls be released: to whom, for which of its cases, and how long it holds."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from policies.clauses import Agreement
from policies.label import Label, Recipient
from policies.words import instant


@dataclass(frozen=True, slots=True)
class Consent:
    """One answer of an originator, as it was signed. Agreeing *to be named* is a different thing and never one of these."""

    originator: str
    case: str
    """The handle that the originator's marking bears; "" for what it controls without one."""
    members: tuple[str, ...]
    countries: tuple[str, ...]
    """Whoever is named here, or is of a country named here, may have it. Nobody named is nobody."""
    given: str
    until: str


def consented(
    agreement: Agreement, label: Label, recipient: Recipient, consents: Iterable[Consent], moment: datetime
) -> bool:
    """Whether consents that stand at `moment` cover every case of the label for this recipient.

    Raises ValueError for a consent whose times nobody understands; silence, and an agreement without originator control,
    are a no.
    """
    standing = {
        one.case
        for one in consents
        if one.originator == label.originator != "" and _speaks_of(one, recipient) and _stands(agreement, one, moment)
    }
    return standing.issuperset(label.cases or ("",))


def _speaks_of(consent: Consent, recipient: Recipient) -> bool:
    return recipient.member in consent.members or recipient.country in consent.countries


def _stands(agreement: Agreement, consent: Consent, moment: datetime) -> bool:
    given = instant(consent.given)
    longest = given + timedelta(seconds=agreement.consent_seconds)
    return given <= moment < min(instant(consent.until), longest)
