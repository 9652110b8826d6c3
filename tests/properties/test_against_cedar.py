"""Our evaluator against Cedar's: 100,000 generated cases, effect and reasons. Where an evaluation fails ours must deny."""

from dataclasses import replace
from pathlib import Path

import pytest

from policies.agreement import load
from policies.clauses import Agreement
from policies.consent import Consent
from policies.decide import Decision, decide
from policies.label import Label, Recipient
from tests import cedar
from tests.generated import NOW, TIMES, Maker

AGREEMENTS, LABELS, RECIPIENTS = 200, 400, 60
CASES_EACH = 520
LIBRARY = Path(__file__).resolve().parents[2] / "policies" / "agreements"
WHEN = [time for time in TIMES if time != "soon"]
"""A time that nobody understands has no number to give Cedar."""


def reasons(decision: Decision) -> set[str]:
    if decision.effect == "permit":
        return set(decision.rules)
    return {*decision.forbids, *decision.ceilings}


def told(found: set[str], decision: Decision) -> set[str]:
    """Cedar's reasons as ours are: nothing but OWN where it permits; purposes only if all else would permit."""
    if decision.rules == ("OWN",):
        return found & {"OWN"}
    return found if decision.ceilings == ("purposes",) else found - {"purposes"}


def disagreements(
    agreement: Agreement,
    labels: list[Label],
    recipients: list[Recipient],
    consents: list[Consent],
    make: Maker,
    many: int,
) -> tuple[int, int]:
    """Judge some cases by both. Gives how many there were, and in how many Cedar alone let something pass."""
    now = make.one(WHEN)
    held = cedar.entities(labels, recipients)
    chosen = [(make.chance.randrange(len(labels)), make.chance.randrange(len(recipients))) for _ in range(many)]
    stands = [cedar.consents_stand(agreement, labels[one], recipients[other], consents, now) for one, other in chosen]
    answers = cedar.judge(
        agreement.document, held, [(*pair, stood) for pair, stood in zip(chosen, stands, strict=True)], now
    )
    erred = 0
    for (label, recipient), (allowed, found) in zip(chosen, answers, strict=True):
        decision = decide(agreement, labels[label], recipients[recipient], now=now, consents=consents)
        if decision.errors:
            # The one rule by which we differ: Cedar passes over what it cannot evaluate, we deny.
            assert decision.effect == "deny"
            erred += allowed
            continue
        case = (labels[label], recipients[recipient], now, decision, found)
        assert allowed == (decision.effect == "permit"), case
        assert told(found, decision) == reasons(decision), case
    return len(chosen), erred


def test_the_evaluator_and_cedar_agree() -> None:
    make = Maker("against cedar")
    labels = [make.label() for _ in range(LABELS)]
    labels += [replace(label, **{word: "unheard-of"}) for label in labels[:8] for word in ("tlp", "confidence")]  # type: ignore[arg-type]
    recipients = [make.recipient() for _ in range(RECIPIENTS)]
    cases = erred = 0
    for _ in range(AGREEMENTS):
        consents = [make.consent() for _ in range(make.chance.randint(0, 6))]
        some = make.chance.sample(labels, 60), make.chance.sample(recipients, 30)
        more, passed = disagreements(make.agreement(), *some, consents, make, CASES_EACH)
        cases, erred = cases + more, erred + passed
    assert cases >= 100_000
    assert erred > 0, "some cases must show where Cedar would have let something pass"


@pytest.mark.parametrize("path", sorted(LIBRARY.glob("*.toml")), ids=lambda path: path.stem)
def test_cedar_judges_the_library_as_we_do(path: Path) -> None:
    agreement, make = load(path.read_bytes()), Maker(path.stem)
    labels = [make.label() for _ in range(200)]
    recipients = [make.recipient() for _ in range(40)]
    assert disagreements(agreement, labels, recipients, [make.consent() for _ in range(4)], make, 2_000)[1] == 0
    assert NOW in WHEN
