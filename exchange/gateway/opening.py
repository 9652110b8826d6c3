"""The file by which a country discloses for what original an object of its gateway stands, and its proof. Pure."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from certs.jcs import canonical, load
from certs.origin import Origin, commitment, releases
from exchange.client.verify import EvidenceFault
from exchange.errors import Malformed

_Hex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_BYTES_AT_MOST = 10_000


class Opening(BaseModel):
    """Unknown members are refused: nothing stands in the file that the proof does not speak of."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)

    schema_: Literal["puente-origin/1"] = Field(default="puente-origin/1", alias="schema")
    object: str
    object_version: str
    attestation: str
    original: str
    original_version: str
    original_sha256: _Hex
    salt: _Hex

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Raises JsonError or Malformed."""
        try:
            return cls.model_validate(load(data, max_bytes=_BYTES_AT_MOST))
        except ValidationError as error:
            name = ".".join(str(part) for part in error.errors()[0]["loc"])
            raise Malformed(
                f"This is no disclosure of a gateway, at {name}.",
                f"Esto no es una revelación de una pasarela, en {name}.",
                code="disclosure-form",
                field=name,
            ) from None

    def encode(self) -> bytes:
        return canonical(self.model_dump(by_alias=True)) + b"\n"

    def prove(self, attestation: Mapping[str, Any], original: Mapping[str, Any] | None = None) -> Origin:
        """Check that the attestation committed to this original; what it says of the sender.

        With `original`, that this is it. The attestation's own signature is verified like any object's. Raises
        EvidenceFault.
        """
        said = releases(attestation)
        name = (self.object, self.object_version)
        found = next((one for one in said[1] if (one.id, one.version) == name), None) if said is not None else None
        if said is None or found is None or attestation.get("id") != self.attestation:
            raise EvidenceFault(
                "disclosure-attestation",
                "This is not the gateway's attestation of that object.",
                "Esta no es la atestación de la pasarela sobre ese objeto.",
            )
        if commitment(bytes.fromhex(self.salt), bytes.fromhex(self.original_sha256)) != found.commitment:
            raise EvidenceFault(
                "disclosure-mismatch",
                "Salt and digest do not open the commitment: the object stands for another original.",
                "La sal y la huella no abren el compromiso: el objeto representa otro original.",
            )
        if original is not None and sha256(canonical(dict(original))).hexdigest() != self.original_sha256:
            raise EvidenceFault(
                "disclosure-original",
                "This is not the original that is disclosed.",
                "Este no es el original revelado.",
            )
        return said[0]
