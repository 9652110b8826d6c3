"""What people see of feeds: within 120 columns in both languages, in words, and with what to do next."""

from collections import Counter
from pathlib import Path

import pytest

from exchange.cli.feed_showing import is_well, show_left_out, show_object, show_source, show_standing, standing
from exchange.times import parse_us
from feeds.catalogue import packaged
from feeds.faults import FeedFault
from feeds.report import HELD, Papers, Run

NOW = parse_us("2026-11-26T12:00:00.000000Z")
HOUR_US = 3_600_000_000
LANGUAGES = ["C.UTF-8", "es_MX.UTF-8"]
WIDE = 120


@pytest.fixture(params=LANGUAGES)
def spanish(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setenv("LC_ALL", request.param)
    monkeypatch.setenv("COLUMNS", "100")
    return bool(request.param.startswith("es"))


def test_status_fits_and_says_what_to_do(spanish: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = Run("attack-enterprise", records=1_000_001, accepted=1_000_001, refused=Counter({HELD: 3}))
    bad = Run("urlhaus", fault=FeedFault("feed-certificate", "Nobody vouches.", "Nadie responde."))
    rows = []
    for run, began in ((good, NOW - 49 * HOUR_US), (bad, NOW - HOUR_US), (Run("cert-pl"), NOW - 5 * HOUR_US)):
        papers = Papers(tmp_path, run.source)
        papers.write_report(run, began, began, papers.left(run.refused, run))
        rows.append(standing(papers, 3_600 if run is not good else 604_800, NOW))
    assert list(map(is_well, rows)) == [True, False, False]
    show_standing(rows)
    table, notes = (lines := capsys.readouterr().out.splitlines())[:4], lines[4:]
    assert all(len(line) <= WIDE for line in lines), lines
    words = ("bien", "falló 1", "tarde") if spanish else ("ok", "failed 1", "late")
    assert [word in line for word, line in zip(words, table[1:], strict=True)] == [True] * 3
    assert ("2 d" in table[1], "5 h" in table[3]) == (True, True)
    assert notes == (
        [
            "urlhaus: Nadie responde. Vea: puente feed test urlhaus",
            "cert-pl: leída bien hace 5 h, y toca cada 1 h. ¿Está en marcha `puente feed run --forever`?",
            "Qué quedó fuera, y por qué: puente feed errors attack-enterprise",
        ]
        if spanish
        else [
            "urlhaus: Nobody vouches. Look: puente feed test urlhaus",
            "cert-pl: read well 5 h ago, and due every 1 h. Does `puente feed run --forever` run?",
            "What was left out, and why: puente feed errors attack-enterprise",
        ]
    )


def test_each_source_and_what_it_is_good_for_fits(spanish: bool, capsys: pytest.CaptureFixture[str]) -> None:
    for one in packaged().values():
        show_source(one, "")
    out = capsys.readouterr().out
    assert all(len(line) <= WIDE for line in out.splitlines())
    assert ("sin leer aún" if spanish else "not read yet") in out
    assert "not read yet" not in out or not spanish


def test_an_object_and_what_was_left_out_are_shown_without_steering_the_terminal(
    spanish: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"indicator--1": "indicator \x1b[31mred"}
    show_object(
        {"type": "indicator", "name": "\x1b[31mred", "pattern": "[url:value = 'x']" * 20, "confidence": 5}, names
    )
    show_object({"type": "relationship", "source_ref": "indicator--1", "relationship_type": "indicates", "target_ref": "malware--2"}, names)  # fmt: skip
    show_left_out("list", "\u202e4", "-", "record-value", "\x07 " + "long " * 40)
    out = capsys.readouterr().out
    assert "\\u001b[31mred indicates malware--2" in out
    assert not {"\x1b[31m", "\x07", "\u202e"} & set(out)
    assert all(len(line) <= WIDE for line in out.splitlines())
