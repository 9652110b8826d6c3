"""The one place where the parts of the hub meet: built from settings and a clock, started, and stopped in order."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import structlog

from certs.keys import load_key, load_secret, read_certificate
from exchange.api.routes import ROUTES as API_ROUTES
from exchange.clock import Clock, SystemClock
from exchange.edl.lists import Lists
from exchange.errors import LedgerFault, Malformed, Unavailable
from exchange.governance.agreements import Agreements
from exchange.governance.feeds import FeedBook
from exchange.governance.records import Records
from exchange.governance.registry import Governance
from exchange.governance.statements import Statements
from exchange.holding import Holding
from exchange.intake.editions import kept
from exchange.intake.submit import Intake
from exchange.intake.warninglists import Warninglists
from exchange.ledger.entry import HUB, LOGS
from exchange.ledger.generations import current, separate
from exchange.ledger.note import Policy
from exchange.ledger.publisher import Anchors, Publisher, Publishing
from exchange.ledger.sequencer import Sequencer
from exchange.ledger.signing import KeyFiles
from exchange.relaying import Relaying
from exchange.release.notices import NoticeKey, Notices
from exchange.release.page import Release
from exchange.release.recall import Recalls
from exchange.rules import RuleBook
from exchange.settings import Settings
from exchange.store.contract import Store
from exchange.store.scan import Scan, sqlite_scan
from exchange.store.sqlite import SqliteStore
from exchange.taxii.routes import ROUTES as TAXII_ROUTES
from exchange.web.server import Server
from exchange.web.services import Services

_log = structlog.get_logger("puente.hub")

SOFTWARE = "puente/0.1.0"


async def open_store(settings: Settings, clock: Clock) -> Store:
    """The store that the settings name. Raises Malformed (`database_url`) when its server cannot be used."""
    if not settings.database_url:
        return SqliteStore(settings.database, clock)
    try:
        from exchange.store.postgres import PostgresStore
        from exchange.store.postgres_session import Server
    except ImportError:
        raise Malformed(
            "database_url is set, but the driver is not installed: pip install 'puente[postgres]'.",
            "database_url está definido, pero falta el controlador: pip install 'puente[postgres]'.",
            code="settings",
            field="database_url",
        ) from None
    password = _password(settings)
    standby = Server(settings.database_read_url, password) if settings.database_read_url else None
    # Machines' clocks differ, the server's is one for all of them; a clock that somebody set in a test is obeyed.
    own = None if isinstance(clock, SystemClock) else clock
    return await PostgresStore.open(Server(settings.database_url, password), own, standby=standby)


def open_scan(settings: Settings) -> contextlib.AbstractAsyncContextManager[Scan]:
    """All that the database holds at this moment, to read only; nothing is migrated, nothing made."""
    if not settings.database_url:
        return sqlite_scan(settings.database)
    from exchange.store.postgres_scan import postgres_scan
    from exchange.store.postgres_session import Server

    return postgres_scan(Server(settings.database_url, _password(settings)))


def _password(settings: Settings) -> str | None:
    secret = settings.database_password_file
    return load_secret(secret).decode().strip() if secret is not None else None


def build_services(settings: Settings, clock: Clock, store: Store) -> Services:
    """Put the parts together. Nothing runs yet."""
    policies = witness_policies(settings)
    files = KeyFiles(settings.keys)
    keys = {log: files.main(log) for log in current(policies).values()}
    sequencer = Sequencer(store, clock, keys)
    rulebook = RuleBook(store, clock, settings.crls)
    publishing = Publishing(
        keys=keys,
        policies=policies,
        anchors=Anchors(settings.anchors),
        witnesses=settings.witnesses,
        interval_seconds=settings.checkpoint_interval_seconds,
        witness_interval_seconds=settings.witness_interval_seconds,
        witness_timeout_seconds=settings.witness_timeout_seconds,
        witness_silence_seconds=settings.witness_silence_seconds,
        find_key=files.find,
    )
    known = known_good(settings)
    release = Release(store, sequencer, rulebook, clock, cache_bytes=settings.page_cache_bytes)
    governance = Governance(sequencer, rulebook, clock)
    return Services(
        settings=settings,
        clock=clock,
        store=store,
        sequencer=sequencer,
        publisher=Publisher(store, clock, publishing, sequencer.committed),
        rulebook=rulebook,
        intake=Intake(store, sequencer, rulebook, clock, settings, known),
        release=release,
        recalls=Recalls(store, sequencer, rulebook, release, clock),
        notices=Notices(store, sequencer, rulebook, clock, _notice_key(settings)),
        governance=governance,
        records=Records(store, sequencer),
        relaying=Relaying(store, release, governance, settings),
        agreements=Agreements(
            store,
            sequencer,
            rulebook,
            clock,
            prepare=release.grants.prepare,
            notice_seconds=settings.agreement_notice_seconds,
        ),
        statements=Statements(store, sequencer, rulebook, clock),
        feeds=FeedBook(store, sequencer, clock, future_limit_seconds=settings.future_limit_seconds),
        lists=Lists(store, sequencer, rulebook, release, known, clock, settings),
        holding=Holding(store, sequencer, rulebook, clock, known),
        cursor_key=load_secret(settings.keys / "cursor.key"),
    )


def _notice_key(settings: Settings) -> NoticeKey | None:
    """None for a hub that was given none: then nobody has a notice, and recalls are told by the API alone."""
    key, certificate = settings.keys / "notice.key", settings.keys / "notice.pem"
    if not key.exists():
        return None
    return NoticeKey(load_key(key), read_certificate(certificate.read_bytes()))


def witness_policies(settings: Settings) -> dict[str, Policy]:
    """Whose cosignatures count, for each log and each of its generations."""
    return separate({log: Policy.parse((settings.witness_policy / log).read_text()) for log in LOGS})


def known_good(settings: Settings) -> Warninglists:
    """What must not become an indicator: this release's lists, those in the hub's folder, members' own. Raises Malformed."""
    try:
        return Warninglists.of(kept(settings.warninglists), settings.assets)
    except ValueError as error:
        raise Malformed(
            f"Settings: assets: {error}.",
            f"Configuración: assets no es válido ({error}).",
            code="settings",
            field="assets",
        ) from None


@contextlib.asynccontextmanager
async def working(settings: Settings, clock: Clock, *, ask_witnesses: bool = False) -> AsyncIterator[Services]:
    """The hub without its doors: for commands that act on the hub's own files, and under `running`.

    Raises LedgerFault when the database does not agree with its anchors, or with what the witnesses have seen. It stays halted
    then: the witness that told may be away at the next start.
    """
    store = await open_store(settings, clock)
    services = build_services(settings, clock, store)
    try:
        await services.publisher.start(ask_witnesses=ask_witnesses)
        sequencing = asyncio.get_running_loop().create_task(services.sequencer.run())
        try:
            yield services
        finally:
            services.sequencer.close()
            await sequencing
            services.intake.close()
    finally:
        await store.close()


@dataclass(frozen=True, slots=True)
class Running:
    """A hub that answers: where, and with what."""

    services: Services
    port: int
    mtls_port: int

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"


@contextlib.asynccontextmanager
async def running(settings: Settings, clock: Clock) -> AsyncIterator[Running]:
    """The whole hub: two TLS listeners, the publisher, what agreements have due and the minute's sums, until the block ends.

    Stopping is in order: no new connections, what was accepted is finished, sums are written, the last head is signed.
    """
    async with working(settings, clock, ask_witnesses=True) as services:
        server = Server(services, [*TAXII_ROUTES, *API_ROUTES])
        await services.records.began(HUB, await _beginning(services), _witnesses(services))
        background = asyncio.get_running_loop().create_task(_background(services, server))
        try:
            port = await server.listen(settings.port, server_context(settings))
            mtls_port = await server.listen(settings.mtls_port, await _mutual_context(services))
            _log.info("listening", port=port, mtls_port=mtls_port)
            yield Running(services, port, mtls_port)
        finally:
            await server.close()
            background.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await background
            await _last_words(services)


async def _beginning(services: Services) -> dict[str, Any]:
    """What `log.start` says: with what software and settings, after which checkpoint."""
    pub: dict[str, Any] = {"software": SOFTWARE, "config": services.settings.sha256}
    last = await services.store.checkpoint(current(services.publisher.origins)["both"])
    return pub if last is None else {**pub, "size": last.size, "root": last.root.hex()}


def _witnesses(services: Services) -> dict[str, str]:
    """Whose cosignatures count for any log, by name."""
    return {name: key.vkey for log in LOGS for name, key in services.publisher.policy(log).witnesses.items()}


async def _background(services: Services, server: Server) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(services.publisher.run())
        tasks.create_task(_sums(services))
        tasks.create_task(_anchors(services))
        tasks.create_task(_views(services))
        tasks.create_task(services.agreements.run())
        tasks.create_task(server.watch())


async def _sums(services: Services) -> None:
    while True:
        await asyncio.sleep(services.settings.poll_sum_interval_seconds)
        with contextlib.suppress(Unavailable):
            await services.release.flush_sums()


async def _anchors(services: Services) -> None:
    while True:
        await asyncio.sleep(services.settings.anchor_interval_seconds)
        with contextlib.suppress(Unavailable):
            await services.records.anchor()


async def _views(services: Services) -> None:
    """Members are answered by the rules of now whatever this does. It records what became visible to those that do not ask,
    and takes the work from those that do."""
    while True:
        await asyncio.sleep(services.settings.view_interval_seconds)
        try:
            await services.release.views.catch_up()
            await services.recalls.follow_markings()
            await services.recalls.follow_compromises()
            await services.notices.follow()
        except Unavailable as refusal:
            _log.warning("views wait", reason=refusal.code)


async def _last_words(services: Services) -> None:
    try:
        await services.release.flush_sums()
        await services.records.anchor()  # a hub that is often started again may never see the hour end
        await services.governance.note(HUB, "log.stop", "hub", {})
        await services.publisher.publish_once()
    except (Unavailable, LedgerFault) as fault:
        _log.error("the hub stopped without its last entries", reason=str(fault))


# --- TLS ---


def server_context(settings: Settings) -> ssl.SSLContext:
    """TLS 1.2 and 1.3 as the Mozilla intermediate profile; no 0-RTT, which TAXII forbids and OpenSSL leaves off."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    return context


async def _mutual_context(services: Services) -> ssl.SSLContext:
    """The same, asking for a client certificate that leads to one of the two countries' roots."""
    context = server_context(services.settings)
    context.verify_mode = ssl.CERT_REQUIRED
    rules = await services.rulebook.current()
    if rules.trust is not None:
        context.load_verify_locations(cadata="".join(rules.trust.tls_anchors_pem()))
    return context
