"""Whatever members submit, a list holds only what its reader may see and block by, nothing known to be good, one form each."""

import csv
import io
from ipaddress import ip_network

from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.edl.selection import Entry, select, still_allowed
from exchange.edl.table import FOREVER, Indicator
from exchange.edl.text import Wanted, chosen, lines, table
from exchange.edl.values import KINDS, values_of
from exchange.intake.warninglists import Warninglists
from exchange.model.view import OPEN
from exchange.release.grants import Allowed, Standing
from exchange.release.judged import Terms

KNOWN = Warninglists.packaged({"us-port-gulf": ["203.0.113.0/28", "puerto.example.org"]})
NOW = 1_000
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16", "100.64.0.0/10", "224.0.0.0/4",
           "fc00::/7", "fe80::/10", "::1/128", "ff00::/8", "203.0.113.0/28")  # fmt: skip

hosts = st.one_of(
    st.sampled_from(["10.0.0.1", "8.8.8.8", "203.0.113.9", "203.0.113.0/24", "198.51.100.7", "2001:db8::7", "::ffff:10.1.1.1", "fe80::1"]),
    st.sampled_from(["vpn.puerto.example.org", "example.org", "google.com", "EVIL.example", "b.example.", "ñ.example", "x"]),
    st.ip_addresses().map(str),
    st.text(max_size=12),
)  # fmt: skip
comparisons = st.tuples(
    st.sampled_from(["ipv4-addr:value", "ipv6-addr:value", "domain-name:value", "url:value", "file:hashes.MD5", "file:name"]),
    st.sampled_from(["=", "=", "=", "!=", "NOT =", "LIKE", "ISSUBSET"]),
    st.one_of(hosts, hosts.map(lambda host: f"http://{host}/a"), st.sampled_from(["d41d8cd98f00b204e9800998ecf8427e", "a" * 32])),
)  # fmt: skip


@st.composite
def patterns(draw: st.DrawFn) -> str:
    parts = draw(st.lists(comparisons, min_size=1, max_size=3))
    join = draw(st.sampled_from([" OR ", " OR ", " AND "]))
    quoted = [
        f"{path} {operator} '{value.replace(chr(92), chr(92) * 2).replace(chr(39), chr(92) + chr(39))}'"
        for path, operator, value in parts
    ]
    return f"[{join.join(quoted)}]"


@st.composite
def indicators(draw: st.DrawFn) -> Indicator:
    tick = draw(st.integers(1, 10_000))
    values, left = values_of({"pattern_type": "stix", "pattern": draw(patterns())}, KNOWN)
    return Indicator(
        tick=tick,
        label=draw(st.integers(0, 3)),
        item=b"%032d" % tick,
        id=draw(st.sampled_from(["a", "b", "c", "d", "e"])),
        instant=draw(st.sampled_from(["2026-01-01T00:00:00", "2026-01-02T00:00:00"])),
        name=draw(st.text(max_size=10)),
        confidence=draw(st.integers(0, 100)),
        revoked=draw(st.booleans()),
        from_us=draw(st.sampled_from([0, NOW, NOW + 1])),
        until_us=draw(st.sampled_from([NOW, NOW + 1, FOREVER])),
        values=values,
        left=left,
    )


@st.composite
def grants(draw: st.DrawFn) -> Allowed:
    labels = draw(st.sets(st.integers(0, 3)))
    blocking = draw(st.sets(st.sampled_from(sorted(labels)))) if labels else set()
    terms = (
        Terms(OPEN, 0, may_block=False, expires_after_seconds=None),
        Terms(OPEN, 0, may_block=True, expires_after_seconds=None),
    )
    standing = Standing(b"", {}, bytes(4), {label: int(label in blocking) for label in labels}, terms, 0)
    return Allowed("c", tuple(sorted(labels)), 1, dict.fromkeys(labels, "US"), standing)


def everything(held: list[Indicator], allowed: Allowed) -> list[Entry]:
    found = select(held, allowed, 1, NOW)
    return [entry for kind in KINDS for entry in found.entries[kind]]


@settings(max_examples=300)
@given(st.lists(indicators(), max_size=12), grants(), st.randoms())
def test_lists(held: list[Indicator], allowed: Allowed, chance: object) -> None:
    entries = everything(held, allowed)
    usable = [
        one for one in held if one.label in allowed.blocking and not one.revoked and one.from_us <= NOW < one.until_us
    ]
    permitted = {value for one in usable for value in one.values}
    for entry in entries:
        assert (entry.kind, entry.text) in permitted
        assert all(one.label in allowed.blocking for one in entry.indicators)
        if entry.kind in ("ipv4", "ipv6"):
            assert not any(_overlap(entry.text, one) for one in PRIVATE), entry.text
            assert not KNOWN.hits_value("ip", entry.text)
        if entry.kind == "domains":
            assert not KNOWN.hits_value("host", entry.text)
            assert not KNOWN.shelters(entry.text)
    for kind in KINDS:
        wanted = Wanted(f"{kind}.txt", strip=kind == "urls", wildcard=kind == "domains")
        text = lines([entry for entry in entries if entry.kind == kind], wanted, "c")
        told = text.decode("ascii").split("\n")
        assert told.pop() == ""
        assert told == sorted(set(told)), "sorted, once each"
        assert not any(line != line.strip() or not line or line.startswith("#") for line in told)

    shuffled = list(held)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    again = everything(shuffled, allowed)
    assert [entry[:2] for entry in again] == [entry[:2] for entry in entries] or _ties(held)
    if again == entries:
        assert table(again) == table(entries), "equal content, equal bytes"


def _ties(held: list[Indicator]) -> bool:
    """Two versions that nothing tells apart: in a hub no two rows have one tick."""
    return len({one.tick for one in held}) < len(held)


def _overlap(one: str, other: str) -> bool:
    left, right = ip_network(one), ip_network(other)
    return left.version == right.version and left.overlaps(right)  # type: ignore[arg-type]


@given(st.lists(indicators(), max_size=8), grants())
def test_cells(held: list[Indicator], allowed: Allowed) -> None:
    rows = list(csv.reader(io.StringIO(table(everything(held, allowed)).decode(), newline=""), strict=True))
    for row in rows:
        assert len(row) == len(rows[0])
        assert not any(
            one.lstrip().startswith(("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")) for one in row
        )
        assert not any(sign < " " for one in row for sign in one)


@given(st.lists(indicators(), max_size=12), grants(), st.integers(1, 5))
def test_the_first_of_a_list_are_of_it_and_in_its_order(held: list[Indicator], allowed: Allowed, top: int) -> None:
    entries = everything(held, allowed)
    few = list(chosen(entries, top))
    assert len(few) == min(top, len(entries))
    assert [entry for entry in entries if entry in few] == few
    least = min((entry.indicators[0].confidence for entry in few), default=0)
    assert all(entry.indicators[0].confidence <= least for entry in entries if entry not in few)


@given(st.lists(indicators(), max_size=12), grants(), grants())
def test_what_is_kept_of_an_old_list_is_allowed_today(held: list[Indicator], before: Allowed, today: Allowed) -> None:
    for entry in still_allowed(everything(held, before), today):
        assert entry.indicators
        assert all(one.label in today.blocking for one in entry.indicators)
