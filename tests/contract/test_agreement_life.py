"""The life of an agreement on both stores: each step with its entry, and everything that must not become one refused by name."""

import asyncio
import contextlib
from base64 import b64decode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
import pytest_asyncio

from certs.authority import Authority
from certs.jcs import canonical
from certs.jws import sign_document
from certs.keys import load_key, read_certificate
from exchange.cli.setup import OPERATOR
from exchange.clock import FixedClock
from exchange.errors import Malformed, NotFound, NotPermitted, Refusal
from exchange.governance.approvals import APPROVAL_TYPE, Approval, sign
from exchange.governance.impact import commitment_of
from exchange.hub import working
from exchange.ledger.entry import commitment
from exchange.model.page import Filter
from exchange.rules import Caller
from exchange.taxii.resources import OBJECTS
from exchange.times import as_datetime, as_text
from exchange.web.services import Services
from policies.label import Label
from tests.agreeing import BOTH, about, approvals, enact, in_force, overlay, signed, successor, tightening
from tests.world import Founded, found

pytestmark = pytest.mark.asyncio(loop_scope="module")

CROSSING = Label(
    collection="indicators", originator="us-cyber", country="US", roles=("agency", "csirt"), sectors=("gov.cyber",),
    tlp="amber", pap="clear", caveats=(), rel_to=None, object_class="indicator", confidence="high",
    assurance="originator-signed", consent="none", feed="",
)  # fmt: skip


def bench_now(clock: FixedClock) -> str:
    return as_text(clock.now_us())[:19] + "Z"


@dataclass
class Bench:
    """A hub's parts at a time that the test sets."""

    founded: Founded
    clock: FixedClock
    services: Services

    @property
    def home(self) -> Any:
        return self.founded.home

    async def next(self, *changes: tuple[str, str], **keys: object) -> bytes:
        """The version after the one in force, beginning now unless told otherwise."""
        document, _ = await in_force(self.services)
        keys = {
            "effective_from": bench_now(self.clock),
            "review_by": "2031-10-01T06:00:00Z",
            "expires": "2031-11-01T06:00:00Z",
        } | keys
        return successor(document, *changes, **keys)

    async def refused(self, coroutine: Any) -> tuple[str, str]:
        """The code and the field of the refusal; both languages are there."""
        with pytest.raises(Refusal) as refusal:
            await coroutine
        assert refusal.value.text.en != refusal.value.text.es
        return refusal.value.code, refusal.value.field or ""

    async def told(self, since: int, log: str = "both") -> list[dict[str, Any]]:
        """The agreement's entries from an index on."""
        leaves = await self.services.store.leaves(log, since, 10_000)
        return [leaf for one in leaves if (leaf := orjson.loads(one))["t"].startswith("policy.")]

    async def size(self, log: str = "both") -> int:
        return (await self.services.store.trees())[log].size

    async def effect(self, to: str, label: Label = CROSSING) -> tuple[str, str]:
        rules = await self.services.rulebook.current()
        decision = rules.decide(label, rules.registry.members[to])
        return decision.effect, decision.clause

    def later(self, **span: float) -> str:
        days, seconds = span.get("days", 0), span.get("seconds", 0)
        return as_text(self.clock.now_us() + round((days * 86_400 + seconds) * 1_000_000))[:19] + "Z"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory, database: dict[str, Any]) -> AsyncIterator[Bench]:
    clock = FixedClock("2026-11-24T12:00:00Z")
    async with (
        found(tmp_path_factory.mktemp("life"), clock=clock, agreement_notice_seconds=0, **database) as founded,
        working(founded.settings, clock) as services,
    ):
        yield Bench(founded, clock, services)


# --- the steps ---


async def test_each_step_from_draft_to_superseded_is_an_entry(bench: Bench) -> None:
    since = await bench.size()
    before = await bench.services.rulebook.current()
    document = await bench.next(effective_from=bench.later(seconds=60))
    draft = await bench.services.agreements.propose(OPERATOR, document)
    for who in BOTH:
        draft = await bench.services.agreements.approve(OPERATOR, draft.row.sha256, approvals(bench.home, draft, [who]))
    assert draft.scheduled and (await bench.services.rulebook.current()).number == before.number
    await bench.services.agreements.look()
    assert (await bench.services.rulebook.current()).number == before.number, "its time has not come"
    bench.clock.advance(seconds=60)
    await bench.services.agreements.look()
    await bench.services.agreements.look()
    after = await bench.services.rulebook.current()
    assert (after.number, after.agreed) == (before.number + 1, draft.agreement)

    entries = await bench.told(since)
    steps = ["propose", *["approve"] * 4, "schedule", "activate", "retire"]
    assert [one["t"].removeprefix("policy.") for one in entries] == steps
    assert {one["pub"].get("impact_sha256", draft.row.impact_sha256) for one in entries} == {draft.row.impact_sha256}
    assert entries[-2]["pub"]["approvers"] == {"US": ["us-appr-1", "us-appr-2"], "MX": ["mx-appr-1", "mx-appr-2"]}
    assert entries[-1]["pub"]["sha256"] == before.agreed.sha256
    assert [one["pol"] for one in entries[-3:]] == [f"us-mx-trade-cyber/{before.number}@{before.number}"] + [
        f"us-mx-trade-cyber/{after.number}@{after.number}"
    ] * 2
    row = await bench.services.store.agreement()
    assert row is not None
    assert (row.cause, row.impact_sha256, len(orjson.loads(row.approvals))) == ("activate", draft.row.impact_sha256, 4)


async def test_an_approval_in_the_ledger_can_be_verified_without_the_hub(bench: Bench) -> None:
    since = await bench.size()
    draft = await enact(bench.services, bench.home, await bench.next())
    entry = next(one for one in await bench.told(since) if one["t"] == "policy.approve")
    words = {name: value for name, value in entry["pub"].items() if name != "jws"}
    assert words == {**about(draft), "approver": "us-appr-1", "country": "US", "decision": "approve"}
    stem = bench.home.root / "pki" / "us" / "approvers" / "appr-1"
    certificate = read_certificate(stem.with_suffix(".pem").read_bytes())
    again = sign(about(draft), decision="approve", key=load_key(stem.with_suffix(".key")), certificate=certificate)
    assert again == Approval(words, entry["pub"]["jws"])


async def test_a_schedule_outlives_a_restart_and_several_processes_activate_it_once(bench: Bench) -> None:
    draft = await enact(bench.services, bench.home, await bench.next(effective_from=bench.later(seconds=30)))
    since = await bench.size()
    number = (await bench.services.rulebook.current()).number
    async with contextlib.AsyncExitStack() as stack:
        settings = bench.founded.settings
        processes = [await stack.enter_async_context(working(settings, bench.clock)) for _ in range(3)]
        for one in processes:
            await one.agreements.look()
        bench.clock.advance(seconds=31)
        for _ in range(3):
            await asyncio.gather(*(one.agreements.look() for one in processes))
        assert {(await one.rulebook.current()).number for one in processes} == {number + 1}
    assert (await bench.services.rulebook.current()).agreed == draft.agreement
    assert [one["t"] for one in await bench.told(since)] == ["policy.activate", "policy.retire"]


async def test_an_approver_may_take_back_an_approval_until_it_is_in_force(bench: Bench) -> None:
    agreements = bench.services.agreements
    draft = await agreements.propose(OPERATOR, await bench.next(effective_from=bench.later(seconds=30)))
    draft = await agreements.approve(OPERATOR, draft.row.sha256, approvals(bench.home, draft))
    assert draft.scheduled
    refusal = signed(bench.home, about(draft), "MX-2", "refuse")
    await agreements.approve(OPERATOR, draft.row.sha256, [refusal])
    bench.clock.advance(seconds=31)
    before = (await bench.services.rulebook.current()).number
    await agreements.look()
    assert (await bench.services.rulebook.current()).number == before
    third = approvals(bench.home, draft, ["MX-3"])
    await agreements.approve(OPERATOR, draft.row.sha256, third)
    assert (await bench.services.rulebook.current()).agreed == draft.agreement


# --- the impact ---


async def test_the_impact_tells_neither_country_what_stays_in_the_other(bench: Bench) -> None:
    document = await bench.next()
    draft = await bench.services.agreements.propose(OPERATOR, document)
    impact, openings = orjson.loads(draft.row.impact), orjson.loads(draft.row.openings)
    assert set(impact["domestic"]) == set(openings) == {"US", "MX"}
    for country, opening in openings.items():
        assert commitment_of(opening) == impact["domestic"][country]
        assert commitment(b64decode(opening["salt"]), canonical(opening["lines"])).hex() == impact["domestic"][country]
        assert all(line["direction"] == f"{country}>{country}" for line in opening["lines"])
    assert all(line["direction"] in ("US>MX", "MX>US") for line in impact["cross_border"])
    again = await bench.services.agreements.propose(OPERATOR, document)
    assert again.row.impact_sha256 != draft.row.impact_sha256, "equal domestic lines must not look equal"


# --- what is refused ---


async def test_a_forged_approval_is_refused(bench: Bench) -> None:
    draft = await bench.services.agreements.propose(OPERATOR, await bench.next())
    [good] = approvals(bench.home, draft, ["US-1"])
    [others] = approvals(bench.home, draft, ["US-2"])
    forged = orjson.dumps({"approval": orjson.loads(good)["approval"], "jws": orjson.loads(others)["jws"]})
    since = await bench.size()
    approve = bench.services.agreements.approve
    assert await bench.refused(approve(OPERATOR, draft.row.sha256, [good, forged])) == ("approval-forged", "approval 2")
    assert await bench.told(since) == [], "one that is bad spoils what came with it"


async def test_an_approval_by_a_stranger_or_in_anothers_name_is_refused(bench: Bench) -> None:
    draft = await bench.services.agreements.propose(OPERATOR, await bench.next())
    approve = bench.services.agreements.approve
    stranger = Authority.load(bench.home.root / "pki" / "us").issue(
        "approver", "stranger", now=as_datetime(bench.clock.now_us())
    )
    assert stranger.key is not None
    unknown = sign(about(draft), decision="approve", key=stranger.key, certificate=stranger.certificate).encode()
    assert (await bench.refused(approve(OPERATOR, draft.row.sha256, [unknown])))[0] == "approval-unknown"
    for bad, code in (
        (b"{}", "approval-form"),
        (b"[1", "approval-form"),
        (b'{"approval":{},"jws":"x"}', "approval-form"),
    ):
        assert (await bench.refused(approve(OPERATOR, draft.row.sha256, [bad])))[0] == code


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ({"approver": "us-appr-2"}, "approval-name"),
        ({"country": "MX"}, "approval-name"),
        ({"decision": "tighten"}, "approval-decision"),
        ({"effective_from": "2026-01-01T00:00:00Z"}, "approval-replayed"),
        ({"prev_sha256": "0" * 64}, "approval-replayed"),
        ({"version": True}, "approval-replayed"),
        ({"more": 1}, "approval-replayed"),
    ],
    ids=str,
)
async def test_words_that_do_not_fit_are_refused_though_well_signed(
    bench: Bench, words: dict[str, Any], code: str
) -> None:
    draft = await bench.services.agreements.propose(OPERATOR, await bench.next())
    said = {**about(draft), "approver": "us-appr-1", "country": "US", "decision": "approve", **words}
    stem = bench.home.root / "pki" / "us" / "approvers" / "appr-1"
    certificate = read_certificate(stem.with_suffix(".pem").read_bytes())
    jws = sign_document(said, typ=APPROVAL_TYPE, key=load_key(stem.with_suffix(".key")), certificate=certificate)
    given = [orjson.dumps({"approval": said, "jws": jws})]
    assert (await bench.refused(bench.services.agreements.approve(OPERATOR, draft.row.sha256, given)))[0] == code


async def test_a_replayed_approval_is_refused(bench: Bench) -> None:
    first = await bench.services.agreements.propose(OPERATOR, await bench.next())
    old = approvals(bench.home, first)
    await bench.services.agreements.approve(OPERATOR, first.row.sha256, old)
    second = await bench.services.agreements.propose(OPERATOR, await bench.next())
    approve = bench.services.agreements.approve
    assert (await bench.refused(approve(OPERATOR, second.row.sha256, old)))[0] == "approval-replayed"
    assert (await bench.refused(approve(OPERATOR, first.row.sha256, old)))[0] == "agreement-rollback"


async def test_an_approval_over_another_impact_is_refused(bench: Bench) -> None:
    document = await bench.next()
    first = await bench.services.agreements.propose(OPERATOR, document)
    second = await bench.services.agreements.propose(OPERATOR, document)
    approve = bench.services.agreements.approve
    assert (await bench.refused(approve(OPERATOR, second.row.sha256, approvals(bench.home, first))))[
        0
    ] == "approval-impact"


async def test_one_country_alone_brings_nothing_into_force(bench: Bench) -> None:
    before = (await bench.services.rulebook.current()).number
    draft = await bench.services.agreements.propose(OPERATOR, await bench.next())
    given = approvals(bench.home, draft, ["US-1", "US-2", "US-3", "MX-1"])
    draft = await bench.services.agreements.approve(OPERATOR, draft.row.sha256, given)
    rules = await bench.services.rulebook.current()
    assert (rules.number, draft.scheduled, draft.standing(rules).lacking) == (before, False, ["MX"])
    with pytest.raises(NotPermitted) as refusal:
        draft.standing(rules).must_be_enough()
    assert (refusal.value.code, "MX" in refusal.value.text.en) == ("approval-missing", True)


async def test_nobody_counts_twice(bench: Bench) -> None:
    draft = await bench.services.agreements.propose(OPERATOR, await bench.next())
    given = approvals(bench.home, draft, ["US-1", "US-1", "MX-1", "MX-2"])
    draft = await bench.services.agreements.approve(OPERATOR, draft.row.sha256, given)
    assert draft.standing(await bench.services.rulebook.current()).lacking == ["US"]


async def test_a_version_that_goes_back_or_aside_is_refused(bench: Bench) -> None:
    document, agreement = await in_force(bench.services)
    propose = bench.services.agreements.propose
    assert await bench.refused(propose(OPERATOR, document + b"\n")) == ("agreement-rollback", "version")
    other = successor(document, prev_sha256="0" * 64)
    assert await bench.refused(propose(OPERATOR, other)) == ("agreement-order", "prev_sha256")
    ahead = successor(document, version=agreement.version + 2)
    assert (await bench.refused(propose(OPERATOR, ahead)))[0] == "agreement-order"
    over = successor(
        document,
        effective_from="2026-01-01T00:00:00Z",
        review_by="2026-01-15T00:00:00Z",
        expires="2026-02-01T00:00:00Z",
    )
    assert await bench.refused(propose(OPERATOR, over)) == ("agreement-expired", "expires")
    failing = successor(document, ('tlp = "amber+strict", pap = "amber" }', 'tlp = "amber+strict", pap = "red" }'))
    assert (await bench.refused(propose(OPERATOR, failing)))[0] == "agreement-test"
    with pytest.raises(Malformed):
        await propose(OPERATOR, b"version = ")
    with pytest.raises(NotFound):
        await bench.services.agreements.approve(OPERATOR, "0" * 64, [])


async def test_new_approvers_do_not_make_themselves(bench: Bench) -> None:
    """The Update Framework's rule: whoever may approve from now on is agreed by those who could until now."""
    agreements = bench.services.agreements
    three, first, second = (
        '"mx-appr-1", "mx-appr-2", "mx-appr-3"',
        '"mx-appr-1", "mx-appr-2"',
        '"mx-appr-2", "mx-appr-3"',
    )
    draft = await enact(bench.services, bench.home, await bench.next((three, first)))
    unnamed = await agreements.propose(OPERATOR, await bench.next())
    third = approvals(bench.home, unnamed, ["MX-3"])
    assert (await bench.refused(agreements.approve(OPERATOR, unnamed.row.sha256, third)))[0] == "approval-unnamed"

    draft = await agreements.propose(OPERATOR, await bench.next((first, second)))
    given = approvals(bench.home, draft, ["US-1", "US-2", "MX-2", "MX-3"])
    draft = await agreements.approve(OPERATOR, draft.row.sha256, given)
    rules = await bench.services.rulebook.current()
    standing = draft.standing(rules)
    assert (draft.scheduled, standing.lacking, standing.swapped) == (False, [], ["MX"])
    with pytest.raises(NotPermitted) as refusal:
        standing.must_be_enough()
    assert refusal.value.code == "approver-swap"
    await agreements.approve(OPERATOR, draft.row.sha256, approvals(bench.home, draft, ["MX-1"]))
    assert (await bench.services.rulebook.current()).agreed == draft.agreement

    draft = await agreements.propose(OPERATOR, await bench.next((second, three)))
    given = approvals(bench.home, draft, ["US-1", "US-2", "MX-2", "MX-3"])
    await agreements.approve(OPERATOR, draft.row.sha256, given)
    assert (await bench.services.rulebook.current()).agreed == draft.agreement


async def test_the_trust_list_asks_for_two_whatever_the_agreement_says(bench: Bench) -> None:
    agreements = bench.services.agreements
    one = ('threshold = 2, keys = ["mx', 'threshold = 1, keys = ["mx')
    draft = await agreements.propose(OPERATOR, await bench.next(one))
    draft = await agreements.approve(OPERATOR, draft.row.sha256, approvals(bench.home, draft, ["US-1", "US-2", "MX-3"]))
    assert draft.standing(await bench.services.rulebook.current()).lacking == ["MX"]


# --- one country alone ---


async def test_one_country_tightens_at_once_and_it_ends_by_itself(bench: Bench) -> None:
    await enact(bench.services, bench.home, await bench.next())
    services = bench.services
    assert (await bench.effect("mx-ciber"))[0] == "permit"
    since, in_mexico = await bench.size(), await bench.size("mx")
    before = await services.rulebook.current()
    document = overlay((await in_force(services))[1], bench.clock.now_us(), days=7)
    await services.agreements.tighten(OPERATOR, document, tightening(bench.home, document, ["US-1", "US-2"]))
    rules = await services.rulebook.current()
    assert (rules.number, rules.agreed) == (before.number + 1, before.agreed)
    assert await bench.effect("mx-ciber") == ("deny", "F-US-PORTS")
    assert (await bench.effect("us-customs"))[0] == "permit"
    [entry] = await bench.told(since)
    assert (entry["t"], entry["pub"]["country"]) == ("policy.tighten", "US")
    [notice] = await bench.told(in_mexico, "mx")
    assert (notice["t"], notice["req"]) == ("policy.notice", entry["req"])
    assert await bench.refused(services.agreements.tighten(OPERATOR, document, [])) == ("overlay-known", "overlay_id")

    # A version that both had agreed for tomorrow does not end it.
    await enact(services, bench.home, await bench.next(effective_from=bench.later(days=1)))
    bench.clock.advance(seconds=86_400)
    await services.agreements.look()
    assert (await services.rulebook.current()).number == before.number + 2
    assert await bench.effect("mx-ciber") == ("deny", "F-US-PORTS")

    bench.clock.advance(seconds=6 * 86_400)
    await services.agreements.look()
    assert (await services.rulebook.current()).overlays == ()
    assert (await bench.effect("mx-ciber"))[0] == "permit"
    assert [one["t"] for one in await bench.told(since)][-1] == "policy.lapse"
    known = tightening(bench.home, document, ["US-1", "US-2"])
    assert (await bench.refused(services.agreements.tighten(OPERATOR, document, known)))[0] == "overlay-agreement"


async def test_who_tightened_may_lift_it_early_and_what_both_signed_is_in_force_again(bench: Bench) -> None:
    """The very same document, by digest: lifting gives nobody anything that both countries had not signed."""
    services = bench.services
    lift, since = services.agreements.lift, await bench.size()
    agreed = (await in_force(services))[1]
    document = overlay(agreed, bench.clock.now_us(), name="us-lifted")
    approved = tightening(bench.home, document, ["US-1", "US-2"])
    await services.agreements.tighten(OPERATOR, document, approved)
    other = overlay(
        agreed, bench.clock.now_us(), name="mx-stays", country="MX", rule="STAYS", more='from.members = ["us-customs"]'
    )
    await services.agreements.tighten(OPERATOR, other, tightening(bench.home, other, ["MX-1", "MX-2"]))
    assert await bench.effect("mx-ciber") == ("deny", "F-US-PORTS")

    for who, decision, code in (
        (["MX-1", "MX-2"], "lift", "approval-country"),
        (["US-1"], "lift", "approval-missing"),
        (["US-1", "US-2"], "tighten", "approval-decision"),
    ):
        given = tightening(bench.home, document, who, decision)
        assert (await bench.refused(lift(OPERATOR, document, given)))[0] == code
    released = tightening(bench.home, document, ["US-1", "US-2"], "lift")
    in_mexico = await bench.size("mx")
    await lift(OPERATOR, document, released)

    rules = await services.rulebook.current()
    assert [one.overlay_id for one in rules.overlays] == ["mx-stays"], "another's stays"
    assert rules.agreed is not None and rules.agreed.sha256 == agreed.sha256
    assert (await bench.effect("mx-ciber"))[0] == "permit"
    [entry] = [one for one in await bench.told(since) if one["t"] == "policy.lift"]
    assert entry["pub"]["approvers"] == ["us-appr-1", "us-appr-2"]
    [notice] = await bench.told(in_mexico, "mx")
    assert (notice["t"], notice["pub"]["act"]) == ("policy.notice", "policy.lift")
    assert (await bench.refused(lift(OPERATOR, document, released)))[0] == "overlay-unknown"
    replayed = bench.services.agreements.tighten(OPERATOR, document, approved)
    assert (await bench.refused(replayed))[0] == "overlay-known", "its signatures are used up"

    await lift(OPERATOR, other, tightening(bench.home, other, ["MX-1", "MX-2"], "lift"))
    rules = await services.rulebook.current()
    assert rules.agreement == rules.agreed, "judged by what both signed, and by nothing else"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"who": ["US-1"]}, "approval-missing"),
        ({"who": ["US-1", "US-1"]}, "approval-missing"),
        ({"who": ["MX-1", "MX-2"]}, "approval-country"),
        ({"days": 31}, "overlay-term"),
        ({"days": -1}, "overlay-term"),
        ({"ahead": 86_400}, "overlay-time"),
        ({"ahead": -8 * 86_400}, "overlay-time"),
        ({"more": 'to.audience = "ports"'}, "overlay-audience"),
        ({"more": "to.members = []"}, "empty-audience"),
        ({"rule": "PORTS-", "country": "US"}, "bad-form"),
    ],
    ids=str,
)  # fmt: skip
async def test_a_tightening_that_is_not_one_is_refused(bench: Bench, given: dict[str, Any], code: str) -> None:
    who, ahead = given.pop("who", ["US-1", "US-2"]), given.pop("ahead", 0)
    _, agreement = await in_force(bench.services)
    document = overlay(agreement, bench.clock.now_us() + ahead * 1_000_000, **given)
    given.update(who=who, ahead=ahead)
    before = (await bench.services.rulebook.current()).number
    try:
        signatures = tightening(bench.home, document, who)
    except ValueError:
        signatures = []
    assert (await bench.refused(bench.services.agreements.tighten(OPERATOR, document, signatures)))[0] == code
    assert (await bench.services.rulebook.current()).number == before


async def test_a_tightening_bears_on_no_affair_of_the_other_country(bench: Bench) -> None:
    _, agreement = await in_force(bench.services)
    document = overlay(agreement, bench.clock.now_us()).replace(b'["US>MX", "MX>US"]', b'["MX>MX"]')
    signatures = tightening(bench.home, document, ["US-1", "US-2"])
    assert (await bench.refused(bench.services.agreements.tighten(OPERATOR, document, signatures)))[
        0
    ] == "overlay-foreign"


async def test_an_approval_of_a_version_is_none_of_a_tightening(bench: Bench) -> None:
    draft = await bench.services.agreements.propose(OPERATOR, await bench.next())
    _, agreement = await in_force(bench.services)
    document = overlay(agreement, bench.clock.now_us())
    tighten = bench.services.agreements.tighten
    assert (await bench.refused(tighten(OPERATOR, document, approvals(bench.home, draft, ["US-1", "US-2"]))))[
        0
    ] == "approval-replayed"


# --- the end ---


async def test_a_page_decided_before_the_end_does_not_leave_after_it(bench: Bench) -> None:
    """As when the release is recorded a moment later: the clock moves on between the two."""
    services = bench.services
    await enact(services, bench.home, await bench.next(expires=bench.later(days=1), review_by=bench.later(seconds=60)))
    rules = await services.rulebook.current()
    members, collection = rules.registry.members, rules.collection("indicators")
    assert collection is not None
    sent = canonical({"objects": [bench.founded.signed("us-cyber")]})
    await services.intake.submit(Caller(members["us-cyber"], "acct"), collection, sent)
    early = await services.rulebook.glance()
    reader = Caller(members["mx-ciber"], "acct")
    bench.clock.advance(seconds=86_399)
    assert (await services.release.page(reader, early, collection, Filter(), 0, 10, OBJECTS)).sheet.count == 1
    bench.clock.advance(seconds=1)
    released = await services.release.page(reader, early, collection, Filter(), 0, 10, OBJECTS)
    assert (released.sheet.count, released.leaves) == (0, ())
    await enact(services, bench.home, await bench.next(review_by="2030-11-01T06:00:00Z"))


async def test_at_its_end_nothing_crosses_and_the_countries_go_on(bench: Bench) -> None:
    services = bench.services
    await enact(services, bench.home, await bench.next(expires=bench.later(days=1), review_by=bench.later(seconds=60)))
    assert (await bench.effect("mx-ciber"))[0] == "permit"
    since = await bench.size()
    number = (await services.rulebook.current()).number
    bench.clock.advance(seconds=86_400)
    assert await bench.effect("mx-ciber") == ("deny", "expires"), "from that instant on, whoever looks or not"
    assert (await bench.effect("us-customs"))[0] == "permit"
    for _ in range(3):
        await services.agreements.look()
    [entry] = await bench.told(since)
    assert (entry["t"], (await services.rulebook.current()).number) == ("policy.expire", number + 1)
    await enact(services, bench.home, await bench.next(review_by="2030-11-01T06:00:00Z"))
    assert (await bench.effect("mx-ciber"))[0] == "permit"
