"""Answers as people take them along: CSV for spreadsheets, and one HTML file that can be printed."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from exchange.auditing.answers import QUESTIONS, Answer
from exchange.cli.output import COLUMNS, language, plain, spanish
from exchange.edl.text import cell
from exchange.errors import Text

WHERE = Text("What this rests on", "En qué se basa")
TOTALS = Text("Totals", "Totales")
REMARKS = Text("Remarks", "Observaciones")
NONE = Text("No rows.", "Ninguna fila.")


def words(columns: Iterable[str]) -> list[str]:
    """Column heads in the reader's language."""
    return [COLUMNS[one] if spanish() else one for one in columns]


def csv_text(answer: Answer, sealed: Sequence[str]) -> str:
    """RFC 4180, every cell quoted and none of them a formula. What it rests on are the last rows, marked by `#`."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow([cell(word) for word in words(answer.columns)])
    for row in answer.rows:
        writer.writerow([cell(str(row[name])) for name in answer.columns])
    for line in foundation(answer, sealed):
        writer.writerow([cell(f"# {line}")])
    return out.getvalue()


def foundation(answer: Answer, sealed: Sequence[str]) -> list[str]:
    """The sentences that make an answer repeatable: the question, the logs up to which size and root, the seals on it."""
    asked = " ".join(f"{name}={value}" for name, value in answer.head["asked"].items())
    lines = [f"puente audit {answer.head['question']} {asked}".rstrip()]
    lines += [f"{log['log']}: {log['origin']} {log['size']} {log['root']}" for log in answer.head["logs"]]
    return [*lines, *sealed]


def remarks(answer: Answer) -> list[str]:
    return [one[language()] for one in answer.end["remarks"]]


_STYLE = (
    "body{font:14px/1.45 system-ui,sans-serif;margin:2rem;color:#111}table{border-collapse:collapse;width:100%;margin:1rem 0}"
    "th,td{border:1px solid #767676;padding:.25rem .4rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}"
    "th{background:#eee}thead{display:table-header-group}tr{break-inside:avoid}code{overflow-wrap:anywhere}"
    "@page{size:A4 landscape;margin:1.5cm}@media print{body{margin:0;font-size:9pt}}"
)


def html_text(answer: Answer, sealed: Sequence[str]) -> str:
    """One file without any reference to another, in the reader's language. Nothing in it is taken for markup."""
    question = QUESTIONS[answer.head["question"]]
    title = question.about.in_language(language())
    number = f"({question.number}) " if question.number else ""
    parts = [
        f'<!doctype html><html lang="{language()}"><head><meta charset="utf-8">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main><h1>{escape(number + title)}</h1>",
        _table(words(answer.columns), [[str(row[name]) for name in answer.columns] for row in answer.rows]),
        f"<p>{answer.end['rows']} / {answer.end['matched']}</p>",
    ]
    totals: list[Mapping[str, Any]] = answer.end["totals"]
    if totals:
        parts += [f"<h2>{_in(TOTALS)}</h2>", _table(words(totals[0]), [list(map(str, one.values())) for one in totals])]
    parts += [f"<h2>{_in(REMARKS)}</h2><ul>", *[f"<li>{escape(one)}</li>" for one in remarks(answer)], "</ul>"]
    parts += [f"<h2>{_in(WHERE)}</h2>", *[f"<p><code>{escape(one)}</code></p>" for one in foundation(answer, sealed)]]
    return "".join([*parts, "</main></body></html>\n"])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return f"<p>{_in(NONE)}</p>"
    heads = "".join(f'<th scope="col">{escape(one)}</th>' for one in head)
    lines = ["<tr>" + "".join(f"<td>{escape(plain(one))}</td>" for one in row) + "</tr>" for row in rows]
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _in(text: Text) -> str:
    return escape(text.in_language(language()))
