"""What members sign beside their objects: an originator's consents, and whom a country's authority adds to an audience.

    {"statement": {"schema": "puente-statement/1", "id": uuid, "kind": "consent.grant", "member": "us-cyber", "about": "",
                   "case": "flood-2027", "members": ["mx-ciber"], "countries": [], "given": "…Z", "until": "…Z"},
     "jws": detached JWS over the RFC 8785 form of `statement`, typ originator-consent+jws or audience-addition+jws}

Each is signed by the key that signs the member's objects, kept as it was given, and goes whole into the log, so that who
audits can verify it without the hub. A request for consent binds nobody and is not signed. It names an originator and a
case, never an object: so asking tells the asker nothing, and the answer to it is the originator's to give.
"""

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from certs.faults import SignatureFault
from certs.jcs import JsonError, canonical, load
from certs.jws import encode_header, sign_detached, split_detached, verify_detached
from certs.signature import Signer
from exchange.clock import Clock
from exchange.errors import Malformed, NotFound, NotPermitted, Text
from exchange.ledger.entry import Entry, route
from exchange.ledger.sequencer import Sequencer
from exchange.model.member import Country, Member
from exchange.model.statement import SCHEMA, Kind, Statement, added
from exchange.rules import Caller, RuleBook, Rules, may_extend
from exchange.store.acts import Act, LeafRef, Record
from exchange.store.contract import Store
from exchange.times import as_datetime, as_text, parse_us
from policies.words import seconds

LIMIT_BYTES: Final = 16_384
EARLY_US: Final = 5 * 60 * 1_000_000
"""How far `given` may lie from the hub's clock: a statement is of now, so that an old one cannot be handed in again."""
NAMES_AT_MOST: Final = 100
REASON_CHARACTERS_AT_MOST: Final = 1_000

_COMMON: Final = frozenset({"schema", "id", "kind", "member", "about", "given"})
_MORE: Final[Mapping[str, frozenset[str]]] = {
    "consent.grant": frozenset({"case", "members", "countries", "until"}),
    "consent.refuse": frozenset(),
    "consent.withdraw": frozenset(),
    "audience.add": frozenset({"audience", "to"}),
    "audience.remove": frozenset({"audience", "to"}),
}
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}").fullmatch
_NAME = re.compile(r"(?=.{1,64}\Z)[a-z0-9]+(?:[.-][a-z0-9]+)*").fullmatch
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z").fullmatch


def typ(kind: str) -> str:
    return "originator-consent+jws" if kind.startswith("consent.") else "audience-addition+jws"


def signed(signer: Signer, member: str, kind: Kind, *, given: str, about: str = "", **more: Any) -> dict[str, Any]:
    """A statement of now, as `accept` takes it."""
    words = {
        "schema": SCHEMA, "id": str(uuid.uuid4()), "kind": kind, "member": member, "about": about, "given": given, **more,
    }  # fmt: skip
    header = encode_header(typ(kind), signer.certificate)
    return {"statement": words, "jws": sign_detached(canonical(words), header, signer.key)}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for consent, and what became of it: "open", "granted", "refused", or "lapsed", since silence is a no."""

    request: Statement
    state: str
    due_us: int
    answer: Statement | None


class Statements:
    """Every statement that members make."""

    def __init__(self, store: Store, sequencer: Sequencer, rulebook: RuleBook, clock: Clock) -> None:
        self._store = store
        self._sequencer = sequencer
        self._rulebook = rulebook
        self._clock = clock

    # --- asking ---

    async def request(self, caller: Caller, body: bytes) -> Asked:
        """Ask an originator for consent. Whether it has anything of that case is not looked at.

        `body` is an object of originator, case and reason. Raises Malformed, NotFound for an originator that the caller may not
        know of, NotPermitted where the agreement has no originator control.
        """
        originator, case, reason = _question(body)
        rules = await self._rulebook.current()
        asked = rules.registry.members.get(originator)
        if asked is None or not _may_know(caller.member, asked):
            raise NotFound(
                "There is no such originator, or none that you may ask.",
                "No existe ese remitente, o ninguno al que usted pueda preguntar.",
                code="no-such-originator",
                field="originator",
            )
        control = rules.in_force.document.originator_control
        if control is None:
            raise NotPermitted(
                "The agreement has no [originator_control], so there is nothing to consent to.",
                "El acuerdo no tiene [originator_control], así que no hay nada que consentir.",
                code="consent-not-agreed",
            )
        now_us = self._clock.now_us()
        due_us = now_us + 1_000_000 * seconds(control.time_limit)
        words = {"originator": originator, "case": case, "reason": reason, "due": as_text(due_us)}
        made = Statement(str(uuid.uuid4()), "consent.request", caller.member.slug, "", canonical(words), "", now_us)
        pub = {"statement": made.id, "originator": originator, "case": case, "due": words["due"]}
        log = route(caller.member.country, (asked.country,))
        entry = Entry(
            log, made.kind, caller.actor, f"member:{originator}", pub, private={**caller.private, "reason": reason}
        )
        await self._act(made, entry)
        return Asked(made, "open", due_us, None)

    # --- saying ---

    async def accept(self, caller: Caller, body: bytes, *, about: str) -> tuple[Statement, tuple[LeafRef, ...]]:
        """Take a signed statement of the caller's: `about` is "consent" or "audience". From then on it holds.

        Raises Malformed (statement-form), NotPermitted (statement-…) or NotFound for what it is about.
        """
        words, jws = _read(body, about)
        rules, kind = await self._rulebook.current(), str(words["kind"])
        if words["member"] != caller.member.slug:
            raise _refused("member", "It is said by another member.", "Lo dice otro miembro.", "member")
        now_us = self._clock.now_us()
        self._must_verify(rules, caller.member, words, jws)
        if abs(parse_us(words["given"]) - now_us) > EARLY_US:
            raise _refused("time", "It was not signed now.", "No se firmó ahora.", "given")
        known = await self._store.statements()
        for one in known:
            if (one.id, one.jws) == (words["id"], jws):
                return one, ()  # a client whose answer was lost says it again
            if one.id == words["id"]:
                raise _refused("known", "Another statement has this id.", "Otra declaración tiene este id.", "id")
        touched = self._touched(rules, caller.member, words, known)
        made = Statement(words["id"], kind, caller.member.slug, words["about"], canonical(words), jws)  # type: ignore[arg-type]
        pub = {**{name: value for name, value in words.items() if name not in ("schema", "kind")}, "jws": jws}
        log = route(caller.member.country, touched)
        on = f"audience:{words['audience']}" if about == "audience" else f"member:{caller.member.slug}"
        return made, await self._act(made, Entry(log, kind, caller.actor, on, pub, private=caller.private))

    def _must_verify(self, rules: Rules, member: Member, words: dict[str, Any], jws: str) -> None:
        try:
            header, named, raw = split_detached(jws, typ=typ(words["kind"]), algorithms=rules.keyring.algorithms)
            key = rules.keyring.find(named.thumbprint)
            verify_detached(canonical(words), header, raw, key.public_key)
            key.check_at(as_datetime(self._clock.now_us()))
        except SignatureFault as fault:
            raise NotPermitted(fault.en, fault.es, code=fault.code, field="jws") from None
        if key.identity_id != member.identity_id:
            raise _refused("signer", "Another member signed it.", "Lo firmó otro miembro.", "jws")

    def _touched(self, rules: Rules, member: Member, words: dict[str, Any], known: list[Statement]) -> list[str]:
        """The countries that a statement bears on, once it is found to be one that its member may make."""
        if words["kind"].startswith("audience."):
            return self._of_audience(rules, member, words, known)
        if words["kind"] == "consent.grant":
            if words["about"]:
                self._own(known, words["about"], member, "consent.request")
            until_us = parse_us(words["until"])
            if until_us <= parse_us(words["given"]):
                raise _refused("time", "It ends before it begins.", "Termina antes de comenzar.", "until")
            if not rules.in_force.consent_seconds:
                raise _refused(
                    "agreement", "The agreement knows no consents.", "El acuerdo no prevé consentimientos.", "kind"
                )
            self._must_be_known(rules, member, words["members"], known)
            return _countries(rules, words)
        kind: Kind = "consent.request" if words["kind"] == "consent.refuse" else "consent.grant"
        said = self._own(known, words["about"], member, kind)
        if kind == "consent.grant":
            return _countries(rules, said.said)
        asker = rules.registry.members.get(said.member)
        return [asker.country] if asker is not None else []

    def _must_be_known(self, rules: Rules, member: Member, named: list[str], known: list[Statement]) -> None:
        """A name that is nobody's, such as a mistyped one, would let the object go to nobody, and be believed to have let it go.

        An operator of the other country that is not named there may be known from its own request. Raises NotFound.
        """
        asked = {one.member for one in known if one.kind == "consent.request" and one.said["originator"] == member.slug}
        for slug in named:
            other = rules.registry.members.get(slug)
            if other is None or not (slug in asked or _may_know(member, other)):
                raise NotFound(
                    f"There is no member {slug}, or none that you may know of.",
                    f"No existe el miembro {slug}, o ninguno que usted pueda conocer.",
                    code="no-such-member",
                    field="members",
                )

    def _own(self, known: list[Statement], wanted: str, member: Member, kind: Kind) -> Statement:
        """The statement that is to be answered or ended: a request put to the member, or its own grant."""
        for one in known:
            mine = one.said["originator"] if one.kind == "consent.request" else one.member
            if one.id == wanted and one.kind == kind and mine == member.slug:
                return one
        raise NotFound(
            "There is no such statement.", "No existe esa declaración.", code="no-such-statement", field="about"
        )

    def _of_audience(self, rules: Rules, member: Member, words: dict[str, Any], known: list[Statement]) -> list[str]:
        if rules.agreed is None or not may_extend(rules.agreed, words["audience"], member.slug):
            raise _refused(
                "audience",
                "Only the authority of an audience's owner adds to it, and only where the agreement lets it.",
                "Solo la autoridad del país titular agrega a una audiencia, y solo si el acuerdo lo permite.",
                "audience",
            )
        added_now = (words["audience"], words["to"]) in added(known)
        if words["to"] not in rules.registry.members or (words["kind"] == "audience.remove" and not added_now):
            raise NotFound(
                "There is no such member, or it was not added.",
                "No existe ese miembro, o no se había agregado.",
                code="no-such-member",
                field="to",
            )
        return [country.value for country in Country]  # whom an audience names is both countries' affair

    # --- looking ---

    async def asked(self, member: Member | None) -> list[Asked]:
        """The requests that a member made, and that were put to it; everybody's for None, the operator."""
        known, now_us = await self._store.statements(), self._clock.now_us()
        answers = {one.about: one for one in known if one.kind in ("consent.grant", "consent.refuse") and one.about}
        found = []
        for one in known:
            if one.kind != "consent.request":
                continue
            said, answer = one.said, answers.get(one.id)
            if member is not None and member.slug not in (one.member, said["originator"]):
                continue
            due_us = parse_us(said["due"])
            state = "open" if due_us > now_us else "lapsed"
            if answer is not None:
                state = "granted" if answer.kind == "consent.grant" else "refused"
            found.append(Asked(one, state, due_us, answer))
        return found

    async def granted(self, member: Member | None) -> list[tuple[Statement, bool]]:
        """The consents that a member gave, and those that name it; everybody's for None. And whether each was taken back."""
        known = await self._store.statements()
        ended = {one.about for one in known if one.kind == "consent.withdraw"}
        return [
            (one, one.id in ended)
            for one in known
            if one.kind == "consent.grant"
            and (member is None or member.slug == one.member or member.slug in one.said["members"])
        ]

    async def _act(self, made: Statement, entry: Entry) -> tuple[LeafRef, ...]:
        act = Act(str(uuid.uuid4()), lambda _: Record((entry,)), changes=(made,))
        return (await self._sequencer.append(act)).leaves


def _countries(rules: Rules, grant: Mapping[str, Any]) -> list[str]:
    """Whose log tells of a consent: those of whom it names."""
    named = [one.country for slug in grant["members"] if (one := rules.registry.members.get(slug)) is not None]
    return [*grant["countries"], *named]


def _may_know(asker: Member, asked: Member) -> bool:
    """Whom every member knows: its compatriots, the other country's authorities, and operators that agreed to be named."""
    named = asked.consents or not {"agency", "csirt"}.isdisjoint(asked.roles)
    return not asked.auditor and (asked.country == asker.country or named)


def _read(body: bytes, about: str) -> tuple[dict[str, Any], str]:
    """The words and the signature. Raises Malformed (statement-form) naming the field."""
    try:
        value = load(body, max_bytes=LIMIT_BYTES, max_depth=4)
    except JsonError as error:
        raise Malformed(error.en, error.es, code="statement-form", field=error.pointer) from None
    if not isinstance(value, dict) or value.keys() != {"statement", "jws"} or not isinstance(value["jws"], str):
        raise _form("statement")
    words = value["statement"]
    if not isinstance(words, dict):
        raise _form("statement")
    kind = words.get("kind")
    if not isinstance(kind, str) or kind not in _MORE or not kind.startswith(f"{about}."):
        raise _form("kind")
    for name in sorted(words.keys() ^ (_COMMON | _MORE[kind])):
        raise _form(name)
    for name, text in words.items():
        if not _FORMS[name](text):
            raise _form(name)
    if kind == "consent.grant" and not (words["members"] or words["countries"]):
        raise _form("members")  # nobody named is nobody
    return words, value["jws"]


def _question(body: bytes) -> tuple[str, str, str]:
    try:
        value = load(body, max_bytes=LIMIT_BYTES, max_depth=2)
    except JsonError as error:
        raise Malformed(error.en, error.es, code="statement-form", field=error.pointer) from None
    names = ("originator", "case", "reason")
    if not isinstance(value, dict) or value.keys() != set(names):
        raise _form("originator")
    if not (isinstance(value["originator"], str) and _NAME(value["originator"])):
        raise _form("originator")
    if not _FORMS["case"](value["case"]):
        raise _form("case")
    if not isinstance(value["reason"], str) or not 0 < len(value["reason"]) <= REASON_CHARACTERS_AT_MOST:
        raise _form("reason")
    return value["originator"], value["case"], value["reason"]


def _names(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= NAMES_AT_MOST
        and all(isinstance(one, str) and _NAME(one) for one in value)
        and len(set(value)) == len(value)
    )


def _time(value: object) -> bool:
    if not isinstance(value, str) or not _TIME(value):
        return False
    try:
        parse_us(value)
    except ValueError:
        return False
    return True


_FORMS: Final[Mapping[str, Callable[[object], object]]] = {
    "schema": lambda value: value == SCHEMA,
    "id": lambda value: isinstance(value, str) and _UUID(value),
    "kind": lambda value: isinstance(value, str),
    "member": lambda value: isinstance(value, str) and _NAME(value),
    "about": lambda value: isinstance(value, str) and (value == "" or _UUID(value)),
    "given": _time,
    "until": _time,
    "case": lambda value: isinstance(value, str) and (value == "" or _NAME(value)),
    "members": _names,
    "countries": lambda value: isinstance(value, list) and value in ([], ["US"], ["MX"], ["MX", "US"], ["US", "MX"]),
    "audience": lambda value: isinstance(value, str) and _NAME(value),
    "to": lambda value: isinstance(value, str) and _NAME(value),
}


_TIME_WORDS = Text("a time in UTC such as 2027-01-15T06:00:00Z", "una hora en UTC como 2027-01-15T06:00:00Z")
_NAME_WORDS = Text("a short name: lower-case letters, digits, - and .", "un nombre corto: minúsculas, dígitos, - y .")
_WORDS: Final[Mapping[str, Text]] = {
    "about": Text("the id of a statement, or empty", "el id de una declaración, o vacío"),
    "audience": _NAME_WORDS,
    "case": _NAME_WORDS,
    "countries": Text("US, MX or both", "US, MX o ambos"),
    "given": _TIME_WORDS,
    "members": Text(
        "short names of members, each once; without a country, at least one",
        "nombres cortos de miembros, cada uno una vez; si no hay país, al menos uno",
    ),
    "originator": _NAME_WORDS,
    "reason": Text(
        f"a text of 1 to {REASON_CHARACTERS_AT_MOST} characters",
        f"un texto de 1 a {REASON_CHARACTERS_AT_MOST} caracteres",
    ),
    "to": _NAME_WORDS,
    "until": _TIME_WORDS,
}
"""What each is that a person may get wrong; the rest is made by programs."""


def _form(field: str) -> Malformed:
    wanted = _WORDS.get(field, Text("present, known and in its form", "presente, conocido y con la forma debida"))
    return Malformed(
        f"{field} must be {wanted.en}.", f"{field} debe ser {wanted.es}.", code="statement-form", field=field
    )


def _refused(code: str, en: str, es: str, field: str) -> NotPermitted:
    return NotPermitted(en, es, code=f"statement-{code}", field=field)
