"""All that can be said about a broken rule of STIX 2.1: its row, its weight, and its text in both languages."""

from typing import Literal, NamedTuple

Level = Literal["reject", "warn"]


class Wording(NamedTuple):
    rule: str
    """The usual row; a finding may name a more specific one (a missing `valid_from` is TYP-01, not COM-01)."""
    level: Level
    en: str
    es: str


WORDINGS: dict[str, Wording] = {
    # The object and its identity
    "stix-not-object": Wording(
        "IDN-06", "reject",
        "A STIX object is a JSON object.",
        "Un objeto STIX es un objeto JSON.",
    ),
    "stix-bundle": Wording(
        "IDN-09", "reject",
        "A bundle is not a STIX object; submit the objects in it.",
        "Un bundle no es un objeto STIX; envíe los objetos que contiene.",
    ),
    "stix-type": Wording(
        "IDN-06", "reject",
        "type must have 3 to 250 characters a-z, 0-9 and single hyphens, and begin with a letter.",
        "type debe tener de 3 a 250 caracteres a-z, 0-9 y guiones simples, y comenzar con una letra.",
    ),
    "stix-type-unknown": Wording(
        "IDN-06", "reject",
        "{name} is neither a type of STIX 2.1 nor one that an extension or the prefix x- announces.",
        "{name} no es un tipo de STIX 2.1 ni lo anuncia una extensión o el prefijo x-.",
    ),
    "stix-version-2-0": Wording(
        "IDN-08", "reject",
        "spec_version is absent: this is STIX 2.0 content, and only STIX 2.1 is accepted here.",
        "Falta spec_version: este contenido es STIX 2.0 y aquí solo se acepta STIX 2.1.",
    ),
    "stix-spec-version": Wording("IDN-07", "reject", 'spec_version must be "2.1".', 'spec_version debe ser "2.1".'),
    "stix-id-type": Wording(
        "IDN-01", "reject",
        "id must be the object's type, two hyphens and a UUID.",
        "id debe ser el tipo del objeto, dos guiones y un UUID.",
    ),
    "stix-id-uuid": Wording(
        "IDN-02", "reject",
        "id must end in a lower-case RFC 4122 UUID of version 1 to 5.",
        "id debe terminar en un UUID RFC 4122 en minúsculas, de versión 1 a 5.",
    ),
    "stix-id-not-random": Wording(
        "IDN-03", "warn",
        "Only observables have computed ids; this type should use a version 4 UUID.",
        "Solo los observables tienen id calculado; este tipo debería usar un UUID de versión 4.",
    ),
    "stix-id-not-computed": Wording(
        "SCO-01", "warn",
        "The id is not the one computed from this content ({expected}).",
        "El id no es el que se calcula de este contenido ({expected}).",
    ),
    "stix-id-computed-of-nothing": Wording(
        "SCO-03", "warn",
        "No property contributes to the id; it should be a version 4 UUID.",
        "Ninguna propiedad contribuye al id; debería ser un UUID de versión 4.",
    ),
    "stix-ref": Wording(
        "IDN-10", "reject",
        "{field} must be the identifier of: {allowed}.",
        "{field} debe ser el identificador de: {allowed}.",
    ),
    # JSON values
    "stix-null": Wording(
        "JSN-08", "reject",
        "{field} is null; leave it out instead.",
        "{field} es null; omítala en su lugar.",
    ),
    "stix-empty-list": Wording(
        "JSN-06", "reject",
        "{field} is an empty list; leave it out instead.",
        "{field} es una lista vacía; omítala en su lugar.",
    ),
    "stix-empty-dictionary": Wording(
        "JSN-07", "reject",
        "{field} is empty; leave it out instead.",
        "{field} está vacío; omítalo en su lugar.",
    ),
    "stix-depth": Wording(
        "JSN-09", "reject",
        "{field} is nested too deep.",
        "{field} está anidado a demasiada profundidad.",
    ),
    "stix-dictionary-key": Wording(
        "JSN-07", "reject",
        "{field} has a key that is not made of at most 250 characters a-z, A-Z, 0-9, hyphen and underscore.",
        "{field} tiene una clave que no consta de un máximo de 250 caracteres a-z, A-Z, 0-9, guion y guion bajo.",
    ),
    "stix-integer": Wording(
        "JSN-03", "reject",
        "{field} must be an integer written without fraction or exponent, within ±(2^53 - 1).",
        "{field} debe ser un entero escrito sin fracción ni exponente, dentro de ±(2^53 - 1).",
    ),
    "stix-number": Wording(
        "JSN-04", "reject",
        "{field} must be a finite number.",
        "{field} debe ser un número finito.",
    ),
    "stix-boolean": Wording("JSN-05", "reject", "{field} must be true or false.", "{field} debe ser true o false."),
    "stix-list": Wording("JSN-06", "reject", "{field} must be a list.", "{field} debe ser una lista."),
    "stix-object": Wording(
        "JSN-07", "reject",
        "{field} must be a JSON object.",
        "{field} debe ser un objeto JSON.",
    ),
    "stix-string": Wording("COM-01", "reject", "{field} must be a string.", "{field} debe ser una cadena."),
    "stix-empty-string": Wording("COM-01", "reject", "{field} must not be empty.", "{field} no debe estar vacío."),
    "stix-value": Wording(
        "COM-01", "reject",
        "{field} has a value that its type does not allow.",
        "{field} tiene un valor que su tipo no permite.",
    ),
    "stix-range": Wording(
        "COM-01", "reject",
        "{field} must lie between {low} and {high}.",
        "{field} debe estar entre {low} y {high}.",
    ),
    # Timestamps
    "stix-timestamp": Wording(
        "TIM-01", "reject",
        "{field} must be a real UTC date and time of the form 2026-01-31T23:59:59.000Z.",
        "{field} debe ser una fecha y hora UTC real de la forma 2026-01-31T23:59:59.000Z.",
    ),
    "stix-timestamp-precision": Wording(
        "TIM-02", "reject",
        "{field} must have at least three digits of a second's fraction.",
        "{field} debe tener al menos tres dígitos de fracción de segundo.",
    ),
    "stix-timestamp-coarse": Wording(
        "TIM-02", "warn",
        "{field} should have at least three digits of a second's fraction.",
        "{field} debería tener al menos tres dígitos de fracción de segundo.",
    ),
    "stix-time-order": Wording(
        "TIM-03", "reject",
        "{field} must not be earlier than {other}.",
        "{field} no debe ser anterior a {other}.",
    ),
    "stix-time-after": Wording(
        "TYP-01", "reject",
        "{field} must be later than {other}.",
        "{field} debe ser posterior a {other}.",
    ),
    "stix-marking-versioned": Wording(
        "TIM-13", "reject",
        "A marking-definition has no versions: {field} is not allowed.",
        "Una marking-definition no tiene versiones: {field} no está permitido.",
    ),
    # Common properties
    "stix-missing": Wording("COM-01", "reject", "{field} is required.", "{field} es obligatorio."),
    "stix-not-applicable": Wording(
        "COM-02", "warn",
        "{field} does not apply to this type.",
        "{field} no es aplicable a este tipo.",
    ),
    "stix-language": Wording(
        "COM-04", "warn",
        "{field} is not an RFC 5646 language tag.",
        "{field} no es una etiqueta de idioma RFC 5646.",
    ),
    "stix-reference": Wording(
        "COM-05", "reject",
        "{field} needs at least one of description, url and external_id.",
        "{field} necesita al menos uno de description, url y external_id.",
    ),
    "stix-reference-id": Wording(
        "COM-05", "warn",
        "{field} does not have the form that {source} ids have.",
        "{field} no tiene la forma de los identificadores {source}.",
    ),
    "stix-hash-name": Wording(
        "COM-06", "reject",
        "{field} has a hash name that is not made of 3 to 250 characters a-z, A-Z, 0-9, hyphen and underscore.",
        "{field} tiene un nombre de hash que no consta de 3 a 250 caracteres a-z, A-Z, 0-9, guion y guion bajo.",
    ),
    "stix-hash": Wording(
        "COM-06", "reject",
        "{field} holds a value that is not a {name} hash.",
        "{field} tiene un valor que no es un hash {name}.",
    ),
    "stix-hex": Wording(
        "COM-07", "reject",
        "{field} must be an even number of lower-case hexadecimal digits.",
        "{field} debe ser un número par de dígitos hexadecimales en minúsculas.",
    ),
    "stix-binary": Wording(
        "COM-07", "reject",
        "{field} must be base64 (RFC 4648).",
        "{field} debe ser base64 (RFC 4648).",
    ),
    "stix-property-name": Wording(
        "COM-08", "reject",
        "{field}: property names have 3 to 250 characters a-z, 0-9 and underscore, and begin with a letter.",
        "{field}: los nombres de propiedad tienen de 3 a 250 caracteres a-z, 0-9 o guion bajo; el primero, una letra.",
    ),
    "stix-property-suffix": Wording(
        "COM-08", "reject",
        "{field}: names in _ref, _refs, _hex and _bin hold identifiers, lists of them, hexadecimal digits and base64.",
        "{field}: los nombres en _ref, _refs, _hex y _bin contienen identificadores, listas de ellos, dígitos"
        " hexadecimales y base64.",
    ),
    "stix-reserved-name": Wording(
        "COM-09", "reject",
        "{field} is reserved by STIX 2.1.",
        "{field} está reservado por STIX 2.1.",
    ),
    "stix-enumeration": Wording(
        "COM-11", "reject",
        "{field} must be one of: {allowed}.",
        "{field} debe ser uno de: {allowed}.",
    ),
    "stix-defanged": Wording(
        "SCO-08", "reject",
        "defanged belongs to observables only.",
        "defanged es propio de los observables.",
    ),
    # Rules between properties
    "stix-one-of": Wording(
        "COM-01", "reject",
        "At least one is required of: {names}.",
        "Se requiere al menos uno de: {names}.",
    ),
    "stix-exactly-one": Wording(
        "COM-01", "reject",
        "Exactly one is required of: {names}.",
        "Se requiere exactamente uno de: {names}.",
    ),
    "stix-needs": Wording(
        "COM-01", "reject",
        "{field} is allowed only together with {other}.",
        "{field} solo se permite junto con {other}.",
    ),
    "stix-family-name": Wording(
        "TYP-05", "reject",
        "A malware family must have a name.",
        "Una familia de malware debe tener name.",
    ),
    "stix-relationship-type": Wording(
        "TYP-08", "reject",
        "relationship_type is made of a-z, 0-9 and hyphens.",
        "relationship_type consta de a-z, 0-9 y guiones.",
    ),
    "stix-active-ended": Wording(
        "TYP-12", "reject",
        "Traffic that is_active has no end.",
        "El tráfico con is_active no tiene end.",
    ),
    "stix-email-body": Wording(
        "COM-01", "reject",
        "body is for messages that are not multipart, body_multipart for those that are.",
        "body es para mensajes que no son multipart; body_multipart, para los que lo son.",
    ),
    "stix-value-format": Wording(
        "TYP-14", "warn",
        "value is not a well formed {name}.",
        "value no es un {name} bien formado.",
    ),
    "stix-contents-language": Wording(
        "TYP-15", "warn",
        "contents has a key that is not an RFC 5646 language tag.",
        "contents tiene una clave que no es una etiqueta de idioma RFC 5646.",
    ),
    # Markings
    "stix-tlp-pinned": Wording(
        "MRK-01", "reject",
        "TLP 1 is the four marking-definitions of STIX 2.1, with exactly their content.",
        "TLP 1 son las cuatro marking-definition de STIX 2.1, con exactamente su contenido.",
    ),
    "stix-tlp2-pinned": Wording(
        "MRK-02", "reject",
        "TLP 2.0 is the five marking-definitions of its extension, each with its own level.",
        "TLP 2.0 son las cinco marking-definition de su extensión, cada una con su propio nivel.",
    ),
    "stix-marking-content": Wording(
        "MRK-03", "reject",
        "A marking-definition without extensions needs definition_type and a definition of that type.",
        "Una marking-definition sin extensions necesita definition_type y una definition de ese tipo.",
    ),
    "stix-marks-itself": Wording(
        "MRK-04", "reject",
        "A marking cannot mark itself.",
        "Un marcado no puede marcarse a sí mismo.",
    ),
    "stix-granular-marking": Wording(
        "MRK-05", "reject",
        "{field} needs selectors and exactly one of lang and marking_ref.",
        "{field} necesita selectors y exactamente uno de lang y marking_ref.",
    ),
    "stix-selector": Wording(
        "MRK-06", "reject",
        "{field} is not a selector: names, keys and [n] joined by points.",
        "{field} no es un selector: nombres, claves y [n] unidos por puntos.",
    ),
    "stix-selector-target": Wording(
        "MRK-07", "reject",
        "{field} selects nothing in this object.",
        "{field} no selecciona nada en este objeto.",
    ),
    # Extensions and custom content
    "stix-extension-key": Wording(
        "EXT-01", "reject",
        "{field}: extensions are named by the id of an extension-definition, or end in -ext.",
        "{field}: las extensiones llevan el id de una extension-definition o terminan en -ext.",
    ),
    "stix-extension-type": Wording(
        "EXT-01", "reject",
        "{field} needs an extension_type: {allowed}.",
        "{field} necesita un extension_type: {allowed}.",
    ),
    "stix-extension-properties": Wording(
        "EXT-03", "reject",
        "extension_properties belongs to toplevel-property-extension only.",
        "extension_properties es propio de toplevel-property-extension.",
    ),
    "stix-extension-name": Wording(
        "EXT-05", "reject",
        "{field}: extension properties have 3 to 250 characters a-z, 0-9 and underscore, and begin with a letter.",
        "{field}: las propiedades de extensión tienen de 3 a 250 caracteres a-z, 0-9 o _; el primero, una letra.",
    ),
    "stix-unknown-property": Wording(
        "EXT-07", "warn",
        "{field} is not a property of STIX 2.1; no extension and no prefix x_ announces it.",
        "{field} no es una propiedad de STIX 2.1; ninguna extensión ni el prefijo x_ la anuncia.",
    ),
}  # fmt: skip
