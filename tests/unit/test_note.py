"""Signed notes, checkpoints, keys and policies: published examples first, then every way to get one past the reader."""

from base64 import b64decode, b64encode
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.ledger.merkle import EMPTY_ROOT
from exchange.ledger.note import (
    SIGNATURE_LIMIT,
    Checkpoint,
    LogKey,
    NoteFault,
    Policy,
    PolicyFault,
    Verifier,
    WitnessKey,
    cosigned_by,
    new_log_key,
    new_witness_key,
    note_text,
    open_note,
    split_note,
)

ORIGIN = "puente.hub.example/audit/both"
LOG = LogKey(ORIGIN, bytes(range(32)))
US_A, US_B, MX_A, MX_B = (
    WitnessKey(f"witness.example/{name}", bytes([n] * 32)) for n, name in enumerate(("us-a", "us-b", "mx-a", "mx-b"), 1)
)
WITNESSES = {"us-a": US_A, "us-b": US_B, "mx-a": MX_A, "mx-b": MX_B}
BODY = Checkpoint(ORIGIN, 0, EMPTY_ROOT).body()
NOTE = LOG.sign(BODY)
NOW = 1_795_000_000

POLICY = "\n".join(
    [
        f"log {LOG.vkey}",
        *(f"witness {name} {key.vkey} https://{name}.example/" for name, key in WITNESSES.items()),
        "group US any us-a us-b",
        "group MX any mx-a mx-b",
        "group BOTH all US MX",
        "quorum BOTH",
        "",
    ]
)

# Published with the signed-note specification, and by the Go checksum database.
EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE_NOTE = """This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
""".encode()
SUM_GOLANG_KEY = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"


def cosigned(*names: str, note: bytes = NOTE) -> bytes:
    body, _ = split_note(note)
    return note_text(note, [WITNESSES[name].cosign(body, NOW) for name in names])


# --- keys ---


def test_published_keys_and_the_published_note() -> None:
    for vkey in (EXAMPLE_KEY, SUM_GOLANG_KEY):
        assert Verifier.parse(vkey).vkey == vkey
    note = open_note(EXAMPLE_NOTE, [Verifier.parse(EXAMPLE_KEY)])
    assert note.body == "This is an example message.\n"


def test_keys_come_back_and_do_not_show_their_secret() -> None:
    for key in (new_log_key(ORIGIN), new_witness_key("witness.example/é")):
        text = key.encode()
        assert type(key).decode(text) == key
        assert Verifier.parse(key.vkey) == key.verifier
        secret = b64encode(key._seed).decode()
        assert secret not in repr(key)
        assert repr(key._seed) not in repr(key)


def test_a_key_of_one_type_is_not_read_as_the_other() -> None:
    with pytest.raises(NoteFault, match="key-malformed"):
        WitnessKey.decode(LOG.encode())
    with pytest.raises(NoteFault, match="key-malformed"):
        LogKey.decode(US_A.encode())


def test_a_faulty_secret_is_not_quoted() -> None:
    text = LOG.encode()
    for bad in (text[:-1], text.replace(ORIGIN, "other"), text.removeprefix("PRIVATE+"), text + "=", ""):
        with pytest.raises(NoteFault) as fault:
            LogKey.decode(bad)
        assert b64encode(LOG._seed).decode()[:12] not in str(fault.value)


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "name",
        "name+00000000",
        SUM_GOLANG_KEY.replace("033de0ae", "033de0af"),
        SUM_GOLANG_KEY.replace("033de0ae", "033DE0AE"),
        SUM_GOLANG_KEY + "\n",
        SUM_GOLANG_KEY[:-1],
        "+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
        SUM_GOLANG_KEY.replace(".", " "),
        SUM_GOLANG_KEY.replace(".", "\u3000"),
        "pq+00000000+" + b64encode(b"\x06" + bytes(32)).decode(),
    ],
)
def test_malformed_vkeys_are_refused(vkey: str) -> None:
    with pytest.raises(NoteFault, match="key-malformed"):
        Verifier.parse(vkey)


@pytest.mark.parametrize("name", ["", "two words", "plus+sign", "tab\there", "no\u00a0break", "line\nbreak"])
def test_names_that_would_break_a_note_get_no_key(name: str) -> None:
    with pytest.raises(NoteFault):
        new_log_key(name)
    with pytest.raises(NoteFault):
        new_witness_key(name)


# --- checkpoints ---


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32))
def test_checkpoints_come_back(size: int, root: bytes) -> None:
    checkpoint = Checkpoint(ORIGIN, size, root)
    assert Checkpoint.parse(checkpoint.body()) == checkpoint


ROOT_TEXT = b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "body",
    [
        "",
        "o\n",
        f"o\n01\n{ROOT_TEXT}\n",
        f"o\n-1\n{ROOT_TEXT}\n",
        f"o\n+1\n{ROOT_TEXT}\n",
        f"o\n1 \n{ROOT_TEXT}\n",
        f"o\n{2**63}\n{ROOT_TEXT}\n",
        f"\n1\n{ROOT_TEXT}\n",
        f"o\n1\n{ROOT_TEXT}",
        f"o\n1\n{ROOT_TEXT[:-1]}\n",
        f"o\n1\n{ROOT_TEXT[:-2]}B=\n",
        f"o\n٣\n{ROOT_TEXT}\n",
        f"o\n1\n{b64encode(bytes(31)).decode()}\n",
        f"o\n1\n{b64encode(bytes(33)).decode()}\n",
        f"o\n1\n{ROOT_TEXT}\nextension\n",
    ],
)
def test_malformed_checkpoints_are_refused(body: str) -> None:
    with pytest.raises(NoteFault, match="checkpoint-"):
        Checkpoint.parse(body)


# --- notes ---


def test_the_log_signs_the_same_text_the_same_way() -> None:
    assert LOG.sign(BODY) == NOTE
    assert open_note(NOTE, [LOG.verifier]).signatures[0].time_seconds is None


def test_a_cosignature_carries_its_time() -> None:
    note = open_note(cosigned("us-a"), [LOG.verifier, US_A.verifier])
    assert [(one.key.name, one.time_seconds) for one in note.signatures] == [(ORIGIN, None), (US_A.name, NOW)]


def test_lines_of_unknown_keys_are_ignored() -> None:
    note = open_note(cosigned("us-a", "mx-a"), [MX_A.verifier])
    assert [one.key for one in note.signatures] == [MX_A.verifier]
    # A known name with an unknown id, and a known id under an unknown name, are unknown keys.
    line = US_A.cosign(BODY, NOW)
    other = note_text(NOTE, [line.replace("us-a", "us-z"), WitnessKey(US_A.name, bytes(32)).cosign(BODY, NOW)])
    assert len(open_note(other, [LOG.verifier, US_A.verifier]).signatures) == 1


def test_a_note_nobody_known_signed_is_refused() -> None:
    with pytest.raises(NoteFault, match="note-unsigned"):
        open_note(NOTE, [US_A.verifier])
    with pytest.raises(NoteFault, match="note-unsigned"):
        open_note(NOTE, [])


def test_one_bad_line_of_a_known_key_spoils_the_note() -> None:
    bad = US_A.cosign(BODY.replace("\n0\n", "\n1\n"), NOW)
    with pytest.raises(NoteFault, match="note-bad-signature"):
        open_note(note_text(NOTE, [bad]), [LOG.verifier, US_A.verifier])
    assert len(open_note(note_text(NOTE, [bad]), [LOG.verifier]).signatures) == 1


def test_two_lines_of_one_key_are_refused() -> None:
    with pytest.raises(NoteFault, match="note-duplicate"):
        open_note(note_text(NOTE, [LOG.line(BODY)]), [LOG.verifier])
    twice = note_text(NOTE, [US_A.cosign(BODY, NOW), US_A.cosign(BODY, NOW + 1)])
    with pytest.raises(NoteFault, match="note-duplicate"):
        open_note(twice, [LOG.verifier, US_A.verifier])


def relabelled(line: str, key: Verifier) -> str:
    """The same signature bytes under another key's name and id."""
    data = b64decode(line.rpartition(" ")[2])
    return f"— {key.name} {b64encode(key.key_id + data[4:]).decode()}"


def test_a_signature_of_one_type_does_not_pass_as_the_other() -> None:
    seed = bytes([9] * 32)
    log, witness = LogKey("same", seed), WitnessKey("same", seed)
    assert log.verifier.key_id != witness.verifier.key_id
    as_witness = note_text(BODY.encode() + b"\n", [relabelled(log.line(BODY), witness.verifier)])
    with pytest.raises(NoteFault, match="note-bad-signature"):
        open_note(as_witness, [witness.verifier])
    # Even with eight more bytes in front, a log's signature states no time.
    data = b64decode(log.line(BODY).rpartition(" ")[2])
    padded = f"— same {b64encode(witness.verifier.key_id + NOW.to_bytes(8, 'big') + data[4:]).decode()}"
    with pytest.raises(NoteFault, match="note-bad-signature"):
        open_note(note_text(BODY.encode() + b"\n", [padded]), [witness.verifier])
    as_log = note_text(BODY.encode() + b"\n", [relabelled(witness.cosign(BODY, NOW), log.verifier)])
    with pytest.raises(NoteFault, match="note-bad-signature"):
        open_note(as_log, [log.verifier])


@pytest.mark.parametrize("time_seconds", [0, 2**63])
def test_cosignatures_without_a_sane_time_are_neither_made_nor_believed(time_seconds: int) -> None:
    with pytest.raises(ValueError, match="time"):
        US_A.cosign(BODY, time_seconds)
    data = US_A.verifier.key_id + time_seconds.to_bytes(8, "big") + bytes(64)
    line = f"— {US_A.name} {b64encode(data).decode()}"
    with pytest.raises(NoteFault, match="note-bad-signature"):
        open_note(note_text(NOTE, [line]), [LOG.verifier, US_A.verifier])


MALFORMED = {
    "no final newline": NOTE[:-1],
    "CRLF": NOTE.replace(b"\n", b"\r\n"),
    "trailing blank line": NOTE + b"\n",
    "trailing text": NOTE + b"more",
    "no signature": BODY.encode() + b"\n",
    "no blank line": NOTE.replace(b"\n\n", b"\n"),
    "no text": b"\n" + NOTE.partition(b"\n\n")[2],
    "NUL": NOTE.replace(b"puente", b"pu\0nte"),
    "tab": NOTE.replace(b"puente", b"pu\tnte"),
    "not UTF-8": NOTE.replace(b"puente", b"pu\xffnte"),
    "hyphen for the dash": NOTE.replace("—".encode(), b"-"),
    "two spaces": NOTE.replace("— ".encode(), "—  ".encode()),
    "base64 without padding": NOTE[:-2] + b"\n",
    "signature of four bytes": note_text(NOTE, [f"— x {b64encode(bytes(4)).decode()}"]),
    "name with plus": note_text(NOTE, [f"— a+b {b64encode(bytes(9)).decode()}"]),
    "too many signatures": note_text(NOTE, [f"— x{i} {b64encode(bytes(9)).decode()}" for i in range(SIGNATURE_LIMIT)]),
    "too large": b"x" * 1_000_000 + b"\n" + NOTE,
    "empty": b"",
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed_notes_are_refused(kind: str) -> None:
    with pytest.raises(NoteFault, match="note-malformed"):
        open_note(MALFORMED[kind], [LOG.verifier])


def test_a_hundred_lines_are_read() -> None:
    unknown = [f"— x{i} {b64encode(bytes(9)).decode()}" for i in range(SIGNATURE_LIMIT - 1)]
    assert len(open_note(note_text(NOTE, unknown), [LOG.verifier]).signatures) == 1


def test_the_text_may_hold_blank_lines() -> None:
    body = "one\n\nthree\n"
    assert open_note(LOG.sign(body), [LOG.verifier]).body == body


def test_no_flipped_bit_in_a_cosigned_note_passes() -> None:
    policy = Policy.parse(POLICY)
    whole = cosigned("us-a", "mx-a")
    for position in range(len(whole)):
        altered = whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :]
        with pytest.raises(NoteFault):
            policy.check(altered)


# --- policies ---


def test_a_policy_comes_back() -> None:
    policy = Policy.parse(POLICY)
    assert Policy.parse(policy.text()) == policy
    assert policy.text() == POLICY
    assert policy.witness_names() == ("us-a", "us-b", "mx-a", "mx-b")
    assert policy.urls["mx-b"] == "https://mx-b.example/"


@pytest.mark.parametrize("count", range(5))
def test_only_both_countries_together_are_a_quorum(count: int) -> None:
    policy = Policy.parse(POLICY)
    for names in combinations(WITNESSES, count):
        both = any(name.startswith("us") for name in names) and any(name.startswith("mx") for name in names)
        assert policy.satisfied(set(names)) == both
        if both:
            assert policy.check(cosigned(*names)).cosigned == dict.fromkeys(names, NOW)
        else:
            with pytest.raises(NoteFault, match="quorum-missing"):
                policy.check(cosigned(*names))


def test_names_of_groups_and_strangers_are_no_votes() -> None:
    assert not Policy.parse(POLICY).satisfied({"US", "MX", "BOTH", "us-c"})


def test_the_log_must_sign_for_its_own_origin() -> None:
    policy = Policy.parse(POLICY)
    only_witnesses = note_text(BODY.encode() + b"\n", [US_A.cosign(BODY, NOW), MX_A.cosign(BODY, NOW)])
    with pytest.raises(NoteFault, match="log-unsigned"):
        policy.check(only_witnesses)
    other = Checkpoint("puente.hub.example/audit/us", 0, EMPTY_ROOT).body()
    with pytest.raises(NoteFault, match="log-unsigned"):
        policy.check(cosigned("us-a", "mx-a", note=LOG.sign(other)))


def test_quorum_none_and_a_single_witness() -> None:
    assert Policy.parse(f"log {LOG.vkey}\nquorum none\n").check(NOTE).cosigned == {}
    single = Policy.parse(f"log {LOG.vkey}\nwitness w {US_A.vkey}\nquorum w\n")
    assert single.check(cosigned("us-a")).cosigned == {"w": NOW}
    with pytest.raises(NoteFault, match="quorum-missing"):
        single.check(NOTE)


def test_comments_tabs_and_thresholds() -> None:
    text = POLICY.replace("group US any us-a us-b", "  # both of them\n\n\tgroup \t US  2 us-a us-b\t")
    policy = Policy.parse(text)
    assert not policy.satisfied({"us-a", "mx-a"})
    assert policy.satisfied({"us-a", "us-b", "mx-a"})


def witness_line(name: str, seed: int) -> str:
    return f"witness {name} {WitnessKey('w.example', bytes([seed] * 32)).vkey}"


W1, W2 = witness_line("w1", 1), witness_line("w2", 2)
BAD_POLICIES = {
    "no quorum": (W1, 0),
    "two quorums": (f"{W1}\nquorum w1\nquorum w1", 3),
    "quorum of nobody": (f"{W1}\nquorum w2", 2),
    "quorum before its witness": (f"quorum w1\n{W1}", 1),
    "quorum of two": (f"{W1}\n{W2}\nquorum w1 w2", 3),
    "unknown word": (f"{W1}\nwitnesses w2", 2),
    "member twice in one group": (f"{W1}\ngroup g 2 w1 w1\nquorum g", 2),
    "member of two groups": (f"{W1}\n{W2}\ngroup g any w1\ngroup h any w1 w2\nquorum h", 4),
    "group of itself": (f"{W1}\ngroup g any w1 g\nquorum g", 2),
    "group of none": (f"{W1}\ngroup g any none\nquorum g", 2),
    "group without members": (f"{W1}\ngroup g any\nquorum g", 2),
    "threshold zero": (f"{W1}\ngroup g 0 w1\nquorum g", 2),
    "threshold too high": (f"{W1}\ngroup g 2 w1\nquorum g", 2),
    "threshold with a leading zero": (f"{W1}\ngroup g 01 w1\nquorum g", 2),
    "threshold negative": (f"{W1}\ngroup g -1 w1\nquorum g", 2),
    "name twice": (f"{W1}\n{witness_line('w1', 2)}\nquorum w1", 2),
    "group named as a witness": (f"{W1}\ngroup w1 any w1\nquorum w1", 2),
    "witness named none": (witness_line("none", 1), 1),
    "one key under two names": (f"{W1}\n{witness_line('w2', 1)}\nquorum w1", 2),
    "one key as log and witness": (f"log {LogKey('o', bytes([1] * 32)).vkey}\n{W1}\nquorum w1", 2),
    "a log's key as witness": (f"witness w1 {LOG.vkey}", 1),
    "a witness's key as log": (f"log {US_A.vkey}", 1),
    "a wrong key id": (f"{W1}\nwitness w2 {US_B.vkey.replace('+', '+0', 1)}", 2),
    "carriage return": (f"{W1}\r\nquorum w1", 1),
    "too many words": (f"{W1} https://a https://b", 1),
}


@pytest.mark.parametrize("kind", BAD_POLICIES)
def test_policies_that_count_a_voice_twice_or_make_no_sense_are_refused_by_line(kind: str) -> None:
    text, line = BAD_POLICIES[kind]
    with pytest.raises(PolicyFault) as fault:
        Policy.parse(text)
    assert fault.value.line == line
    assert f"line {line}" in fault.value.en
    assert f"línea {line}" in fault.value.es


# --- what a witness answers ---


def test_the_named_witness_is_found_among_the_lines() -> None:
    policy = Policy.parse(POLICY)
    line, other = US_A.cosign(BODY, NOW), US_B.cosign(BODY, NOW)
    assert cosigned_by(policy, "us-a", NOTE, [other, line]) == line
    assert cosigned_by(policy, "us-a", NOTE, [line + "\n"]) == line
    assert cosigned_by(policy, "us-a", NOTE, [other]) is None
    assert cosigned_by(policy, "us-a", NOTE, []) is None
    assert cosigned_by(policy, "nobody", NOTE, [line]) is None
    assert cosigned_by(policy, "us-a", NOTE, [US_A.cosign(BODY + "x\n", NOW)]) is None
    assert cosigned_by(policy, "us-a", NOTE, ["rubbish"]) is None
    assert cosigned_by(policy, "us-a", b"rubbish", [line]) is None
    policy.check(note_text(NOTE, [line, MX_A.cosign(BODY, NOW)]))
