"""What can go wrong, in the words of the domain.

* Refusal               the caller may fix it; its text is shown to them, in English or Spanish
  - Malformed           not JSON, a bad parameter, too deep, a duplicate key
  - TooLarge            a body or an envelope over its limit
  - NotStix             JSON, but not an envelope of STIX 2.1 objects
  - NotAuthenticated    no credential, or one that is not valid now
  - NotPermitted        known, but the agreement or the member's rights forbid it; names the clause
  - NotFound            no such thing, or none this member may see
  - NotAcceptable       the answer cannot be given in the media type asked for
  - UnsupportedMedia    the body is in a media type this endpoint does not read
  - Conflict            it contradicts what the hub already holds
  - TooFast             over the member's rate; carries retry_after_seconds
  - Unavailable         the hub cannot do it safely now (ledger halted, store busy); try later
* LedgerFault           the log cannot go on safely; signing and cross-border release stop

Nothing here knows HTTP: web/problems.py turns a Refusal into a response.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """One sentence in both languages of the exchange."""

    en: str
    es: str

    def in_language(self, language: str) -> str:
        """The Spanish sentence for "es", the English one for anything else."""
        return self.es if language == "es" else self.en


class Refusal(Exception):
    """The caller may fix it. `code` is stable; `field` names the offending part, when there is one."""

    code = "refused"
    denies = False
    """Whether the log says that it was refused: what was asked for is there for others, or was meant to be taken."""

    def __init__(self, en: str, es: str, *, code: str | None = None, field: str | None = None) -> None:
        super().__init__(en)
        self.text = Text(en, es)
        self.field = field
        if code is not None:
            self.code = code


class Malformed(Refusal):
    code = "malformed"


class TooLarge(Refusal):
    code = "too-large"


class NotStix(Refusal):
    code = "not-stix"


class NotAuthenticated(Refusal):
    code = "not-authenticated"


class NotPermitted(Refusal):
    code = "not-permitted"
    denies = True


class NotFound(Refusal):
    code = "not-found"
    denies = True


class NotAcceptable(Refusal):
    code = "not-acceptable"


class UnsupportedMedia(Refusal):
    code = "unsupported-media-type"


class Conflict(Refusal):
    code = "conflict"


class TooFast(Refusal):
    code = "too-fast"

    def __init__(self, en: str, es: str, *, retry_after_seconds: int) -> None:
        super().__init__(en, es)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(Refusal):
    code = "unavailable"

    def __init__(self, en: str, es: str, *, code: str | None = None, retry_after_seconds: int = 5) -> None:
        super().__init__(en, es, code=code)
        self.retry_after_seconds = retry_after_seconds


class LedgerFault(Exception):
    """The log cannot go on safely: rollback, fork, or rows that no longer hash to their root."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
