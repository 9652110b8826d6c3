"""The closed list of what the logs can hold: each kind of event, its public fields, its log, and what it answers.

An entry of another kind, or with other fields, cannot be made (`must_be_known`). docs/ledger-events.md is written from
this list by `./dev rules`, and an audit pack carries it as JSON Schemas (`schemas`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from exchange.errors import Text

LOGS: Final = ("both", "us", "mx")
"""`both` is visible to both countries; a country's domestic events are only in its own log."""


class Rule(Enum):
    """Which log an event goes to (ledger design, 2.1)."""

    BOTH = Text("`both`, always", "`both`, siempre")
    ROUTED = Text(
        "`both` as soon as the other country is touched, else the acting country's own",
        "`both` si afecta al otro país; si no, el del país que actúa",
    )
    OWN = Text("the acting country's own", "el propio del país que actúa")
    OWNER = Text("the own log of the country whose objects they are", "el propio del país dueño de los objetos")
    ABOUT = Text("the log it is about", "el registro del que trata")
    READ = Text(
        "the acting country's own; for an operator, each log that was read",
        "el propio del país que actúa; de un operador, cada registro que leyó",
    )


NATIONAL: Final = frozenset({Rule.OWN, Rule.OWNER})

_HEX: Final = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_TIME: Final = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$"}
_COUNT: Final = {"type": "integer", "minimum": 0, "maximum": 2**53 - 1}
_TEXTS: Final = {"type": "array", "items": {"type": "string"}}
_NAMED: Final = {"type": "object", "additionalProperties": {"anyOf": [{"type": "string"}, _TEXTS]}}

TYPES: Final[Mapping[str, tuple[type, Mapping[str, Any]]]] = {
    "text": (str, {"type": "string"}),
    "hex": (str, _HEX),
    "time": (str, _TIME),
    "count": (int, _COUNT),
    "flag": (bool, {"type": "boolean"}),
    "texts": (list, _TEXTS),
    "named": (dict, _NAMED),
}
"""The types of public fields: what Python gives, and the JSON Schema that a reader checks."""


@dataclass(frozen=True, slots=True)
class Event:
    """One kind. `pub` maps a field's name, with `?` at its end where it may be absent, to a name of TYPES."""

    rule: Rule
    pub: Mapping[str, str]
    private: str
    """What the private part holds; "" when there is none."""
    questions: tuple[int, ...]
    """Numbers of the questions (QUESTIONS) that the kind helps to answer."""
    text: Text

    def fields(self) -> Iterator[tuple[str, str, bool]]:
        """(name, type, required)"""
        for name, kind in self.pub.items():
            yield name.removesuffix("?"), kind, not name.endswith("?")


QUESTIONS: Final[Mapping[int, Text]] = {
    1: Text("Who submitted an object, and was it signed?", "¿Quién envió un objeto y estaba firmado?"),
    2: Text("To whom was it released, when, and under which version and rule?", "¿A quién se entregó, cuándo y según qué versión y regla?"),
    3: Text("Why was it not released to somebody?", "¿Por qué no se entregó a alguien?"),
    4: Text("Who was refused, and how often?", "¿A quién se rechazó y cuántas veces?"),
    5: Text("Who of both countries approved a version, and what changed?", "¿Quién de ambos países aprobó una versión y qué cambió?"),
    6: Text("Was anything released under a superseded version?", "¿Se entregó algo según una versión ya sustituida?"),
    7: Text("How long from submission to availability to pull?", "¿Cuánto pasó del envío a la disponibilidad y a la consulta?"),
    8: Text("Which keys changed, and what was accepted under each?", "¿Qué claves cambiaron y qué se aceptó con cada una?"),
    9: Text("Which privileged acts were there?", "¿Qué actos privilegiados hubo?"),
    10: Text("Which feeds ran, with what gaps and rejects?", "¿Qué fuentes se ejecutaron, con qué huecos y rechazos?"),
    11: Text("Were recalls honoured, and who had it before?", "¿Se cumplieron los retiros y quién lo tenía antes?"),
    12: Text("What personal data was blocked or erased, and why?", "¿Qué datos personales se bloquearon o suprimieron y por qué?"),
    13: Text("Which gaps are there: restarts, degraded periods, clock steps, restores?", "¿Qué huecos hay: reinicios, periodos degradados, saltos de reloj, restauraciones?"),
    14: Text("Who read or exported the audit?", "¿Quién leyó o exportó la auditoría?"),
    15: Text("Is my copy the same as the other country's?", "¿Mi copia es la misma que la del otro país?"),
}  # fmt: skip
"""What auditors ask (ledger design, 9)."""

_CALLER: Final = "the caller's address and user agent"
_APPROVED: Final = {"agreement": "text", "sha256": "hex", "impact_sha256": "hex", "approvers": "named"}
_SPAN: Final = {"first": "time", "last": "time", "count": "count"}
_SAID: Final = {"id": "text", "member": "text", "about": "text", "given": "text", "jws": "text"}

EVENTS: Final[Mapping[str, Event]] = {
    # --- objects ---
    "submit": Event(
        Rule.OWN,
        {"object": "text", "version": "text", "sha256": "hex", "signer": "text", "assurance": "text", "tlp": "text",
         "markings": "texts", "label": "text", "attestation?": "text", "prev?": "text", "gap?": "flag"},
        _CALLER, (1, 7, 8),
        Text("An object version was accepted.", "Se aceptó una versión de un objeto."),
    ),
    "submit.refuse": Event(
        Rule.OWN, {"code": "text", "object?": "text", "version?": "text", "sha256?": "text", "count?": "count"}, _CALLER, (1, 4),
        Text("An object was refused on entry; or so many more of one envelope were.", "Se rechazó un objeto al entrar, o tantos más de un mismo sobre."),
    ),
    "decide": Event(
        Rule.OWNER, {"label": "text", "facets?": "text", "policy": "hex", "permitted": "count", "forbidden": "count", "root": "hex"},
        "each member's verdict, with clause, delay and view", (2, 3),
        Text("Who may have the objects of a label, under the version in force.", "Quién puede tener los objetos de una etiqueta, según la versión vigente."),
    ),
    "publish": Event(
        Rule.ROUTED, {"cause": "text", **_SPAN, "items_root?": "hex", "to?": "text", "recall?": "text"},
        "the tick, id, version and digest of each object; for late ones, which ticks stand for which, and the places by label",
        (2, 7),
        Text("Objects became available in a collection, also again because of what they refer to, or late to one member.", "Unos objetos quedaron disponibles en una colección, también de nuevo por aquello a lo que se refieren, o después a un miembro."),
    ),
    "release": Event(
        Rule.ROUTED, {"kind": "text", **_SPAN, "items_root": "hex"},
        f"{_CALLER}, and which rows, as ticks", (2, 6, 7, 11),
        Text("A page or list is about to leave.", "Una página o lista está por salir."),
    ),
    "withhold": Event(
        Rule.OWNER, {"to": "text", **_SPAN, "pages": "count", "root": "hex"},
        "each withheld label: its name, objects and last place", (3,),
        Text("What was kept back from a member that was given other objects of this country.", "Lo que se retuvo a un miembro al que se entregaron otros objetos de este país."),
    ),
    "withdraw": Event(
        Rule.ROUTED, {"cause": "text", "count": "count", "object?": "text", "versions?": "texts", "to?": "text", "recall?": "text",
         "owner?": "text"},
        f"{_CALLER}; or the names of the labels, and of whom, of which class and TLP they are", (11,),
        Text("Objects ceased to be available.", "Unos objetos dejaron de estar disponibles."),
    ),
    "recall": Event(
        Rule.ROUTED, {"recall": "text", "to": "text", "cause": "text"}, "", (11,),
        Text("A member is asked to drop something.", "Se pide a un miembro que elimine algo."),
    ),
    "recall.seen": Event(
        Rule.ROUTED, {}, _CALLER, (11,), Text("The member was shown the recall.", "Se mostró el retiro al miembro."),
    ),
    "recall.ack": Event(
        Rule.ROUTED, {}, _CALLER, (11,), Text("The member says that it dropped it.", "El miembro afirma que lo eliminó."),
    ),
    "gateway.disclose": Event(
        Rule.BOTH, {"object": "text", "version": "text", "attestation": "text", "reason": "text"}, "", (1, 9),
        Text("A gateway opened for which original its object stands.", "Una pasarela abrió por qué original está su objeto."),
    ),
    # --- refusals and sums ---
    "deny": Event(
        Rule.OWN, {"code": "text", "resource": "text"}, _CALLER, (4,),
        Text("A caller was refused: the first time in a minute.", "Se rechazó a quien llamaba: la primera vez en un minuto."),
    ),
    "deny.sum": Event(
        Rule.OWN, {"code": "text", "resource": "text", **_SPAN}, "", (4,),
        Text("How often the same was refused again in that minute.", "Cuántas veces se rechazó de nuevo lo mismo en ese minuto."),
    ),
    "auth.fail.sum": Event(
        Rule.ROUTED, {"code": "text", **_SPAN}, "", (4, 14),
        Text("Credentials that were not valid; in `both` where they name no account of the hub.",
             "Credenciales no válidas; en `both` cuando no nombran ninguna cuenta del centro."),
    ),
    "poll.sum": Event(
        Rule.OWN, dict(_SPAN), "", (7,),
        Text("Polls of one account that found nothing, in one minute.", "Consultas de una cuenta que no hallaron nada, en un minuto."),
    ),
    # --- agreements ---
    "policy.propose": Event(
        Rule.BOTH, {"agreement": "text", "sha256": "hex", "prev_sha256": "text", "impact_sha256": "hex", "effective_from": "text"}, "", (5,),
        Text("A draft was put.", "Se presentó un proyecto."),
    ),
    "policy.approve": Event(
        Rule.BOTH,
        {"agreement_id": "text", "version": "count", "policy_sha256": "hex", "prev_sha256?": "hex", "impact_sha256?": "hex",
         "effective_from": "text", "approver": "text", "country": "text", "decision": "text", "jws": "text"}, "", (5,),
        Text("An approver said yes or no, with the signature.", "Una persona aprobadora dijo sí o no, con su firma."),
    ),
    "policy.schedule": Event(
        Rule.BOTH, {**_APPROVED, "effective_from": "text"}, "", (5,),
        Text("Enough of both countries approved; the date stands.", "Aprobaron suficientes de ambos países; la fecha queda fija."),
    ),
    "policy.activate": Event(
        Rule.BOTH, dict(_APPROVED), "", (2, 5, 6), Text("A version came into force.", "Entró en vigor una versión."),
    ),
    "policy.retire": Event(
        Rule.BOTH, {"agreement": "text", "sha256": "hex", "by": "text"}, "", (5, 6),
        Text("A version was replaced.", "Se sustituyó una versión."),
    ),
    "policy.tighten": Event(
        Rule.BOTH,
        {"agreement": "text", "overlay": "text", "sha256": "hex", "country": "text", "expires": "text", "pairs_lost": "count",
         "approvers": "texts"}, "", (3, 5, 6),
        Text("One country tightened what it gives.", "Un país restringió lo que da."),
    ),
    "policy.notice": Event(
        Rule.OWN,
        {"agreement": "text", "overlay": "text", "sha256": "hex", "country": "text", "expires?": "text", "pairs_lost?": "count",
         "approvers": "texts", "act": "text"}, "", (5,),
        Text("The other country was told of a tightening, or of its end.", "Se avisó al otro país de una restricción, o de su fin."),
    ),
    "policy.lift": Event(
        Rule.BOTH, {"agreement": "text", "overlay": "text", "sha256": "hex", "country": "text", "approvers": "texts"}, "", (3, 5, 6),
        Text("A country ended its own tightening early.", "Un país levantó antes de plazo su propia restricción."),
    ),
    "policy.lapse": Event(
        Rule.BOTH, {"agreement": "text", "overlays": "named"}, "", (5, 6),
        Text("Tightenings came to their end.", "Unas restricciones llegaron a su fin."),
    ),
    "policy.expire": Event(
        Rule.BOTH, {"agreement": "text", "expires": "text"}, "", (5, 6),
        Text("The agreement came to its end.", "El acuerdo llegó a su fin."),
    ),
    # --- consents and audiences ---
    "consent.request": Event(
        Rule.ROUTED, {"statement": "text", "originator": "text", "case": "text", "due": "text"}, f"{_CALLER}, and the reason", (3,),
        Text("A member asked an originator for its consent.", "Un miembro pidió su consentimiento a un remitente."),
    ),
    "consent.grant": Event(
        Rule.ROUTED, {**_SAID, "case": "text", "members": "texts", "countries": "texts", "until": "text"}, _CALLER, (2, 3),
        Text("An originator consented, with its signature.", "Un remitente consintió, con su firma."),
    ),
    "consent.refuse": Event(
        Rule.ROUTED, dict(_SAID), _CALLER, (3,), Text("An originator refused.", "Un remitente se negó."),
    ),
    "consent.withdraw": Event(
        Rule.ROUTED, dict(_SAID), _CALLER, (3, 11), Text("An originator took its consent back.", "Un remitente retiró su consentimiento."),
    ),
    "audience.add": Event(
        Rule.BOTH, {**_SAID, "audience": "text", "to": "text"}, _CALLER, (2, 3),
        Text("An audience's owner added a member.", "El titular de una audiencia agregó a un miembro."),
    ),
    "audience.remove": Event(
        Rule.BOTH, {**_SAID, "audience": "text", "to": "text"}, _CALLER, (3,),
        Text("An audience's owner took out a member that it had added.", "El titular de una audiencia quitó a un miembro que había agregado."),
    ),
    # --- keys, accounts, rights ---
    "key.add": Event(
        Rule.BOTH, {"key": "text", "purpose": "text"}, "", (8,),
        Text("A first key of its purpose: a member's for signing, a witness's.", "Una primera clave de su uso: la de firma de un miembro, la de un testigo."),
    ),
    "key.rotate": Event(
        Rule.BOTH,
        {"key": "text", "purpose": "text", "after": "texts", "log?": "text", "origin?": "text", "signatures?": "texts"}, "", (8,),
        Text("A new key beside or after others; of a log, with the signatures of the key before it and its own.",
             "Una clave nueva junto a otras o después de ellas; la de un registro, con la firma de la anterior y la suya."),
    ),
    "key.revoke": Event(
        Rule.BOTH, {"key": "text", "reason": "text", "compromised_since?": "time"}, "", (8,),
        Text("A key was revoked.", "Se revocó una clave."),
    ),
    "key.trust": Event(
        Rule.BOTH, {"version": "count", "sha256": "hex"}, "", (8,),
        Text("A trust list that both countries signed came into force.", "Entró en vigor una lista de confianza firmada por ambos países."),
    ),
    "acct.enrol": Event(
        Rule.BOTH, {"member": "text", "country": "text", "kind": "text", "roles": "texts", "sectors": "texts", "status": "text"}, "", (9,),
        Text("A member was enrolled.", "Se inscribió a un miembro."),
    ),
    "acct.status": Event(
        Rule.BOTH, {"member": "text", "from": "text", "to": "text"}, "", (9,),
        Text("A member was suspended, reinstated or withdrawn.", "Se suspendió, readmitió o dio de baja a un miembro."),
    ),
    "acct.add": Event(
        Rule.BOTH, {"account": "text", "member": "text", "kind": "text", "days?": "count", "product?": "text", "sha256?": "hex"}, "", (8, 9),
        Text("A credential was given.", "Se dio una credencial."),
    ),
    "acct.bind": Event(
        Rule.OWN, {"account": "text"}, "the operator's note on whose account it is", (9,),
        Text("Whose account it is, as its own country may learn.", "De quién es la cuenta, como puede saberlo su propio país."),
    ),
    "acct.end": Event(
        Rule.BOTH, {"account": "text", "member": "text", "kind": "text"}, "", (8, 9),
        Text("A credential was ended.", "Se puso fin a una credencial."),
    ),
    "role.change": Event(
        Rule.BOTH, {"member": "text", "country": "text", "kind": "text", "roles": "texts", "sectors": "texts", "status": "text"}, "", (9,),
        Text("A member's roles, sectors or standing changed.", "Cambiaron los roles, sectores o situación de un miembro."),
    ),
    # --- privileged acts ---
    "admin": Event(
        Rule.ROUTED,
        {"command": "text", "before?": "hex", "after?": "hex", "alias?": "text", "readers?": "texts", "writers?": "texts", "reason?": "text",
         "for?": "text", "until?": "time", "leaves?": "count", "lost?": "count"},
        "of a value that is released: the value", (9,),
        Text("A privileged act: settings, collections, released values, export, restore, emergency access.",
             "Un acto privilegiado: configuración, colecciones, valores liberados, exportación, restauración, acceso de emergencia."),
    ),
    "edl.release": Event(
        Rule.OWN, {"member": "text"}, "", (9,),
        Text("An operator let a held block list fall.", "Un operador dejó caer una lista de bloqueo retenida."),
    ),
    "feed.run": Event(
        Rule.OWN,
        {"feed": "text", "run": "text", "from?": "time", "to": "time", "fetched": "count", "accepted": "count", "held": "count",
         "refused": "count", "skipped": "count", "complete": "flag", "cursor?": "text", "sha256?": "hex", "code?": "text"},
        "the source's address, the text of a fault, and the caller's address and user agent", (10,),
        Text("A feed ran, as its member tells.", "Se ejecutó una fuente, según informa su miembro."),
    ),
    "audit.read": Event(
        Rule.READ, {"question": "text", "logs": "texts", "rows?": "count", "sha256?": "hex", "seed?": "text"},
        "the question's words, and the caller's address; of an operator's, in `both` alone, words and answer", (14,),
        Text("An auditor, or an operator at the hub's own files, asked something of the logs.",
             "Una persona auditora, o un operador sobre los archivos del centro, preguntó algo a los registros."),
    ),
    "pack.export": Event(
        Rule.ABOUT, {"for": "text", "size": "count", "root": "hex", "since?": "count", "openings": "flag", "pages?": "texts"}, "", (14, 15),
        Text("A copy of this log left the hub; `pages` are the countries whose members' pages it lists, from `since` on.",
             "Una copia de este registro salió del centro; `pages` son los países cuyas páginas enumera, desde `since`."),
    ),
    "block": Event(
        Rule.ABOUT, {"log": "text", "index": "count", "basis": "text", "approvals": "texts"}, "", (12,),
        Text("A private part may be read only to settle liability.", "Una parte privada solo puede leerse para determinar responsabilidades."),
    ),
    "erase": Event(
        Rule.ABOUT, {"log": "text", "index": "count", "basis": "text", "approvals": "texts"}, "", (12,),
        Text("A private part was erased; the entry that commits to it stays.", "Se suprimió una parte privada; el asiento que la compromete permanece."),
    ),
    # --- the life of the logs ---
    "log.open": Event(
        Rule.BOTH, {"log": "text", "origin": "text", "key": "text", "witness_policy": "hex", "previous?": "text"}, "", (8, 13),
        Text("A log begins, with its key and its witness policy; after `previous`, which was closed.",
             "Comienza un registro, con su clave y su política de testigos; tras `previous`, que se cerró."),
    ),
    "log.start": Event(
        Rule.BOTH, {"software": "text", "config": "hex", "size?": "count", "root?": "hex", "witnesses?": "hex"}, "", (9, 13),
        Text("A process of the hub began, after this checkpoint of `both`.", "Un proceso del centro comenzó, tras este punto de control de `both`."),
    ),
    "log.stop": Event(Rule.BOTH, {}, "", (13,), Text("A process of the hub ended in order.", "Un proceso del centro terminó en orden.")),
    "log.degraded": Event(
        Rule.BOTH, {"countries": "texts", "since": "time", "release": "text"}, "", (13,),
        Text("A country's witnesses are silent, or answer again.", "Los testigos de un país callan, o vuelven a responder."),
    ),
    "log.recover": Event(
        Rule.ABOUT, {"log": "text", "from": "count", "size": "count", "root": "hex", "approvals": "texts", "lost?": "count"}, "", (13,),
        Text("This log was made whole again, with the approval of those who have it.",
             "Este registro se recompuso, con la aprobación de quienes lo tienen."),
    ),
    "log.close": Event(
        Rule.ABOUT,
        {"log": "text", "origin": "text", "size": "count", "root": "hex", "note": "text", "from?": "count", "held": "count", "held_root": "hex", "lost": "count",
         "next": "text", "unknown": "texts", "after": "time", "approvals": "texts"}, "", (13,),
        Text("The first entry of a log that goes on in the stead of one closed for ever: `note` is the last cosigned checkpoint of that, `held`"
             " how many entries the hub still has, those behind `from` put back, and `lost` how many nobody could give back. What those did is"
             " unknown: see `unknown`."
             " What is placed from here on is dated later than `after`. That log is never signed again.",
             "El primer asiento de un registro que continúa en lugar de uno cerrado para siempre: `note` es el último punto de control"
             " cofirmado de aquel, `held` cuántos asientos conserva el centro, los posteriores a `from` repuestos, y `lost` cuántos nadie pudo"
             " devolver. Lo que estos hicieron se desconoce: véase `unknown`. Lo que se coloque desde aquí lleva fecha posterior a `after`. Aquel registro no vuelve a firmarse."),
    ),
    "anchor": Event(
        Rule.ABOUT, {"log": "text", "digest": "hex", "size?": "count", "root?": "hex", "salt?": "hex"}, "", (15,),
        Text("The salted digest of a national checkpoint, in `both`; what opens it, in that national log.",
             "La huella con sal de un punto de control nacional, en `both`; lo que la abre, en ese registro nacional."),
    ),
    "clock.step": Event(
        Rule.BOTH, {"before": "time", "after": "time"}, "", (13,),
        Text("An operator confirmed that the clock went forward.", "Un operador confirmó que el reloj avanzó."),
    ),
}  # fmt: skip

_known: set[tuple[object, ...]] = set()
"""Shapes that were checked once. There are few: code makes them, not callers."""


def must_be_known(log: str, t: str, pub: Mapping[str, Any]) -> None:
    """Raise ValueError unless there is such a kind, with these fields of these types, in such a log.

    An envelope's entries have one shape, so this is one look into a set. The types are looked at when a shape first comes.
    """
    shape = (log, t, *pub)
    if shape not in _known:
        _check(log, t, pub)
        _known.add(shape)


def _check(log: str, t: str, pub: Mapping[str, Any]) -> None:
    event = EVENTS.get(t)
    if event is None:
        raise ValueError(f"{t}: there is no such kind of entry")
    if log not in LOGS or (event.rule is Rule.BOTH) > (log == "both") or (event.rule in NATIONAL) > (log != "both"):
        raise ValueError(f"{t}: not for log {log}")
    left = dict(pub)
    for name, kind, required in event.fields():
        if name not in left and required:
            raise ValueError(f"{t}: pub lacks {name}")
        base, _ = TYPES[kind]
        value = left.pop(name, None)
        if name in pub and (not isinstance(value, base) or (base is int and isinstance(value, bool))):
            raise ValueError(f"{t}: pub has a {type(value).__name__} as {name}")
    if left:
        raise ValueError(f"{t}: pub has {min(left)}, which is no field of it")


def schemas() -> dict[str, dict[str, Any]]:
    """A JSON Schema (2020-12) of a whole leaf, for each kind."""
    return {t: _schema(t, event) for t, event in EVENTS.items()}


def _schema(t: str, event: Event) -> dict[str, Any]:
    logs = ["both"] if event.rule is Rule.BOTH else [log for log in LOGS if log != "both" or event.rule not in NATIONAL]
    text = {"type": "string"}
    frame: dict[str, Any] = {
        "v": {"const": 1},
        "log": {"enum": logs},
        "t": {"const": t},
        "time": _TIME,
        "seq": _COUNT,
        "req": text,
        "actor": text,
        "on": text,
        "out": {"enum": ["ok", "refused"]},
        "pol": text,
        "pub": {
            "type": "object",
            "properties": {name: TYPES[kind][1] for name, kind, _ in event.fields()},
            "required": [name for name, _, required in event.fields() if required],
            "additionalProperties": False,
        },
    }
    if event.private:
        frame["c"] = {"type": "string", "contentEncoding": "base64", "description": event.private}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": t,
        "description": f"{event.text.en} / {event.text.es}",
        "type": "object",
        "properties": frame,
        "required": [name for name in frame if name not in ("seq", "c")],
        "additionalProperties": False,
    }
