"""Whatever is sent to whichever route: never a 500, always an error that a client can read, and nothing half done.

The seeds are fixed, so that a failure comes again. Requests are written to the socket byte by byte: a client library
would refuse to send most of them.
"""

import asyncio
import contextlib
import copy
import gzip
import random
import ssl
import uuid
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
import pytest_asyncio

from certs.jcs import canonical, load
from certs.jws import encode_header, sign_detached
from certs.signature import EXT_SIG, OBJECT_TYPE, attestation
from exchange.api.routes import ROUTES as API_ROUTES
from exchange.auditing.answers import QUESTIONS
from exchange.edl.text import KINDS_OF
from exchange.intake.examine import Desk, Examined, judge
from exchange.intake.labelling import Labeller
from exchange.intake.shapes import Allowances
from exchange.taxii.routes import ROUTES as TAXII_ROUTES
from exchange.times import as_datetime, as_millis_text
from tests.contract.test_store import check_log
from tests.stix_examples import EXAMPLES
from tests.world import TAXII, TLP2, World, make_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

REQUESTS = 1600
"""Of the whole test, over every route; each takes about 2 ms."""
BODY_LIMIT = 400_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    knobs = {"body_limit_bytes": BODY_LIMIT, "envelope_limit_objects": 300, "object_limit_bytes": 200_000}
    rates = {"rate_per_second": 100_000, "rate_burst": 100_000, "body_timeout_seconds": 2}
    async with make_world(tmp_path_factory.mktemp("hostile"), **knobs, **rates) as made:
        yield made


# --- a client that sends anything ---


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def was_not_http(self) -> bool:
        """The HTTP library answers by itself, and hangs up, what it cannot read as a request."""
        return self.status == 400 and self.headers.get("content-type", "").startswith("text/plain")


class Wire:
    """One connection, opened again when the hub has closed it."""

    def __init__(self, world: World) -> None:
        self._port = world.hub.port
        self._tls = ssl.create_default_context(cafile=str(world.home.ca_file))
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes = b"") -> Answer:
        if self._open is None:
            self._open = await asyncio.open_connection("localhost", self._port, ssl=self._tls)
        reader, writer = self._open
        lines = [method + b" " + target + b" HTTP/1.1", b"Host: localhost"]
        lines += [name + b": " + value for name, value in headers]
        # The hub may answer and close before it has read all of a body that it will not have.
        with contextlib.suppress(ConnectionError):
            writer.write(b"\r\n".join([*lines, b"", b""]) + body)
            await writer.drain()
        answer = await self._answer(reader, bodiless=method == b"HEAD")
        if answer.headers.get("connection") == "close" or answer.was_not_http:
            await self.close()
        return answer

    async def _answer(self, reader: asyncio.StreamReader, *, bodiless: bool) -> Answer:
        async with asyncio.timeout(20):
            head = await reader.readuntil(b"\r\n\r\n")
            while head.startswith(b"HTTP/1.1 100"):
                head = await reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode("utf-8").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            size = 0 if bodiless else int(headers.get("content-length", "0"))
            body = await reader.readexactly(size)
        return Answer(int(first.split()[1]), headers, body)

    async def close(self) -> None:
        if self._open is not None:
            writer = self._open[1]
            self._open = None
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()


@pytest_asyncio.fixture(loop_scope="module")
async def wire(world: World) -> AsyncIterator[Wire]:
    made = Wire(world)
    yield made
    await made.close()


# --- anything ---

NASTY = ("", "x", "..", "é", "'; DROP TABLE head; --", "a" * 3000, "-1", "0", "9" * 400, "\u202e", "{}", "first,last")
NASTY_BYTES = (b"%00", b"%ff%fe", b"%ED%A0%80", b"%2f", b"%2e%2e", b"%", b"%zz", b"\xc3\xb1", b"+", b"%F0%9F%98%80")
LANGUAGES = (
    (None, "en"), (b"es", "es"), (b"es-MX,es;q=0.9,en;q=0.8", "es"), (b"en", "en"), (b"fr, *;q=0.1", "en"),
    (b"es;q=0", "en"), (b';;q=,,"', "en"), (b"\xff\xfe", "en"), (b"en;q=0.1,es;q=0.2", "es"), (b"*" * 3000, "en"),
)  # fmt: skip
ODD_HEADERS = (
    (b"X-Audit-Seen", b"0:" + b"0" * 64), (b"X-Audit-Seen", b"9" * 400), (b"X-Audit-Seen", b"1:\xff"), (b"X-Audit-Seen", b":"),
    (b"Accept", b"text/html;q=0.9"), (b"Accept", b"*/*;q=9"), (b"Accept", b'"' * 500), (b"Accept", b"\xff"),
    (b"Accept", b"application/taxii+json;version=2.0"), (b"Range", b"bytes=0-1"), (b"Range", b"items=-5"),
    (b"User-Agent", b"\xff\xfe\xed\xa0\x80"), (b"User-Agent", b"a" * 6000), (b"If-None-Match", b"*"),
    (b"Prefer", b"wait=99999999999"), (b"Prefer", b"wait=\xd9\xa3"), (b"X-Forwarded-For", b"10.0.0.1"),
    (b"Cookie", b"a=\xff; b"), (b"Upgrade", b"websocket"), (b"Connection", b"upgrade"), (b"Expect", b"200-ok"),
    (b"Authorization", b"Basic ===="), (b"Origin", b"null"), (b"TE", b"trailers, deflate"),
    (b"If-None-Match", b'W/"\xff", "'), (b"If-Modified-Since", b"Mon, 31 Feb 0000 99:99:99 -9999"), (b"If-Modified-Since", b"\xff"),
    (b"If-Modified-Since", b"Fri, 31 Dec 9999 23:59:59 GMT"), (b"If-Modified-Since", b"Mon, 01 Jan 0001 00:00:00 +2400"),
)  # fmt: skip
CREDENTIALS = (
    b"Bearer", b"Bearer puente_x_y", b"Basic \xff", b"Basic OjpweA==", b"Basic /////w==", b"Token \xed\xa0\x80",
    b"Bearer " + b"a" * 4000, b"Digest x", b"Bearer puente_\xff_\xff",
)  # fmt: skip
BOMB = gzip.compress(b'{"objects":[' + b" " * 5_000_000 + b"]}")
BODIES = (
    b"", b"null", b"[]", b"{", b"\xff\xfe{", b"\xef\xbb\xbf{}", b'{"objects":[{"a":1,"a":2}]}', b'{"objects":[NaN]}',
    b'{"objects":[{"id":"\\ud800"}]}', b'{"objects":["\\u0000"]}', b'{"objects":[1e999]}', b'{"objects":[-0]}',
    b'{"objects":[' + b"1" * 5000 + b"]}", b'{"objects":[0.' + b"1" * 300_000 + b"]}", b"[" * 300_000,
    b'{"a":' * 50_000, b'{"objects":[' + b"[" * 30 + b"]" * 30 + b"]}", b'{"objects":' + b'{"a":[' * 500,
    b"{" + b",".join(b'"k%d":1' % n for n in range(30_000)) + b',"k29999":1}', b" " * (BODY_LIMIT + 1),
    b'{"type":"bundle","objects":[[],{},null,1,"x",true]}', b'{"objects":[{"type":[]}]}', b'{"type":"x-y","id":[]}',
    b'{"objects":[{"type":"marking-definition","id":{}}]}', b'{"objects":[{"type":"object-attestation","covers":5}]}',
    b'{"objects":[{"object_marking_refs":[[],{}],"granular_markings":[{"marking_ref":[]}]}]}',
    b'{"objects":[{"type":"indicator","id":"' + b"x" * 100_000 + b'"}]}',
)  # fmt: skip
METHODS = (b"GET", b"GET", b"POST", b"POST", b"DELETE", b"HEAD", b"PUT", b"PATCH", b"OPTIONS", b"PROPFIND", b"TRACE")


def target(dice: random.Random, world: World, template: str, ids: list[str]) -> bytes:
    """A path of the template, most of it sensible, and a query that need not be."""
    sensible: dict[str, Callable[[], str]] = {
        "root": lambda: "us-mx",
        "collection": lambda: dice.choice([*world.collections, *world.collections.values()]),
        "object": lambda: dice.choice(ids),
        "status": lambda: str(uuid.UUID(int=dice.getrandbits(128))),
        "recall": lambda: str(uuid.UUID(int=dice.getrandbits(128))),
        "question": lambda: dice.choice(list(QUESTIONS)),
        "feed": lambda: dice.choice(["kev", "a-feed"]),
        "number": lambda: dice.choice(["0", "1", "2", "in-force", str(10**15), str(10**20)]),
        "log": lambda: dice.choice(["both", "us", "mx"]),
        "generation": lambda: dice.choice(["1", "2", "02", str(10**15)]),
        "list": lambda: dice.choice(["indicators", "us-domestic", "vulnerabilities"]),
        "file": lambda: dice.choice(list(KINDS_OF)),
        "index": lambda: str(dice.choice([0, 1, 5, 10**15, 10**17])),
        "path": lambda: dice.choice(["0/000", "entries/000", "0/x001/234", "63/000.p/255", "0/000.p/1"]),
    }
    segments = []
    for segment in template.strip("/").split("/"):
        name = segment.strip("{}*")
        if segment.startswith("{"):
            segment = dice.choice(NASTY) if dice.random() < 0.07 else sensible[name]()
        segments.append(quoted(segment) if dice.random() > 0.01 else dice.choice(NASTY_BYTES))
    path = b"/" + dice.choice([b"/", b"/", b"//"]).join(segments) + dice.choice([b"/", b"/", b""])
    pairs = query(dice, ids)
    if "submissions" in template and dice.random() < 0.8:
        pairs = [b"collection=indicators"]
    return path + (b"?" + b"&".join(pairs) if pairs else b"")


def query(dice: random.Random, ids: list[str]) -> list[bytes]:
    names = ("limit", "added_after", "next", "match[id]", "match[type]", "match[version]", "match[spec_version]",
             "collection", "object", "to", "version", "match[]", "x", "top", "scheme", "wildcard", "comments",
             "new", "old", "since", "member", "sample", "seed", "log", "released")  # fmt: skip
    many = ",".join(f"2026-01-01T00:00:00.{n:06}Z" for n in range(250))
    values = (*NASTY, "5", "last", "2026-01-01T00:00:00Z", "us-mx", "indicators", "mx-ciber", many, "indicator",
              "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", ",".join(["x--1"] * 900), *ids[:3])  # fmt: skip
    pairs = []
    for _ in range(dice.choice([0, 0, 0, 1, 1, 2, 3])):
        value = dice.choice(NASTY_BYTES) if dice.random() < 0.1 else quoted(dice.choice(values))
        pairs.append(quoted(dice.choice(names)) + b"=" + value)
    return pairs


def quoted(text: str) -> bytes:
    safe = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:,[]{}*'"
    return b"".join(bytes([byte]) if byte in safe else b"%%%02X" % byte for byte in text.encode())


def request_of(dice: random.Random, world: World, ids: list[str]) -> tuple[list[tuple[bytes, bytes]], bytes, str]:
    """Headers, body, and the language that an error must be in."""
    slug = dice.choice(["us-cyber", "mx-ciber", "us-customs"])
    credential = b"Bearer " + world.tokens[slug].encode() if dice.random() < 0.9 else dice.choice(CREDENTIALS)
    headers = [(b"Authorization", credential)]
    spoken, language = dice.choice(LANGUAGES)
    if spoken is not None:
        headers.append((b"Accept-Language", spoken))
    headers += dice.sample(ODD_HEADERS, dice.choice([0, 0, 1, 2]))
    body = dice.choice(BODIES) if dice.random() < 0.7 else noise(dice, world)
    if dice.random() < 0.1:
        headers.append((b"Content-Encoding", dice.choice([b"gzip", b"deflate", b"br", b"identity", b"gzip, gzip"])))
        body = dice.choice([BOMB, zlib.compress(body), body])
    kind = TAXII.encode() if dice.random() < 0.85 else dice.choice([b"text/plain", b"", b"\xff", b"application/json"])
    headers.append((b"Content-Type", kind))
    headers.append((b"Content-Length", str(len(body)).encode()))
    return headers, body, language


def noise(dice: random.Random, world: World) -> bytes:
    """A good envelope with some bytes changed."""
    data = bytearray(orjson.dumps({"objects": [world.signed("us-cyber") for _ in range(dice.randrange(1, 4))]}))
    for _ in range(dice.randrange(1, 6)):
        place = dice.randrange(len(data))
        data[place : place + dice.randrange(3)] = dice.choice(
            [b"", b'"', b"\\", b"}", b"\x00", b"\xff", b"[" * 40, b"1e5"]
        )
    return bytes(data)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.rule("ERR-01", "ERR-02", "ERR-05", "EP-10", "ADD-19", "NEG-04")
async def test_no_request_makes_the_hub_fail(world: World, wire: Wire, seed: int) -> None:
    dice = random.Random(seed)
    every = [*TAXII_ROUTES, *API_ROUTES]
    routes = every + [route for route in every if route.takes] * 10
    sent = [world.signed("us-cyber", tlp="green") for _ in range(3)]
    await world.post("us-cyber", *sent)
    ids = [one["id"] for one in sent] + ["indicator--x"]
    unreadable = 0

    for number in range(REQUESTS // 4):
        route = routes[number % len(routes)]
        method = route.method.encode() if dice.random() < 0.6 else dice.choice(METHODS)
        headers, body, language = request_of(dice, world, ids)
        where = target(dice, world, route.path, ids)
        answer = await wire.ask(method, where, headers, body)
        told = f"{method!r} {where[:300]!r} {headers} {body[:200]!r}: {answer.status} {answer.body[:300]!r}"
        assert answer.status < 500, told
        if answer.was_not_http:
            unreadable += 1
        elif answer.status >= 400 and method != b"HEAD":
            assert_error(answer, where, language, told)
    assert unreadable < REQUESTS / 4 / 5
    assert (await wire.ask(b"GET", b"/readyz", [])).status == 200


def assert_error(answer: Answer, where: bytes, language: str, told: str) -> None:
    """TAXII 2.1, 3.6.1, in the media type of the face that was asked, and in the reader's language."""
    face = next((part for part in where.partition(b"?")[0].split(b"/") if part), b"")
    assert answer.headers["content-type"] == (TAXII if face == b"taxii2" else "application/json"), told
    assert answer.headers["content-language"] == language, told
    error = load(answer.body, max_bytes=100_000)
    assert error["http_status"] == str(answer.status), told
    assert error["title"] and error["description"] and error["error_code"], told
    assert uuid.UUID(error["error_id"]), told


# --- envelopes: the good are taken, and nothing else ---


def mutated(dice: random.Random, obj: dict[str, Any]) -> dict[str, Any]:
    """The object with something in it changed, but for its id."""
    damaged = copy.deepcopy(obj)
    while damaged == obj:
        container, key = dice.choice(list(places(damaged)))
        if key == "id":
            continue
        if dice.random() < 0.3 and not isinstance(container, list):
            del container[key]
        else:
            container[key] = copy.deepcopy(dice.choice(VALUES))
    return damaged


def places(value: Any) -> list[tuple[Any, Any]]:
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, member in members for place in ((value, key), *places(member))]


VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 2**53 - 1, "", "x", "indicator", [], {}, [[]], [None], {"a": {}}, [{"a": "b"}], "é" * 5000,
    "2026-01-01T00:00:00." + "1" * 5000 + "Z", "2026-01-01T00:00:00.000Z", "[a:b = 'c']", "[" * 5000,
    ["marking-definition--00000000-0000-4000-8000-000000000000"] * 3, {"x" * 5000: 1}, {"extension_type": "new-sco"},
)  # fmt: skip


def forged(world: World, slug: str, obj: dict[str, Any]) -> dict[str, Any]:
    """Signed with the member's real key, whatever it is: `Signer.sign` would refuse most of these."""
    signer = world.home.signer(slug, world.members[slug].identity_id)
    now = as_datetime(world.clock.now_us()).strftime("%Y-%m-%dT%H:%M:%SZ")
    block = {
        "extension_type": "property-extension",
        "sig_version": 1,
        "signer_ref": signer.identity_id,
        "signed_at": now,
    }
    extensions = obj.get("extensions")
    others = {key: value for key, value in extensions.items() if key != EXT_SIG} if isinstance(extensions, dict) else {}
    signed = {**obj, "extensions": {**others, EXT_SIG: block}}
    block["signature"] = sign_detached(canonical(signed), encode_header(OBJECT_TYPE, signer.certificate), signer.key)
    return signed


def adds_up(status: dict[str, Any], sent: list[Any]) -> set[str]:
    """Ids of the successes, of a status that accounts for every object that was sent."""
    successes, failures = status.get("successes", []), status.get("failures", [])
    assert (status["status"], status["total_count"], status["pending_count"]) == ("complete", len(sent), 0)
    assert (status["success_count"], status["failure_count"]) == (len(successes), len(failures))
    assert len(successes) + len(failures) == len(sent)
    for failure in failures:
        assert failure["x_code"] != "examiner-fault", failure
        assert failure["message"] and failure["x_code"] and len(failure["id"]) <= 300 and len(failure["version"]) <= 64
    return {one["id"] for one in successes}


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.rule("CNF-05")
async def test_the_good_of_an_envelope_are_taken_and_no_others(world: World, seed: int) -> None:
    dice = random.Random(seed)
    good = [world.signed("us-cyber", tlp="green") for _ in range(5)]
    bad: list[Any] = [mutated(dice, world.signed("us-cyber", tlp="green")) for _ in range(15)]
    bad += [
        None,
        1,
        "x",
        [],
        {},
        {"type": {}},
        {"id": []},
        {"type": "marking-definition", "id": {}},
        good[0] | {"x": 1},
    ]
    sent: list[Any] = [*good, *bad]
    dice.shuffle(sent)
    status = await world.post("us-cyber", *sent)
    assert adds_up(status, sent) == {one["id"] for one in good}
    assert {one["id"] for one in good} <= set(await world.pull("us-customs"))


@pytest.mark.parametrize("seed", range(12))
async def test_what_a_member_really_signs_is_stored_whole_or_not_at_all(world: World, seed: int) -> None:
    """Nothing between the signature and the ledger may stumble over content that the signature covers."""
    dice = random.Random(seed)
    sent = []
    for _ in range(30):
        kind = dice.choice([one for one in EXAMPLES.values() if "created" in one])
        obj = as_of_now(world, "us-cyber", kind)
        sent.append(forged(world, "us-cyber", mutated(dice, obj)))
    covered = [{"id": one["id"], "version": one["modified"], "sha256": "0" * 64} for one in sent if "modified" in one]
    note = attestation(
        id=f"object-attestation--{uuid.uuid4()}",
        created_by_ref=world.members["us-cyber"].identity_id,
        created=as_millis_text(world.clock.now_us()),
        covers=[{"id": "x", "version": "x", "sha256": "0" * 64}],
    )
    note["covers"] = dice.choice([covered, 5, [[]], [{"id": []}], {"a": 1}, "x"])
    sent.append(forged(world, "us-cyber", mutated(dice, note) if dice.random() < 0.7 else note))
    taken = adds_up(await world.post("us-cyber", *sent), sent)
    held = set(await world.pull("us-cyber"))
    assert taken - held <= {one["id"] for one in sent if one.get("type") == "object-attestation"}
    assert not {one["id"] for one in sent} - taken & held


def as_of_now(world: World, slug: str, obj: dict[str, Any]) -> dict[str, Any]:
    """An example as the member's own, under a new id."""
    now = as_millis_text(world.clock.now_us())
    renewed = {**obj, "id": f"{obj['type']}--{uuid.uuid4()}", "created": now, "modified": now}
    renewed["created_by_ref"] = world.members[slug].identity_id
    if obj["type"] == "marking-definition":
        del renewed["modified"]
    return renewed


async def test_a_header_that_is_no_text_stops_no_submission(world: World, wire: Wire) -> None:
    body = orjson.dumps({"objects": [world.signed("us-cyber")]})
    headers = [(b"Authorization", b"Bearer " + world.tokens["us-cyber"].encode()), (b"Content-Type", TAXII.encode())]
    headers += [(b"User-Agent", b"\xff\xfe"), (b"Content-Length", str(len(body)).encode())]
    where = f"/taxii2/us-mx/collections/{world.collections['indicators']}/objects/".encode()
    answer = await wire.ask(b"POST", where, headers, body)
    assert answer.status == 202, answer.body
    assert orjson.loads(answer.body)["success_count"] == 1


@pytest.mark.rule("MRK-11")
async def test_a_marking_that_nobody_signed_explains_nothing(world: World) -> None:
    """An unknown marking holds an object back. A definition beside it that is itself refused must not loosen that."""
    marking = as_of_now(world, "us-cyber", EXAMPLES["marking-definition"])
    marked = world.signed("us-cyber", object_marking_refs=[marking["id"], TLP2["green"]])
    status = await world.post("us-cyber", marking, marked)
    assert marking["id"] in {one["id"] for one in status["failures"]}
    assert marked["id"] not in await world.pull("mx-ciber")

    signed = world.sign("us-cyber", as_of_now(world, "us-cyber", EXAMPLES["marking-definition"]))
    told = world.signed("us-cyber", object_marking_refs=[signed["id"], TLP2["green"]])
    assert (await world.post("us-cyber", told, signed))["success_count"] == 2
    assert told["id"] in await world.pull("mx-ciber")


async def test_a_fault_of_the_examiner_is_the_failure_of_one_object(world: World) -> None:
    """Should there be one yet: an examiner without its lists stumbles over the indicator, and over nothing else."""
    rules = await world.hub.services.rulebook.current()
    member = world.members["us-cyber"]
    desk = Desk(
        settings=world.hub.services.settings,
        rules=rules,
        member=member,
        collection=rules.registry.collections[0],
        attestations=rules.registry.collections[0],
        labeller=Labeller(rules),
        received=as_datetime(world.clock.now_us()),
        latest="9999-12-31T23:59:59",
        warninglists=None,
        definitions={},
        covered={},
        budget=Allowances(envelope=100, burst=100, per_second=1).envelope("us-cyber", 0),
    )
    sent = world.signed("us-cyber")
    failed, passed = judge([(sent, desk), (world.signed("us-cyber", pattern_type="sigma"), desk)])
    assert (failed.id, failed.version, failed.code) == (sent["id"], sent["modified"], "examiner-fault")
    assert failed.text.en != failed.text.es
    assert isinstance(passed, Examined)


async def test_markings_that_have_to_be_looked_up_are_counted(world: World) -> None:
    marks = [f"marking-definition--{uuid.UUID(int=number, version=4)}" for number in range(501)]
    body = orjson.dumps({"objects": [world.indicator("us-cyber", object_marking_refs=marks)]})
    url = f"{world.root}collections/{world.collections['indicators']}/objects/"
    async with world.session.post(
        url, data=body, headers=world.headers("us-cyber", **{"Content-Type": TAXII})
    ) as answer:
        assert answer.status == 422
        assert (await answer.json(content_type=None))["error_code"] == "envelope-markings"


@pytest.mark.rule("COM-04", "PAT-05")
async def test_what_is_doubtful_is_said_beside_the_success(world: World) -> None:
    """The Hub column's "warn": accepted, and noted in the status."""
    sent = world.signed("us-cyber", lang="español", pattern="[a:b IN (1, 'a')]")
    status = await world.post("us-cyber", sent, **{"Accept-Language": "es"})
    [success] = status["successes"]
    assert success["x_notes"] == ["pattern-set-mixed", "stix-language"]
    assert "etiqueta" in success["message"]


@pytest.mark.rule("PAT-06")
async def test_new_pattern_shapes_are_judged_within_a_budget(world: World) -> None:
    """5,000 shapes that nobody has seen would keep the examiner from everybody else for a quarter of an hour."""
    shapes = [" AND ".join(["[a:b = 1]"] * 100) + f" AND [a:b{'.c' * n} = 2]" for n in range(30)]
    sent = [world.signed("mx-marina", pattern=shape) for shape in shapes]
    known = world.signed("mx-marina")
    status = await world.post("mx-marina", *sent, known, **{"Accept-Language": "es"})
    assert {one["x_code"] for one in status["failures"]} == {"pattern-budget"}
    assert status["failures"][0]["x_field"] == "pattern"
    assert "envíelo de nuevo en" in status["failures"][0]["message"]
    assert known["id"] in {one["id"] for one in status["successes"]}
    # 807 terms and two more for each step of the path: exact, whatever the clock and the machine
    left, judged = 20_000, 0
    for steps in range(30):
        if left >= 807 + 2 * steps:
            left, judged = left - 807 - 2 * steps, judged + 1
    assert status["success_count"] == judged + 1


async def test_the_ledger_holds_together_after_all_of_this(world: World) -> None:
    await check_log(world.hub.services.store)
