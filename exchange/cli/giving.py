"""What a member gives: `puente sign` and `puente submit`. Sign first and keep the file: it can be sent again without harm."""

import sys
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import click

from certs.faults import SignatureFault
from certs.jcs import JsonError, canonical
from certs.keys import replace_file
from exchange.cli.asking import as_member, at_network, hold_to_it
from exchange.cli.output import advance, language, machine, progress, say, table
from exchange.cli.profile import Profile
from exchange.cli.words import a_file, argument, as_json, command, new_file, new_folder, option
from exchange.client import Client, Packed, Refused, SubmitResult, claims, pair, prepare, verify_receipt
from exchange.client.envelopes import version_of
from exchange.clock import SystemClock
from exchange.errors import Malformed, NotFound, NotStix, Text, Unavailable
from exchange.ledger.generations import following, stem
from exchange.ledger.merkle import leaf_hash
from exchange.ledger.note import Policy
from exchange.ledger.receipt import ReceiptFault
from exchange.times import as_millis_text
from feeds.bundles import SUFFIXES, objects_in, read_values
from feeds.fetch import read_local

INPUT_LIMIT_BYTES = 200_000_000
RECEIPT_WAITS = 6
"""Times 20 seconds, which is how long the hub holds a question for a receipt. Witnesses cosign every ten."""

REFUSALS = ("object", "version", "code", "field", "reason")

the_input = argument(
    "source", type=click.Path(path_type=Path, exists=True, allow_dash=True),
    help="An object, bundle, envelope or lines of objects; a folder of such files; or - for standard input.",
    es="Un objeto, un bundle, un sobre o líneas de objetos; una carpeta de tales archivos; o - para la entrada estándar.",
)  # fmt: skip


def read_objects(source: Path) -> list[Any]:
    """Every value that should be an object, in order. Raises Malformed or FeedFault naming the file that cannot be read."""
    if str(source) == "-":
        data = sys.stdin.buffer.read(INPUT_LIMIT_BYTES + 1)
        lines = [line for line in data.splitlines() if line.strip()]
        several = len(lines) > 1 and all(line.startswith(b"{") and line.rstrip().endswith(b"}") for line in lines)
        return _values("-.ndjson" if several else "-", data)
    files = [source]
    if source.is_dir():
        files = sorted(one for one in source.rglob("[!.]*") if one.name.endswith(SUFFIXES) and one.is_file())
    return [obj for file in files for obj in _values(str(file), read_local(file, INPUT_LIMIT_BYTES))]


def _values(name: str, data: bytes) -> list[Any]:
    try:
        return [obj for value in read_values(name, data, INPUT_LIMIT_BYTES) for obj in objects_in(value)]
    except JsonError as error:
        raise Malformed(
            f"{name}: {error.en}", f"{name}: {error.es}", code=error.code, field=error.pointer or None
        ) from None


def completed(values: Sequence[Any], identity: str) -> tuple[list[dict[str, Any]], list[Refused]]:
    """Objects with what an author may leave out filled in, and those that are none."""
    now_us = SystemClock().now_us()
    good, bad = [], []
    for value in values:
        if not isinstance(value, dict):
            bad.append(Refused("unknown", "", "not-stix", Text("This is not an object.", "Esto no es un objeto.")))
            continue
        try:
            good.append(prepare(value, now_us=now_us, identity_id=identity))
        except NotStix as refusal:
            name = str(value.get("id", "unknown"))
            bad.append(Refused(name, version_of(value), refusal.code, refusal.text, refusal.field or ""))
    return good, bad


# --- sign ---


@command(es="Completa y firma objetos propios; lo que hicieron otros pasa tal cual y queda cubierto al enviarse.")
@as_member
@the_input
@option("--output", "-o", type=new_file, help="Default: standard output.", es="Si falta: la salida estándar.")
@option(
    "--previous", type=a_file, help="The signed versions before, which the new ones then name.",
    es="Las versiones firmadas anteriores, que las nuevas entonces nombran.",
)  # fmt: skip
@option(
    "--tearline", type=a_file, help="What may be told more widely of the one object of SOURCE: signed with it, and linked.",
    es="Lo que puede divulgarse más del único objeto de SOURCE: se firma con él y se enlaza.",
)  # fmt: skip
def sign(me: Profile, source: Path, output: Path | None, previous: Path | None, tearline: Path | None) -> None:
    """Complete and sign objects of one's own; what others made is passed on as it is, and covered when it is submitted.

    With --tearline, three objects come of one: itself, its tearline under an id of its own, and the relationship between
    them, marked as the object is.
    """
    signer = me.must_sign()
    values = read_objects(source)
    if tearline is not None:
        values = _with_tearline(values, tearline, me.identity)
    objects, bad = completed(values, me.identity)
    before = {one["id"]: sha256(canonical(one)).hexdigest() for one in read_objects(previous)} if previous else {}
    signed_at = as_millis_text(SystemClock().now_us())[:19] + "Z"
    signed = []
    for obj in objects:
        if not claims(obj, me.identity):
            signed.append(obj)
            continue
        try:
            digest = before.get(obj["id"])
            signed.append(signer.sign(obj, signed_at=signed_at, prev_sha256=digest))
        except SignatureFault as fault:
            field = getattr(fault, "field", "")
            bad.append(Refused(obj["id"], version_of(obj), fault.code, Text(fault.en, fault.es), field))
    if bad:
        table(REFUSALS, map(_refusal, bad), err=True)
        say("Nothing was signed.", "No se firmó nada.", err=True)
        sys.exit(1)
    bundle = {"type": "bundle", "id": f"bundle--{uuid.uuid4()}", "objects": signed}
    result: Any = signed[0] if len(signed) == 1 else bundle
    data = canonical(result) + b"\n"
    if output is None:
        sys.stdout.buffer.write(data)
        return
    replace_file(output, data)
    own = sum(claims(one, me.identity) for one in signed)
    say(f"{output}: {own} signed, {len(signed) - own} passed on.", f"{output}: {own} firmados, {len(signed) - own} tal cual.")  # fmt: skip


def _with_tearline(values: list[Any], tearline: Path, identity: str) -> list[Any]:
    told = read_objects(tearline)
    if len(values) != 1 or len(told) != 1 or not isinstance(values[0], dict) or not isinstance(told[0], dict):
        raise Malformed(
            "With --tearline both files hold one object.",
            "Con --tearline ambos archivos contienen un objeto.",
            field="--tearline",
        )
    return list(pair(values[0], told[0], now_us=SystemClock().now_us(), identity_id=identity))


# --- submit ---


@command(es="Envía objetos a una colección; dice de cada uno que se rechazó por qué.")
@as_member
@the_input
@option("--to", "collection", required=True, help="Alias or id of the collection.", es="Alias o id de la colección.")
@option("--batch", default=1_000, show_default=True, type=click.IntRange(1, 5_000), help="Objects in an envelope.", es="Objetos por sobre.")  # fmt: skip
@option(
    "--receipts", type=new_folder,
    help="Wait for both countries' cosignatures, check the proofs under one's own policy and keep them here.",
    es="Espera las cofirmas de ambos países, comprueba las pruebas con la política propia y las guarda aquí.",
)  # fmt: skip
@as_json
def submit(me: Profile, source: Path, collection: str, batch: int, receipts: Path | None, as_json: bool) -> None:
    """Submit objects to a collection; says of each that was refused why. Exit status 1 if any was.

    Objects of one's own that are not signed yet are signed on the way. To be able to send the same bytes again after a
    fault, sign them first (`puente sign`) and submit the file.
    """
    values = read_objects(source)
    objects, bad = completed(values, me.identity)
    results: list[SubmitResult] = []
    kept: list[str] = []
    pending: list[str] = []
    policies = me.policies() if receipts is not None else {}

    async def work(client: Client) -> None:
        await hold_to_it(me, client)
        with progress("submit", len(objects)) as bar:

            def step(result: SubmitResult) -> None:
                results.append(result)
                advance(bar, sum(len(one.accepted) + len(one.refused) for one in results), len(objects))

            await client.submit(objects, collection, batch=batch, on_progress=step)
        if receipts is not None:
            kept.extend([path.name for path in await keep_receipts(client, results, receipts, policies)])
            pending.extend(waiting(receipts))
            await hold_to_it(me, client)

    try:
        at_network(me, work)
    finally:  # what was taken before a fault stays taken, and has to be told
        refused = bad + [one for result in results for one in result.refused]
        _report(
            [one for result in results for one in result.accepted], refused, results, kept, pending, as_json=as_json
        )
    sys.exit(1 if refused else 0)


def _report(
    accepted: Sequence[Packed], refused: Sequence[Refused], results: Sequence[SubmitResult], kept: Sequence[str],
    pending: Sequence[str], *, as_json: bool,
) -> None:  # fmt: skip
    if as_json:
        machine({
            "accepted": [{"id": one.id, "version": one.version, "sha256": one.sha256} for one in accepted],
            "refused": [dict(zip(REFUSALS, _refusal(one), strict=True)) for one in refused],
            "statuses": [one.id for one in results if one.id],
            "receipts": list(kept),
            "pending": list(pending),
        })  # fmt: skip
        return
    kinds = Counter(one.id.partition("--")[0] for one in accepted)
    failed = Counter(one.id.partition("--")[0] for one in refused)
    if kinds or failed:
        table(("type", "accepted", "refused"), [(kind, kinds[kind], failed[kind]) for kind in sorted(kinds | failed)])
    if refused:
        table(REFUSALS, map(_refusal, refused))
    say(f"{len(accepted)} accepted, {len(refused)} refused.", f"{len(accepted)} aceptados, {len(refused)} rechazados.")
    if kept:
        say(f"{len(kept)} receipts kept.", f"{len(kept)} comprobantes guardados.")
    say_pending(pending)


def _refusal(one: Refused) -> tuple[str, str, str, str, str]:
    return one.id, one.version, one.code, one.field, one.text.in_language(language())


# --- receipts ---


async def keep_receipts(
    client: Client, results: Sequence[SubmitResult], directory: Path, policies: Mapping[str, Policy]
) -> list[Path]:
    """Each submission's entries with the proofs that they are in the log, as `puente ledger receipt` reads them."""
    for leaf in {(one.log, one.index): one for result in results for one in result.leaves}.values():
        data = await client.leaf(leaf.log, leaf.index)
        if leaf_hash(data) != leaf.hash:
            raise Unavailable(
                f"The hub shows another entry {leaf.log}/{leaf.index} than it promised when it took the objects.",
                f"El centro muestra un asiento {leaf.log}/{leaf.index} distinto del que prometió al aceptar los objetos.",
                code="hub-answer",
            )
        keep_entry(directory, leaf.log, leaf.index, data)
    return await collect(client, directory, policies)


def keep_entry(directory: Path, log: str, index: int, leaf: bytes) -> None:
    """The entry itself: whoever holds it can ask for its proof until there is one."""
    directory.mkdir(parents=True, exist_ok=True)
    replace_file(directory / f"{stem(log)}-{index}.leaf", leaf)


def waiting(directory: Path) -> list[str]:
    """The entries whose proofs are still to come, by name."""
    return sorted(path.stem for path in directory.glob("*-*.leaf") if not path.with_suffix(".tlog-proof").exists())


async def collect(client: Client, directory: Path, policies: Mapping[str, Policy]) -> list[Path]:
    """Fetch the proofs of the entries that lack one, those of earlier runs too, and check each under the member's own policy
    before it is kept. Raises ReceiptFault. What the witnesses have not cosigned in time is left for the next run."""
    paths, patience = [], RECEIPT_WAITS
    for name in waiting(directory):
        stemmed, _, index = name.rpartition("-")
        log = stemmed.replace(".", "/")
        if log not in policies or not index.isdecimal():
            continue
        try:
            found = await client.receipt(log, int(index), wait_seconds=20 if patience else 0)
            while found is None and patience:
                patience -= 1
                found = await client.receipt(log, int(index), wait_seconds=20)
        except NotFound:
            if following(log) not in policies:
                raise
            continue  # the log was closed for ever, and this is lost or will never be proved: what is kept of it is all there is
        if found is None:
            continue
        proven = verify_receipt(found, (directory / f"{name}.leaf").read_bytes(), policies[log])
        if proven.index != int(index):
            raise ReceiptFault("receipt-index", f"{name}: it proves another entry.", f"{name}: prueba otro asiento.")
        replace_file(directory / f"{name}.tlog-proof", found)
        paths.append(directory / f"{name}.tlog-proof")
    return paths


def say_pending(pending: Sequence[str]) -> None:
    if pending:
        say(
            f"{len(pending)} receipts wait for both countries' cosignatures; the next run with --receipts fetches them.",
            f"{len(pending)} comprobantes esperan las cofirmas de ambos países; la próxima ejecución con --receipts los trae.",
            err=True,
        )


COMMANDS: tuple[click.Command, ...] = (sign, submit)
