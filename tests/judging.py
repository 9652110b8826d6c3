"""Small agreements, and cases to judge by them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from policies.agreement import load
from policies.clauses import Agreement, compile_agreement
from policies.consent import Consent
from policies.decide import Decision, decide
from policies.document import Document
from policies.label import Label, Recipient

LIBRARY = Path(__file__).resolve().parents[1] / "policies" / "agreements"
SAMPLE = load((LIBRARY / "us-mx-trade-cyber.toml").read_bytes())
NOW = "2027-01-15T06:00:00Z"

LABEL = Label(
    collection="indicators",
    originator="us-cyber",
    country="US",
    roles=("agency", "csirt"),
    sectors=("gov.cyber",),
    tlp="green",
    pap="clear",
    caveats=(),
    rel_to=None,
    object_class="indicator",
    confidence="high",
    assurance="originator-signed",
    consent="none",
    feed="",
)
OPERATOR = replace(LABEL, originator="us-port-gulf", roles=("operator",), sectors=("trade.port",))
ADUANAS = Recipient("mx-aduanas", "MX", ("agency",), ("trade.customs",), "active")
PUERTO = Recipient("mx-puerto-pac", "MX", ("operator",), ("trade.port",), "active")
CUSTOMS = Recipient("us-customs", "US", ("agency",), ("trade.customs",), "active")
FOREIGN = "marking-definition--6010b3f4-a603-4d3b-9098-8708cdbe151b"
PORT = Recipient("us-port-gulf", "US", ("operator",), ("trade.port",), "active")

BASE: dict[str, Any] = {
    "schema": "bilateral-sharing-agreement/1",
    "agreement_id": "small",
    "version": 1,
    "effective_from": "2027-01-01T00:00:00Z",
    "expires": "2028-01-01T00:00:00Z",
    "legal_basis": {},
    "parties": {},
    "vocabulary": {"sectors": ["trade.port"], "roles": ["agency", "operator"]},
    "audiences": {"ports": {"members": ["mx-puerto-pac"], "owner": "MX"}},
    "purposes": {"allowed": ["a", "b"]},
    "defaults": {
        "effect": "deny",
        "unmarked_as": "amber",
        "unknown_marking": "deny-cross-border",
        "dangling_endpoint": "withhold",
        "min_assurance": {"cross_border": "gateway-signed", "in_country": "imported"},
        "on_expiry": "in-country-continues",
    },
    "ceilings": {
        "cross_border": {"agency": {"tlp": "amber+strict"}, "operator": {"tlp": "amber", "pap": "green"}},
        "anywhere": {"tlp": "amber+strict"},
    },
}
EVERYWHERE = ["US>MX", "MX>US", "US>US", "MX>MX"]


def permit(id_: str = "P-ALL", *, then: dict[str, Any] | None = None, **parts: Any) -> dict[str, Any]:
    form = {"id": id_, "text": {"en": f"{id_}.", "es": f"{id_}."}, "direction": EVERYWHERE}
    return form | {"then": then or {"identity": "reveal"}} | parts


def forbid(id_: str = "F-ONE", **parts: Any) -> dict[str, Any]:
    return {"id": id_, "text": {"en": f"{id_}.", "es": f"{id_}."}} | parts


def agreement(*rules: dict[str, Any], **changes: Any) -> Agreement:
    """An agreement of these rules, compiled without the checks that a document must pass."""
    form = BASE | {
        "permit": [rule for rule in rules if rule["id"].startswith("P-")],
        "forbid": [rule for rule in rules if rule["id"].startswith("F-")],
    }
    return compile_agreement(Document.model_validate(form | changes), b"", "")


def judge(
    under: Agreement, label: Label = LABEL, recipient: Recipient = ADUANAS, now: str = NOW, *consents: Consent
) -> Decision:
    return decide(under, label, recipient, now=now, consents=consents)
