"""Acts that change who takes part and whom to trust. Each is one transaction with its entry; each is refused whole.

`actor` names the account that acts, as entries carry it: an operator at the hub's own machine, or a member's account.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certs.faults import PathFault, TrustFault
from certs.keys import thumbprint
from certs.trust import TrustList
from exchange.clock import Clock
from exchange.errors import Conflict, Malformed, NotFound, NotPermitted
from exchange.governance.credentials import certificate_credential, new_token
from exchange.ledger.entry import Entry, national
from exchange.ledger.sequencer import Sequencer
from exchange.model.member import Collection, Credential, Member, SigningCert, Status
from exchange.model.product import PRODUCTS
from exchange.rules import RuleBook
from exchange.store.acts import Act, Done, Record
from exchange.store.changes import Change, EndCredential, RevokeSigningCert, TrustListRow
from exchange.times import as_datetime, as_text


class Governance:
    """Enrol, suspend, rotate, trust. Cross-border rights are at stake in all of it, so every entry goes to `both`."""

    def __init__(self, sequencer: Sequencer, rulebook: RuleBook, clock: Clock) -> None:
        self._sequencer = sequencer
        self._rulebook = rulebook
        self._clock = clock

    # --- credentials ---

    async def create_token(
        self, actor: str, member: str, *, days: int, note: str = "", product: str = ""
    ) -> tuple[Credential, str]:
        """A new API token for a member: its credential, and the text to hand over, which is kept nowhere.

        `product` names one of `model.product`. Raises Malformed for any other.
        """
        await self._member(member)
        if product and product not in PRODUCTS:
            raise Malformed(
                f"There is no product {product}.", f"No existe el producto {product}.", code="product", field="product"
            )
        now_us = self._clock.now_us()
        credential, text = new_token(member, now_us=now_us, days=days, note=note, product=product)
        pub: dict[str, object] = {"account": credential.id, "member": member, "kind": "token", "days": days}
        if product:
            pub["product"] = product
        await self._give(actor, credential, pub)
        return credential, text

    async def enrol_certificate(
        self, actor: str, member: str, certificate: x509.Certificate, note: str = ""
    ) -> Credential:
        """Let a TLS client certificate speak for a member. It must lead to the root of the member's own country."""
        rules = await self._rulebook.current()
        found = await self._member(member)
        if rules.trust is None:
            raise _no_trust()
        now_us = self._clock.now_us()
        try:
            rules.trust.check_tls(certificate, found.country, at=as_datetime(now_us), revocations=rules.revocations)
        except PathFault as fault:
            raise NotPermitted(
                f"The client certificate {fault.en}.",
                f"El certificado de cliente {fault.es}.",
                code=f"certificate-{fault.code}",
                field="certificate",
            ) from None
        credential = certificate_credential(member, certificate, now_us=now_us, note=note)
        pub = {"account": credential.id, "member": member, "kind": "certificate", "sha256": credential.digest.hex()}
        await self._give(actor, credential, pub)
        return credential

    async def _give(self, actor: str, credential: Credential, pub: Mapping[str, object]) -> None:
        """With it goes, into its own country's log, a commitment to whose account it is: `both` names no person."""
        on = f"member:{credential.member}"
        entries = [Entry("both", "acct.add", actor, on, pub)]
        if credential.note:
            log = national((await self._member(credential.member)).country)
            entries.append(
                Entry(log, "acct.bind", actor, on, {"account": credential.id}, private={"note": credential.note})
            )
        await self._write(entries, credential)

    async def end_credential(self, actor: str, credential_id: str) -> None:
        """Revoke a token or certificate: refused from the next request on."""
        rules = await self._rulebook.current()
        credential = rules.registry.credentials.get(credential_id)
        if credential is None:
            raise NotFound(f"There is no credential {credential_id}.", f"No existe la credencial {credential_id}.")
        pub = {"account": credential_id, "member": credential.member, "kind": credential.kind}
        await self._act(actor, "acct.end", f"member:{credential.member}", pub, EndCredential(credential_id))

    async def add_signing_cert(self, actor: str, member: str, certificate: x509.Certificate) -> SigningCert:
        """Enrol an object-signing certificate. Its path is judged whenever the keyring is built, so here it is only kept."""
        rules = await self._rulebook.current()
        await self._member(member)
        der = certificate.public_bytes(Encoding.DER)
        cert = SigningCert(thumbprint(certificate), member, der, self._clock.now_us())
        pub: dict[str, object] = {"key": cert.thumbprint, "purpose": "signing"}
        before = sorted({one.thumbprint for one in rules.registry.signing if one.member == member} - {cert.thumbprint})
        if before:
            pub["after"] = before
        await self._act(actor, "key.rotate" if before else "key.add", f"member:{member}", pub, cert)
        return cert

    async def revoke_signing_cert(
        self, actor: str, key: str, *, reason: str, compromised_since_us: int | None = None
    ) -> None:
        """No signature by it is accepted from now on; with a compromise date, none received since then counts either."""
        rules = await self._rulebook.current()
        cert = next((one for one in rules.registry.signing if one.thumbprint == key), None)
        if cert is None:
            raise NotFound(f"There is no signing certificate {key}.", f"No existe el certificado de firma {key}.")
        change = RevokeSigningCert(key, self._clock.now_us(), compromised_since_us, reason)
        pub = {"key": key, "reason": reason}
        if compromised_since_us is not None:
            pub["compromised_since"] = as_text(compromised_since_us)
        await self._act(actor, "key.revoke", f"member:{cert.member}", pub, change)

    # --- members and collections ---

    async def put_member(self, actor: str, member: Member) -> None:
        """Add a member, or change one. Country and identity stay what they were: they are what trust hangs on."""
        rules = await self._rulebook.current()
        known = rules.registry.members.get(member.slug)
        if known and (known.country, known.identity_id) != (member.country, member.identity_id):
            raise Conflict(
                "A member's country and identity cannot change; add another member.",
                "El país y la identidad de un miembro no pueden cambiar; agregue otro miembro.",
                field="country",
            )
        pub = {
            "member": member.slug,
            "country": member.country,
            "kind": member.kind,
            "roles": list(member.roles),
            "sectors": list(member.sectors),
            "status": member.status,
        }
        await self._act(actor, "role.change" if known else "acct.enrol", f"member:{member.slug}", pub, member)

    async def set_status(self, actor: str, slug: str, status: Status) -> None:
        """Suspend, reinstate or withdraw a member: in force from its next request on."""
        member = await self._member(slug)
        pub = {"member": slug, "from": member.status, "to": status}
        await self._act(actor, "acct.status", f"member:{slug}", pub, replace(member, status=status))

    async def put_collection(self, actor: str, collection: Collection) -> None:
        """Add a collection or change its audiences. Titles must be unique and free of `.` and `*`: clients pick by title.

        Clients may also name it by its alias, so no alias may be another collection's id.
        """
        rules = await self._rulebook.current()
        if any(sign in collection.title for sign in ".*"):
            raise Malformed(
                "A title may not contain “.” or “*”.", "Un título no puede contener «.» ni «*».", field="title"
            )
        others = [one for one in rules.registry.collections if one.id != collection.id]
        names = {collection.alias, collection.id}
        if any(_same_title(one, collection) or names & {one.alias, one.id} for one in others):
            raise Conflict(
                "Another collection has this title or alias.",
                "Otra colección tiene este título o alias.",
                field="title",
            )
        known = any(one.id == collection.id for one in rules.registry.collections)
        pub = {
            "command": "collection.change" if known else "collection.add",
            "alias": collection.alias,
            "readers": list(collection.readers),
            "writers": list(collection.writers),
        }
        await self._act(actor, "admin", f"coll:{collection.id}", pub, collection)

    # --- what both countries sign ---

    async def adopt_trust_list(self, actor: str, document: bytes) -> TrustList:
        """Take a new trust list into force: both countries' approvals, the next version, not expired."""
        rules = await self._rulebook.current()
        try:
            trust = TrustList.parse(document)
            trust.verify(rules.trust, now=as_datetime(self._clock.now_us()))
        except TrustFault as fault:
            raise NotPermitted(fault.en, fault.es, code=fault.code) from None
        pub = {"version": trust.version, "sha256": sha256(document).hexdigest()}
        await self._act(actor, "key.trust", "trust-list", pub, TrustListRow(trust.version, document))
        return trust

    # --- common ---

    def _now(self) -> datetime:
        return as_datetime(self._clock.now_us())

    async def note(self, actor: str, t: str, on: str, pub: Mapping[str, object]) -> Done:
        """An entry of its own: start and stop of the hub, a feed's run, a privileged command."""
        return await self._act(actor, t, on, pub)

    async def _member(self, slug: str) -> Member:
        rules = await self._rulebook.current()
        member = rules.registry.members.get(slug)
        if member is None:
            raise NotFound(f"There is no member {slug}.", f"No existe el miembro {slug}.", field="member")
        return member

    async def _act(self, actor: str, t: str, on: str, pub: Mapping[str, object], *changes: Change) -> Done:
        return await self._write([Entry("both", t, actor, on, pub)], *changes)

    async def _write(self, entries: Sequence[Entry], *changes: Change) -> Done:
        return await self._sequencer.append(Act(str(uuid.uuid4()), lambda _: Record(tuple(entries)), changes=changes))


def _same_title(one: Collection, other: Collection) -> bool:
    """Titles that people read as one: blanks and case do not tell collections apart."""
    return one.title.casefold().split() == other.title.casefold().split()


def _no_trust() -> NotPermitted:
    return NotPermitted(
        "There is no trust list yet; adopt one first.",
        "Todavía no hay lista de confianza; adopte una primero.",
        code="no-trust-list",
    )
