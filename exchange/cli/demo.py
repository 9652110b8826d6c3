"""`puente demo`: both countries' PKI, ten fictional members, a hub, two witnesses, feeds, a refusal, and an offline audit."""

import asyncio
import contextlib
import os
import shutil
import socket
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import orjson
from taxii2client.common import TokenAuth, _HTTPConnection
from taxii2client.v21 import Collection as Taxii2Collection
from taxii2client.v21 import as_pages

from exchange import observe
from exchange.cli import setup
from exchange.cli.feeding import run_progress
from exchange.cli.ledger import HubCopy, read_policies
from exchange.cli.output import progress, say, table
from exchange.cli.upstream import run_medallion
from exchange.cli.words import command, new_folder, option
from exchange.client import Client
from exchange.clock import Clock, SystemClock
from exchange.errors import Conflict
from exchange.hub import Running, running, working
from exchange.ledger.audit import verify_copy, write_copy
from exchange.model.member import Member
from feeds.catalogue import Source
from feeds.runner import Job, Run, run_once
from policies.label import TLP_DEFINITIONS
from policies.markings import CAVEAT_MARKINGS

REAL_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
VENDORED = Path(__file__).resolve().parents[2] / "tests" / "vectors"
TLP = {word: marking for marking, word in TLP_DEFINITIONS.items()}
NOFORN = next(marking for marking, one in CAVEAT_MARKINGS.items() if one["name"] == "NOFORN")


@dataclass(frozen=True, slots=True)
class Demo:
    """Everything the steps of the demo speak with."""

    home: setup.Home
    hub: Running
    clock: Clock
    members: dict[str, Member]
    tokens: dict[str, str]

    def client(self, slug: str, language: str = "en") -> Client:
        signer = self.home.signer(slug, self.members[slug].identity_id)
        return Client(
            self.hub.url, clock=self.clock, token=self.tokens[slug], ca_file=self.home.ca_file, signer=signer,
            language=language,
        )  # fmt: skip


@command(es="Ejecuta todo el intercambio en este equipo y verifica su registro sin conexión.")
@option(
    "--home",
    type=new_folder,
    default=Path("var/demo"),
    show_default=True,
    help="Where it lives; made anew each time.",
    es="Donde vive; se crea de nuevo cada vez.",
)
@option(
    "--stay",
    is_flag=True,
    help="Leave it running, and print how to reach it.",
    es="Lo deja en marcha y muestra cómo usarlo.",
)
def demo(home: Path, stay: bool) -> None:
    """Run the whole exchange on this machine, and verify its ledger offline."""
    _clear(home)
    home.parent.mkdir(parents=True, exist_ok=True)
    sys.exit(asyncio.run(_run(home, stay)))


def _clear(home: Path) -> None:
    if not home.exists():
        return
    if not (home / "hub" / "puente.toml").exists():
        raise Conflict(
            f"{home} is not a demo's directory.", f"{home} no es el directorio de una demostración.", code="exists"
        )
    shutil.rmtree(home)


async def _run(directory: Path, stay: bool) -> int:
    clock = SystemClock()
    async with contextlib.AsyncExitStack() as stack:
        log = stack.enter_context((directory.parent / "demo.log").open("w"))
        observe.configure(machine=True, file=log)
        demo = await _start(directory, clock, stack)
        _write_for_machines(demo, await _collections(demo))
        loaded = await _load_feeds(demo)
        sent = await _submit(demo)
        pulled = await asyncio.to_thread(_pull, demo, await _collections(demo))
        good = _show_visibility(sent, pulled)
        good &= await _show_refusal(demo)
        good &= await _audit(demo, directory / "copy")
        head = ("what", "count")
        table(head, [
            ("members enrolled", len(demo.members)),
            *((f"objects accepted from {run.source}", run.accepted) for run in loaded),
            ("pulled by mx-aduanas with taxii2-client", len(pulled["mx-aduanas"])),
            ("pulled by us-maritime with taxii2-client", len(pulled["us-maritime"])),
        ])  # fmt: skip
        if stay:
            _how_to_reach(demo)
            await asyncio.Event().wait()
        return 0 if good and all(run.ok for run in loaded) else 1


# --- starting ---


async def _start(directory: Path, clock: Clock, stack: contextlib.AsyncExitStack) -> Demo:
    ports = _free_ports(4)
    urls = {"us-a": f"http://127.0.0.1:{ports[2]}", "mx-a": f"http://127.0.0.1:{ports[3]}"}
    home = setup.create(directory, clock, ports=(ports[0], ports[1]), witness_urls=urls)
    settings = home.settings().model_copy(update={"witness_interval_seconds": 1.0})
    members = {row[0]: setup.sample_member(row[0]) for row in setup.SAMPLE_MEMBERS}
    members["mx-puerto-pac"] = replace(members["mx-puerto-pac"], consents=True)
    tokens: dict[str, str] = {}
    async with working(settings, clock) as services:
        await setup.establish(services, home)
        for slug, member in members.items():
            await setup.add_member(services, home, member)
            _, tokens[slug] = await services.governance.create_token(setup.OPERATOR, slug, days=30, note="demo")
    say(f"{len(members)} fictional members enrolled.", f"{len(members)} miembros ficticios inscritos.")
    for country, port in (("US", ports[2]), ("MX", ports[3])):
        await stack.enter_async_context(_witness(home.witness(country), port))
    hub = await stack.enter_async_context(running(settings, clock))
    say(f"Hub at {hub.url}/taxii2/, two witnesses running.", f"Centro en {hub.url}/taxii2/, dos testigos en marcha.")
    return Demo(home, hub, clock, members, tokens)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@contextlib.asynccontextmanager
async def _witness(directory: Path, port: int) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "exchange.cli", "witness", "serve", str(directory), "--port", str(port),
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


async def _collections(demo: Demo) -> dict[str, str]:
    rules = await demo.hub.services.rulebook.current()
    return {one.alias: one.id for one in rules.registry.collections}


# --- feeds ---


async def _load_feeds(demo: Demo) -> list[Run]:
    directory = demo.home.root / "feeds"
    directory.mkdir()
    runs = []
    with run_medallion(_upstream_objects()) as upstream:
        password = directory / "upstream.password"
        descriptor = os.open(password, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(upstream.password)
        sources = [(slug, source) for slug, source in _sources() if source is not None]
        sources.append(("mx-ciber", _source("upstream", "taxii", upstream.url, "medallion", user=upstream.user, password_file=str(password), plain_http=True, loopback=True)))  # fmt: skip
        for slug, source in sources:
            async with demo.client(slug) as client:
                with progress(source.name) as bar:
                    job = Job.of(source, client, directory, demo.clock)
                    runs.append(await run_once(job, on_progress=run_progress(bar)))
    for run in runs:
        if run.fault is not None:
            say(f"{run.source}: {run.fault.text.en}", f"{run.source}: {run.fault.text.es}")
    return runs


def _source(name: str, adapter: str, location: str, publisher: str, **more: Any) -> Source:
    return Source(
        name=name, adapter=adapter, location=location, publisher=publisher, licence="see the source", tlp="clear",
        collection="vulnerabilities", cadence_seconds=3600, good_for_en="demo", good_for_es="demostración", **more,
    )  # fmt: skip


def _sources() -> Iterator[tuple[str, Source | None]]:
    kev = REAL_DATA / "cisa-kev" / "kev-2025-08-25.json.xz"
    small = next(iter(sorted(VENDORED.glob("kev/*.json"))), None)
    place = kev if kev.exists() else small
    yield "us-cyber", _source("kev", "kev", str(place), "CISA (public catalogue)") if place else None
    attack = REAL_DATA / "mitre-attack"
    yield "us-cyber", _source("attack", "stix", str(attack), "The MITRE Corporation") if attack.exists() else None


def _upstream_objects() -> list[dict[str, Any]]:
    return [
        {
            "type": "indicator", "spec_version": "2.1", "id": f"indicator--{uuid.uuid5(uuid.NAMESPACE_URL, str(n))}",
            "created": "2026-11-01T00:00:00.000Z", "modified": "2026-11-01T00:00:00.000Z",
            "name": f"upstream {n}", "pattern": f"[ipv4-addr:value = '198.51.100.{n}']", "pattern_type": "stix",
            "pattern_version": "2.1", "valid_from": "2026-11-01T00:00:00Z", "confidence": 80,
        }
        for n in range(100)
    ]  # fmt: skip


# --- signed indicators ---


def _indicator(name: str, *markings: str) -> dict[str, Any]:
    return {
        "type": "indicator", "name": name, "pattern": "[domain-name:value = 'manifiestos.puerto.example']",
        "pattern_type": "stix", "pattern_version": "2.1", "valid_from": "2026-11-01T00:00:00Z", "confidence": 85,
        "indicator_types": ["malicious-activity"], "object_marking_refs": list(markings),
    }  # fmt: skip


async def _submit(demo: Demo) -> dict[str, str]:
    """Four signed indicators: name to id."""
    plan = {
        "from a Mexican port": ("mx-puerto-pac", "indicators", TLP["green"]),
        "from a US agency": ("us-customs", "indicators", TLP["amber"]),
        "US domestic": ("us-customs", "us-domestic", TLP["amber"]),
        "NOFORN": ("us-customs", "indicators", TLP["amber"], NOFORN),
    }
    sent = {}
    for name, (slug, collection, *markings) in plan.items():
        async with demo.client(slug) as client:
            obj = client.sign(client.prepare(_indicator(name, *markings)))
            [result] = await client.submit([obj], collection)
            if result.refused:
                say(f"{name}: {result.refused[0]}", f"{name}: {result.refused[0]}")
            sent[name] = obj["id"]
    return sent


def _pull(demo: Demo, collections: dict[str, str]) -> dict[str, set[str]]:
    """What two SOCs get, by the real taxii2-client over TLS."""
    found: dict[str, set[str]] = {}
    for slug, aliases in (("mx-aduanas", ("indicators", "vulnerabilities")), ("us-maritime", ("indicators", "vulnerabilities", "us-domestic"))):  # fmt: skip
        found[slug] = set()
        connection = _HTTPConnection(auth=TokenAuth(demo.tokens[slug]), verify=str(demo.home.ca_file), version="2.1")
        connection.session.trust_env = False  # a CA bundle named in the environment would win over ours
        with contextlib.closing(connection):
            for alias in aliases:
                url = f"{demo.hub.url}/taxii2/us-mx/collections/{collections[alias]}/"
                collection = Taxii2Collection(url, conn=connection)
                for page in as_pages(collection.get_objects, per_request=1000):
                    found[slug].update(obj["id"] for obj in page.get("objects", ()))
    return found


def _show_visibility(sent: dict[str, str], pulled: dict[str, set[str]]) -> bool:
    rows = [
        (name, *("yes" if sent[name] in pulled[slug] else "no" for slug in ("us-maritime", "mx-aduanas")))
        for name in sent
    ]
    table(("signed indicator", "us-maritime has it", "mx-aduanas has it"), rows)
    return [row[1:] for row in rows] == [("yes", "yes"), ("yes", "yes"), ("yes", "no"), ("yes", "no")]


async def _show_refusal(demo: Demo) -> bool:
    async with demo.client("us-customs") as english, demo.client("us-customs", "es") as spanish:
        obj = english.sign(english.prepare(_indicator("TLP:RED is for people", TLP["red"])))
        texts = []
        for client in (english, spanish):
            [result] = await client.submit([obj], "indicators")
            texts += [one.text for one in result.refused]
    for text in texts:
        click.echo(f"  {getattr(text, 'en', text)}")
    return len(texts) == 2


# --- the ledger ---


async def _audit(demo: Demo, copy: Path) -> bool:
    services = demo.hub.services
    await services.publisher.publish_once()
    for _ in range(40):
        if all([await services.publisher.newest_cosigned(log) for log in ("both", "us", "mx")]):
            break
        await asyncio.sleep(0.25)
    await write_copy(copy, HubCopy(services, ("both", "us", "mx")))
    report = await asyncio.to_thread(verify_copy, copy, read_policies(demo.home.root / "hub" / "witness-policy"))
    rows = [(log.name, log.size, log.root.hex()[:16], " ".join(sorted(log.cosigned))) for log in report.logs]
    table(("log", "entries", "root", "cosigned by"), rows)
    if report.ok:
        say("The ledger verifies offline.", "El registro se verifica sin conexión.")
    return report.ok


# --- for whoever stays ---


def _write_for_machines(demo: Demo, collections: dict[str, str]) -> None:
    path = demo.home.root.parent / "demo.json"
    path.unlink(missing_ok=True)
    value = {
        "base_url": demo.hub.url,
        "mtls_url": f"https://localhost:{demo.hub.mtls_port}",
        "ca_file": str(demo.home.ca_file),
        "api_root": f"{demo.hub.url}/taxii2/us-mx/",
        "collections": [
            {"alias": row[0], "id": collections[row[0]], "readers": row[3], "writers": row[4]}
            for row in setup.SAMPLE_COLLECTIONS
        ],
        "members": {
            slug: {
                "identity_id": member.identity_id,
                "token": demo.tokens[slug],
                "signing_key": str(demo.home.member(slug) / "signing.key"),
                "signing_certificate": str(demo.home.member(slug) / "signing.pem"),
            }
            for slug, member in demo.members.items()
        },
        "ledger_url": f"{demo.hub.url}/ledger/",
        "witnesses": dict(demo.hub.services.settings.witnesses),
    }
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(orjson.dumps(value, option=orjson.OPT_INDENT_2))


def _how_to_reach(demo: Demo) -> None:
    say("Still running; press Ctrl-C to stop. Tokens:", "Sigue en marcha; pulse Ctrl-C para detener. Tokens:")
    table(("member", "token"), sorted(demo.tokens.items()))
    click.echo(
        "from taxii2client.common import TokenAuth\nfrom taxii2client.v21 import Server\n"
        f"server = Server({demo.hub.url + '/taxii2/'!r}, auth=TokenAuth({demo.tokens['mx-ciber']!r}), verify={str(demo.home.ca_file)!r})\n"
        "print([collection.title for collection in server.default.collections])"
    )


COMMANDS: tuple[click.Command, ...] = (demo,)
