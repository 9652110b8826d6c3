"""What an audit can find, in the words of both countries: one sentence in English and one in Spanish for each code."""

from collections import Counter
from dataclasses import dataclass

from exchange.errors import Text

FINDINGS_PER_FILE = 100
"""One bad file should not bury the others."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: in which file, at which leaf if at one, and why."""

    file: str
    entry: int | None
    code: str
    en: str
    es: str


TEXTS = {
    "file-missing": Text("The file is missing.", "Falta el archivo."),
    "file-unexpected": Text("The file does not belong to the copy.", "El archivo no pertenece a la copia."),
    "file-too-large": Text(
        "The file is too large to be what it should be.", "El archivo es demasiado grande para ser lo que debería."
    ),
    "file-digest": Text("The file is not the one MANIFEST speaks of.", "El archivo no es el que menciona MANIFEST."),
    "manifest-damaged": Text("MANIFEST itself is damaged.", "El propio MANIFEST está dañado."),
    "policy-missing": Text(
        "You gave no policy for this log: it was not checked.",
        "Usted no indicó una política para este registro: no se verificó.",
    ),
    "kept-malformed": Text(
        "Your kept checkpoint of this log cannot be read.",
        "No se puede leer el punto de control que usted conserva de este registro.",
    ),
    "kept-newer": Text(
        "You have seen {detail} leaves of this log before; this copy has fewer.",
        "Usted ya había visto {detail} hojas de este registro; esta copia tiene menos.",
    ),
    "kept-fork": Text(
        "This log does not contain the one you saw before, at {detail} leaves. Keep both checkpoints:"
        " they are signed evidence.",
        "Este registro no contiene el que usted vio antes, con {detail} hojas. Conserve ambos puntos de control:"
        " son evidencia firmada.",
    ),
    "past-fork": Text(
        "This log does not contain the one that this checkpoint speaks of, at {detail} leaves. Keep both: they are signed evidence.",
        "Este registro no contiene aquel del que habla este punto de control, con {detail} hojas. Conserve ambos: son evidencia firmada.",
    ),
    "past-strange": Text(
        "The checkpoint is of another log, newer than the copy, or not of the size its name says.",
        "El punto de control es de otro registro, más nuevo que la copia, o no del tamaño que dice su nombre.",
    ),
    "consistency-wrong": Text(
        "The proof does not lead from the checkpoint of before, at {detail} leaves, to this one.",
        "La prueba no lleva del punto de control anterior, con {detail} hojas, a este.",
    ),
    "agreement-unknown": Text("No entry brought this text into force.", "Ningún asiento puso en vigor este texto."),
    "approval-unknown": Text(
        "No entry tells of approval {detail} of this file.",
        "Ningún asiento da cuenta de la aprobación {detail} de este archivo.",
    ),
    "paper-malformed": Text(
        "The file cannot be read as what it should be.", "El archivo no puede leerse como lo que debería ser."
    ),
    "generation-other": Text(
        "This is not the log that the first entry of {detail} closed. Keep both: they are signed evidence.",
        "Este no es el registro que cerró el primer asiento de {detail}. Conserve ambos: son evidencia firmada.",
    ),
    "root-mismatch": Text(
        "Neither the entries nor the tiles hash to the root that was signed.",
        "Ni las entradas ni las losetas producen la raíz firmada.",
    ),
    "bundle-malformed": Text(
        "The bundle cannot be cut into its entries.", "El paquete no puede separarse en sus entradas."
    ),
    "entry-changed": Text("The entry is not the one that was logged.", "La entrada no es la que se registró."),
    "entry-or-tile": Text(
        "Entry and tile do not agree, and neither agrees with the checkpoint.",
        "La entrada y la loseta no coinciden entre sí ni con el punto de control.",
    ),
    "tile-changed": Text("The tile is not the one of this log.", "La loseta no es la de este registro."),
    "opening-malformed": Text("The opening cannot be read.", "No se puede leer la apertura."),
    "opening-wrong": Text(
        "The opening is not what the leaf committed to.", "La apertura no es lo que la hoja comprometió."
    ),
    "page-malformed": Text("The list of objects cannot be read.", "No se puede leer la lista de objetos."),
    "page-wrong": Text(
        "The list of objects is not what the entry speaks of.",
        "La lista de objetos no es aquello de lo que trata el asiento.",
    ),
    "receipt-pair": Text(
        "A receipt needs its .tlog-proof and its .leaf file.",
        "Un recibo requiere su archivo .tlog-proof y su archivo .leaf.",
    ),
    "receipt-log": Text(
        "The receipt is of a log for which you gave no policy.",
        "El recibo es de un registro para el que usted no indicó una política.",
    ),
    "receipt-fork": Text(
        "The receipt is of another history than this copy. Keep both: they are signed evidence.",
        "El recibo es de una historia distinta de la de esta copia. Conserve ambos: son evidencia firmada.",
    ),
    "leaf-malformed": Text(
        "The entry is not the JSON of an event: {detail}", "La entrada no es el JSON de un evento: {detail}"
    ),
    "leaf-not-canonical": Text("The entry is not in canonical form.", "La entrada no está en forma canónica."),
    "leaf-fields": Text(
        "The entry's field {detail} is missing or wrong.", "El campo {detail} de la entrada falta o es incorrecto."
    ),
    "time-order": Text(
        "The entry is dated before the one ahead of it.", "La entrada tiene fecha anterior a la precedente."
    ),
    "seq-order": Text(
        "The hub-wide number does not rise, or stands where it must not.",
        "El número global no crece, o aparece donde no debe.",
    ),
    "policy-order": Text(
        "The entry names an older agreement than an entry ahead of it.",
        "La entrada nombra un acuerdo anterior al de una entrada precedente.",
    ),
    "key-change": Text(
        "The entry changes a log's key, and the key before it, or the new one, does not say so.",
        "La entrada cambia la llave de un registro, y la llave anterior, o la nueva, no lo dice.",
    ),
    "key-silent": Text(
        "By its entries the log is signed by {detail} too, and the checkpoint is not.",
        "Según sus entradas también firma el registro {detail}, y el punto de control no lleva su firma.",
    ),
    "release-early": Text(
        "A release under an agreement that no entry ahead of it brought into force.",
        "Una entrega conforme a un acuerdo que ningún asiento precedente puso en vigor.",
    ),
    "release-superseded": Text(
        "A release under an agreement that had been superseded.", "Una entrega conforme a un acuerdo ya sustituido."
    ),
}


class Findings:
    """Gathers what is wrong, at most FINDINGS_PER_FILE of one file."""

    def __init__(self) -> None:
        self.all: list[Finding] = []
        self._counts: Counter[str] = Counter()

    def add(self, code: str, file: str, entry: int | None = None, detail: object = "") -> None:
        text = TEXTS[code]
        self.quote(code, file, text.en.format(detail=detail), text.es.format(detail=detail), entry)

    def quote(self, code: str, file: str, en: str, es: str, entry: int | None = None) -> None:
        self._counts[file] += 1
        if self._counts[file] <= FINDINGS_PER_FILE:
            name = file.encode("utf-8", "backslashreplace").decode()
            self.all.append(Finding(name, entry, code, en, es))
