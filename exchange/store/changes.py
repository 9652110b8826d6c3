"""What an act may change of the registry, the agreements and the logs' own affairs, beside the objects that it places."""

from dataclasses import dataclass, replace

from exchange.model.member import Collection, Credential, Member, SigningCert
from exchange.model.statement import Statement
from exchange.store.feed_rows import ReleaseRow


@dataclass(frozen=True, slots=True)
class EndCredential:
    id: str


@dataclass(frozen=True, slots=True)
class RevokeSigningCert:
    thumbprint: str
    revoked_us: int
    compromised_since_us: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class StateChange:
    """The head passes from one writable state to the other; Outdated when another process was faster."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class AgreementRow:
    """An adopted agreement. `number` counts adoptions; it is what releases and cursors are bound to."""

    number: int
    agreement_id: str
    version: int
    document: bytes
    approvals: bytes
    adopted_us: int
    impact_sha256: str = ""
    """Digest of the impact that was approved with it."""
    overlays: bytes = b"[]"
    """The tightenings in force beside it, a JSON list of documents with their approvals."""
    cause: str = "activate"
    """"activate" (a version both countries approved), "tighten", "lift" (by who tightened), "lapse" (an overlay's end), "expire", or "abandon": the
    same again after entries of `both` were lost for good, with a number beyond those that they can have given."""

    @property
    def name(self) -> str:
        return f"{self.agreement_id}/{self.version}"

    def follows(self, number: int) -> bool:
        """Whether it may come after the adoption of that number."""
        return self.number == number + 1 or (self.cause == "abandon" and self.number > number)


@dataclass(frozen=True, slots=True)
class DraftRow:
    """A version on its way, with the impact that is to be approved with it. The same document may be put again, with
    another impact."""

    sha256: str
    impact_sha256: str
    agreement_id: str
    version: int
    document: bytes
    impact: bytes
    """Canonical JSON: what crosses the border, and commitments to what does not."""
    openings: bytes
    """JSON: by country, what its commitment in the impact opens to. For that country alone."""
    proposed_us: int = 0
    """Stamped by the store."""


@dataclass(frozen=True, slots=True)
class ApprovalRow:
    """What one approver said of a draft: "approve" or "refuse"."""

    sha256: str
    impact_sha256: str
    country: str
    approver: str
    decision: str
    approval: bytes
    """The statement with its signature, as it was given."""
    given_us: int = 0
    """Stamped by the store."""


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """Both countries have approved a draft: it comes into force at its time. A second one is Outdated."""

    sha256: str
    impact_sha256: str
    scheduled_us: int = 0
    """Stamped by the store."""


@dataclass(frozen=True, slots=True)
class TrustListRow:
    version: int
    document: bytes


@dataclass(frozen=True, slots=True)
class BlockPrivate:
    """A leaf's private part may be read only to determine liability. Outdated when there is none that is not blocked."""

    log: str
    index: int


@dataclass(frozen=True, slots=True)
class ErasePrivate:
    """A leaf's blocked private part is gone. Outdated when there is none that is blocked."""

    log: str
    index: int


@dataclass(frozen=True, slots=True)
class KeyTurn:
    """From a size of a log on, other keys sign its checkpoints. Outdated unless those of `was` sign it now, as far as rows tell."""

    log: str
    was: tuple[str, ...]
    now: tuple[str, ...]
    since: int = 0
    """The smallest tree that is signed so; 0: the next one that is larger than it is at this act."""


Change = (
    Member
    | Credential
    | EndCredential
    | SigningCert
    | RevokeSigningCert
    | Collection
    | AgreementRow
    | DraftRow
    | ApprovalRow
    | ScheduleRow
    | TrustListRow
    | Statement
    | StateChange
    | BlockPrivate
    | ErasePrivate
    | KeyTurn
    | ReleaseRow
)


def rules_anybody(change: Change) -> bool:
    """Whether the registry is another one by it, and every snapshot of the rules out of date. What is done to a private part,
    or to a log's keys, rules nobody; and rules that are made anew are heard of abroad, by the `decide` entries that they bring."""
    if isinstance(change, Statement):
        return change.binds
    return not isinstance(change, (BlockPrivate, ErasePrivate, KeyTurn))


def stamped(change: Change, time_us: int) -> Change:
    """The change with the time of its commit, where it carries one."""
    if isinstance(change, DraftRow):
        return replace(change, proposed_us=time_us)
    if isinstance(change, ApprovalRow):
        return replace(change, given_us=time_us)
    if isinstance(change, ScheduleRow):
        return replace(change, scheduled_us=time_us)
    if isinstance(change, Statement):
        return replace(change, made_us=time_us)
    return change
