"""Trap 15: whatever a sender writes wherever it can, nothing that is sent in its stead tells of it, byte for byte."""

import base64
import re
import uuid
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from certs.jcs import canonical
from certs.signature import EXT_SIG
from exchange.gateway.anonymise import _TYPES, Brief, revoked, stand_in
from exchange.gateway.faults import Unfit
from exchange.gateway.traces import Traces
from exchange.intake.validate import validate
from exchange.times import parse_us

GATEWAY = "identity--9a1f2f7e-0f3d-4a5b-8c6d-7e8f90a1b2c3"
SENDER = "identity--5b1c7d1e-8f7a-4c3b-9d2e-1f0a9b8c7d6e"
SLUG, NAME_EN, NAME_ES = "mx-puerto-pac", "Port of Costa Brava", "Puerto de Costa Ñandú"
KEY = "pX9-Qm3_vR7tYw2zA5bC8dE1fG4hJ6kL0nP3qS5uV8x"
DOMAIN, NETWORK = "tos.costabrava.example", "203.0.113.0/24"
WORDS = (SLUG, NAME_EN, NAME_ES, SENDER, SENDER[10:], KEY, DOMAIN, "203.0.113.9")
HOUR_US = 3_600_000_000
TLP = "marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421"
OTHER = "indicator--00000000-0000-4000-8000-000000000001"

DISGUISES = (
    str,
    str.upper,
    lambda word: quote(word, safe=""),
    lambda word: word.encode().hex(),
    lambda word: base64.b64encode(word.encode()).decode(),
    lambda word: base64.urlsafe_b64encode(b"x" + word.encode() + b"yz").decode(),
    lambda word: re.sub(r"[^\w]", ".", word),
    lambda word: word.replace("ñ", "n").replace("Ñ", "N").replace("ú", "u"),
)
in_disguise = st.sampled_from(DISGUISES)
told = st.builds(lambda word, how: how(word), st.sampled_from(WORDS), in_disguise)
text = st.builds("{}{}{}".format, st.sampled_from(["", "seen at ", "x="]), told, st.sampled_from(["", "!", "/a"]))
moment = st.builds(
    "2026-{:02d}-{:02d}T{:02d}:{:02d}:{:02d}.{:03d}Z".format,
    st.integers(1, 6), st.integers(1, 28), st.integers(0, 23), st.integers(1, 59), st.integers(1, 59), st.integers(1, 998),
)  # fmt: skip
phase = st.fixed_dictionaries({"kill_chain_name": st.sampled_from(["mitre-attack", "x"]) | text, "phase_name": st.just("impact") | text})  # fmt: skip
reference = st.fixed_dictionaries(
    {"source_name": st.sampled_from(["cve", "mitre-attack", "capec", "cwe"]) | text},
    optional={
        "external_id": st.sampled_from(["CVE-2024-1234", "T1059", "S0002"]) | text, "url": text, "description": text,
        "hashes": st.fixed_dictionaries({"SHA-256": st.just("ab" * 32)}),
    },
)  # fmt: skip
value = st.one_of(st.just("198.51.100.7"), st.just("c2.example.net"), text).map(
    lambda word: word.replace("\\", "\\\\").replace("'", "\\'")
)
pattern = st.one_of(
    st.builds("[domain-name:value = '{}']".format, value),
    st.builds("[url:value = 'https://198.51.100.7/{}']".format, value),
    st.builds("[ipv4-addr:value = '198.51.100.7' /* {} */]".format, text.filter(lambda word: "*/" not in word)),
    st.builds("[ipv4-addr:value = '198.51.100.7'] AND [file:name LIKE '{}']".format, value),
    st.builds("[x-{}:name = 'a']".format, st.just(SLUG)),
    st.just("[ipv4-addr:value = '198.51.100.7'] START t'2026-01-01T03:04:05Z' STOP t'2026-01-02T03:04:05Z'"),
)
_LISTS = {
    "aliases": st.lists(text, min_size=1), "goals": st.lists(text, min_size=1), "roles": st.lists(text, min_size=1),
    "personal_motivations": st.lists(text, min_size=1), "capabilities": st.lists(text, min_size=1),
    "architecture_execution_envs": st.lists(text, min_size=1), "implementation_languages": st.lists(text, min_size=1),
}  # fmt: skip
_OPEN = {
    name: st.lists(st.sampled_from(["unknown", "malicious-activity", "trojan", "phishing"]) | text, min_size=1)
    for name in (
        "indicator_types", "malware_types", "infrastructure_types", "tool_types", "threat_actor_types",
        "secondary_motivations",
    )
}  # fmt: skip
_PLAIN = dict.fromkeys(("name", "description", "objective", "resource_level", "primary_motivation", "sophistication", "tool_version", "lang", "x_seen_by", "x_site"), text)  # fmt: skip
anything = st.fixed_dictionaries(
    {
        "created": moment, "modified": moment, "valid_from": moment, "valid_until": st.just("2026-08-01T03:04:05.678Z"),
        "first_seen": moment, "last_seen": st.just("2026-07-02T03:04:05.678Z"), "start_time": moment,
        "stop_time": st.just("2026-08-03T03:04:05.678Z"), "confidence": st.integers(0, 100), "count": st.integers(0, 9),
        "labels": st.lists(text, min_size=1), "external_references": st.lists(reference, min_size=1),
        "kill_chain_phases": st.lists(phase, min_size=1), "pattern": pattern, "is_family": st.booleans(),
        "pattern_type": st.sampled_from(["stix", "stix", "stix", "yara"]), "pattern_version": text,
        "relationship_type": st.sampled_from(["uses", "seen-at-mx-puerto-pac"]), "where_sighted": st.just([SENDER]),
        "observed": st.just(["observed-data--" + SENDER[10:]]),
        **_LISTS, **_OPEN, **_PLAIN,
    }
)  # fmt: skip


def original_of(kind: str, some: dict[str, Any]) -> dict[str, Any]:
    some = dict(some)
    created, modified = sorted((some.pop("created"), some.pop("modified")))
    where, observed = some.pop("where_sighted"), some.pop("observed")
    if kind == "vulnerability" and some["count"] % 2:
        some["name"] = "CVE-2024-1234"
    if kind == "relationship":
        some |= {"source_ref": OTHER, "target_ref": OTHER}
    if kind == "sighting":
        some |= {"sighting_of_ref": OTHER, "where_sighted_refs": where, "observed_data_refs": observed, "summary": True}
    return {
        **some,
        "type": kind,
        "spec_version": "2.1",
        "id": f"{kind}--{uuid.uuid4()}",
        "created_by_ref": SENDER,
        "created": created,
        "modified": modified,
        "object_marking_refs": [TLP, "marking-definition--" + SENDER[10:]],
        "granular_markings": [{"marking_ref": "marking-definition--" + SENDER[10:], "selectors": ["name"]}],
        "extensions": {
            EXT_SIG: {"signer_ref": SENDER, "signed_at": modified, "prev_sha256": "cd" * 32, "signature": f"{KEY}..{KEY[::-1]}"},
            "extension-definition--" + SENDER[10:]: {"extension_type": "property-extension", "site": NAME_EN},
        },
    }  # fmt: skip


def given_to(original: dict[str, Any], **more: Any) -> tuple[Brief, Traces]:
    brief = Brief(
        new_id=f"{original['type']}--{uuid.uuid4()}", identity=GATEWAY, period_us=HOUR_US, markings=(TLP,),
        ends=lambda ref: "indicator--" + str(uuid.uuid5(uuid.NAMESPACE_URL, ref)), **more,
    )  # fmt: skip
    return brief, Traces.of(original, [SLUG, NAME_EN, NAME_ES, SENDER, KEY], [DOMAIN, NETWORK])


def betrays(body: bytes, original: dict[str, Any]) -> list[str]:
    """The oracle, simpler than what is tested: every written form of every word, looked for in the bytes as they are."""
    written = body.decode()
    lower, alone = written.lower(), re.sub(r"[\W_]", "", written.lower())
    found = []
    own = (original["id"], original["id"][-36:], KEY[::-1], "cd" * 32, original["modified"], original["created"])
    for word in (*WORDS, *own):
        solid = re.sub(r"[\W_]", "", word.lower())
        forms = {word.lower(), quote(word, safe="").lower(), word.encode().hex()}
        if (
            any(form in lower for form in forms)
            or solid in alone
            or base64.b64encode(word.encode()).decode()[:-4] in written
        ):
            found.append(word)
    return found


@pytest.mark.trap(15)
@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(_TYPES)), anything)
def test_no_byte_of_what_is_sent_tells_of_the_sender(kind: str, some: dict[str, Any]) -> None:
    original = original_of(kind, some)
    brief, traces = given_to(original)
    try:
        new = stand_in(original, brief, traces)
    except Unfit:
        assume(False)
        return
    assert betrays(canonical(new), original) == []
    assert validate(new) == []
    for name in (
        "created",
        "modified",
        "valid_from",
        "valid_until",
        "first_seen",
        "last_seen",
        "start_time",
        "stop_time",
    ):
        assert name not in new or parse_us(new[name]) % HOUR_US == 0
    assert "extensions" not in new and "granular_markings" not in new


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(_TYPES)), anything, st.lists(moment, min_size=1, max_size=4))
def test_versions_strictly_rise_and_keep_what_must_not_change(
    kind: str, some: dict[str, Any], later: list[str]
) -> None:
    clean = {**some, "pattern": "[ipv4-addr:value = '198.51.100.7']", "pattern_type": "stix", "name": "CVE-2024-1234"}
    original = original_of(kind, clean)
    original["name"] = "CVE-2024-1234"
    brief, traces = given_to(original)
    sent = [stand_in(original, brief, traces)]
    for text in sorted(one for one in later if one > original["modified"]):
        brief, _ = given_to(original, previous=sent[-1])
        sent.append(stand_in(original | {"modified": text}, brief, traces))
    sent.append(revoked(sent[-1], at_us=parse_us("2026-07-01T00:30:00Z"), period_us=HOUR_US))
    assert [one["modified"] for one in sent] == sorted({one["modified"] for one in sent})
    assert {one["created"] for one in sent} == {sent[0]["created"]}
    assert validate(sent[-1]) == []


@settings(max_examples=300, deadline=None)
@given(told, st.sampled_from(["", "a b ", "https://198.51.100.7/"]), st.sampled_from(["", " c", "&d=1"]))
def test_a_trace_is_found_however_it_is_written(word: str, before: str, after: str) -> None:
    traces = Traces([SLUG, NAME_EN, NAME_ES, SENDER, KEY], [DOMAIN, NETWORK])
    for obj in ({"pattern": f"[url:value = '{before}{word}{after}']"}, {"a": [{f"{before}{word}": "x"}]}):
        assert traces.found_in(obj) is not None or word in HIDDEN_ADDRESSES


HIDDEN_ADDRESSES = {how("203.0.113.9") for how in DISGUISES} - {"203.0.113.9"}
"""An address of the sender's own is looked for as an address, not as a word: of its disguises nobody has been seen to use any."""


def test_what_has_nothing_to_do_with_the_sender_is_no_trace() -> None:
    traces = Traces([SLUG, NAME_EN, NAME_ES, SENDER, KEY, "us-grid", "CFE"], [DOMAIN, NETWORK])
    for harmless in (
        "198.51.100.7",
        "203.0.114.9",
        "c2.example.net",
        "port",
        "costa.example",
        "cafe",
        "gridlock",
        GATEWAY,
    ):
        assert traces.found_in({"pattern": harmless}) is None, harmless
    for short in ("the grid", "CFE!", "x/cfe/y"):
        assert traces.found_in({"pattern": short}) is not None, short
    assert traces.found_in({"pattern": "::ffff:203.0.113.9"}) is not None
