"""Agreements, labels and recipients without end: pools made by a seeded generator, drawn from by every test that needs many.

Clauses are drawn from pools made once: drawing each condition by itself took hypothesis most of its time.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from policies.clauses import Agreement, compile_agreement
from policies.consent import Consent
from policies.document import Document
from policies.label import ASSURANCE_ORDER, CONFIDENCE_ORDER, OBJECT_CLASSES, PAP_ORDER, TLP_ORDER, Label, Recipient

DIRECTIONS = ["US>MX", "MX>US", "US>US", "MX>MX"]
COUNTRIES = ["US", "MX"]
ROLES = ["agency", "csirt", "operator", "observer"]
SECTORS = ["gov.cyber", "trade.port", "energy.grid"]
MEMBERS = ["a", "b", "c", "d", "e", "f"]
COLLECTIONS = ["indicators", "us-domestic"]
PURPOSES = ["x", "y", "z"]
FIXED_AUDIENCE, OPEN_AUDIENCE = "fixed", "open"
CASES = ["one", "two"]
KNOWN = "marking-definition--11111111-1111-4111-8111-111111111111"
UNKNOWN = "marking-definition--22222222-2222-4222-8222-222222222222"
CAVEATS = ["noforn", "orcon", "proprietary", "pii-possible", "classified", f"opaque:{KNOWN}", f"opaque:{UNKNOWN}"]
BEGINS, ENDS = "2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z"
NOW = "2027-06-01T12:00:00Z"
TIMES = [NOW] * 6 + [
    "2026-12-31T23:59:59.9Z", BEGINS, "2027-12-31T23:59:59.999999Z", ENDS, "2028-01-01T00:00:00.000001Z", "soon",
]  # fmt: skip
EMBARGOES = ["", "", "", "2027-06-01T12:00:00Z", "2027-06-01T13:00:00Z", "2040-01-01T00:00:00Z"]
TERMS = ["blocking=must-not", "permitted_actions=none", "retain=1d", "identity=anonymise"]


class Maker:
    """Draws by one generator, so that a seed gives the same pools everywhere."""

    def __init__(self, seed: str) -> None:
        self.chance = Random(seed)

    def some(self, words: Sequence[Any]) -> list[Any]:
        return self.chance.sample(list(words), self.chance.randint(1, min(3, len(words))))

    def one(self, words: Sequence[Any]) -> Any:
        return self.chance.choice(words)

    def few(self, most: int, **makers: Callable[[], Any]) -> dict[str, Any]:
        """Some of the keys, so that most clauses are short and match something."""
        return {key: makers[key]() for key in self.chance.sample(sorted(makers), self.chance.randint(0, most))}

    def parts(self) -> dict[str, Any]:
        side: dict[str, Callable[[], Any]] = {
            "countries": lambda: self.some(COUNTRIES),
            "roles": lambda: self.some(ROLES),
            "sectors": lambda: self.some(SECTORS),
            "members": lambda: self.some(MEMBERS),
        }
        to = side | {
            "audience": lambda: self.one([FIXED_AUDIENCE, OPEN_AUDIENCE]),
            "sector_overlap": lambda: "required",
            "status": lambda: self.some(["active", "suspended", "withdrawn"]),
        }
        when: dict[str, Callable[[], Any]] = {
            "classes": lambda: self.some(OBJECT_CLASSES[:3]),
            "tlp": lambda: {"max": self.one(TLP_ORDER)},
            "pap": lambda: {"max": self.one(PAP_ORDER)},
            "confidence": lambda: {"floor": self.one(CONFIDENCE_ORDER)},
            "assurance": lambda: self.one(
                [
                    {"floor": self.one(ASSURANCE_ORDER)},
                    {"any": self.some(ASSURANCE_ORDER)},
                    {"floor": self.one(ASSURANCE_ORDER), "any": self.some(ASSURANCE_ORDER)},
                ]
            ),
            "sectors": lambda: {"any": self.some(SECTORS)},
            "caveats": lambda: {"any": self.some([*CAVEATS, "opaque"])},
            "rel_to": lambda: "present",
            "collections": lambda: self.some(COLLECTIONS),
            "feeds": lambda: ["kev"],
            "consent": lambda: self.one(["named", "none"]),
            "purposes": lambda: self.some(PURPOSES),
        }  # fmt: skip
        return {"from": self.few(1, **side), "to": self.few(1, **to), "when": self.few(2, **when)}

    def permit(self) -> dict[str, Any]:
        then = self.few(
            3,
            delay=lambda: self.one(["1s", "30m", "4h", "1d"]),
            retain=lambda: self.one(["24h", "90d", "1d"]),
            onward=lambda: self.one(["own-country", "own-org", "with-consent", "none"]),
            blocking=lambda: self.one(["may", "must-not"]),
            view=lambda: self.one(["full", "tearline"]),
        )
        then["identity"] = self.one(["reveal", "reveal-with-consent", "country-only", "anonymise"])
        return self.parts() | {"direction": self.some(DIRECTIONS), "then": then}

    def forbid(self) -> dict[str, Any]:
        unless = self.few(2, originator_consent=lambda: "valid", recipient_country_in=lambda: "rel_to")
        return self.parts() | {"unless": unless} | self.few(1, direction=lambda: self.some(DIRECTIONS))

    def ceiling(self) -> dict[str, str]:
        return {"tlp": self.one(TLP_ORDER[2:]), "pap": self.one(PAP_ORDER[2:])}

    def frame(self) -> dict[str, Any]:
        """All of a document but its rules."""
        narrower = {self.one(DIRECTIONS): {self.one(ROLES): {"tlp": self.one(TLP_ORDER), "pap": self.one(PAP_ORDER)}}}
        return {
            "schema": "bilateral-sharing-agreement/1",
            "agreement_id": "any",
            "version": 1,
            "effective_from": BEGINS,
            "expires": ENDS,
            "legal_basis": {},
            "parties": {},
            "vocabulary": {"sectors": SECTORS, "roles": ROLES, "markings": [KNOWN]},
            "audiences": {
                FIXED_AUDIENCE: {"members": ["a", "b"], "owner": "US"},
                OPEN_AUDIENCE: {"members": ["c"], "owner": "MX", "may_extend": True},
            },
            "purposes": {"allowed": PURPOSES},
            "defaults": {
                "effect": "deny",
                "unmarked_as": "amber",
                "unknown_marking": self.one(["deny-cross-border", "deny"]),
                "dangling_endpoint": "withhold",
                "min_assurance": {
                    "cross_border": self.one(ASSURANCE_ORDER[:3]),
                    "in_country": self.one(ASSURANCE_ORDER[:2]),
                },
                "own_objects": self.one(["read-back", "by-clause"]),
                "on_expiry": self.one(["in-country-continues", "stop"]),
            },
            "ceilings": {
                "cross_border": {role: self.ceiling() for role in self.chance.sample(ROLES, self.chance.randint(2, 4))},
                "direction": self.one([{}, narrower]),
                "anywhere": self.ceiling(),
            },
        } | self.few(
            3,
            originator_control=lambda: {
                "answer_by": "originator", "time_limit": "72h", "on_silence": "refuse", "consent_valid": "30d",
            },
            embargo=lambda: {"longest": "30d"},
            retention=lambda: {"default": "90d", "by_class": {"malware": "30d"}},
        )  # fmt: skip

    def label(self) -> Label:
        return Label(
            collection=self.one(COLLECTIONS),
            originator=self.one(MEMBERS),
            country=self.one(COUNTRIES),
            roles=self.subset(ROLES),
            sectors=self.subset(SECTORS),
            tlp=self.one(TLP_ORDER),
            pap=self.one(PAP_ORDER),
            caveats=self.one([(), (), (), *((word,) for word in CAVEATS), ("noforn", "orcon")]),
            rel_to=self.one([None, None, None, (), ("MX",), ("US",), ("MX", "US")]),
            object_class=self.one(OBJECT_CLASSES[:3]),
            confidence=self.one(CONFIDENCE_ORDER),
            assurance=self.one(ASSURANCE_ORDER),
            consent=self.one(["named", "none"]),
            feed=self.one(["", "kev"]),
            audiences=self.one([()] * 8 + [(FIXED_AUDIENCE,), (OPEN_AUDIENCE,), ("nobody",), (FIXED_AUDIENCE, OPEN_AUDIENCE)]),
            purposes=self.one([None] * 8 + [(), ("x",), ("x", "y"), ("w",)]),
            not_before=self.one(EMBARGOES),
            cases=self.one([(), (), ("one",), ("one", "two")]),
            terms=self.one([(), (), (), (self.one(TERMS),)]),
        )  # fmt: skip

    def recipient(self) -> Recipient:
        return Recipient(
            member=self.one(MEMBERS),
            country=self.one(COUNTRIES),
            roles=self.subset(ROLES),
            sectors=self.subset(SECTORS),
            status=self.one(["active"] * 10 + ["suspended", "withdrawn"]),
            audiences=self.one([(), (), (OPEN_AUDIENCE,), (FIXED_AUDIENCE,)]),
        )

    def consent(self) -> Consent:
        given, until = self.one(
            [
                ("2027-05-20T00:00:00Z", "2027-07-01T00:00:00Z"),
                ("2027-05-01T00:00:00Z", "2027-12-01T00:00:00Z"),  # longer than 30 days ago
                ("2027-05-20T00:00:00Z", NOW),
                (NOW, "2027-06-02T00:00:00Z"),
                ("2027-06-02T00:00:00Z", "2027-06-03T00:00:00Z"),
            ]
        )
        members, countries = self.one([(("a", "c", "e"), ()), ((), ("MX",)), (("b",), ("US",)), ((), ())])
        return Consent(self.one(MEMBERS), self.one(["", *CASES]), members, countries, given, until)

    def subset(self, words: Sequence[str]) -> tuple[str, ...]:
        return tuple(sorted(word for word in words if self.chance.random() < 0.5))

    def agreement(self) -> Agreement:
        permits, forbids = self.chance.randint(1, 8), self.chance.randint(0, 2)
        return compiled(
            [self.permit() for _ in range(permits)], [self.forbid() for _ in range(forbids)], self.frame()
        )  # fmt: skip


def forms(kind: str, rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [rule | {"id": f"{kind}-{n}", "text": {"en": "x", "es": "x"}} for n, rule in enumerate(rules)]


def compiled(permits: list[dict[str, Any]], forbids: list[dict[str, Any]], frame: dict[str, Any]) -> Agreement:
    """An agreement of these rules, without the checks that a document must pass."""
    form = frame | {"permit": forms("P", permits), "forbid": forms("F", forbids)}
    return compile_agreement(Document.model_validate(form), b"", "")
