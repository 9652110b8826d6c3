"""The countries' revocation lists as a running hub sees them: a folder that each country's authority keeps fresh.

Files may be replaced at any time (by rename, so that none is read half); the next request is judged by the new ones.
What is missing or out of date refuses, file by file: a broken list is as good as none, and says so in the hub's log.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog
from cryptography import x509

from certs.faults import PathFault
from certs.path import Revocation, Revocations

SUFFIX = ".crl"
LIMIT_BYTES = 10_000_000
"""Some 250,000 revocations; no country of members comes near."""

_log = structlog.get_logger("puente.crls")


@dataclass(frozen=True, slots=True)
class CrlFolder:
    """Lists of every intermediate, PEM or DER, in files named `*.crl`."""

    directory: Path

    def state(self) -> tuple[tuple[str, int, int], ...]:
        """What tells one state of the folder from another: names, sizes and times. Asked before each request."""
        try:
            with os.scandir(self.directory) as entries:  # on the way of every request
                about = [(one.name, one.stat()) for one in entries if one.name.endswith(SUFFIX)]
        except OSError:
            return ()  # no folder, or a file replaced this moment: the next question finds the new one
        return tuple(sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in about))

    def read(
        self, issuers: Sequence[x509.Certificate], listed: Mapping[str, Revocation], *, at: datetime
    ) -> Revocations:
        """The newest list of each issuer, beside what is `listed` in the registry."""
        good = []
        for path in self._files():
            try:
                with path.open("rb") as file:
                    data = file.read(LIMIT_BYTES)
                Revocations.from_crls([data], issuers, at=at)
            except (OSError, PathFault) as error:
                _log.error("a revocation list cannot be used", file=path.name, reason=str(error))
                continue
            good.append(data)
        return Revocations.from_crls(good, issuers, at=at, listed=listed)

    def _files(self) -> list[Path]:
        return sorted(self.directory.glob(f"*{SUFFIX}"))
