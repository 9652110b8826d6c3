"""Every table, every kind of damage: `puente ledger fsck` names the row, and says nothing of a whole database."""

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from exchange.cli.ledger import read_policies
from exchange.fsck.check import Checked
from exchange.store.postgres_scan import PostgresScan
from policies.terms import TERMS_EXTENSION
from tests.contract.test_consents import api, said
from tests.contract.test_originators_terms import marked
from tests.fscking import Hand, Refused, asked, fsck, hand
from tests.places import Place
from tests.taxii import call
from tests.world import World, make_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS = {
    "leaf": ("log", "idx"), "leaf_private": ("log", "idx"), "tile": ("log", "level", "n"), "tree": ("log",),
    "checkpoint": ("log", "size"), "cosignature": ("log", "size", "witness"), "head": ("k",),
    "reference": ("vid", "id"), "run": ("first_tick",), "placement": ("collection", "tick"), "object": ("vid",), "label": ("id",),
    "member": ("slug",), "credential": ("id",), "signing_cert": ("thumbprint",), "collection": ("id",),
    "trust_list": ("version",), "agreement": ("number",), "draft": ("sha256", "impact_sha256"),
    "approval": ("sha256", "impact_sha256", "country", "approver", "decision"), "schedule": ("sha256", "impact_sha256"),
    "status": ("id",), "statement": ("id",), "recall": ("id",),
}  # fmt: skip
"""By table, what a row is named by."""

SILENT = {
    "checkpoint": ("signed_us",),
    "head": ("last_tick", "last_time", "registry", "revision", "views", "moves", "citing"),
    "run": ("odd",),
    "placement": ("newer",),
    "object": ("holder", "owner", "again"),
    "label": ("last_tick", "joined"),
    "member": ("identity_id", "name_en", "name_es", "default_tlp", "consents"),
    "credential": ("created_us", "expires_us", "note", "product", "digest", "certificate"),
    "signing_cert": ("added_us", "revoked_us", "compromised_since_us", "reason"),
    "collection": ("position", "title", "description"),
    "agreement": ("approvals", "overlays", "adopted_us"),
    "draft": ("position", "openings", "proposed_us"),
    "approval": ("approval", "given_us"),
    "schedule": ("scheduled_us",),
    "status": ("member", "body"),
    "statement": ("position", "made_us"),
    "recall": (
        "term",
        "reveals",
        "countries",
        "what",
        "scope",
        "opened_us",
        "due_us",
        "required",
        "seen_us",
        "account",
        "noticed",
    ),
}
"""Columns that nothing else in the database tells of, or not in every row (docs/operations.md says so)."""

GOES_UNSEEN = {
    ("delete", "status"), ("insert", "status"), ("delete", "cosignature"), ("insert", "cosignature"), ("insert", "label"),
}  # fmt: skip
"""A status is kept for a day and is nobody's proof; a cosignature that is lost is asked for again."""

OF_WEIGHT = {
    "checkpoint": " WHERE (log, size) IN (SELECT log, size FROM cosignature)",
    "label": " WHERE placements IN (SELECT placements FROM label WHERE placements > 0 GROUP BY placements HAVING count(*) = 1)",
}
"""A checkpoint that newer ones overtook before anybody cosigned it is nobody's proof; labels are told apart by how much lies under them."""


@dataclass
class Whole:
    """A hub's database after a day's work, with nothing wrong."""

    place: Place
    policies: Any
    anchors: Path

    async def after(self, harm: Callable[[Hand], Any]) -> Checked:
        async with hand(self.place) as other:
            await harm(other)
            return await asked(other.scan, self.policies, self.anchors)


async def connect(world: World) -> None:
    """A run that was shown to some is cut where what its middle refers to comes, and then goes."""
    here, *late = [world.signed("us-cyber") for _ in range(4)]
    relations = [
        world.sign("us-cyber", {name: here[name] for name in ("spec_version", "created_by_ref", "created", "modified")} | {
            "type": "relationship", "id": f"relationship--{uuid.uuid4()}", "relationship_type": "related-to",
            "source_ref": here["id"], "target_ref": one["id"], "object_marking_refs": here["object_marking_refs"],
        })
        for one in late
    ]  # fmt: skip
    for envelope in (relations, [here], [late[1]]):
        await world.post("us-cyber", *envelope)
        await world.pull("us-cyber")
        await world.pull("us-customs")
    await world.post("us-cyber", late[0])
    path = f"collections/{world.collections['indicators']}/objects/{late[1]['id']}/"
    assert (await call(world, "us-cyber", "DELETE", path))[0] == 200
    await world.pull("us-customs")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(tmp_path_factory: pytest.TempPathFactory, database: dict[str, Any]) -> AsyncIterator[Whole]:
    knobs = {"witness_interval_seconds": 0.2, "checkpoint_interval_seconds": 0.05}
    async with make_world(tmp_path_factory.mktemp("fsck"), **knobs, **database) as world:
        for number in range(4):
            await world.post("us-cyber", *(world.signed("us-cyber") for _ in range(70)))
            await world.post("mx-ciber", *(world.signed("mx-ciber") for _ in range(3 + number)))
            await world.pull("mx-aduanas", query="limit=50")
            await world.pull("us-customs")
        await withdrawn(world)
        await connect(world)
        place = world.settings.database_url or world.settings.database
        hub = world.home.root / "hub"
    yield Whole(place, read_policies(hub / "witness-policy"), hub / "anchors")


async def withdrawn(world: World) -> None:
    """Consents given and taken back, and something that was deleted, each with its recalls and their notices."""
    definition, sent = marked(world, TERMS_EXTENSION, {"case": "flood-2027"})
    assert (await world.post("us-cyber", definition, sent))["failure_count"] == 0
    asked = {"originator": "us-cyber", "case": "flood-2027", "reason": "We are hit too."}
    assert (await api(world, "mx-ciber", "consents/requests", asked))[0] == 202
    grants = [
        said(world, "us-cyber", "consent.grant", case="flood-2027", members=[slug])
        for slug in ("mx-aduanas", "mx-ciber")
    ]
    for one in grants:
        assert (await api(world, "us-cyber", "consents", one))[0] == 201
    assert sent["id"] in await world.pull("mx-ciber")
    taken = said(world, "us-cyber", "consent.withdraw", about=grants[1]["statement"]["id"])
    assert (await api(world, "us-cyber", "consents", taken))[0] == 201
    await world.pull("mx-ciber")
    path = f"collections/{world.collections['indicators']}/objects/{sent['id']}/"
    assert (await call(world, "us-cyber", "DELETE", path))[0] == 200
    services = world.hub.services
    await services.release.views.catch_up()
    await services.notices.follow()
    assert {one.cause for one in await services.store.recalls()} == {"grant", "delete"}
    assert not await services.store.unnoticed()


async def test_nothing_is_said_of_a_whole_database(whole: Whole) -> None:
    found = await fsck(whole.place, whole.policies, whole.anchors)
    assert found.ok, found.wrong
    assert all(found.leaves.values())


def broken(cell: Any) -> Any:
    """Another value of the same kind; bytes with one bit flipped in their midst."""
    match cell:
        case bytes() if cell:
            middle = len(cell) // 2
            return cell[:middle] + bytes([cell[middle] ^ 1]) + cell[middle + 1 :]
        case bytes():
            return b"x"
        case str():
            return f"{cell}x"
        case bool():
            return not cell
        case int():
            return cell + 1
        case _:
            return 1


@dataclass
class Table:
    name: str
    columns: list[str]
    rows: list[tuple[Any, ...]]

    @classmethod
    async def read(cls, other: Hand, name: str) -> "Table":
        order = ", ".join(KEYS[name])
        of_columns = _of_postgres if isinstance(other.scan, PostgresScan) else _of_sqlite
        columns = await of_columns(other, name)
        rows = await other.ask(f"SELECT {', '.join(columns)} FROM {name}{OF_WEIGHT.get(name, '')} ORDER BY {order}")
        return cls(name, columns, rows)

    def key(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(row[self.columns.index(name)] for name in KEYS[self.name])

    def named(self, row: tuple[Any, ...]) -> str:
        return "/".join(map(str, self.key(row)))

    async def put(self, other: Hand, row: tuple[Any, ...]) -> None:
        marks = ", ".join("?" * len(row))
        always = "OVERRIDING SYSTEM VALUE " if isinstance(other.scan, PostgresScan) else ""
        await other.do(f"INSERT INTO {self.name} ({', '.join(self.columns)}) {always}VALUES ({marks})", row)

    async def drop(self, other: Hand, row: tuple[Any, ...]) -> None:
        where = " AND ".join(f"{name} = ?" for name in KEYS[self.name])
        await other.do(f"DELETE FROM {self.name} WHERE {where}", self.key(row))


async def _of_sqlite(other: Hand, name: str) -> list[str]:
    return [row[0] for row in await other.ask(f"SELECT name FROM pragma_table_info('{name}')")]


async def _of_postgres(other: Hand, name: str) -> list[str]:
    return [
        row[0]
        for row in await other.ask(
            f"SELECT attname::text FROM pg_attribute WHERE attrelid = '{name}'::regclass AND attnum > 0 ORDER BY attnum"
        )
    ]


Harm = Callable[[Hand], Any]


def harms(table: Table) -> Iterator[tuple[str, set[str], Harm]]:
    """What may be done to a table: how it is called, what may be named for it, and how it is done."""
    middle = len(table.rows) // 2
    row = table.rows[middle]
    for number, column in enumerate(table.columns):
        if column in KEYS[table.name] or column in SILENT.get(table.name, ()):
            continue
        other = tuple([broken(cell) if at == number else cell for at, cell in enumerate(row)])
        yield f"edit {column}", {table.named(row)}, _instead(table, [row], [other])
    if table.name in ("head", "tree"):
        return
    if ("delete", table.name) not in GOES_UNSEEN:
        yield "delete", {table.named(row)}, _instead(table, [row], [])
    last = table.rows[-1]
    at = table.columns.index(KEYS[table.name][-1])
    added = tuple([_more(cell) if number == at else cell for number, cell in enumerate(last)])
    if ("insert", table.name) not in GOES_UNSEEN:
        yield "insert", {table.named(added)}, _instead(table, [], [added])
    if len(table.rows) > middle + 1:
        first, second = row, table.rows[middle + 1]
        keys = [table.columns.index(name) for name in KEYS[table.name]]
        swapped = [
            tuple([mine if number in keys else its for number, (mine, its) in enumerate(zip(one, two, strict=True))])
            for one, two in ((first, second), (second, first))
        ]
        told = [at for at, column in enumerate(table.columns) if column not in SILENT.get(table.name, ())]
        if any(one[at] != two[at] for one, two in zip(swapped, (first, second), strict=True) for at in told):
            yield "swap", {table.named(first), table.named(second)}, _instead(table, [first, second], swapped)


def _more(cell: Any) -> Any:
    return cell + 1_000_000 if isinstance(cell, int) else f"{cell}x"


def _instead(table: Table, old: list[tuple[Any, ...]], new: list[tuple[Any, ...]]) -> Harm:
    async def harm(other: Hand) -> None:
        for row in old:
            await table.drop(other, row)
        for row in new:
            await table.put(other, row)

    return harm


@pytest.mark.parametrize("name", KEYS)
async def test_each_damage_is_named(whole: Whole, name: str) -> None:
    async with hand(whole.place) as other:
        table = await Table.read(other, name)
    assert table.rows, "there is nothing to damage"
    missed = []
    for called, keys, harm in harms(table):
        try:
            found = await whole.after(harm)
        except Refused:
            continue  # the database's own keys stand in the way
        first = found.wrong[0] if found.wrong else None
        if first is None or (first.table, first.key) not in {(name, key) for key in keys}:
            missed.append((called, keys, first))
    assert not missed
