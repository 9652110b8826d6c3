"""The client itself: one member's way to sign, submit, pull, follow, ask why, and collect proof."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from certs.jcs import canonical
from certs.signature import Signer
from exchange.client.connection import TAXII, Connection, Pause
from exchange.client.envelopes import BATCH_OBJECTS, BODY_LIMIT_BYTES, Envelope, Provenance, pack, prepare
from exchange.client.gossip import PROOF, SEEN, Shown
from exchange.client.reading import CursorFile, Match, Page, read_page
from exchange.client.submitting import SubmitResult, nothing_sent, read_result
from exchange.clock import Clock
from exchange.errors import Malformed, NotFound, TooFast, Unavailable
from exchange.ledger.note import Checkpoint
from exchange.times import as_millis_text

PENDING_POLLS = 60
"""Our hub answers complete at once; another's status is asked for once a second for this long."""

Progress = Callable[[SubmitResult], None]


class Client:
    """One member at one hub. Use it as `async with Client(...) as client`.

    Refusals of the hub are raised as the classes of exchange.errors, with the hub's code; what concerns single objects
    is told in results, never raised.
    """

    def __init__(
        self,
        base_url: str,
        *,
        clock: Clock,
        token: str | None = None,
        ca_file: Path | str | None = None,
        client_cert: tuple[Path | str, Path | str] | None = None,
        signer: Signer | None = None,
        api_root: str = "us-mx",
        language: str = "en",
        timeout_seconds: float = 60.0,
        pause: Pause = asyncio.sleep,
    ) -> None:
        self.signer = signer
        self._clock = clock
        self._root = f"/taxii2/{api_root}"
        self._pause = pause
        self._connection = Connection(
            base_url,
            clock=clock,
            token=token,
            ca_file=ca_file,
            client_cert=client_cert,
            language=language,
            timeout_seconds=timeout_seconds,
            pause=pause,
        )
        self._body_limit: int | None = None
        self._collections: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        await self._connection.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.__aexit__()

    # --- giving ---

    def prepare(self, obj: Mapping[str, Any]) -> dict[str, Any]:
        """A copy with what an author may leave out, made now and by this member. Raises NotStix."""
        identity = self.signer.identity_id if self.signer else ""
        return prepare(obj, now_us=self._clock.now_us(), identity_id=identity)

    def sign(self, obj: Mapping[str, Any], *, prev_sha256: str | None = None) -> dict[str, Any]:
        """A signed copy of one of the member's own objects. Raises SignatureFault for a form that relays break."""
        if self.signer is None:
            raise _no_signer()
        return self.signer.sign(obj, signed_at=as_millis_text(self._clock.now_us())[:19] + "Z", prev_sha256=prev_sha256)

    async def pack(
        self,
        objects: Iterable[Mapping[str, Any]],
        *,
        batch: int = BATCH_OBJECTS,
        provenance: Provenance | None = None,
        previous: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Envelope]:
        """Envelopes ready to be sent, made one at a time. Whoever keeps one can send it again after a crash."""
        limit = await self.body_limit()
        for envelope in pack(
            objects,
            self.signer,
            now_us=self._clock.now_us(),
            batch=batch,
            body_limit_bytes=limit,
            provenance=provenance,
            previous=previous,
        ):
            yield envelope

    async def send(self, envelope: Envelope, collection: str) -> SubmitResult:
        """Post an envelope to a collection, by id or alias. Sent twice, it is accepted twice and stored once."""
        if not envelope.body:
            return nothing_sent(envelope)
        answer = await self._connection.request(
            "POST", "/api/v1/submissions", query={"collection": collection}, body=envelope.body
        )
        return read_result(envelope, await self._settled(answer.value))

    async def submit(
        self,
        objects: Iterable[Mapping[str, Any]],
        collection: str,
        *,
        batch: int = BATCH_OBJECTS,
        provenance: Provenance | None = None,
        previous: Mapping[str, str] | None = None,
        on_progress: Progress | None = None,
    ) -> list[SubmitResult]:
        """Sign or cover the objects and post them, envelope after envelope."""
        results = []
        async for envelope in self.pack(objects, batch=batch, provenance=provenance, previous=previous):
            result = await self.send(envelope, collection)
            results.append(result)
            if on_progress is not None:
                on_progress(result)
        return results

    async def body_limit(self) -> int:
        """The largest body the hub takes, in bytes (TAXII 2.1, 4.2.1). Asked once."""
        if self._body_limit is None:
            found = (await self._taxii("/")).get("max_content_length")
            self._body_limit = found if isinstance(found, int) and found > 0 else BODY_LIMIT_BYTES
        return self._body_limit

    async def _settled(self, status: Any) -> Any:
        leaves = status.get("leaves", []) if isinstance(status, dict) else []
        for _ in range(PENDING_POLLS):
            if not isinstance(status, dict) or status.get("status") != "pending":
                return status
            await self._pause(1.0)
            status = {**await self.status(str(status.get("id"))), "leaves": leaves}
        raise Unavailable(
            "The hub has not finished this submission; ask for its status later.",
            "El centro no ha terminado este envío; consulte su estado más tarde.",
            code="status-pending",
        )

    async def report_run(self, feed: str, run: Mapping[str, Any]) -> dict[str, Any]:
        """Tell the hub of a finished run of one's own feed. Told twice in the same words, it is recorded once."""
        return await self._post(f"/api/v1/feeds/{feed}/runs", run)

    async def released(self) -> list[str]:
        """The values, held back from this member before, that the hub accepts now."""
        found = (await self._json("/api/v1/held", {"released": "1"})).get("held", [])
        return [str(one["value"]) for one in found if isinstance(one, dict) and "value" in one]

    # --- taking ---

    async def pages(
        self,
        collection: str,
        *,
        added_after: str | None = None,
        match: Match | None = None,
        limit: int = 1_000,
        state: Path | None = None,
        follow: bool = False,
        interval_seconds: float = 30.0,
    ) -> AsyncIterator[Page]:
        """Every page of a collection in order of addition; with `follow`, for ever, asking anew every interval.

        With `state`, the walk goes on from that file, which is written after each page the caller has finished with:
        after a crash at most one page comes twice, and none is lost.
        """
        path = f"{self._root}/collections/{await self.collection_id(collection)}/objects/"
        filters = {f"match[{name}]": value for name, value in (match or {}).items()}
        cursor = CursorFile.of(state, str(self._connection.base), path, filters) if state else None
        last = (cursor.read() if cursor else None) or added_after or ""
        following = ""
        while True:
            try:
                page = await self._page(path, {**filters, "limit": str(limit)}, last, following)
            except (TooFast, Unavailable):
                if not follow:
                    raise
                await self._pause(interval_seconds)
                continue
            yield page
            moved = bool(page.last) and page.last != last
            if moved:
                last = page.last
                if cursor is not None:
                    cursor.write(last)
            following = page.next if page.more else ""
            if page.more and (following or moved):
                continue
            if not follow:
                return
            await self._pause(interval_seconds)

    async def pull(
        self,
        collection: str,
        *,
        added_after: str | None = None,
        match: Match | None = None,
        limit: int = 1_000,
        state: Path | None = None,
        follow: bool = False,
        interval_seconds: float = 30.0,
    ) -> AsyncIterator[dict[str, Any]]:
        """The objects of `pages`, one by one."""
        async for page in self.pages(
            collection,
            added_after=added_after,
            match=match,
            limit=limit,
            state=state,
            follow=follow,
            interval_seconds=interval_seconds,
        ):
            for obj in page.objects:
                yield obj

    async def _page(self, path: str, query: dict[str, str], last: str, following: str) -> Page:
        after = {"added_after": last} if last else {}
        if following:
            with contextlib.suppress(Malformed):
                return await self._one_page(path, {**query, "next": following})
            # The hub no longer knows the token: the second way of 3.5 goes on from the same place.
        return await self._one_page(path, {**query, **after})

    async def _one_page(self, path: str, query: dict[str, str]) -> Page:
        return read_page(await self._connection.request("GET", path, query=query, accept=TAXII))

    # --- asking ---

    async def me(self) -> dict[str, Any]:
        """The member behind the credential, and until when the credential is valid."""
        return await self._json("/api/v1/me")

    async def collections(self) -> list[dict[str, Any]]:
        """The collections this member may read or write."""
        found = (await self._json("/api/v1/collections")).get("collections", [])
        return [one for one in found if isinstance(one, dict)]

    async def collection_id(self, name: str) -> str:
        """The id of a collection given by id or alias. Raises NotFound."""
        if name not in self._collections:
            for one in await self.collections():
                self._collections[str(one["id"])] = str(one["id"])
                if one.get("alias"):
                    self._collections[str(one["alias"])] = str(one["id"])
        if name not in self._collections:
            raise NotFound(
                f"There is no collection {name} for you.", f"No hay colección {name} para usted.", field="collection"
            )
        return self._collections[name]

    async def status(self, status_id: str) -> dict[str, Any]:
        """What became of a submission. Raises NotFound for another member's."""
        return await self._json(f"/api/v1/status/{status_id}")

    async def explain(self, object_id: str, to: str, *, version: str | None = None) -> dict[str, Any]:
        """Why a member may or may not have an object, clause by clause."""
        query = {"object": object_id, "to": to, **({"version": version} if version else {})}
        return await self._json("/api/v1/explain", query)

    async def recalls(self) -> list[dict[str, Any]]:
        """What this member is asked to drop. That it was told so is recorded."""
        return _list_of(await self._json("/api/v1/recalls"), "recalls")

    async def acknowledge(self, recall_id: str) -> dict[str, Any]:
        """Say that what is recalled was dropped. Raises NotFound for another's."""
        path = f"/api/v1/recalls/{quote(recall_id, safe='')}/acknowledgements"
        return _object((await self._connection.request("POST", path)).value)

    async def consents(self) -> dict[str, Any]:
        """The requests that this member made or was put, and the consents that it gave or that name it."""
        return await self._json("/api/v1/consents")

    async def ask_consent(self, originator: str, case: str, reason: str) -> dict[str, Any]:
        """Ask an originator for its consent to release what it controls under a case."""
        question = {"originator": originator, "case": case, "reason": reason}
        return await self._post("/api/v1/consents/requests", question)

    async def audiences(self) -> list[dict[str, Any]]:
        """The agreement's audiences that this member belongs to or may extend."""
        return _list_of(await self._json("/api/v1/audiences"), "audiences")

    async def state(self, statement: Mapping[str, Any]) -> dict[str, Any]:
        """Hand in a signed statement: a consent, or an addition to an audience."""
        about = "audiences" if str(statement["statement"]["kind"]).startswith("audience.") else "consents"
        return await self._post(f"/api/v1/{about}", statement)

    async def audit(self, question: str, query: Mapping[str, str]) -> bytes:
        """For auditors: an answer from the logs, as JSON Lines with the hub's seal as the last. The seal is not checked here."""
        answer = await self._connection.request("GET", f"/api/v1/audit/{question}", query=query, json=False)
        return answer.body

    async def access(self) -> dict[str, Any]:
        """What this member may see now, and by which clause."""
        return await self._json("/api/v1/access")

    async def difference(self, new: str, *, old: str = "in-force") -> dict[str, Any]:
        """What another agreement would change of what this member may know of."""
        return await self._json("/api/v1/agreements/diff", {"new": new, "old": old})

    # --- a national gateway's questions ---

    async def judgements(self, asked: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
        """Of originals by (collection, id, version): which cross only without their sender's name, and what may be told of
        it. For national gateways. The answer also names the agreement and its period, for an empty question too."""
        objects = [dict(zip(("collection", "id", "version"), one, strict=True)) for one in asked]
        return await self._post("/api/v1/gateway/judgements", {"objects": objects})

    async def disclose(self, opening: Mapping[str, str]) -> dict[str, Any]:
        """Have the disclosure of an original recorded: attestation, object, version, salt, sha256, reason."""
        return await self._post("/api/v1/gateway/disclosures", opening)

    # --- proof ---

    async def leaf(self, log: str, index: int) -> bytes:
        """The bytes of one entry about this member's own acts, as they were hashed."""
        return (await self._connection.request("GET", f"/ledger/{log}/leaf/{index}", json=False)).body

    async def checkpoint(self, log: str, seen: Checkpoint) -> Shown:
        """The newest checkpoint that is cosigned, with the proof that it grew out of the one seen. Nothing is verified here.

        Raises Conflict when the hub says that it did not, NotFound when none is cosigned.
        """
        headers = {SEEN: f"{seen.size}:{seen.root.hex()}"}
        answer = await self._connection.request("GET", f"/ledger/{log}/checkpoint", headers=headers, json=False)
        return Shown(answer.body, answer.headers.get(PROOF, ""))

    async def receipt(self, log: str, index: int, *, wait_seconds: int = 0) -> bytes | None:
        """The proof that an entry is in a log both countries cosigned; None when they have not done so yet."""
        headers = {"Prefer": f"wait={wait_seconds}"} if wait_seconds else None
        try:
            path = f"/ledger/{log}/receipt/{index}"
            return (await self._connection.request("GET", path, headers=headers, json=False)).body
        except NotFound as refusal:
            if refusal.code == "receipt-pending":
                return None
            raise

    async def _post(self, path: str, value: Mapping[str, Any]) -> dict[str, Any]:
        return _object((await self._connection.request("POST", path, body=canonical(dict(value)))).value)

    async def _json(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        return _object((await self._connection.request("GET", path, query=query)).value)

    async def _taxii(self, path: str) -> dict[str, Any]:
        return _object((await self._connection.request("GET", self._root + path, accept=TAXII)).value)


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unavailable(
            "The hub's answer is not an object.", "La respuesta del centro no es un objeto.", code="hub-answer"
        )
    return value


def _list_of(value: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = value.get(name)
    if not isinstance(found, list):
        raise Unavailable(
            "The hub's answer is not a list.", "La respuesta del centro no es una lista.", code="hub-answer"
        )
    return found


def _no_signer() -> Malformed:
    return Malformed(
        "This client was given no signing key.", "Este cliente no recibió una clave de firma.", code="no-signer"
    )
