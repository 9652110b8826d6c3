"""What both keys of a log sign when one follows the other, and what entries make of it: read alike by the hub and by the
verifier that needs none."""

from dataclasses import replace
from typing import Any

import pytest

from exchange.ledger import offline
from exchange.ledger.note import Checkpoint, LogKey, Verifier, WitnessKey, open_note
from exchange.ledger.rotation import HEADER, KeyStory, Rotation

ORIGIN = "puente.hub.example/audit/both"
OLD, NEW, NEXT, STRANGER = (LogKey(ORIGIN, bytes([n] * 32)) for n in range(1, 5))
ELSEWHERE = LogKey("puente.hub.example/audit/us", bytes([5] * 32))

Leaf = dict[str, Any]


def leaf(t: str, pub: Leaf, log: str = "both") -> Leaf:
    return {"t": t, "on": f"log:{log}", "pub": pub}


def opened(key: LogKey = OLD) -> Leaf:
    return leaf("log.open", {"log": "both", "origin": ORIGIN, "key": key.vkey, "witness_policy": "0" * 64})


def rotated(old: LogKey = OLD, new: LogKey = NEW, **changed: Any) -> Leaf:
    return leaf("key.rotate", Rotation.signed("both", old, new).pub | changed)


def revoked(key: LogKey) -> Leaf:
    return leaf("key.revoke", {"key": key.vkey, "reason": "rotated"})


def read(*leaves: Leaf) -> list[bool]:
    """By each of both readers; they must say the same, and know the same keys afterwards."""
    ours, theirs = KeyStory(), offline.Keys()
    said = [(ours.take(one), theirs.take(one)) for one in leaves]
    assert all(mine == other for mine, other in said), said
    assert {log: list(keys) for log, keys in ours.signing.items()} == theirs.signing
    assert {log: list(keys) for log, keys in ours.ever.items()} == {
        log: list(keys) for log, keys in theirs.ever.items() if keys
    }
    return [mine for mine, _ in said]


def test_both_keys_sign_what_nobody_can_take_for_a_checkpoint() -> None:
    one = Rotation.signed("both", OLD, NEW)
    assert one.holds
    assert Rotation.told(one.pub) == one
    assert one.text == f"{HEADER}\nboth\n{OLD.vkey}\n{NEW.vkey}\n"
    note = open_note(one.note, [OLD.verifier, NEW.verifier])
    assert {signature.key for signature in note.signatures} == {OLD.verifier, NEW.verifier}
    with pytest.raises(ValueError, match="extension lines"):
        Checkpoint.parse(one.text)


def test_a_log_passes_from_key_to_key() -> None:
    leaves = [
        opened(),
        rotated(),
        revoked(OLD),
        rotated(NEW, NEXT),
        revoked(NEXT),
        rotated(NEW, STRANGER),
        revoked(NEW),
    ]
    assert all(read(*leaves))
    story = KeyStory()
    signing = [story.take(one) and story.signing["both"] for one in leaves]
    names = {OLD.vkey: "old", NEW.vkey: "new", NEXT.vkey: "next", STRANGER.vkey: "stranger"}
    assert [" ".join(names[key] for key in keys or ()) for keys in signing] == [
        "old", "old new", "new", "new next", "new", "new stranger", "stranger",
    ]  # fmt: skip
    assert story.verifiers("both") == [key.verifier for key in (OLD, NEW, NEXT, STRANGER)]


def _signatures(first: LogKey, second: LogKey, over: Rotation | None = None) -> list[str]:
    text = (over or Rotation.signed("both", OLD, NEW)).text
    return [first.line(text), second.line(text)]


FORGED = {
    "not signed by the old key": {"signatures": _signatures(NEW, NEW)[1:]},
    "not signed by the new key": {"signatures": _signatures(OLD, OLD)[:1]},
    "a stranger's in place of the old key's": {"signatures": _signatures(STRANGER, NEW)},
    "a stranger's in place of the new key's": {"signatures": _signatures(OLD, STRANGER)},
    "over another rotation": {"signatures": _signatures(OLD, NEW, Rotation("both", OLD.vkey, NEXT.vkey))},
    "over another log": {"signatures": _signatures(OLD, NEW, Rotation("us", OLD.vkey, NEW.vkey))},
    "over a checkpoint": {"signatures": [key.line(Checkpoint(ORIGIN, 7, bytes(32)).body()) for key in (OLD, NEW)]},
    "twice by the old key": {"signatures": _signatures(OLD, OLD)},
    "no signatures": {"signatures": []},
    "no line": {"signatures": ["x", "y"]},
    "no list": {"signatures": 7},
    "to the key that signs": Rotation.signed("both", OLD, OLD).pub,
    "from a key that never signed": Rotation.signed("both", STRANGER, NEW).pub,
    "to a key of another origin": Rotation.signed("both", OLD, ELSEWHERE).pub,
    "of another log": Rotation.signed("us", OLD, NEW).pub,
    "under another origin": {"origin": "puente.hub.example/audit/us"},
    "after two": {"after": [OLD.vkey, STRANGER.vkey]},
    "after nobody": {"after": []},
    "no key": {"key": "x"},
    "not text": {"key": 7},
    "a witness's key": {"key": WitnessKey(ORIGIN, bytes([2] * 32)).vkey},
    "for another purpose": {"purpose": "signing"},
}


@pytest.mark.parametrize("forged", FORGED)
def test_a_forged_rotation_changes_nothing(forged: str) -> None:
    story = KeyStory()
    bad = rotated(**FORGED[forged])
    assert read(opened(), bad, rotated()) == [True, False, True]
    assert story.take(opened())
    assert not story.take(bad)
    assert story.signing == {"both": (OLD.vkey,)}


def test_a_rotation_without_its_log_is_none() -> None:
    elsewhere = {**rotated(), "on": "member:us-cyber"}
    member = {"t": "key.rotate", "on": "member:us-cyber", "pub": {"key": "x", "purpose": "signing", "after": ["y"]}}
    assert read(opened(), elsewhere, member) == [True, False, True]


def test_what_ends_is_one_of_two() -> None:
    assert read(opened(), revoked(OLD)) == [True, False]
    assert read(opened(), rotated(), revoked(STRANGER)) == [True, True, False]
    assert read(opened(), rotated(), revoked(OLD), revoked(OLD), revoked(NEW)) == [True, True, True, False, False]
    assert read(revoked(OLD)) == [False]
    assert read(opened(), rotated(), rotated(NEW, NEXT)) == [True, True, False]  # two sign: one must go first


def test_a_log_whose_opening_is_not_there_is_taken_at_its_word() -> None:
    """A log that began before entries told of keys."""
    assert read(rotated(), revoked(OLD)) == [True, True]


def test_after_a_loss_the_next_change_is_taken_at_its_word() -> None:
    """What `both` lost for ever may have told of another key of `us`; nothing was lost of what follows."""
    ours, new, newer = (LogKey(ELSEWHERE.name, bytes([n] * 32)) for n in range(6, 9))
    begun = leaf("log.open", {"log": "us", "origin": ours.name, "key": ours.vkey, "witness_policy": "0" * 64}, "us")
    unknown = leaf("key.rotate", Rotation.signed("us", new, newer).pub, "us")
    for lost, taken in ((0, False), (3, True)):
        closed = leaf("log.close", {"log": "both", "lost": lost})
        assert read(opened(), begun, closed, unknown, unknown) == [True, True, True, taken, False]
    closed = leaf("log.close", {"log": "both", "lost": 3})
    assert read(opened(), begun, closed, rotated(STRANGER, NEW)) == [True, True, True, False], "it is not signed again"


def test_a_statement_holds_by_itself_only_between_two_keys_of_one_origin() -> None:
    one = Rotation.signed("both", OLD, NEW)
    assert not replace(one, new=NEXT.vkey).holds
    assert not replace(one, log="us").holds
    assert not Rotation.signed("both", OLD, ELSEWHERE).holds
    assert not replace(one, old="x").holds
    assert Verifier.parse(one.new) == NEW.verifier
