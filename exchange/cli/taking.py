"""What a member takes, and proves without trusting anybody: `puente pull` and `puente verify`."""

import contextlib
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import click

from certs.document import certificate_of
from certs.faults import SignatureFault
from certs.jcs import JsonError, canonical
from certs.keys import der, read_pem, replace_file
from certs.path import Revocations, dns_name, purposes
from certs.profiles import GATEWAY, SIGNING
from certs.signature import ATTESTATION, NOTICE, KeyringEntry
from certs.trust import COUNTRIES, TrustList
from exchange.cli.asking import as_member, at_network, hold_to_it
from exchange.cli.giving import collect, keep_entry, read_objects, say_pending, the_input, waiting
from exchange.cli.output import machine, progress, say, spanish, spoken, table
from exchange.cli.profile import Profile
from exchange.cli.words import a_file, a_folder, argument, as_json, command, new_file, new_folder, option
from exchange.client import Client, Page, divide, keyring, verify_object
from exchange.client.envelopes import version_of
from exchange.clock import SystemClock
from exchange.errors import Malformed, Text, TooFast, Unavailable
from exchange.ledger.note import Policy
from exchange.times import as_datetime, parse_us

STATE = ".cursor.json"


# --- pull ---


@command(es="Recibe los objetos de una colección en orden de llegada, y sigue donde quedó.")
@as_member
@argument("collection", help="Alias or id.", es="Alias o id.")
@option(
    "--output",
    "-o",
    default="-",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False, allow_dash=True),
    help="A folder, for one file a page; - for lines on standard output.",
    es="Una carpeta, con un archivo por página; - para líneas en la salida estándar.",
)
@option("--follow", is_flag=True, help="Go on asking until stopped.", es="Sigue preguntando hasta que se detenga.")
@option(
    "--interval",
    default=30.0,
    show_default=True,
    type=click.FloatRange(min=1),
    help="Seconds between questions.",
    es="Segundos entre preguntas.",
)
@option("--added-after", help="RFC 3339 time to begin at.", es="Momento RFC 3339 desde el cual comenzar.")
@option(
    "--match",
    "matches",
    multiple=True,
    metavar="NAME=VALUE",
    help="TAXII filter, e.g. type=indicator; repeatable.",
    es="Filtro TAXII, p. ej. type=indicator; puede repetirse.",
)
@option(
    "--limit",
    default=1_000,
    show_default=True,
    type=click.IntRange(1, 5_000),
    help="Objects in a page.",
    es="Objetos por página.",
)
@option(
    "--state",
    type=new_file,
    help=f"Where the place is remembered. Default: {STATE} in the folder; none with -.",
    es=f"Donde se recuerda el lugar. Si falta: {STATE} en la carpeta; ninguno con -.",
)
@option(
    "--receipts",
    type=new_folder,
    help="Keep each page's release entry with its proof, verify the page against it, and the proof under one's own policy.",
    es="Guarda el asiento de entrega de cada página con su prueba; verifica la página contra él y la prueba con la política propia.",
)
@as_json
def pull(
    me: Profile, collection: str, output: Path, follow: bool, interval: float, added_after: str | None,
    matches: tuple[str, ...], limit: int, state: Path | None, receipts: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Take the objects of a collection in the order they came in, and go on where the last pull stopped.

    A page is written whole before the place is remembered: after a crash one page comes again, and none is lost.
    """
    to_stdout = str(output) == "-"
    if not to_stdout:
        output.mkdir(parents=True, exist_ok=True)
        state = state or output / STATE
    filters = _filters(matches)
    totals = {"pages": 0, "objects": 0, "receipts": 0, "notices": 0, "pending": 0}
    policies = me.policies() if receipts is not None else {}

    async def work(client: Client) -> None:
        await hold_to_it(me, client)
        if receipts is not None:  # what an earlier run had to leave
            totals["receipts"] += len(await collect(client, receipts, policies))
        with progress("pull") as bar:
            async for page in client.pages(
                collection, added_after=added_after, match=filters, limit=limit, state=state, follow=follow,
                interval_seconds=interval,
            ):  # fmt: skip
                if not page.objects:
                    continue
                if receipts is not None:  # before the page is shown to anybody
                    totals["receipts"] += await _prove(client, page, receipts, policies)
                _write(page, None if to_stdout else output)
                totals["pages"] += 1
                totals["objects"] += len(page.objects)
                totals["notices"] += sum(_type(one) == NOTICE for one in page.objects)
                bar.length = totals["objects"] + page.more
                bar.update(len(page.objects))
                if follow:
                    with contextlib.suppress(TooFast, Unavailable):  # the next page asks again
                        await hold_to_it(me, client)
        await hold_to_it(me, client)

    at_network(me, work)
    pending = waiting(receipts) if receipts is not None else []
    totals["pending"] = len(pending)
    say_pending(pending)
    if as_json and not to_stdout:
        machine(totals)
    else:
        say(
            f"{totals['objects']} objects in {totals['pages']} pages, {totals['receipts']} receipts.",
            f"{totals['objects']} objetos en {totals['pages']} páginas, {totals['receipts']} comprobantes.",
            err=to_stdout,
        )
        if totals["notices"]:
            say(
                f"{totals['notices']} of them are the hub's notices to drop others: see `puente recall list`.",
                f"{totals['notices']} de ellos son avisos del centro para descartar otros: vea `puente recall list`.",
                err=to_stdout,
            )


def _filters(matches: Iterable[str]) -> dict[str, str]:
    found = {}
    for one in matches:
        name, equals, value = one.partition("=")
        if not (name and equals and value):
            raise Malformed(
                f"{one!r} is not of the form NAME=VALUE.", f"{one!r} no tiene la forma NOMBRE=VALOR.", field="--match"
            )
        found[name] = value
    return found


def _write(page: Page, folder: Path | None) -> None:
    lines = b"".join(canonical(obj) + b"\n" for obj in page.objects)
    if folder is None:
        sys.stdout.buffer.write(lines)
        sys.stdout.buffer.flush()
        return
    # Named by where it begins: a page that comes again after a crash replaces itself.
    replace_file(folder / f"{page.first.replace(':', '')}.ndjson", lines)


async def _prove(client: Client, page: Page, directory: Path, policies: Mapping[str, Policy]) -> int:
    """Hold the page against the entries that record its release, keep those, and fetch the proofs that are to be had.

    Raises EvidenceFault for a page that is not what was logged, ReceiptFault for a proof that proves nothing.
    """
    places = [(place.log, index) for place in page.leaves for index in range(place.first, place.last + 1)]
    entries = {place: await client.leaf(*place) for place in places}
    divide(page.objects, list(entries.values()))
    for place, leaf in entries.items():
        keep_entry(directory, *place, leaf)
    return len(await collect(client, directory, policies))


# --- verify ---

Verdict = tuple[Literal["valid", "covered", "refused"], str, str]
"""With who answers for the object, and the reason."""

VERDICTS = {
    "valid": Text("valid", "válida"),
    "covered": Text("covered", "cubierto"),
    "refused": Text("refused", "rechazada"),
}


@command(
    es="Verifica sin conexión las firmas de objetos, con una lista de confianza y los certificados de los miembros."
)
@the_input
@option(
    "--trust-list",
    type=a_file,
    required=True,
    help="As both countries approved it.",
    es="Tal como la aprobaron ambos países.",
)
@option(
    "--certs",
    type=a_folder,
    required=True,
    help="Members' signing certificates, as `puente cert export` writes them.",
    es="Certificados de firma de los miembros, como los escribe `puente cert export`.",
)
@option(
    "--crls",
    type=a_folder,
    help="Revocation lists (*.crl); then every issuer must have one.",
    es="Listas de revocación (*.crl); entonces cada emisor debe tener una.",
)
@option(
    "--at",
    "moment",
    help="RFC 3339 time when the objects were received. Default: now.",
    es="Momento RFC 3339 en que se recibieron los objetos. Si falta: ahora.",
)
@as_json
def verify(source: Path, trust_list: Path, certs: Path, crls: Path | None, moment: str | None, as_json: bool) -> None:
    """Verify the signatures in objects offline, against a trust list and the members' certificates.

    What bears no signature counts as covered when a signed attestation beside it names its bytes. Exit status 1 unless
    every object is valid or covered.
    """
    at = _moment(moment)
    trust = TrustList.parse(trust_list.read_bytes())
    revoked = None
    if crls is not None:
        revoked = Revocations.from_crls(
            [one.read_bytes() for one in sorted(crls.glob("*.crl"))], trust.intermediates(), at=at
        )
    keys = keyring(trust, [*entries_in(certs), *_listed(trust)], at=at, revoked=revoked)
    objects = read_objects(source)
    covered: dict[tuple[str, str, str], str] = {}

    def judge(obj: Any) -> Verdict:
        if not isinstance(obj, dict):
            return "refused", "", "not-stix"
        try:
            found = verify_object(obj, keys, at=at)
        except SignatureFault as fault:
            # The hub's word is its own signature's: no attestation stands in for that.
            if fault.code == "signature-missing" and _type(obj) != NOTICE and _named(obj) in covered:
                return "covered", covered[_named(obj)], ""
            return "refused", "", f"{fault.code}: {fault.es if spanish() else fault.en}"
        if _type(obj) == ATTESTATION:
            covered.update({(one["id"], one["version"], one["sha256"]): found.identity_id for one in obj["covers"]})
        return "valid", found.identity_id, ""

    # Attestations first: they say who answers for the rest.
    order = sorted(range(len(objects)), key=lambda n: _type(objects[n]) != ATTESTATION)
    verdicts = {n: judge(objects[n]) for n in order}
    rows = [(_named(objects[n])[0], *verdicts[n]) for n in range(len(objects))]
    head = ("object", "verdict", "signer", "reason")
    if as_json:
        machine([dict(zip(head, row, strict=True)) for row in rows])
    else:
        table(head, [(row[0], spoken(VERDICTS[row[1]]), *row[2:]) for row in rows])
    sys.exit(0 if all(row[1] != "refused" for row in rows) else 1)


def _type(obj: Any) -> Any:
    return obj.get("type") if isinstance(obj, dict) else None


def _named(obj: Any) -> tuple[str, str, str]:
    """As attestations name objects: id, version, digest."""
    try:
        return str(obj.get("id", "unknown")), version_of(obj), sha256(canonical(obj)).hexdigest()
    except (AttributeError, JsonError):
        return "unknown", "", ""


def entries_in(directory: Path) -> list[KeyringEntry]:
    """Signing certificates from files named by the identity they are enrolled for. The country is what the path must
    then lead to: taken from the name in the certificate, it gives nobody more than its own root does."""
    found = []
    for path in sorted(directory.glob("identity--*.pem")):
        for certificate in read_pem(path):
            if purposes(certificate) in ([SIGNING], [GATEWAY]):
                country = next((one for one in COUNTRIES if f".{one.lower()}." in dns_name(certificate)), "")
                found.append(KeyringEntry(der(certificate), path.stem, country))
    return found


def _listed(trust: TrustList) -> list[KeyringEntry]:
    """Signing certificates that the list itself names, if it names members."""
    return [
        KeyringEntry(der(certificate_of(text)), member.identity_id, member.country)
        for member in trust.document.members or ()
        for text in member.signing or ()
    ]


def _moment(text: str | None) -> datetime:
    try:
        return as_datetime(SystemClock().now_us() if text is None else parse_us(text))
    except ValueError:
        raise Malformed(
            f"{text!r} is not an RFC 3339 time in UTC, such as 2026-11-24T12:00:00Z.",
            f"{text!r} no es una hora RFC 3339 en UTC, como 2026-11-24T12:00:00Z.",
            field="--at",
        ) from None


COMMANDS: tuple[click.Command, ...] = (pull, verify)
