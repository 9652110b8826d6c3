"""A member's profile: where its hub is, and which of the member's own files speak for it there.

    hub = "https://localhost:8443"              for tokens
    mtls_hub = "https://localhost:8444"         for client certificates; used when there is no token
    ca_file = "../../pki/hub/hub-root.pem"
    identity = "identity--…"
    signing_key = "signing.key"                 mode 0600, as tls_key and token_file
    signing_certificate = "signing.pem"
    policy = "policy"                           the witness policies (both, us, mx) that both countries gave the member
    seen = "seen"                               what it remembers of the hub's logs, to hold the hub to it

Paths are relative to the profile. Nothing here needs the hub's directory: with the files it names, a profile can be
carried to the member's own machine.
"""

import os
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import BaseModel, ConfigDict

from certs.keys import load_key, load_secret, read_certificate, save_secret
from certs.signature import Signer
from exchange.client import Client, Memory, read_policy
from exchange.clock import Clock
from exchange.errors import Malformed, NotFound, Text
from exchange.ledger.entry import LOGS
from exchange.ledger.generations import separate
from exchange.ledger.note import Policy
from exchange.settings import read_toml

NAME: Final = "client.toml"
TOKEN: Final = "PUENTE_TOKEN"  # noqa: S105  # the variable's name
_PATHS: Final = (
    "ca_file", "signing_key", "signing_certificate", "tls_key", "tls_certificate", "token_file", "policy",
    "seen",
)  # fmt: skip


class Profile(BaseModel):
    """Read by every command of a member. Unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    hub: str
    mtls_hub: str = ""
    api_root: str = "us-mx"
    identity: str
    """The member's identity id, which it signs as."""
    ca_file: Path | None = None
    """Whom to believe about the hub's name; without it, the machine's own authorities."""
    signing_key: Path = Path("signing.key")
    signing_certificate: Path = Path("signing.pem")
    tls_key: Path = Path("tls.key")
    tls_certificate: Path = Path("tls.pem")
    token_file: Path = Path("token")
    policy: Path = Path("policy")
    seen: Path = Path("seen")

    @classmethod
    def load(cls, path: Path) -> "Profile":
        """Raises Malformed naming the offending key."""
        return read_toml(cls, path, _PATHS, Text("profile", "perfil"))

    def client(self, clock: Clock, language: str) -> Client:
        """The member at its hub: by token if there is one, else by client certificate. Raises NotFound without either."""
        more: dict[str, Any] = {
            "clock": clock, "ca_file": self.ca_file, "signer": self.signer(), "api_root": self.api_root,
            "language": language,
        }  # fmt: skip
        token = os.environ.get(TOKEN) or (
            load_secret(self.token_file).decode().strip() if self.token_file.exists() else ""
        )
        if token:
            return Client(self.hub, token=token, **more)
        if not (self.mtls_hub and self.tls_certificate.exists()):
            raise NotFound(
                f"There is neither a token ({self.token_file}, or {TOKEN}) nor a client certificate with mtls_hub.",
                f"No hay ni token ({self.token_file}, o {TOKEN}) ni certificado de cliente con mtls_hub.",
                code="no-credential",
                field="token_file",
            )
        load_secret(self.tls_key)  # raises when others can read it; the TLS library would not ask
        return Client(self.mtls_hub, client_cert=(self.tls_certificate, self.tls_key), **more)

    def policies(self) -> dict[str, Policy]:
        """The member's own witness policies. Raises PolicyFault naming the line; NotFound when it has none."""
        found = separate({log: read_policy(self.policy / log) for log in LOGS if (self.policy / log).is_file()})
        if not found:
            raise NotFound(
                f"There is no witness policy in {self.policy}: without one, no receipt can be checked.",
                f"No hay política de testigos en {self.policy}: sin ella no puede comprobarse ningún comprobante.",
                code="no-policy",
                field="policy",
            )
        return found

    def memory(self, clock: Clock) -> Memory | None:
        """What the member saw of the hub's logs, None for one that was given no policy to judge them by."""
        return Memory(self.seen, self.policies(), clock) if self.policy.is_dir() else None

    def signer(self) -> Signer | None:
        """None for a member that keeps no signing key here, as auditors do."""
        if not self.signing_key.exists():
            return None
        certificate = read_certificate(self.signing_certificate.read_bytes())
        try:
            return Signer(load_key(self.signing_key), certificate, self.identity)
        except ValueError:
            raise Malformed(
                f"{self.signing_certificate} is the certificate of another key.",
                f"{self.signing_certificate} es el certificado de otra clave.",
                code="settings",
                field="signing_certificate",
            ) from None

    def must_sign(self) -> Signer:
        signer = self.signer()
        if signer is None:
            raise NotFound(
                f"There is no signing key {self.signing_key}.",
                f"No existe la clave de firma {self.signing_key}.",
                code="no-signer",
                field="signing_key",
            )
        return signer


def write(directory: Path, **values: str) -> Path:
    """A new profile in a member's directory. Raises FileExistsError rather than overwrite."""
    path = directory / NAME
    lines = [
        f"{key} = {orjson.dumps(value).decode()}\n" for key, value in values.items()
    ]  # a JSON string is a TOML one
    save_secret("".join(lines).encode(), path)
    return path


def find(home: Path, name: str) -> Path:
    """The profile that `--as` means: a file, a directory that holds one, or a slug under members/ of the home."""
    for path in (Path(name), Path(name) / NAME, home / "members" / name / NAME):
        if path.is_file():
            return path
    raise NotFound(
        f"There is no profile {name}, neither as a file nor as {home / 'members' / name / NAME}.",
        f"No existe el perfil {name}, ni como archivo ni como {home / 'members' / name / NAME}.",
        code="no-profile",
        field="--as",
    )
