"""That objects can be read now, as an entry: in which collection, at which ticks, and which they are."""

from collections.abc import Iterable
from operator import itemgetter

from exchange.ledger.entry import HUB, Entry, route
from exchange.ledger.merkle import root
from exchange.model.stix import StixObject
from exchange.store.acts import MovedObject, Stamp
from exchange.times import as_text


def publication(
    log: str, actor: str, collection: str, cause: str, placed: Iterable[tuple[int, StixObject | MovedObject]]
) -> Entry:
    """`placed`: each object with its tick."""
    rows = sorted(placed, key=itemgetter(0))  # items_root is over the order in which they can be read
    pub = {
        "cause": cause,
        "first": as_text(rows[0][0]),
        "last": as_text(rows[-1][0]),
        "count": len(rows),
        "items_root": root([one.item for _, one in rows]).hex(),
    }
    items = [one.listed(tick) for tick, one in rows]
    return Entry(log, "publish", actor, f"coll:{collection}", pub, private={"items": items})


def moved(stamp: Stamp) -> list[Entry]:
    """What became news to somebody by an act because something that it refers to came, went, or lies otherwise: in the log of whom it
    is, and of those to whom it came. Where it came to nobody there is nothing to tell."""
    return [
        publication(
            route(run.country, run.gaining), HUB, run.collection, "ends", enumerate(run.objects, run.first_tick)
        )
        for run in stamp.moved
    ]
