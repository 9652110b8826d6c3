"""The corpus: as many signed indicators as asked for, the same ones for the same seed but for keys and times.

Mix and sizes are those of real feeds: 40 % addresses, 25 % domains, 20 % URLs, 10 % file hashes, 5 % compound patterns;
some 900 bytes of compact JSON before the signature, 1,300 with it.
"""

import random
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from certs.jcs import canonical
from certs.signature import Signer
from exchange.clock import Clock
from exchange.intake.warninglists import Warninglists
from exchange.times import as_millis_text
from policies.label import TLP_DEFINITIONS

AMBER = next(marking for marking, word in TLP_DEFINITIONS.items() if word == "amber")
SEED = 1
_WORDS = [
    "cargo",
    "buque",
    "aduana",
    "puente",
    "rail",
    "gate",
    "port",
    "muelle",
    "crane",
    "ferry",
    "freight",
    "yard",
    "dock",
    "toll",
]


def _address(draw: random.Random) -> str:
    return f"[ipv4-addr:value = '{draw.randrange(1, 224)}.{draw.randrange(256)}.{draw.randrange(256)}.{draw.randrange(1, 255)}']"


def _domain(draw: random.Random) -> str:
    return f"[domain-name:value = '{draw.choice(_WORDS)}-{draw.getrandbits(40):x}.example']"


def _url(draw: random.Random) -> str:
    return (
        f"[url:value = 'https://{draw.choice(_WORDS)}{draw.getrandbits(32):x}.example/{draw.getrandbits(48):x}/login']"
    )


def _file(draw: random.Random) -> str:
    return f"[file:hashes.'SHA-256' = '{draw.getrandbits(256):064x}']"


def _compound(draw: random.Random) -> str:
    traffic = f"[network-traffic:dst_ref.type = 'ipv4-addr' AND network-traffic:dst_port = {draw.randrange(1, 65536)}]"
    return f"({_domain(draw)} FOLLOWEDBY {traffic}) WITHIN 300 SECONDS"


_MIX = [_address] * 40 + [_domain] * 25 + [_url] * 20 + [_file] * 10 + [_compound] * 5


def indicators(count: int, signer: Signer, clock: Clock) -> Iterator[bytes]:
    """Signed indicators in canonical form, ready to be joined into envelopes."""
    draw = random.Random(SEED)
    known_good = Warninglists.packaged()
    signed_at = as_millis_text(clock.now_us())[:19] + "Z"
    for _ in range(count):
        pattern = draw.choice(_MIX)(draw)
        while known_good.hits(pattern):
            pattern = draw.choice(_MIX)(draw)
        yield canonical(signer.sign(_indicator(draw, pattern, signer.identity_id, clock), signed_at=signed_at))


def _indicator(draw: random.Random, pattern: str, author: str, clock: Clock) -> dict[str, Any]:
    now = as_millis_text(clock.now_us() - draw.randrange(86_400_000_000))
    return {
        "type": "indicator",
        "spec_version": "2.1",
        "id": f"indicator--{uuid.UUID(int=draw.getrandbits(128), version=4)}",
        "created_by_ref": author,
        "created": now,
        "modified": now,
        "name": f"{draw.choice(_WORDS)} {draw.choice(_WORDS)} {draw.getrandbits(24)}",
        "description": "Seen in traffic of a trade corridor; " + " ".join(draw.choices(_WORDS, k=30)),
        "indicator_types": ["malicious-activity"],
        "pattern": pattern,
        "pattern_type": "stix",
        "pattern_version": "2.1",
        "valid_from": "2026-11-01T00:00:00Z",
        "confidence": draw.choice([40, 60, 80, 95]),
        "labels": draw.sample(_WORDS, 2),
        "kill_chain_phases": [{"kill_chain_name": "lockheed-martin-cyber-kill-chain", "phase_name": "delivery"}],
        "object_marking_refs": [AMBER],
    }


def envelopes(objects: Sequence[bytes], batch: int) -> Iterator[bytes]:
    """TAXII envelopes of `batch` objects each."""
    for start in range(0, len(objects), batch):
        yield b'{"objects":[' + b",".join(objects[start : start + batch]) + b"]}"
