"""The questions by themselves, over entries made here: how sure it is that a page held an object, what filters do."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from certs.jcs import canonical
from exchange.auditing.answers import QUESTIONS, SEAL_TITLE, Answer, Mark, answer, seal, unseal
from exchange.auditing.rows import Asked
from exchange.cli.desk_pages import csv_text, html_text
from exchange.ledger.merkle import root
from exchange.ledger.note import NoteFault, new_log_key
from exchange.model.stix import item_hash
from exchange.store.answers import Opening
from exchange.times import as_text

ID, OTHER = "indicator--11111111-1111-4111-8111-111111111111", "indicator--22222222-2222-4222-8222-222222222222"
VERSION, DIGEST = "2026-11-24T12:00:00.000Z", "ab" * 32
ON = "coll:91a7d2b8-0000-4000-8000-000000000000"
SECOND = 1_000_000


@dataclass
class Logs:
    """Entries as a store would hand them out, without a tree over them; of any kind and form, as another version of the hub may
    have written them."""

    data: dict[str, list[bytes]] = field(default_factory=lambda: {"both": [], "us": [], "mx": []})
    opened: dict[tuple[str, int], Mapping[str, Any]] = field(default_factory=dict)
    loose: set[tuple[str, int]] = field(default_factory=set)
    """Of these only a pack's list is known, which nothing committed to."""
    seq: int = 0

    def add(
        self, log: str, t: str, actor: str, at: int, pub: Mapping[str, Any], private: Mapping[str, Any] | None = None,
        *, on: str = ON, pol: str = "us-mx/1@1", req: str = "r",
    ) -> None:  # fmt: skip
        self.seq += 1
        leaf = {
            "v": 1, "log": log, "t": t, "time": as_text(at), "req": req, "actor": actor, "on": on, "out": "ok", "pol": pol,
            "pub": dict(pub), **({} if log == "both" else {"seq": self.seq}), **({} if private is None else {"c": "AAAA"}),
        }  # fmt: skip
        if private is not None:
            self.opened[log, len(self.data[log])] = private
        self.data[log].append(canonical(leaf))

    async def leaves(self, log: str, start: int, end: int) -> list[bytes]:
        return self.data[log][start:end]

    async def openings(self, log: str, start: int, end: int) -> list[Opening]:
        found = [(index, private) for (name, index), private in sorted(self.opened.items()) if name == log]
        return [
            Opening(index, b"" if (log, index) in self.loose else bytes(32), canonical(dict(private)))
            for index, private in found
            if start <= index < end
        ]

    def ask(self, question: str, *logs: str, **words: Any) -> Answer:
        marks = [Mark(log, f"hub/{log}", len(self.data[log]), "00") for log in logs or ("both", "us", "mx")]
        return asyncio.run(answer(Asked(question, **words), self, marks))


def publish(logs: Logs, ticks: Sequence[int], ids: Sequence[str], *, listed: bool = True) -> None:
    lines = [f"{tick} {one} {VERSION} {DIGEST}" for tick, one in zip(ticks, ids, strict=True)]
    pub = {"cause": "new", "first": as_text(ticks[0]), "last": as_text(ticks[-1]), "count": len(ticks)}
    logs.add("both", "publish", "us:us-cyber:acct:1", ticks[0], pub, {"items": lines}, req=f"p{ticks[0]}")
    if not listed:
        del logs.opened["both", len(logs.data["both"]) - 1]


def release(
    logs: Logs, at: int, runs: Sequence[tuple[int, int]], ids: Sequence[str], *, listed: bool = True, top: str = ""
) -> None:
    items = [item_hash(one, VERSION, bytes.fromhex(DIGEST)) for one in ids]
    pub = {
        "kind": "objects", "first": as_text(runs[0][0]), "last": as_text(runs[-1][0] + runs[-1][1] - 1), "count": len(ids),
        "items_root": top or root(items).hex(),
    }  # fmt: skip
    logs.add("both", "release", "mx:mx-aduanas:acct:2", at, pub, {"ticks": [list(run) for run in runs]})
    if not listed:
        del logs.opened["both", len(logs.data["both"]) - 1]


def evidence(found: Answer) -> list[str]:
    return [row["evidence"] for row in found.rows]


# --- pages ---


def test_a_page_is_proved_by_hashing_its_items_to_its_root() -> None:
    logs = Logs()
    publish(logs, [10, 11], [ID, OTHER])
    publish(logs, [50], [OTHER])
    release(logs, 100, [(10, 2), (50, 1)], [ID, OTHER, OTHER])
    release(logs, 200, [(50, 1)], [OTHER])
    assert evidence(logs.ask("who-saw", object=ID)) == ["proved"]
    assert evidence(logs.ask("who-saw", object=OTHER)) == ["proved", "proved"]


def test_a_page_whose_other_items_are_not_known_is_listed() -> None:
    logs = Logs()
    publish(logs, [10], [ID])
    release(logs, 100, [(10, 2)], [ID, OTHER])
    assert evidence(logs.ask("who-saw", object=ID)) == ["listed"]


def test_a_list_that_does_not_hash_to_the_root_is_said_to_contradict_it() -> None:
    logs = Logs()
    publish(logs, [10], [ID])
    release(logs, 100, [(10, 1)], [ID], top="00" * 32)
    found = logs.ask("who-saw", object=ID)
    assert evidence(found) == ["contradicted"]
    assert "root-contradicted" in [one["code"] for one in found.end["remarks"]]


@pytest.mark.parametrize(
    ("listed", "held", "found"),
    [
        ([(10, 2)], [ID, OTHER], ["proved"]),
        ([(9, 1), (12, 1)], [OTHER, OTHER], []),  # the page spans its place, and is proved to hold others
        ([(9, 1), (12, 1)], [OTHER, ID], ["contradicted"]),  # the list names other places than the page gave
        ([(9, 1), (13, 1)], [OTHER, ID], ["root-only"]),  # it names one of which nothing is known here
    ],
)
def test_a_list_that_nothing_committed_to_cannot_leave_an_object_out(
    listed: Sequence[tuple[int, int]], held: Sequence[str], found: list[str]
) -> None:
    logs = Logs()
    publish(logs, [9, 10, 11, 12], [OTHER, ID, OTHER, OTHER])
    release(logs, 100, listed, held)
    logs.loose.add(("both", 1))
    assert evidence(logs.ask("who-saw", object=ID)) == found
    logs.loose.clear()
    assert evidence(logs.ask("who-saw", object=ID)) == (found if found == ["proved"] else [])


def test_a_false_list_of_what_was_released_late_contradicts_the_page() -> None:
    logs = Logs()
    publish(logs, [10, 11], [ID, OTHER])
    pub = {"cause": "grant", "to": "mx-aduanas", "first": as_text(70), "last": as_text(70), "count": 1}
    logs.add("both", "publish", "hub:puente:acct:hub", 70, pub, {"runs": [[70, 11, 1]]})
    release(logs, 100, [(70, 1)], [ID])
    logs.loose.add(("both", 1))
    assert evidence(logs.ask("who-saw", object=ID)) == ["contradicted"]


def test_when_the_pages_list_was_dropped_only_its_root_remains_and_that_is_said() -> None:
    logs = Logs()
    publish(logs, [10, 11], [ID, OTHER])
    release(logs, 100, [(10, 2)], [ID, OTHER], listed=False)
    release(logs, 100, [(11, 1)], [OTHER], listed=False)
    found = logs.ask("who-saw", object=ID)
    assert evidence(found) == ["root-only"]
    assert "manifest-dropped" in [one["code"] for one in found.end["remarks"]]


def test_when_the_publications_list_was_dropped_the_objects_own_submission_tells_its_place() -> None:
    logs = Logs()
    facts = {"object": ID, "version": VERSION, "sha256": DIGEST}
    publish(logs, [10], [ID], listed=False)
    logs.add("us", "submit", "us:us-cyber:acct:1", 10, facts, req="p10")
    publish(logs, [20], [OTHER], listed=False)
    release(logs, 100, [(10, 1)], [ID])
    release(logs, 100, [(20, 1)], [OTHER])
    owner, other = logs.ask("who-saw", "both", "us", object=ID), logs.ask("who-saw", "both", "mx", object=ID)
    assert evidence(owner) == ["root-only"]
    assert evidence(other) == []
    assert {"not-in-these-logs", "lists-dropped"} <= {one["code"] for one in other.end["remarks"]}


def test_what_was_released_late_is_found_by_its_fresh_ticks() -> None:
    logs = Logs()
    publish(logs, [10, 11, 12], [OTHER, ID, OTHER])
    pub = {"cause": "grant", "to": "mx-aduanas", "first": as_text(70), "last": as_text(72), "count": 3}
    logs.add("both", "publish", "hub:puente:acct:hub", 70, pub, {"runs": [[70, 10, 3]]})
    release(logs, 100, [(70, 3)], [OTHER, ID, OTHER])
    assert evidence(logs.ask("who-saw", object=ID)) == ["proved"]
    assert [row["event"] for row in logs.ask("why", object=ID, to="mx-aduanas").rows] == [
        "publish",
        "publish",
        "release",
    ]


def crossing(
    logs: Logs, at: int, to: str, ticks: Sequence[int], ids: Sequence[str] = (), *, loose: bool = False
) -> None:
    """A page with what was published where this auditor may not read; with `ids` it names them."""
    release(logs, at, [(tick, 1) for tick in ticks], [ID, OTHER])
    index = len(logs.data["both"]) - 1
    logs.data["both"][index] = logs.data["both"][index].replace(b"mx:mx-aduanas", f"mx:{to}".encode())
    lines = [f"{tick} {one} {VERSION} {DIGEST}" for tick, one in zip(ticks, ids, strict=False)]
    if loose:
        logs.opened["both", index] = {"items": lines}
        logs.loose.add(("both", index))
    elif ids:
        logs.opened["both", index] = {**logs.opened["both", index], "items": lines}


@pytest.mark.parametrize("loose", [False, True])
def test_what_one_page_names_is_known_wherever_it_stands(loose: bool) -> None:
    """Placed at 11 and 12 in a log that is not here; of two members, one was given it late twice over, the other where it lay."""
    logs = Logs()
    for first, to in ((50, "mx-aduanas"), (70, "mx-ciber")):
        pub = {"cause": "grant", "to": to, "first": as_text(first), "last": as_text(first + 1), "count": 2}
        logs.add("both", "publish", "hub:puente:acct:hub", first, pub, {"runs": [[first, 11, 2]], "under": {}})
    logs.add("both", "deny", "mx:mx-aduanas:acct:2", 80, {"code": "x", "resource": "y"})
    crossing(logs, 100, "mx-ciber", [70, 71], [ID, OTHER], loose=loose)
    crossing(logs, 110, "mx-aduanas", [50, 51])
    crossing(logs, 120, "mx-marina", [11, 12])
    assert evidence(logs.ask("who-saw", object=ID)) == ["proved"] * 3
    assert [row["time"] for row in logs.ask("why", object=ID, to="mx-aduanas").rows] == list(
        map(as_text, (50, 80, 110))
    )
    for question in ("submitted", "why"):
        found = logs.ask(question, object=ID, **({"to": "mx-puerto-pac"} if question == "why" else {}))
        assert not found.rows and "crossed-later" in [one["code"] for one in found.end["remarks"]]


def test_a_page_that_names_its_objects_at_other_places_contradicts_the_next() -> None:
    logs = Logs()
    crossing(logs, 100, "mx-ciber", [12, 11], [ID, OTHER], loose=True)
    crossing(logs, 110, "mx-aduanas", [11, 12])
    assert evidence(logs.ask("who-saw", object=ID)) == ["proved", "contradicted"]


def test_a_page_of_the_same_moment_counts_as_after_what_was_placed_in_it() -> None:
    logs = Logs()
    publish(logs, [10], [ID])
    logs.add("us", "release", "us:us-maritime:acct:3", 10, {"kind": "objects", "first": as_text(10), "last": as_text(10), "count": 1, "items_root": root([item_hash(ID, VERSION, bytes.fromhex(DIGEST))]).hex()}, {"ticks": [[10, 1]]})  # fmt: skip
    assert evidence(logs.ask("who-saw", object=ID)) == ["proved"]


# --- order ---


def test_a_release_under_a_superseded_agreement_is_found() -> None:
    logs = Logs()
    actor = "hub:puente:acct:hub"
    logs.add("both", "policy.activate", actor, 10, {}, pol="us-mx/1@1", on="agreement:us-mx")
    release(logs, 20, [(5, 1)], [ID])
    logs.add("both", "policy.activate", actor, 30, {}, pol="us-mx/2@2", on="agreement:us-mx")
    release(logs, 30, [(5, 1)], [ID])  # in `both` the order tells, whatever the time
    logs.add(
        "us", "release", "us:us-maritime:acct:3", 30, {"kind": "objects", "count": 1}
    )  # beside it only the time does
    logs.add("us", "release", "us:us-maritime:acct:3", 31, {"kind": "objects", "count": 1})
    found = logs.ask("superseded")
    assert [(row["log"], row["time"][-4:]) for row in found.rows] == [("both", "030Z"), ("us", "031Z")]


@pytest.mark.parametrize(
    ("private", "known", "told"),
    [
        ({"labels": ["b" * 16, "a" * 16]}, True, True),
        ({"labels": ["b" * 16]}, True, False),
        ({"labels": ["b" * 16]}, False, True),  # under which label it came is in the other country's log
        (None, True, True),  # which labels closed may not be seen
    ],
)
def test_a_closing_is_told_of_the_objects_whose_labels_it_names(
    private: dict[str, Any] | None, known: bool, told: bool
) -> None:
    logs = Logs()
    if known:
        logs.add("us", "submit", "us:us-cyber:acct:1", 10, {"object": ID, "version": VERSION, "sha256": DIGEST, "label": "a" * 16})  # fmt: skip
    closing = {"cause": "grant", "to": "mx-ciber", "count": 1, "recall": "r"}
    logs.add("both", "withdraw", "hub:puente:acct:hub", 20, closing, private, on="coll:c1")
    rows = [row["event"] for row in logs.ask("why", object=ID, to="mx-ciber").rows]
    assert ("withdraw" in rows) is told


def test_a_start_without_a_stop_before_it_is_marked() -> None:
    logs = Logs()
    for at, kind in enumerate(("log.start", "log.stop", "log.start", "log.start", "clock.step")):
        logs.add("both", kind, "hub:puente:acct:hub", at * SECOND, {}, on="hub")
    assert [row["finding"] for row in logs.ask("gaps").rows] == ["", "", "", "no-stop", ""]


def test_events_that_no_hub_writes_yet_are_read_as_they_will_be() -> None:
    logs = Logs()
    logs.add(
        "us",
        "feed.run",
        "us:us-cyber:acct:1",
        10,
        {"feed": "kev", "fetched": 3, "accepted": 2, "refused": 1, "complete": True},
    )
    logs.add(
        "us",
        "feed.run",
        "us:us-cyber:acct:1",
        90 * SECOND,
        {"feed": "kev", "fetched": 0, "accepted": 0, "refused": 0, "complete": False},
    )
    logs.add(
        "us",
        "deny.sum",
        "us:us-cyber:acct:1",
        91 * SECOND,
        {"code": "credential-invalid", "resource": "taxii", "count": 40},
    )
    logs.add(
        "both",
        "erase",
        "hub:puente:acct:operator",
        92 * SECOND,
        {"log": "both", "index": 3, "basis": "LGPDPPSO", "approvals": ["us", "mx"]},
        on="leaf",
    )
    logs.add("us", "submit", "us:us-cyber:acct:1", 93 * SECOND, {"object": ID, "label": "abc"})
    logs.add(
        "us",
        "decide",
        "hub:puente:acct:hub",
        94 * SECOND,
        {"label": "abc"},
        {"verdicts": [["mx-aduanas", "deny", "full", "0", "F-NOFORN"], ["mx-ciber", "permit", "full", "0", "P-1"]]},
    )
    assert [row["since before"] for row in logs.ask("feeds").rows] == ["", "89"]
    assert logs.ask("refused").end["totals"] == [{"member": "us-cyber", "code": "credential-invalid", "times": 40}]
    assert [row["basis"] for row in logs.ask("erased").rows] == ["LGPDPPSO"]
    assert logs.ask("why", object=ID, to="mx-aduanas").rows[-1]["detail"] == "effect=deny; clauses=F-NOFORN"


# --- forms ---


def test_cells_are_no_formulas_and_no_markup() -> None:
    logs = Logs()
    nasty = "=HYPERLINK(1)<script>‮"
    logs.add("us", "submit.refuse", "us:us-cyber:acct:1", 10, {"object": nasty, "code": "=1"})
    found = logs.ask("refused")
    assert "\"'=HYPERLINK" in csv_text(found, ())
    page = html_text(found, ("<b>",))
    assert "<script>" not in page and "<b>" not in page and "‮" not in page and "&lt;script&gt;" in page


def test_a_seal_is_no_checkpoint_and_of_one_answer_only() -> None:
    key, stranger = new_log_key("hub/audit/both"), new_log_key("hub/audit/both")
    found = Logs().ask("gaps")
    sealed = seal(found.encode(), key.sign)
    assert unseal(sealed, [key.verifier]) == Answer(found.head, [], found.end)
    note = orjson.loads(sealed.splitlines()[-1])["note"]
    assert note.startswith(f"{SEAL_TITLE}\n")
    with pytest.raises(NoteFault):
        unseal(sealed, [stranger.verifier])
    with pytest.raises(NoteFault):
        unseal(found.encode(), [key.verifier])


def test_every_column_of_every_question_is_named_in_both_languages() -> None:
    for question in QUESTIONS.values():
        found = Answer({"question": question.name, "asked": {}, "logs": [], "columns": list(question.columns)}, [], {"rows": 0, "matched": 0, "totals": [], "remarks": []})  # fmt: skip
        assert csv_text(found, ()) and html_text(found, ())
        assert question.about.es
