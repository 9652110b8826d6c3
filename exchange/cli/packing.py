"""What an auditor's pack is made of, read from the hub: `puente ledger pack`."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from certs.jcs import canonical, load
from exchange.auditing.crossed import Crossed
from exchange.cli.comparing import back_us
from exchange.cli.setup import OPERATOR
from exchange.errors import Conflict, Malformed, NotFound
from exchange.ledger.entry import LEAF_LIMIT_BYTES
from exchange.ledger.events import schemas
from exchange.ledger.generations import following, in_order, kind
from exchange.ledger.note import Checkpoint, note_text, split_note
from exchange.ledger.opened import LISTS, Page, page_of
from exchange.ledger.pack import Enclosed, Past, Progress, write_copy
from exchange.store.answers import CheckpointRow, Opening
from exchange.times import parse_us
from exchange.web.services import Services

LOGS_FOR = {"us": ("both", "us"), "mx": ("both", "mx"), "both": ("both",)}
"""Which logs an auditor may take home, by whose auditor it is."""

CHECKPOINTS_AT_ONCE = 1_000
HOUR_US = 3_600_000_000


@dataclass(frozen=True, slots=True)
class _Notes:
    newest: bytes
    past: Past


class HubCopy:
    """What `write_copy` asks, answered from the hub's store: of the national logs only those asked for, and of what was
    committed only what the `countries` named may see: all in a country's own log, and in `both` its own actors'. Of
    others' pages there they see which objects, and nothing else; and of whatever pages what no log that was asked for names."""

    def __init__(
        self, services: Services, logs: Sequence[str], *, since_us: int | None = None, countries: Sequence[str] = ()
    ) -> None:
        self._services = services
        self._logs = logs
        self._since_us = since_us
        self._countries = countries
        self._notes: dict[str, _Notes] = {}
        self._crossed = Crossed(services.store, {kind(log) for log in logs})

    async def logs(self) -> Sequence[str]:
        return self._logs

    async def note(self, log: str) -> bytes:
        return (await self._noted(log)).newest

    async def held(self, log: str) -> int | None:
        tree = (await self._services.store.trees())[log]
        return tree.size if tree.closed else None

    async def past(self, log: str) -> Past:
        return (await self._noted(log)).past

    async def before(self, log: str) -> int | None:
        """The size at the last checkpoint before the window; None when there is none."""
        note = (await self.past(log)).before
        return Checkpoint.parse(split_note(note)[0]).size if note is not None else None

    async def leaves(self, log: str, start: int, end: int) -> list[bytes]:
        return await self._services.store.leaves(log, start, end)

    async def openings(self, log: str, start: int, end: int) -> list[Opening]:
        if kind(log) != "both" and kind(log) not in self._countries:
            return []
        found = await self._services.store.openings(log, start, end) if self._countries else []
        if kind(log) != "both" or not found:
            return found
        leaves = await self._services.store.leaves(log, start, end)
        return [one for one in found if _country(_read(leaves[one.index - start])) in self._countries]

    async def pages(self, log: str, start: int, end: int) -> list[Page]:
        """Which objects crossed is in `both` for the auditors of either country; from where they were asked for is not. To be asked in
        the order of the log: what one page named, later ones need not."""
        if kind(log) != "both":
            return []
        leaves = [_read(one) for one in await self._services.store.leaves(log, start, end)]
        if not any(leaf["t"] in LISTS for leaf in leaves):
            return []
        pages = []
        for one in await self._services.store.openings(log, start, end):
            leaf = leaves[one.index - start]
            if leaf["t"] not in LISTS:
                continue
            private = orjson.loads(one.payload)
            page = await self._crossed.page(log, one.index, private)
            if page is None and _country(leaf) not in self._countries:
                page = page_of(one.index, leaf["t"], private)
            pages += [page] if page is not None else []
        return pages

    async def _noted(self, log: str) -> _Notes:
        """The notes to copy, chosen once: a hub that is serving goes on signing."""
        if log not in self._notes:
            self._notes[log] = await self._choose(log)
        return self._notes[log]

    async def _choose(self, log: str) -> _Notes:
        policy = self._services.publisher.policy(log)
        before: CheckpointRow | None = None
        hours: dict[int, CheckpointRow] = {}
        size = 0
        while rows := await self._services.store.checkpoints(log, size, CHECKPOINTS_AT_ONCE):
            size = rows[-1].size + 1
            for row in rows:
                if not policy.satisfied({name for name, _ in row.cosignatures}):
                    continue
                if self._since_us is not None and row.signed_us <= self._since_us:
                    before = row
                else:
                    hours[row.signed_us // HOUR_US] = row
        # By size: the hours of a clock that went back do not come in order.
        since = [row for row in hours.values() if before is None or row.size > before.size]
        found = [*([before] if before is not None else []), *sorted(since, key=lambda row: row.size)]
        if await self.held(log) is not None:
            # Whole in every pack: nothing proves any more how it grew up to the last that was cosigned.
            return _Notes(await self._last(log), Past(between=[_note(row) for row in found]))
        if not found:
            raise NotFound(
                f"No checkpoint of {log} is cosigned yet.",
                f"Ningún punto de control de {log} está cofirmado todavía.",
                code="not-cosigned",
            )
        between = [_note(row) for row in found if row not in (before, found[-1])]
        return _Notes(_note(found[-1]), Past(_note(before) if before is not None else None, between))

    async def _last(self, log: str) -> bytes:
        """The last cosigned checkpoint of a closed log, as its closing has it: not all of what that covers is left."""
        [data] = await self._services.store.leaves(following(log), 0, 1)
        note: str = _read(data)["pub"]["note"]
        return note.encode()


def _note(row: CheckpointRow) -> bytes:
    return note_text(row.note, [line for _, line in row.cosignatures])


def _read(leaf: bytes) -> dict[str, Any]:
    found: dict[str, Any] = load(leaf, max_bytes=LEAF_LIMIT_BYTES)
    return found


def _country(leaf: Mapping[str, Any]) -> str:
    """Whose organisation acted; of the hub's own acts, nobody's."""
    return str(leaf["actor"]).partition(":")[0]


@dataclass(frozen=True)
class Packed:
    """A log as it lies in a pack."""

    log: str
    size: int
    root: str


async def write_pack(
    services: Services,
    directory: Path,
    whom: str,
    since_us: int | None,
    prove: Sequence[tuple[str, int]] = (),
    on_progress: Progress | None = None,
) -> list[Packed]:
    """Write the pack of one country's auditor, or the joint one. That it was taken is in the log before it is written."""
    if await asyncio.to_thread(lambda: directory.exists() and any(directory.iterdir())):
        raise Conflict(
            f"{directory} is not empty.", f"{directory} no está vacío.", code="exists", field="directory"
        )  # fmt: skip
    countries = [one for one in LOGS_FOR[whom] if one != "both"]
    trees = await services.store.trees()
    logs = [log for log in in_order(trees) if kind(log) in LOGS_FOR[whom]]
    source = HubCopy(services, logs, since_us=since_us, countries=countries)
    heads = {log: Checkpoint.parse(split_note(await source.note(log))[0]) for log in logs}
    heads |= {log: replace(heads[log], size=trees[log].size, root=trees[log].root) for log in logs if trees[log].closed}
    for log, index in prove:
        if log in trees and trees[log].closed:
            raise NotFound(
                f"{log} is closed: a hub gives receipts of its entries, a pack proves none.",
                f"{log} está cerrado: el centro da recibos de sus asientos; una carpeta no prueba ninguno.",
                code="log-closed",
                field="--receipt",
            )
        if log not in heads or index >= heads[log].size:
            raise NotFound(
                f"Entry {index} of {log} is not cosigned yet.",
                f"El asiento {index} de {log} todavía no está cofirmado.",
                code="not-cosigned",
                field="--receipt",
            )
    since = {log: size for log in heads if (size := await source.before(log)) is not None}
    pages = [one for one in ("us", "mx") if one not in countries]
    await services.records.exported(OPERATOR, heads, to=whom, openings=bool(countries), since=since, pages=pages)
    papers = {**await agreements_since(services, since_us), **_schemas()}
    await write_copy(directory, source, Enclosed(prove=prove, papers=papers), on_progress)
    return [Packed(log, head.size, head.root.hex()) for log, head in heads.items()]


def _schemas() -> dict[str, bytes]:
    return {f"schemas/{kind}.json": canonical(schema) + b"\n" for kind, schema in schemas().items()}


async def agreements_since(services: Services, since_us: int | None) -> dict[str, bytes]:
    """The texts that were in force then or later, each with who approved it, by their adoption numbers."""
    rows = await services.store.agreements()
    ended = [later.adopted_us for later in rows[1:]]
    files = {}
    for row, end_us in zip(rows, [*ended, None], strict=True):
        if end_us is not None and since_us is not None and end_us <= since_us:
            continue
        folder = f"agreements/{row.number}"
        files[f"{folder}/agreement.toml"] = row.document
        files[f"{folder}/approvals.json"] = row.approvals
        files[f"{folder}/overlays.json"] = row.overlays
    return files


# --- what is typed ---


def since_when(text: str, now_us: int) -> int:
    """`2026-11-01`, `2026-11-01T06:00:00Z`, `36h` or `30d`, as a time."""
    if re.fullmatch(r"[0-9]+[hd]", text, re.ASCII):
        return now_us - back_us(text)
    try:
        return parse_us(f"{text}T00:00:00Z" if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text, re.ASCII) else text)
    except ValueError:
        raise Malformed(
            "--since takes a date, a time in UTC, hours or days: 2026-11-01, 2026-11-01T06:00:00Z, 36h, 30d.",
            "--since admite una fecha, una hora en UTC, horas o días: 2026-11-01, 2026-11-01T06:00:00Z, 36h, 30d.",
            field="--since",
        ) from None


def receipt_place(text: str, whom: str) -> tuple[str, int]:
    """`both/12`, as a log of the pack and an index."""
    match = re.fullmatch(r"([a-z]+(?:/[0-9]{1,4})?)/(0|[1-9][0-9]{0,15})", text, re.ASCII)
    if match is None or kind(match[1]) not in LOGS_FOR[whom]:
        known = ", ".join(LOGS_FOR[whom])
        raise Malformed(
            f"--receipt takes a log and an index, such as both/12; this pack has {known}.",
            f"--receipt admite un registro y un índice, como both/12; esta carpeta tiene {known}.",
            field="--receipt",
        )
    return match[1], int(match[2])
