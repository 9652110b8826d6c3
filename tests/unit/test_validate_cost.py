"""No object costs more than in proportion to its size: each place that repeats, filled to a megabyte.

Measured 0.2 to 370 ms; what grew with the square would take minutes, or hours, and the test would not end.
"""

from collections.abc import Callable
from typing import Any

import pytest

from certs.jcs import JsonError, canonical, load
from exchange.intake.stix.content import odd_values
from exchange.intake.validate import MAX_FINDINGS, validate
from tests.stix_examples import EXAMPLES, EXTENSION, TLP_GREEN

SIZE = 1_000_000
INDICATOR = EXAMPLES["indicator"]


def ids(name: str, count: int) -> list[str]:
    return [f"{name}--{number:08x}-4f6c-4a57-8a4b-3f2d1c0b9a88" for number in range(count)]


def deep(value: Any) -> Any:
    for _ in range(27):
        value = {"a": value}
    return value


def marked(selectors: list[str], **more: Any) -> dict[str, Any]:
    return {"granular_markings": [{"selectors": selectors, "marking_ref": TLP_GREEN, **more}]}


def of(name: str, /, *without: str, **changes: Any) -> dict[str, Any]:
    return {key: value for key, value in {**EXAMPLES[name], **changes}.items() if key not in without}


LARGE: dict[str, Callable[[int], dict[str, Any]]] = {
    "granular-markings": lambda n: of("indicator", granular_markings=marked(["name"])["granular_markings"] * (n // 90)),
    "selectors": lambda n: of("indicator", **marked(["labels.[0]"] * (n // 13))),
    "selectors-of-nothing": lambda n: of("indicator", **marked(["x"] * (n // 4))),
    "one-long-selector": lambda n: of("indicator", **marked(["extensions." + "a." * (n // 2) + "a"])),
    "languages": lambda n: of("indicator", granular_markings=[{"selectors": ["name"], "lang": "ñ"}] * (n // 40)),
    "marking-refs": lambda n: of("indicator", object_marking_refs=ids("marking-definition", n // 58)),
    "object-refs": lambda n: of("report", object_refs=ids("indicator", n // 50)),
    "refs-of-one-letter": lambda n: of("report", object_refs=["a-" * (n // 2)]),
    "custom-refs": lambda n: of("report", x_a_refs=ids("indicator", n // 50)),
    "kill-chain-phases": lambda n: of("indicator", kill_chain_phases=[{"kill_chain_name": "a", "phase_name": "b"}] * (n // 42)),
    "bad-phases": lambda n: of("indicator", kill_chain_phases=[{"kill_chain_name": 1, "phase_name": 1}] * (n // 42)),
    "external-references": lambda n: of("indicator", external_references=[{"source_name": "cve", "external_id": "x"}] * (n // 42)),
    "labels": lambda n: of("indicator", labels=["a"] * (n // 4)),
    "one-long-name": lambda n: of("indicator", name="a" * n),
    "one-long-language": lambda n: of("indicator", lang="a-" * (n // 2)),
    "one-long-time": lambda n: of("indicator", valid_from="2026-01-01T00:00:00." + "1" * n + "Z"),
    "one-long-id": lambda n: of("indicator", id="indicator--" + "a" * n),
    "one-long-type": lambda n: of("indicator", type="x-" + "a-" * (n // 2)),
    "one-long-url": lambda n: of("url", value="http://" + "a" * n),
    "one-long-domain": lambda n: of("domain-name", value="a." * (n // 2)),
    "one-long-address": lambda n: of("email-addr", value="a@" * (n // 2)),
    "one-long-hex": lambda n: of("file", magic_number_hex="0" * n + "g"),
    "one-long-binary": lambda n: of("artifact", "url", payload_bin="A" * n + "="),
    "custom-binary": lambda n: of("indicator", x_body_bin="A" * n + "="),
    "custom-hex": lambda n: of("indicator", x_body_hex="0" * n + "x"),
    "hashes": lambda n: of("file", hashes={f"h{number:06}": "x" for number in range(n // 14)}),
    "bad-hashes": lambda n: of("file", hashes={f"h{number:06}": 1 for number in range(n // 14)}),
    "one-long-hash": lambda n: of("file", hashes={"SSDEEP": "1" * n}),
    "extensions": lambda n: of("indicator", extensions={key: {"extension_type": "property-extension"} for key in ids("extension-definition", n // 105)}),
    "deep-extensions": lambda n: of("indicator", extensions={EXTENSION: {"extension_type": "property-extension", "abc": [deep("x")] * (n // 200)}}),
    "wide-extensions": lambda n: of("indicator", extensions={EXTENSION: {"extension_type": "property-extension"} | {f"aaa{number}": 1 for number in range(n // 14)}}),
    "custom-names": lambda n: of("indicator", **{f"x_{number:06}": 1 for number in range(n // 12)}),
    "bad-names": lambda n: of("indicator", **{f"X_{number:06}": 1 for number in range(n // 12)}),
    "nulls": lambda n: of("indicator", x_a=[None] * (n // 5)),
    "empty-lists": lambda n: of("indicator", x_a=[[]] * (n // 3)),
    "a-long-key-above-a-long-list": lambda n: of("indicator", x_a={"k" * (n // 2): [0] * (n // 4), "b": None}),
    "dictionary-keys": lambda n: of("process", environment_variables={f"Á{number}": "x" for number in range(n // 13)}),
    "translations": lambda n: of("language-content", contents={f"{number:06}": {"name": "x"} for number in range(n // 22)}),
    "bad-translations": lambda n: of("language-content", contents={f"{number:06}": 1 for number in range(n // 11)}),
    "nested-objects": lambda n: of("observed-data", "object_refs", objects={str(number): {"type": "url"} for number in range(n // 25)}),
    "socket-options": lambda n: of("network-traffic", extensions={"socket-ext": {"address_family": "AF_INET", "options": {f"o{number}": "x" for number in range(n // 12)}}}),
    "mime-parts": lambda n: of("email-message", body_multipart=[{"body": "x"}] * (n // 12)),
    "registry-values": lambda n: of("windows-registry-key", values=[{"name": "x"}] * (n // 12)),
    "pattern": lambda n: of("indicator", pattern="[" * n),
}  # fmt: skip


@pytest.mark.parametrize("kind", LARGE)
def test_an_object_costs_in_proportion_to_its_size(kind: str) -> None:
    obj = LARGE[kind](SIZE)
    assert SIZE / 2 < len(canonical(obj)) < SIZE * 2.5
    assert len(validate(obj)) <= MAX_FINDINGS


def test_the_place_of_a_finding_is_cut_short() -> None:
    [_, finding] = odd_values({"x_a": {"k" * 1000: None}})
    assert finding.field == "x_a." + "k" * 80


@pytest.mark.parametrize(
    "data",
    [
        b"{" + b",".join(b'"k%d":1' % number for number in range(100_000)) + b',"k99999":1}',
        b"0." + b"1" * 5_000_000,
        b"[" + b",".join([b"[" * 30 + b"]" * 30] * 20_000) + b"]",
        b'"' + b"\\\\" * 2_000_000 + b'"',
        b'"' + b"\\ud83d\\ude00" * 300_000 + b'"',
    ],
    ids=["repeated-name", "digits", "depth", "backslashes", "pairs"],
)
def test_a_text_costs_in_proportion_to_its_size(data: bytes) -> None:
    """The first took a second for each 10,000 names, squared."""
    try:
        load(data, max_bytes=10_000_000)
    except JsonError as error:
        assert error.code == "json-duplicate-key"
