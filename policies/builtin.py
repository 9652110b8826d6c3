"""The clauses that no document writes because they hold under every one: their ids, their texts, a bit for each."""

from typing import Final

OWN: Final = "OWN"
SUSPENDED: Final = "SUSPENDED"
NOT_YET: Final = "effective_from"
EXPIRED: Final = "expires"
CLASSIFIED: Final = "classification"
AUDIENCE: Final = "AUDIENCE"
EMBARGO: Final = "EMBARGO"
ENDS: Final = "ENDS"
CITED: Final = "CITED"
SUBMIT: Final = "SUBMIT"
ANYWHERE: Final = "ceilings.anywhere"
CROSS_BORDER: Final = "ceilings.cross_border"
MIN_ASSURANCE: Final = "defaults.min_assurance"
UNKNOWN_MARKING: Final = "defaults.unknown_marking"
NO_PERMIT: Final = "defaults.effect"
PURPOSES: Final = "purposes"

# What can be at fault in an evaluation, beside a clause.
NOW: Final = "now"
CEILINGS: Final = "ceilings"
CONSENT: Final = "originator_control"
OBLIGATIONS: Final = "obligations"

TEXTS: Final = {
    OWN: ("A member may read back its own objects.", "Todo miembro puede volver a leer sus propios objetos."),
    SUSPENDED: (
        "A member that is not active receives nothing.",
        "El miembro que no se encuentra activo no recibe nada.",
    ),
    NOT_YET: ("The agreement is not in force yet.", "El acuerdo aún no ha entrado en vigor."),
    EXPIRED: ("The agreement has expired.", "El acuerdo ha expirado."),
    CLASSIFIED: (
        "Classified material has no place in this exchange.",
        "El material clasificado no tiene cabida en este intercambio.",
    ),
    AUDIENCE: (
        "Its originator keeps it to a named audience, to which the recipient does not belong.",
        "Su remitente lo reserva a una audiencia determinada, a la que el destinatario no pertenece.",
    ),
    EMBARGO: (
        "Its originator holds it back until an hour that has not come, or that lies further ahead than may be.",
        "Su remitente lo retiene hasta una hora que aún no ha llegado o que excede el plazo admitido.",
    ),
    ENDS: (
        "Something that it refers to is not here, or is not for the recipient: what connects travels only with all that it connects.",
        "Algo a lo que hace referencia no está aquí o no es para el destinatario: lo que enlaza viaja solo con todo lo que enlaza.",
    ),
    CITED: (
        "Who is given an object is given the definitions that its originator cites in it, and its creator's identity.",
        "A quien se le da un objeto se le dan las definiciones que su remitente cita en él y la identidad de su creador.",
    ),
    SUBMIT: (
        "The object may be submitted; who receives it is judged apart.",
        "El objeto puede depositarse; quién lo recibe se decide por separado.",
    ),
    NO_PERMIT: ("What no clause permits is denied.", "Se deniega lo que ninguna cláusula permite."),
    MIN_ASSURANCE: (
        "Only what is assured of its origin as well as the agreement asks is exchanged.",
        "Solo se intercambia aquello cuyo origen tenga la garantía que pide el acuerdo.",
    ),
    UNKNOWN_MARKING: (
        "What bears a marking that this exchange does not understand is kept back.",
        "Se retiene lo que lleva una marca que este intercambio no comprende.",
    ),
    PURPOSES: (
        "No purpose is left that every clause that permits it, and its originator, let it serve.",
        "No queda finalidad alguna que admitan a la vez las cláusulas que lo permiten y su remitente.",
    ),
    CROSS_BORDER: (
        "No role of the recipient has a ceiling for what crosses the border.",
        "Ninguna función del destinatario tiene un techo para lo que cruza la frontera.",
    ),
}

_ORDER: Final = (OWN, SUSPENDED, NOT_YET, EXPIRED, CLASSIFIED, AUDIENCE, EMBARGO, ENDS, CITED)


def bit(rule: str) -> int:
    return 1 << _ORDER.index(rule)


def of_bits(bits: int) -> tuple[str, ...]:
    """The ids of the clauses of these bits."""
    return tuple([rule for number, rule in enumerate(_ORDER) if bits >> number & 1])


ON_RELEASE: Final = _ORDER
ON_SUBMISSION: Final = tuple(rule for rule in _ORDER if rule not in (OWN, SUSPENDED, ENDS, CITED))
"""Those that are tried when the question is whether an object may be taken in."""
REFUSING: Final = tuple(rule for rule in _ORDER if rule not in (OWN, CITED))
"""Those that deny where they apply."""
