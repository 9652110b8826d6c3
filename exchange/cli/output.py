"""What people read at a terminal: tables, one-line results, progress; and JSON for machines."""

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click
import orjson
from click._termui_impl import ProgressBar

from exchange.errors import Text

COLUMNS = {
    "account": "cuenta", "accepted": "aceptados", "acknowledged": "confirmó", "adapter": "adaptador", "agreement": "acuerdo", "alias": "alias", "applies": "se aplica",
    "calls": "llama a", "cause": "causa", "clause": "cláusula", "confidence": "confianza", "code": "código", "collection": "colección", "cosigned by": "cofirmado por", "count": "cantidad",
    "cosigned": "cofirmado", "country": "país", "due": "plazo", "ended": "terminó", "entries": "asientos", "every": "cada",
    "denied": "denegados", "held": "retenidos", "lost": "perdidos", "left": "no cruzan", "sent": "enviados", "standing": "vigentes",
    "to judge": "por evaluar", "under way": "en camino", "waiting": "en espera",
    "expires": "vence", "fault": "falla", "lag": "retraso", "last good": "última buena", "field": "campo", "file": "archivo", "id": "id", "kind": "clase",
    "last entry": "último asiento", "last run": "última ejecución", "licence": "licencia", "log": "registro",
    "member": "miembro", "mirror": "copia", "name": "nombre", "note": "nota", "object": "objeto", "objects": "objetos", "opened": "abierto",
    "product": "producto", "publisher": "publica", "read": "lee", "readers": "lectores", "reason": "motivo", "recall": "retiro", "records": "registros",
    "refused": "rechazados", "revoked": "revocados", "roles": "funciones", "root": "raíz", "sectors": "sectores",
    "seen": "visto", "sha256": "sha256", "signer": "firmante", "skipped": "omitidos", "source": "fuente", "state": "estado",
    "status": "situación", "thumbprint": "huella", "title": "título", "time": "hora", "tlp": "tlp", "token": "token", "type": "tipo",
    "unchanged": "sin cambios", "use": "uso", "value": "valor", "verdict": "dictamen", "version": "versión",
    "text": "texto", "what": "qué", "what it said": "qué dijo", "write": "escribe", "writers": "autores",
    "approved by": "aprobado por", "direction": "sentido", "effect": "efecto",
    "examples": "ejemplos", "labels": "etiquetas", "live": "vivas", "may block": "puede bloquear", "number": "número",
    "passed": "pasa", "recipient": "destinatario", "since": "desde", "tests": "pruebas",
    "added": "agregados", "audience": "audiencia", "case": "referencia", "consent": "consentimiento", "may extend": "ampliable",
    "members": "miembros", "originator": "remitente", "owner": "titular", "request": "solicitud", "until": "hasta",
    "signed indicator": "indicador firmado", "us-maritime has it": "us-maritime lo tiene",
    "mx-aduanas has it": "mx-aduanas lo tiene",
    "activated": "activado", "approver": "aprobador", "assurance": "garantía", "available": "disponible",
    "basis": "fundamento", "by": "por", "decision": "decisión", "detail": "detalle", "entry": "asiento", "event": "evento",
    "evidence": "evidencia", "feed": "fuente", "finding": "hallazgo", "first difference": "primera diferencia", "had": "lo tenía",
    "in force": "en vigor", "items_root": "raíz de la página", "key": "clave", "on": "sobre", "other entries": "asientos de la otra",
    "outcome": "resultado", "page": "página", "published": "publicado", "complete": "completa", "fetched": "obtenidos", "seconds": "segundos",
    "asset of": "activo de", "list": "lista", "released until": "liberado hasta",
    "silent": "silencio", "since before": "desde la anterior", "times": "veces", "transform": "transformación",
}  # fmt: skip
"""Every head of a table, in Spanish. JSON keeps the English word as its name."""


WORDS = {
    "gained": "gana", "lost": "pierde", "changed": "cambia", "draft": "proyecto", "scheduled": "programado",
    "activate": "entrada en vigor", "tighten": "restricción", "lift": "restricción levantada", "lapse": "fin de restricción", "expire": "fin de vigencia", "abandon": "renovada tras cerrar un registro",
    "permit": "permite", "deny": "deniega", "forbid": "prohíbe", "builtin": "incorporada", "ceiling": "techo",
    "agreement": "acuerdo", "version": "versión", "sha256": "sha256", "effective_from": "en vigor desde", "expires": "vence",
    "tightened_by": "restringido por",
    "ok": "bien", "paused": "en pausa", "late": "tarde", "failed": "falló", "calls": "llama a", "every": "cada",
    "read": "leída", "not read yet": "sin leer aún", "public": "direcciones públicas", "this machine": "esta máquina",
    "holds": "retiene", "refuses": "rechaza", "taken": "tomada", "not taken": "no tomada", "unchanged": "sin cambios",
}  # fmt: skip
"""Words in cells of tables, in Spanish."""


def word(english: str) -> str:
    """A word of WORDS in the reader's language."""
    return WORDS[english] if spanish() else english


def spanish() -> bool:
    """Whether the terminal's locale asks for Spanish."""
    return (os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or "").startswith("es")


def language() -> str:
    return "es" if spanish() else "en"


def spoken(text: Text) -> str:
    """A text in the reader's language."""
    return text.in_language(language())


def say(en: str, es: str, *, err: bool = False) -> None:
    """One line in the reader's language; on standard error when standard output carries data."""
    click.echo(plain(es if spanish() else en), err=err)


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, err: bool = False) -> None:
    """Columns as wide as they need to be; control characters of the data are shown, not obeyed."""
    in_spanish = [COLUMNS[word] for word in head]  # looked up in either language, so that any test meets a missing word
    words = in_spanish if spanish() else head
    cells = [[plain(str(cell)) for cell in row] for row in (words, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    for number, row in enumerate(cells):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        click.echo(click.style(line, bold=True) if number == 0 else line, err=err)


def listing(head: Sequence[str], rows: Iterable[Sequence[object]], *, as_json: bool) -> None:
    """A table for people, or the same rows as one JSON list of objects for machines."""
    if as_json:
        machine([dict(zip((word.replace(" ", "_") for word in head), row, strict=True)) for row in rows])
    else:
        table(head, rows)


def machine(value: Any) -> None:
    """One JSON value on one line."""
    click.echo(orjson.dumps(value).decode())


def progress(label: str, length: int = 0) -> ProgressBar[int]:
    """A bar on standard error, shown on a terminal only."""
    return click.progressbar(length=length, label=plain(label), file=sys.stderr, hidden=not sys.stderr.isatty())


def advance(bar: ProgressBar[int], done: int, length: int) -> None:
    """Move a bar to `done` of `length`, which may have grown."""
    bar.length = max(length, done, 1)
    bar.update(done - bar.pos)


def plain(text: str) -> str:
    """Text with control and bidirectional signs made visible, so that data cannot steer the terminal."""
    return "".join(sign if sign.isprintable() else f"\\u{ord(sign):04x}" for sign in text)
