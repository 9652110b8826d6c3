"""Yesterday's backup is restored: the hub stays halted until both countries had its logs put back, and nothing else does it."""

import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import asyncpg
import orjson
import pytest
import pytest_asyncio
from aiohttp import web

from certs.keys import load_key, read_certificate
from exchange.cli.erasing import privacy
from exchange.cli.packing import HubCopy
from exchange.cli.setup import OPERATOR
from exchange.errors import LedgerFault, NotPermitted
from exchange.governance.approvals import sign
from exchange.governance.privacy import ERASURE_TYPE
from exchange.governance.recovery import RECOVERY_TYPE, Gap, Recovery
from exchange.governance.statements import signed as stated
from exchange.hub import open_store, witness_policies, working
from exchange.ledger.audit import verify_copy, write_copy
from exchange.ledger.entry import LOGS, Entry
from exchange.ledger.publisher import Anchors
from exchange.ledger.sources import Folder, Mirrors, Source
from exchange.model.member import Status
from exchange.model.statement import Kind
from exchange.rules import Caller
from exchange.store.acts import Act, Record
from exchange.store.answers import LogKeyRow, Opening, TreeRow
from exchange.times import as_text
from exchange.web.services import Services
from tests.agreeing import overlay, tightening
from tests.faults.crash import Crash
from tests.fscking import fsck
from tests.rotating import desk as turning
from tests.rotating import new_key, trust
from tests.world import Founded, found

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Day:
    """A hub with a backup of yesterday, and what it was when its database was lost."""

    founded: Founded
    backup: Any
    copy: Path
    """What an auditor took home just before."""
    trees: dict[str, TreeRow]
    deleted: str
    kept: str
    erased: Opening
    gone: str
    """The object that was erased with it."""
    documents: Sequence[bytes]
    """Of the overlays that came into force that day."""
    signing: dict[str, list[LogKeyRow]]
    """Which keys signed which log."""

    async def restore(self) -> None:
        await replace_database(self.founded, self.backup)

    def recovery(self, store: Any, source: Source) -> Recovery:
        settings = self.founded.settings
        return Recovery(store, self.founded.clock, witness_policies(settings), Anchors(settings.anchors), source)

    def approvals(self, plan: Sequence[Gap], countries: str = "us mx", **changed: Any) -> list[bytes]:
        given = []
        for gap in plan:
            mine = " ".join({one.lower() for one in gap.countries} & set(countries.split()))
            given += approvals(self.founded, {**gap.statement, **changed}, mine, RECOVERY_TYPE)
        return given


def approvals(founded: Founded, statement: dict[str, Any], countries: str, typ: str) -> list[bytes]:
    """By two approvers of each country."""
    signed = []
    for country in countries.split():
        folder = founded.home.root / "pki" / country / "approvers"
        for number in (1, 2):
            key = load_key(folder / f"appr-{number}.key")
            certificate = read_certificate((folder / f"appr-{number}.pem").read_bytes())
            signed.append(sign(statement, decision="approve", key=key, certificate=certificate, typ=typ))
    return [one.encode() for one in signed]


async def back_up(founded: Founded) -> Any:
    settings = founded.settings
    if not settings.database_url:
        return shutil.copy(settings.database, settings.database.with_name("backup"))
    name = f"{urlsplit(settings.database_url).path[1:]}_backup"
    await _order(
        settings.database_url, f'CREATE DATABASE "{name}" TEMPLATE "{urlsplit(settings.database_url).path[1:]}"'
    )
    return name


async def replace_database(founded: Founded, backup: Any) -> None:
    settings = founded.settings
    if not settings.database_url:
        for file in settings.database.parent.glob(f"{settings.database.name}*"):
            file.unlink()
        shutil.copy(backup, settings.database)
        return
    name = urlsplit(settings.database_url).path[1:]
    await _order(settings.database_url, f'DROP DATABASE "{name}" WITH (FORCE)')
    await _order(settings.database_url, f'CREATE DATABASE "{name}" TEMPLATE "{backup}"')


async def _order(url: str, statement: str) -> None:
    db = await asyncpg.connect(urlunsplit(urlsplit(url)._replace(path="/postgres")))
    await db.execute(statement)
    await db.close()


async def submit(services: Services, founded: Founded, slug: str, count: int) -> list[str]:
    return await send(services, founded, slug, [founded.signed(slug) for _ in range(count)])


async def send(services: Services, founded: Founded, slug: str, objects: list[dict[str, Any]]) -> list[str]:
    collection = (await services.rulebook.current()).collection("indicators")
    assert collection is not None
    body = orjson.dumps({"objects": objects})
    done = await services.intake.submit(Caller(founded.members[slug], "acct"), collection, body)
    assert done.body["success_count"] == len(objects), done.body
    return [one["id"] for one in objects]


def report(founded: Founded, slug: str, *members: str) -> dict[str, Any]:
    base = founded.indicator(slug)
    kept = ("spec_version", "created_by_ref", "created", "modified", "name", "object_marking_refs")
    return founded.sign(slug, {name: base[name] for name in kept if name in base} | {
        "type": "report", "id": base["id"].replace("indicator", "report"), "published": base["valid_from"], "object_refs": members,
    })  # fmt: skip


async def told_in(services: Services, log: str, object_id: str) -> Opening:
    """The private part of the entry by which an object was submitted."""
    for one in await services.store.openings(log, 0, 100_000):
        [data] = await services.store.leaves(log, one.index, one.index + 1)
        if orjson.loads(data)["pub"].get("object") == object_id:
            return one
    raise AssertionError("it shares another's private part")


async def state(services: Services, founded: Founded, kind: Kind, **words: Any) -> str:
    """An originator consents, or takes that back."""
    now_us, slug = founded.clock.now_us(), "us-cyber"
    if kind == "consent.grant":
        words = {"case": "", "countries": [], "until": as_text(now_us + 86_400_000_000), **words}
    signer = founded.home.signer(slug, founded.members[slug].identity_id)
    said = stated(signer, slug, kind, given=as_text(now_us), **words)
    made, _ = await services.statements.accept(
        Caller(founded.members[slug], "acct"), orjson.dumps(said), about="consent"
    )
    return made.id


async def overlays(services: Services, founded: Founded) -> list[bytes]:
    """Two restrictions, of which one is lifted again."""
    agreed = (await services.rulebook.current()).agreed
    assert agreed is not None
    desk, made = services.agreements, []
    for name, country, rule in (("us-lifted", "US", "LIFTED"), ("mx-stays", "MX", "STAYS")):
        more = f'from.members = ["{country.lower()}-marina"]'
        made.append(overlay(agreed, founded.clock.now_us(), name=name, country=country, rule=rule, more=more))
        who = [f"{country}-1", f"{country}-2"]
        await desk.tighten(OPERATOR, made[-1], tightening(founded.home, made[-1], who))
    await desk.lift(OPERATOR, made[0], tightening(founded.home, made[0], ["US-1", "US-2"], "lift"))
    return made


async def cosign(services: Services) -> None:
    await services.publisher.publish_once()
    await services.publisher.witness_round()
    assert services.publisher.halted is None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def day(tmp_path_factory: pytest.TempPathFactory, database: dict[str, Any]) -> AsyncIterator[Day]:
    root = tmp_path_factory.mktemp("day")
    async with found(root, **database) as founded:
        async with working(founded.settings, founded.clock, ask_witnesses=True) as services:
            deleted, kept = await submit(services, founded, "us-cyber", 2)
            await send(services, founded, "us-cyber", [report(founded, "us-cyber", deleted)])
            [gone] = await submit(services, founded, "us-cyber", 1)
            given = await state(services, founded, "consent.grant", members=["mx-ciber"])
            await cosign(services)
        backup = await back_up(founded)
        keys = {log: new_key(founded, log) for log in ("both", "mx")}
        for log, key in keys.items():
            trust(founded, key, [name for name in founded.witnesses if log in ("both", name[:2])])
        async with working(founded.settings, founded.clock, ask_witnesses=True) as services:
            await submit(services, founded, "us-cyber", 300)
            await submit(services, founded, "mx-ciber", 2)
            credentials = (await services.rulebook.current()).registry.credentials.values()
            ended = next(one.id for one in credentials if one.member == "us-customs" and one.kind == "token")
            await services.governance.end_credential(OPERATOR, ended)
            await services.governance.set_status(OPERATOR, "mx-aduanas", Status.SUSPENDED)
            collection = (await services.rulebook.current()).collection("indicators")
            assert collection is not None
            desk, erased = privacy(services), await told_in(services, "us", gone)
            statement = await desk.statement("block", "us", erased.index, "test")
            await desk.do("block", "us", erased.index, "test", approvals(founded, statement, "us", ERASURE_TYPE))
            statement = await desk.statement("erase", "us", erased.index, "test", [gone])
            await desk.do("erase", "us", erased.index, "test", approvals(founded, statement, "us mx", ERASURE_TYPE),
                          [gone], await services.release.delivered(gone))  # fmt: skip
            await services.intake.remove(Caller(founded.members["us-cyber"], "acct"), collection, deleted)
            await state(services, founded, "consent.withdraw", about=given)
            await state(services, founded, "consent.grant", members=["mx-marina"])
            documents = await overlays(services, founded)
            for log, key in keys.items():
                await turning(services).begin(OPERATOR, log, key.vkey)
            await cosign(services)
            await turning(services).finish(OPERATOR, "both")
            await cosign(services)
            signing = {log: await services.store.log_keys(log) for log in LOGS}
            await write_copy(root / "copy", HubCopy(services, LOGS, countries=("us", "mx")))
            trees = await services.store.trees()
        yield Day(founded, backup, root / "copy", trees, deleted, kept, erased, gone, documents, signing)


async def halted(founded: Founded, code: str) -> None:
    with pytest.raises(LedgerFault) as fault:
        async with working(founded.settings, founded.clock, ask_witnesses=True):
            raise AssertionError("it must not start")
    assert fault.value.code == code


async def test_a_recovery_that_was_interrupted_goes_on_where_it_was(day: Day) -> None:
    founded = day.founded
    await day.restore()
    store = await open_store(founded.settings, founded.clock)
    plan = await day.recovery(store, Folder(day.copy)).plan()
    given = day.approvals(plan)
    steps = 0

    class Tiring(Folder):
        """Gives out after so many files."""

        def __init__(self, directory: Path, files: int) -> None:
            super().__init__(directory)
            self.left = files

        async def file(self, log: str, origin: str, path: str) -> bytes | None:
            self.left -= 1
            if self.left < 0:
                raise Crash
            return await super().file(log, origin, path)

    while True:
        steps += 1
        try:
            done = await day.recovery(store, Tiring(day.copy, steps)).run(given, day.documents)
            break
        except Crash:
            state = (await store.epochs()).state
            assert state == "open" or state.startswith("recovering"), "restored, and not noticed yet; or under way"
    assert steps > 8
    assert done.leaves == {gap.log: gap.missing for gap in plan}
    assert len(done.lost) == 302
    trees = await store.trees()
    for log, tree in day.trees.items():
        assert trees[log].size == tree.size + 2
    await store.close()


async def test_leaves_come_back_from_mirrors(day: Day) -> None:
    """As C2SP paths over HTTP: one has lost its files, the other has them."""
    founded = day.founded
    await day.restore()
    policies = witness_policies(founded.settings)
    logs = {sha256(policy.logs[0].name.encode()).hexdigest(): log for log, policy in policies.items()}

    async def serve(request: web.Request) -> web.Response:
        path = day.copy / logs[request.match_info["origin"]] / request.match_info["path"]
        return web.Response(body=path.read_bytes()) if path.is_file() else web.Response(status=404)

    async def fail(_: web.Request) -> web.Response:
        return web.Response(status=500)

    urls, runners = [], []
    for handler in (fail, serve):
        app = web.Application()
        app.router.add_get("/{origin}/{path:.+}", handler)
        runners.append(web.AppRunner(app, access_log=None))
        await runners[-1].setup()
        await web.TCPSite(runners[-1], "127.0.0.1", 0).start()
        urls.append(f"http://127.0.0.1:{runners[-1].addresses[0][1]}")
    store = await open_store(founded.settings, founded.clock)
    async with aiohttp.ClientSession() as session:
        recovery = day.recovery(store, Mirrors(session, urls, ["a", "b"]))
        await recovery.run(day.approvals(await recovery.plan()), day.documents)
    assert (await store.epochs()).state == "open"
    await store.close()
    for runner in runners:
        await runner.cleanup()


async def test_what_is_not_the_cosigned_log_is_not_put_back(day: Day, tmp_path: Path) -> None:
    founded = day.founded
    await day.restore()
    store = await open_store(founded.settings, founded.clock)

    async def refused(directory: Path, code: str) -> None:
        before = await store.trees()
        with pytest.raises(NotPermitted) as refusal:
            await day.recovery(store, Folder(directory)).plan()
        assert refusal.value.code == f"recover-{code}"
        assert await store.trees() == before

    changed = shutil.copytree(day.copy, tmp_path / "changed")
    bundle = changed / "us/tile/entries/000"
    data = bytearray(bundle.read_bytes())
    data[-10] ^= 1
    bundle.write_bytes(data)
    await refused(changed, "source")
    shutil.rmtree(changed / "us/tile/entries")
    await refused(changed, "source")

    alone = shutil.copytree(day.copy, tmp_path / "alone")
    note = (alone / "both/checkpoint").read_text().splitlines(keepends=True)
    (alone / "both/checkpoint").write_text("".join(line for line in note if "mx-" not in line))
    await refused(alone, "quorum")
    await store.close()

    # What this hub signed and nobody cosigned is gone for ever: a log that went on would sign another root for its size.
    anchors = Anchors(founded.settings.anchors)
    kept = anchors.read("us")
    anchors.write("us", type(kept)(kept.size + 1, bytes(32)))
    store = await open_store(founded.settings, founded.clock)
    await refused(day.copy, "anchor")
    anchors.write("us", kept)

    # A database that went another way is not made to fit.
    act = Act("other", lambda _: Record((Entry("us", "admin", OPERATOR, "x", {"command": "test"}),)))
    await store.extend([act])
    await refused(day.copy, "fork")
    await store.close()


async def test_a_restored_backup_stays_halted_until_both_countries_had_it_put_back(day: Day, tmp_path: Path) -> None:
    """Last in this file: it goes beyond what the others' copy holds."""
    founded = day.founded
    await day.restore()
    await halted(founded, "rollback")
    store = await open_store(founded.settings, founded.clock)
    assert (await store.epochs()).state == "rollback", "it stays halted, whoever answers at the next start"
    recovery = day.recovery(store, Folder(day.copy))
    plan = await recovery.plan()
    assert [gap.missing for gap in plan] == [
        day.trees[log].size - gap.mine for log, gap in zip(LOGS, plan, strict=True)
    ]

    # Nothing less than both countries' approval of exactly this.
    for given, code in (
        ([], "approval-missing"),
        (day.approvals(plan, "us"), "approval-missing"),
        (day.approvals(plan, "mx"), "approval-missing"),
        (day.approvals(plan, size=7), "approval-replayed"),
        (day.approvals([gap for gap in plan if gap.log != "mx"]), "approval-missing"),
    ):
        with pytest.raises(NotPermitted) as refusal:
            await recovery.run(given)
        assert refusal.value.code == code
    assert (await store.epochs()).state == "rollback"

    for documents in ([], day.documents[:1]):
        with pytest.raises(NotPermitted) as refusal:
            await recovery.run(day.approvals(plan), documents)
        assert refusal.value.code == "recover-agreement"
    assert (await store.epochs()).state == "rollback"
    done = await recovery.run(day.approvals(plan), day.documents)
    assert len(done.lost) == 302, "their leaves are back, their bytes are not"
    trees = await store.trees()
    for log, tree in day.trees.items():
        told, act, *others = [orjson.loads(one) for one in await store.leaves(log, tree.size, trees[log].size)]
        assert told["t"] == "log.recover" and told["pub"]["root"] == tree.root.hex(), "and one leaf says how"
        assert len(told["pub"]["approvals"]) == (4 if log == "both" else 2)
        lost = told["pub"]["lost"]
        assert (act["t"], act["pub"]) == ("admin", {"command": "restore", "leaves": done.leaves[log], "lost": lost})
        assert not others, "what referred to what goes again comes to nobody"
    assert {log: await store.log_keys(log) for log in LOGS} == day.signing, "and the keys that sign are those of then"
    await store.close()

    # It starts, signs nothing twice, and what was taken from somebody stays taken.
    async with working(founded.settings, founded.clock, ask_witnesses=True) as services:
        registry = (await services.rulebook.current()).registry
        assert registry.members["mx-aduanas"].status is Status.SUSPENDED
        assert all(
            one.ended_us for one in registry.credentials.values() if one.member == "us-customs" and one.kind == "token"
        )
        rules = await services.rulebook.current()
        assert [one.overlay_id for one in rules.overlays] == ["mx-stays"], "what was lifted stays lifted"
        causes = [row.cause for row in await services.store.agreements()]
        assert causes[-3:] == ["tighten", "tighten", "lift"]
        assert not await services.store.held(day.deleted)
        assert not await services.store.held(day.gone)
        assert await services.store.held(day.kept)
        assert [one.members for one in (await services.rulebook.current()).consents] == [("mx-marina",)]
        assert await services.store.opening("us", day.erased.index) is None, (
            "the backup had it, the log says that it went"
        )
        await submit(services, founded, "us-cyber", 3)
        await cosign(services)
        await write_copy(tmp_path / "after", HubCopy(services, LOGS, countries=("us", "mx")))
    policies = witness_policies(founded.settings)
    kept = {log: (day.copy / log / "checkpoint").read_bytes() for log in LOGS}
    report = verify_copy(tmp_path / "after", policies, kept)
    assert report.ok, report.findings
    checked = await fsck(founded.settings.database_url or founded.settings.database, policies, founded.settings.anchors)
    assert checked.ok, checked.wrong
