"""Whether what one country put forward alone may hold at once: it is sound, of now, and takes away from everybody or nobody."""

import asyncio
from collections.abc import Sequence

from exchange.errors import NotPermitted
from exchange.governance.approvals import Approval, heard, must_be_threshold, of_overlay
from exchange.governance.drafts import agreed, malformed, trusted
from exchange.governance.impact import Matrix
from exchange.rules import Rules, overlays_of
from exchange.store.answers import LabelRow
from exchange.store.changes import AgreementRow
from exchange.times import as_datetime, parse_us
from policies.agreement import AgreementError
from policies.matrix import differences
from policies.overlay import Overlay, load_overlay, overlaid, parse_overlay

EARLY_US = 5 * 60 * 1_000_000
"""One dated so little ahead is of now: clocks differ."""


def sound(rules: Rules, document: bytes, now_us: int) -> Overlay:
    """The overlay. Raises Malformed for its first mistake, NotPermitted for one in force (overlay-known) or not of now (-time)."""
    try:
        overlay = load_overlay(document, agreed(rules))
    except AgreementError as error:
        raise malformed(error) from None
    if any(overlay.sha256 == one.sha256 or overlay.overlay_id == one.overlay_id for one in rules.overlays):
        raise NotPermitted(
            "This restriction is in force already.",
            "Esta restricción ya está en vigor.",
            code="overlay-known",
            field="overlay_id",
        )
    if not parse_us(overlay.document.effective_from) - EARLY_US <= now_us < parse_us(overlay.expires):
        raise NotPermitted(
            "It is not of now: its time is over, or has not come.",
            "No es de ahora: su plazo terminó o aún no comienza.",
            code="overlay-time",
            field="effective_from",
        )
    return overlay


def must_be_fresh(overlay: Overlay, adoptions: Sequence[AgreementRow]) -> None:
    """Raise NotPermitted (overlay-known) for one that was in force before: the signatures under it were for once."""
    if any(overlay.sha256 == one.sha256 for row in adoptions for one in overlays_of(row)):
        raise NotPermitted(
            "This restriction was in force before. Sign another: its approvals are used up.",
            "Esta restricción ya estuvo en vigor. Firme otra: sus aprobaciones ya se usaron.",
            code="overlay-known",
            field="overlay_id",
        )


def standing_overlay(rules: Rules, document: bytes) -> Overlay:
    """The overlay in force that these bytes state. Raises Malformed, or NotPermitted (overlay-unknown)."""
    try:
        overlay = parse_overlay(document)
    except AgreementError as error:
        raise malformed(error) from None
    if overlay not in rules.overlays:
        raise NotPermitted(
            "This restriction is not in force.",
            "Esta restricción no está en vigor.",
            code="overlay-unknown",
            field="overlay_id",
        )
    return overlay


def own_threshold(rules: Rules, overlay: Overlay, given: Sequence[Approval], decision: str, now_us: int) -> list[str]:
    """The approvers of the overlay's own country who say this of it, if they are enough. Raises NotPermitted: approval-country, or
    as `approvals.heard` and `must_be_threshold`."""
    voices = []
    for number, one in enumerate(given, 1):
        field = f"approval {number}"
        voice = heard(one, of_overlay(overlay), (decision,), trusted(rules), at=as_datetime(now_us), field=field)
        if voice.country != overlay.country:
            raise NotPermitted(
                f"It is of {voice.country}; only {overlay.country} may sign for its own restriction.",
                f"Es de {voice.country}; solo {overlay.country} puede firmar su propia restricción.",
                code="approval-country",
                field=field,
            )
        voices.append(voice)
    must_be_threshold(voices, overlay.country, agreed(rules), trusted(rules))
    return sorted({one.approver for one in voices})


async def proved(rules: Rules, rows: Sequence[LabelRow], overlay: Overlay) -> int:
    """How many pairs of a label and a member of the other country lose: what stays at home is not told. Raises when any pair
    gains, over all labels and members there are."""
    now = max(rules.now, overlay.document.effective_from)

    def judge() -> tuple[int, int]:
        old = agreed(rules)
        before = overlaid(old, rules.overlays)
        after = overlaid(old, (*rules.overlays, overlay))
        changes = list(
            differences(
                before, after, Matrix(rules, rows).everybody(), old_now=now, new_now=now, consents=rules.consents
            )
        )
        loose = sum(one.kind != "lost" for one in changes)
        return loose, sum(to.country != one.label.country for one in changes for to in one.recipients)

    loose, lost = await asyncio.to_thread(judge)
    if loose:
        raise NotPermitted(
            "It would give somebody something: one country alone may only take away.",
            "Daría algo a alguien: un país por sí solo únicamente puede retirar.",
            code="overlay-loosens",
        )
    return lost
