"""What became of an envelope: the hub's status read strictly, so that only what it names as a success counts as one."""

from dataclasses import dataclass
from typing import Any

from exchange.client.envelopes import Envelope, Packed, Refused
from exchange.errors import Text, Unavailable


@dataclass(frozen=True, slots=True)
class Leaf:
    """Where an entry about the submission lies. `log` is "both", "us" or "mx"; `hash` is its RFC 6962 leaf hash."""

    log: str
    index: int
    origin: str
    hash: bytes


@dataclass(frozen=True, slots=True)
class SubmitResult:
    """One envelope's outcome. `accepted` and `refused` together name every object that was given."""

    status: dict[str, Any]
    accepted: tuple[Packed, ...]
    refused: tuple[Refused, ...]
    leaves: tuple[Leaf, ...]

    @property
    def id(self) -> str:
        """Of the TAXII status; "" when nothing was sent."""
        return str(self.status.get("id", ""))


def read_result(envelope: Envelope, status: Any) -> SubmitResult:
    """Raises Unavailable (`hub-answer`) for anything but a complete status about these objects."""
    try:
        successes = {(one["id"], one["version"]) for one in status.get("successes", ())}
        failures = {(one["id"], one.get("version", "")): one for one in status.get("failures", ())}
        leaves = tuple(
            Leaf(one["log"], int(one["index"]), one["origin"], bytes.fromhex(one["hash"]))
            for one in status.get("leaves", ())
        )
        if status["status"] != "complete":
            raise ValueError
    except (AttributeError, KeyError, TypeError, ValueError):
        raise Unavailable(
            "The hub's status cannot be read.", "No se puede leer el estado del centro.", code="hub-answer"
        ) from None
    stored = successes - failures.keys()  # told both ways, it does not count as stored
    accepted = tuple(one for one in envelope.contents if (one.id, one.version) in stored)
    refused = tuple(
        _refused(one, failures.get((one.id, one.version)))
        for one in envelope.contents
        if (one.id, one.version) not in stored
    )
    return SubmitResult(status, accepted, (*envelope.refused, *refused), leaves)


def nothing_sent(envelope: Envelope) -> SubmitResult:
    """The outcome of an envelope in which no object could be packed."""
    return SubmitResult({}, (), envelope.refused, ())


def _refused(packed: Packed, detail: dict[str, Any] | None) -> Refused:
    if detail is None:
        text = Text("The hub's status does not name this object.", "El estado del centro no menciona este objeto.")
        return Refused(packed.id, packed.version, "status-silent", text)
    message = detail.get("message", "")
    en, es = (str(detail.get(f"x_message_{language}", message))[:2000] for language in ("en", "es"))
    return Refused(
        packed.id,
        packed.version,
        str(detail.get("x_code", "refused")),
        Text(en, es),
        str(detail.get("x_field", "")),
    )
