"""Questions about one object: who submitted it, who saw it, why somebody did not."""

from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from typing import Any

from exchange.auditing.facts import Fact
from exchange.auditing.folds import Question, Scope, detail
from exchange.auditing.pages import Evidence, Shelf, Version
from exchange.auditing.rows import Asked, Remark, Row
from exchange.errors import Text
from exchange.ledger.events import QUESTIONS


class Submitted:
    """(1) Who submitted it, and was it signed."""

    def __init__(self, asked: Asked, scope: Scope) -> None:
        self._object = asked.object
        self._shelf = Shelf(asked.object)
        self._elsewhere = False

    def take(self, fact: Fact) -> Iterator[Row]:
        for placed in self._shelf.take(fact):
            if fact.t == "publish":
                self._elsewhere = True
                yield Row.of(fact, {"event": "publish", "version": placed.version, "sha256": placed.sha256, "agreement": fact.pol})  # fmt: skip
        if fact.t in ("submit", "submit.refuse") and fact.pub.get("object") == self._object:
            names = ("version", "sha256", "signer", "assurance", "tlp", "code")
            told = {name: fact.text(name) for name in names}
            yield Row.of(fact, {"event": fact.t, "outcome": fact.out, "agreement": fact.pol, **told})

    def end(self) -> Iterable[Row]:
        return ()

    def remarks(self, rows: int) -> Iterator[Remark]:
        if self._elsewhere:
            yield Remark("submission-log", Text(
                "A submission is in the log of its originator's country alone. Where only `publish` rows are shown, ask that"
                " country's auditors by whom it was signed: the version and its SHA-256 are the same.",
                "El envío consta solo en el registro del país de su originador. Donde solo hay filas `publish`, pregunte a los"
                " auditores de ese país quién lo firmó: la versión y su SHA-256 son las mismas.",
            ))  # fmt: skip
        yield from not_known(self._shelf, rows)


class WhoSaw:
    """(2) To whom it was released, when, under which version of the agreement."""

    def __init__(self, asked: Asked, scope: Scope) -> None:
        self.shelf = Shelf(asked.object)
        self._seen: set[Evidence] = set()

    def take(self, fact: Fact) -> Iterator[Row]:
        self.shelf.take(fact)
        if fact.t != "release":
            return
        found = self.shelf.on(fact)
        if found is not None:
            version, evidence = found
            self._seen.add(evidence)
            yield Row.of(fact, {
                "kind": fact.text("kind"), "version": version.version, "agreement": fact.pol, "page": fact.text("count"),
                "evidence": evidence, "items_root": fact.text("items_root"),
            })  # fmt: skip

    def end(self) -> Iterable[Row]:
        return ()

    def remarks(self, rows: int) -> Iterator[Remark]:
        yield Remark("upper-bound", Text(
            "A release is written before the bytes leave: if the connection then broke, less was received.",
            "La entrega se asienta antes de que salgan los bytes: si la conexión se cortó, se recibió menos.",
        ))  # fmt: skip
        if Evidence.ROOT_ONLY in self._seen:
            yield Remark("manifest-dropped", Text(
                "For the rows marked root-only the page's list was dropped by retention: only its items_root and its range"
                " remain. The page spans the object's place and may have held it. Whoever kept the page can prove it.",
                "En las filas marcadas root-only la lista de la página se eliminó por plazo de conservación: solo quedan su"
                " items_root y su intervalo. La página abarca el lugar del objeto y pudo contenerlo. Quien conserve la página"
                " puede probarlo.",
            ))  # fmt: skip
        if Evidence.LISTED in self._seen:
            yield Remark("root-unchecked", Text(
                "For the rows marked listed the page names the object, but not all of its other items are known here, so its"
                " items_root was not hashed again.",
                "En las filas marcadas listed la página nombra el objeto, pero aquí no se conocen todos sus demás elementos, por"
                " lo que su items_root no se recalculó.",
            ))  # fmt: skip
        if Evidence.CONTRADICTED in self._seen:
            yield Remark("root-contradicted", Text(
                "For the rows marked contradicted the listed items do not hash to the page's items_root. Keep this copy.",
                "En las filas marcadas contradicted los elementos listados no producen el items_root. Conserve esta copia.",
            ))  # fmt: skip
        yield from not_known(self.shelf, rows)


class Why:
    """(3) Why a member had it or not: where it was published, what was made visible, released and withdrawn."""

    def __init__(self, asked: Asked, scope: Scope) -> None:
        self._to = asked.to
        self._object = asked.object
        self._shelf = Shelf(asked.object)
        self._countries: dict[str, str] = {}
        self._labels: set[str] = set()
        """Under which it was submitted: what was decided of them was decided of it."""
        self._published: dict[str, Version] = {}
        self._released = False
        self._given: dict[int, Fact] = {}
        """What was made visible to the member, as far as it is not known to be of the object, by place among the entries."""
        self._rows: list[tuple[int, Row]] = []
        """With their places: what an entry was about may be told by a later one."""
        self._place = 0

    def take(self, fact: Fact) -> Iterable[Row]:
        self._place += 1
        before = set(self._shelf.ticks)
        self._rows += [(self._place, row) for row in self._told(fact)]
        if fact.t == "publish" and fact.pub.get("to") == self._to:
            self._given[self._place] = fact
        if news := self._shelf.ticks.keys() - before:
            about = {place: one for place, one in self._given.items() if one is fact or _late(one, news)}
            self._rows += [
                (place, self._row(one, {"detail": detail(one, "to", "items_root")})) for place, one in about.items()
            ]
            self._given = {place: one for place, one in self._given.items() if place not in about}
        return ()

    def _told(self, fact: Fact) -> Iterator[Row]:
        self._enrol(fact)
        for version in self._shelf.take(fact):
            self._published[version.fact.kind] = version
            yield self._row(version.fact, {"version": version.version})
        if fact.t == "release" and fact.member == self._to and (found := self._shelf.on(fact)) is not None:
            self._released = True
            yield self._row(
                fact, {"version": found[0].version, "detail": f"kind={fact.text('kind')}; evidence={found[1]}"}
            )
        elif self._bears(fact):
            verdict = _verdict(fact.private or {}, self._to) if fact.t == "decide" else ""
            yield self._row(
                fact, {"version": fact.text("version"), "detail": verdict or detail(fact, "object", "version")}
            )

    def _enrol(self, fact: Fact) -> None:
        if fact.t in ("acct.enrol", "role.change") and isinstance(fact.pub.get("country"), str):
            self._countries[fact.text("member")] = fact.text("country")
        if fact.t == "submit" and fact.pub.get("object") == self._object and "label" in fact.pub:
            self._labels.add(fact.text("label"))

    def _bears(self, fact: Fact) -> bool:
        if fact.t in ("submit", "submit.refuse", "withdraw", "recall") and "object" in fact.pub:
            return bool(fact.pub["object"] == self._object) and fact.pub.get("to", self._to) == self._to
        about = fact.text("member") or fact.text("to")
        if fact.t == "decide":
            return fact.text("label") in self._labels
        if fact.t == "withhold":
            return about == self._to and fact.collection in {one.fact.collection for one in self._published.values()}
        if fact.t == "withdraw":
            labels = (fact.private or {}).get("labels")
            return about == self._to and not (labels and self._labels and self._labels.isdisjoint(labels))
        if fact.t in ("acct.status", "role.change"):
            return about == self._to
        return fact.t == "deny" and fact.member == self._to

    def _row(self, fact: Fact, cells: dict[str, str]) -> Row:
        return Row.of(fact, {"event": fact.t, "outcome": fact.out, "agreement": fact.pol, **cells})

    def end(self) -> Iterable[Row]:
        return [row for _, row in sorted(self._rows, key=itemgetter(0))]

    def remarks(self, rows: int) -> Iterator[Remark]:
        country = self._countries.get(self._to, "")
        alone = [one for one in self._published.values() if one.fact.kind not in ("both", country.lower())]
        if alone and "both" not in self._published and country and not self._released:
            fact = alone[0].fact
            yield Remark("own-country-only", Text(
                f"It was published in the log of {fact.log} alone: under {fact.pol} nobody of {country} may have it as it is, with all that it refers to.",
                f"Se publicó solo en el registro de {fact.log}: conforme a {fact.pol}, nadie de {country} puede tenerlo tal cual, con todo a lo que se refiere.",
            ))  # fmt: skip
        if (self._published or self._shelf.crossed) and not self._released:
            yield Remark("never-released", Text(
                f"These logs hold no release of it to {self._to}.", f"Estos registros no contienen entrega alguna a {self._to}."
            ))  # fmt: skip
        yield from not_known(self._shelf, rows)


def _late(fact: Fact, ticks: Iterable[int]) -> bool:
    """Whether an entry about a late release speaks of one of these."""
    runs = (fact.private or {}).get("runs", ())
    return any(first <= tick < first + size for first, _, size in runs for tick in ticks)


def _verdict(private: Mapping[str, Any], member: str) -> str:
    """What the private part of a decision says of one member: the effect, the clauses, and of what is given how and how late."""
    for name, effect, view, delay, *clauses in private.get("verdicts", ()):
        if name == member:
            given = f"; view={view}; delay={delay}" if effect == "permit" else ""
            return f"effect={effect}; clauses={' '.join(clauses)}{given}"
    return ""


def not_known(shelf: Shelf, rows: int) -> Iterator[Remark]:
    """What keeps "no rows" from meaning "it never was"."""
    if not rows and shelf.crossed:
        yield Remark("crossed-later", Text(
            "It was published in the log of its own country alone, and crossed later: `who-saw` tells when and to whom. Who"
            " submitted it is in that country's log.",
            "Se publicó solo en el registro de su propio país y cruzó después: `who-saw` indica cuándo y a quién. Quién lo envió"
            " consta en el registro de ese país.",
        ))  # fmt: skip
    if not rows and not shelf.ticks:
        yield Remark("not-in-these-logs", Text(
            "Nothing about this object is in the logs that you may see. One that never crossed the border is in the log of its"
            " own country alone.",
            "Nada sobre este objeto consta en los registros que usted puede ver. Uno que nunca cruzó la frontera consta solo en"
            " el registro de su propio país.",
        ))  # fmt: skip
    if shelf.dropped:
        yield Remark("lists-dropped", Text(
            f"The lists of {shelf.dropped} publications are gone; an object placed by one of them is known only by its own"
            " submission.",
            f"Las listas de {shelf.dropped} publicaciones ya no existen; un objeto publicado en una de ellas solo se conoce por"
            " su propio envío.",
        ))  # fmt: skip


OBJECT_QUESTIONS = (
    Question(
        "submitted", 1, QUESTIONS[1],
        ("event", "member", "collection", "version", "sha256", "signer", "assurance", "tlp", "outcome", "code", "agreement"),
        Submitted, takes=("object",), private=True,
    ),
    Question(
        "who-saw", 2,
        QUESTIONS[2],
        ("member", "collection", "kind", "version", "agreement", "page", "evidence", "items_root"),
        WhoSaw, takes=("object",), private=True, totals=("member", "evidence"),
    ),
    Question(
        "why", 3,
        QUESTIONS[3],
        ("event", "member", "collection", "version", "outcome", "agreement", "detail"),
        Why, takes=("object", "to"), private=True,
    ),
)  # fmt: skip
