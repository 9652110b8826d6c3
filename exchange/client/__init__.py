"""What members, feeds and auditors import: sign, submit, pull, follow, and verify without trusting the hub."""

from exchange.client.client import Client
from exchange.client.connection import Connection
from exchange.client.envelopes import Envelope, Packed, Provenance, Refused, claims, pack, prepare
from exchange.client.gossip import Alarm, Memory
from exchange.client.reading import Page, Place, places
from exchange.client.submitting import Leaf, SubmitResult, read_result
from exchange.client.tearline import pair
from exchange.client.verify import (
    EvidenceFault,
    divide,
    keyring,
    read_policy,
    verify_object,
    verify_page,
    verify_receipt,
)

__all__ = [
    "Alarm",
    "Client",
    "Connection",
    "Envelope",
    "EvidenceFault",
    "Leaf",
    "Memory",
    "Packed",
    "Page",
    "Place",
    "Provenance",
    "Refused",
    "SubmitResult",
    "claims",
    "divide",
    "keyring",
    "pack",
    "pair",
    "places",
    "prepare",
    "read_policy",
    "read_result",
    "verify_object",
    "verify_page",
    "verify_receipt",
]
