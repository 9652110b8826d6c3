"""What a check of the database can find: the table, the row, what is wrong with it, and what to do, in both languages."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from exchange.errors import Text

ROWS_PER_TABLE = 100
"""One ruined table should not bury the others; the rest is counted."""

Progress = Callable[[str, int], None]
"""Called with a table and how many of its rows have been checked since the last call."""


PutBack = Callable[[str, int], bool]
"""Whether a leaf, by log and index, was put back by a recovery."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """One row that is not what everything else says it must be. `key` is how a person finds it: `both/17`."""

    code: str
    table: str
    key: str
    text: Text
    remedy: Text


_LOG = Text(
    "Keep the files as they are, stop every hub, restore a backup whose leaves are whole, and put back what both countries"
    " cosigned since: puente ledger recover.",
    "Conserve los archivos como están, detenga todos los nodos, restaure una copia cuyos asientos estén íntegros y reponga lo que"
    " ambos países cofirmaron desde entonces: puente ledger recover.",
)
_ROW = Text(
    "Where no leaf is wrong, the row alone was changed: put it back from a backup, and find out who could write it.",
    "Si ningún asiento está mal, solo se alteró la fila: repóngala desde una copia de seguridad y averigüe quién pudo escribirla.",
)
_DERIVED = Text(
    "It follows from the leaves: where none of them is wrong, put the row back from a backup.",
    "Se deduce de los asientos: si ninguno está mal, reponga la fila desde una copia de seguridad.",
)
_ANCHOR = Text(
    "This database is older than what was signed, or another one. Do not touch the anchor: see HALT in docs/operations.md.",
    "Esta base es anterior a lo firmado, o es otra. No toque el ancla: vea HALT en docs/operations.md.",
)
_OPEN = Text(
    "See HALT in docs/operations.md; after the cause is gone: puente ledger recover.",
    "Vea HALT en docs/operations.md; eliminada la causa: puente ledger recover.",
)

TEXTS: dict[str, tuple[Text, Text]] = {
    "head-halted": (Text("The hub is halted: {detail}.", "El nodo está detenido: {detail}."), _OPEN),
    "head-counter": (
        Text("The counter {detail} does not fit the rows.", "El contador {detail} no corresponde a las filas."), _DERIVED,
    ),
    "tree-row": (
        Text("Its {detail} is not that of the leaves.", "Su campo {detail} no es el de los asientos."), _DERIVED,
    ),
    "tree-strange": (
        Text("No witness policy knows of such a log.", "Ninguna política de testigos conoce ese registro."), _ROW,
    ),
    "log-closing": (
        Text("It is not the log that entry {detail} closed.", "No es el registro que cerró el asiento {detail}."), _LOG,
    ),
    "leaf-missing": (Text("The leaf is missing.", "Falta el asiento."), _LOG),
    "leaf-extra": (Text("The leaf lies behind the end of its log.", "El asiento está más allá del fin de su registro."), _LOG),
    "leaf-hash": (Text("Its bytes do not hash to its hash.", "Sus bytes no producen su hash."), _LOG),
    "leaf-changed": (
        Text("It is not the leaf that was signed, or one of {detail} is not.",
             "No es el asiento que se firmó, o no lo es alguno de {detail}."), _LOG,
    ),
    "leaf-form": (Text("It is not an event of this log: {detail}.", "No es un evento de este registro: {detail}."), _LOG),
    "leaf-order": (
        Text("Its {detail} is lower than that of a leaf before it.", "Su campo {detail} es menor que el de un asiento anterior."), _LOG,
    ),
    "tile-missing": (Text("The tile is missing.", "Falta la loseta."), _DERIVED),
    "tile-extra": (Text("No such tile is full yet.", "Esa loseta aún no está completa."), _DERIVED),
    "tile-changed": (Text("Hash {detail} in it is not the leaves'.", "El hash {detail} en ella no es el de los asientos."), _DERIVED),
    "checkpoint-note": (
        Text("It is not a note that this log signed for this size and root ({detail}).",
             "No es una nota que este registro haya firmado para ese tamaño y raíz ({detail})."), _ROW,
    ),
    "checkpoint-missing": (
        Text("A cosignature or the anchor speaks of it, and it is missing.", "Una cofirma o el ancla se refiere a él, y falta."), _ROW,
    ),
    "cosignature-wrong": (
        Text("It is not a cosignature of this checkpoint by a witness of the policy.",
             "No es una cofirma de este punto de control por un testigo de la política."), _ROW,
    ),
    "anchor-missing": (Text("The anchor cannot be read.", "No se puede leer el ancla."), _ANCHOR),
    "anchor-ahead": (Text("The anchor says {detail} leaves.", "El ancla indica {detail} asientos."), _ANCHOR),
    "anchor-fork": (Text("The anchor holds another root for its size.", "El ancla tiene otra raíz para su tamaño."), _ANCHOR),
    "private-wrong": (
        Text("It does not open what the leaf committed to.", "No abre lo que el asiento comprometió."), _ROW,
    ),
    "private-missing": (
        Text("The leaf's private part is neither here nor erased by an entry.",
             "La parte privada del asiento no está aquí ni la suprimió un asiento."), _ROW,
    ),
    "private-extra": (
        Text("The leaf has no private part, or it was erased.", "El asiento no tiene parte privada, o fue suprimida."), _ROW,
    ),
    "run-missing": (Text("The run is missing.", "Falta la serie."), _ROW),
    "run-extra": (Text("Nothing in it is placed, and its label counts none of it.",
                       "Nada en ella está colocado, y su etiqueta no cuenta nada de ella."), _ROW),
    "object-twice": (
        Text("It is there a second time, with the number {detail}.", "Está por segunda vez, con el número {detail}."), _ROW,
    ),
    "run-form": (Text("Its {detail} does not fit the rest of it.", "Su campo {detail} no concuerda con el resto."), _ROW),
    "run-bytes": (
        Text("The bytes of the object at {detail} are not those that were logged.",
             "Los bytes del objeto en {detail} no son los que se registraron."), _ROW,
    ),
    "run-published": (
        Text("What it holds is not what {detail} published.", "Lo que contiene no es lo que publicó {detail}."), _ROW,
    ),
    "object-missing": (Text("It was logged as submitted ({detail}), and is missing.", "Consta como enviado ({detail}), y falta."), _ROW),
    "object-differs": (Text("Its {detail} is not that of its bytes.", "Su campo {detail} no es el de sus bytes."), _ROW),
    "object-unlogged": (Text("No leaf says that it was submitted.", "Ningún asiento dice que fue enviado."), _ROW),
    "placement-missing": (Text("Its bytes are held, and it is missing.", "Se conservan sus bytes, y falta."), _ROW),
    "placement-extra": (Text("It places bytes that are not there.", "Coloca bytes que no están."), _ROW),
    "placement-differs": (Text("Its {detail} is not that of its bytes.", "Su campo {detail} no es el de sus bytes."), _ROW),
    "reference-missing": (Text("The object refers to that, and the row is missing.", "El objeto se refiere a eso, y falta la fila."), _ROW),
    "reference-extra": (
        Text("No object that lies here refers to that.", "Ningún objeto de los que hay aquí se refiere a eso."), _ROW,
    ),
    "reference-differs": (Text("Its {detail} is not that of its id.", "Su campo {detail} no es el de su id."), _ROW),
    "label-missing": (Text("The label is missing.", "Falta la etiqueta."), _ROW),
    "label-differs": (Text("Its {detail} does not fit what lies under it.", "Su campo {detail} no concuerda con lo que tiene."), _ROW),
    "release-root": (
        Text("The objects it says were released do not hash to its items_root.",
             "Los objetos que indica como entregados no producen su items_root."), _LOG,
    ),
    "row-missing": (Text("An entry ({detail}) brought it, and it is missing.", "Un asiento ({detail}) la creó, y falta."), _ROW),
    "row-unlogged": (Text("No entry brought it.", "Ningún asiento la creó."), _ROW),
    "row-differs": (
        Text("Its {detail} is not what the log says.", "Su campo {detail} no es lo que dice el registro."), _ROW,
    ),
}  # fmt: skip


class Findings:
    """Gathers what is wrong, in the order it is met, at most ROWS_PER_TABLE of one table."""

    def __init__(self) -> None:
        self.all: list[Wrong] = []
        self.counts: Counter[str] = Counter()
        self._seen: set[tuple[str, str]] = set()

    def add(self, code: str, table: str, key: object, detail: object = "") -> None:
        """Only the first thing that is wrong with a row is told."""
        row = (table, str(key))
        if row in self._seen or self.counts[table] >= ROWS_PER_TABLE:
            self.counts[table] += row not in self._seen
            return
        self._seen.add(row)
        self.counts[table] += 1
        text, remedy = TEXTS[code]
        said = Text(text.en.format(detail=detail), text.es.format(detail=detail))
        self.all.append(Wrong(code, table, str(key), said, remedy))

    def told(self, table: str, key: object) -> bool:
        """Whether something is known to be wrong with a row."""
        return (table, str(key)) in self._seen
