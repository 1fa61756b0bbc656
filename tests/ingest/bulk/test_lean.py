"""Lean's zips: the best of all exchanges by a plain loop over the same rows, and every row accounted for."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingest.bulk import lean
from ingest.bulk.load import Options, open_source
from tests.ingest.bulk.test_tables import Taken
from tickloom.errors import DecodeError, SettingsError
from tickloom.events import source_seq
from tickloom.prices import NO_PRICE

MIDNIGHT_NS = 1_381_118_400_000_000_000  # 2013-10-07T00:00 in New York
NANOS = 10**9
OPEN_NS, CLOSE_NS = 34_200 * NANOS, 57_600 * NANOS


def run(path: Path, tmp_path: Path, exchange: str = "") -> tuple[Taken, dict[str, Any], str]:
    source = open_source(path, Options(tmp_path / "rejects", "XNYS", exchange))
    sink = Taken()
    source.run(sink.write)
    return sink, source.report(), source.session


def lines(path: Path) -> list[list[str]]:
    with zipfile.ZipFile(path) as archive:
        return list(csv.reader(io.StringIO(archive.read(archive.namelist()[0]).decode())))


def quotes_of(rows: list[list[str]]) -> list[tuple[int, ...]]:
    """(ms, line, bid, size, ask, size) wherever the best has changed, a bid and its ask taken together."""
    best, last, out = [0, 0, 0, 0], [-1] * 4, []
    told = [
        (int(ms), line, *map(int, sides))
        for line, (ms, *sides, _, _, bad) in enumerate(rows, 1)
        if bad == "0"
    ]
    for at, (ms, line, *sides) in enumerate(told):
        side = 0 if sides[0] else 2
        best[side : side + 2] = sides[side : side + 2]
        behind = told[at + 1] if at + 1 < len(told) else (0, 0, 1)
        if side == 0 and behind[0] == ms and not behind[2]:
            continue
        if best != last:
            last = [*best]
            out.append((ms, line, *best))
    return out


def quotes_in(sink: Taken) -> list[tuple[int, ...]]:
    return [
        (event, seq, *(0 if value == NO_PRICE else value for value in prices))
        for event, seq, _, *prices, _ in sink.rows("quotes")
    ]


@pytest.mark.parametrize("block_bytes", [4 << 20, 100_000])
def test_recorded_quotes(
    shared_data: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    """A day of IBM: each change of the national best, however the file is cut; crossed for moments only."""
    monkeypatch.setattr(lean, "BLOCK_BYTES", block_bytes)
    path = shared_data("equities_ticks/ibm/20131007_quote.zip")
    rows = lines(path)
    sink, report, session = run(path, tmp_path)
    found = quotes_in(sink)
    assert found == [
        (MIDNIGHT_NS + ms * 1_000_000, line, bid * 100_000, bids * NANOS, ask * 100_000, asks * NANOS)
        for ms, line, bid, bids, ask, asks in quotes_of(rows)
    ]
    regular = [one for one in found if OPEN_NS <= one[0] - MIDNIGHT_NS < CLOSE_NS]
    assert len(regular) > 40_000
    assert sum(bid > ask for _, _, bid, _, ask, _ in regular) < len(regular) / 1_000
    assert report["rows"] == len(rows)
    assert report["rejected"]["reasons"] == {"suspicious": sum(row[7] != "0" for row in rows)}
    assert session == "20131007.LEAN.IBM.QUOTES"


def test_a_bid_waits_for_its_ask_alone(tmp_path: Path) -> None:
    """In another millisecond, behind another bid, or at the end, it is a quote by itself; one that says
    nothing new is none."""
    rows = [
        "1,0,0,110000,5,Q,1,0", "2,100000,1,0,0,P,1,0", "2,0,0,110000,6,Q,1,0", "3,100100,1,0,0,P,1,0",
        "4,0,0,110000,7,Q,1,0", "5,100200,1,0,0,P,1,0", "5,100300,1,0,0,P,1,0", "6,100300,1,0,0,P,1,0",
        "7,0,0,0,0,P,1,0", "8,100400,2,110100,3,P,1,0", "9,100500,1,0,0,P,1,0",
    ]  # fmt: skip
    path = tmp_path / "q.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("20131007_zzz_Quote_Tick.csv", "\n".join(rows) + "\n")
    sink, report, _ = run(path, tmp_path)
    assert [(seq, bid // 100_000, ask // 100_000) for _, seq, bid, _, ask, _ in quotes_in(sink)] == [
        (1, 0, 110000), (3, 100000, 110000), (4, 100100, 110000), (5, 100100, 110000), (6, 100200, 110000),
        (7, 100300, 110000), (10, 100400, 110100), (11, 100500, 110100),
    ]  # fmt: skip
    assert report["rejected"]["reasons"] == {"neither side has a price": 1}
    with pytest.raises(SettingsError, match="without --exchange"):
        run(path, tmp_path, "Q")


def test_recorded_trades(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    """A day of each stock: each row a trade or a reject, prices to the digit."""
    for path in sorted(shared_data("equities_ticks").glob("*/20131007_trade.zip")):
        rows = lines(path)
        sink, report, _ = run(path, tmp_path)
        expected = [
            (MIDNIGHT_NS + int(row[0]) * 1_000_000, line, int(row[1]) * 100_000, int(row[2]) * NANOS)
            for line, row in enumerate(rows, 1)
            if row[5] == "0" and int(row[1]) and int(row[2])
        ]
        found = sink.rows("trades")
        assert [(event, seq, price, size) for event, seq, _, price, size, *_ in found] == expected
        assert {row[2] for row in found} == {path.parent.name.upper()}
        assert len(expected) + report["rejected"]["rows"] == report["rows"] == len(rows)


def test_rows_that_are_none(tmp_path: Path) -> None:
    """Each by its line; a zip of something else is refused."""
    path = tmp_path / "t.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "20131007_zzz_Trade_Tick.csv",
            "1,10000,5,P,0,0\nx,10000,5,P,0,0\n3,10000\n4,0,5,P,0,0\n5,10000,5,P,0,1\n99999999,1,1,P,0,0\n7,1,1,Q,0,0\n",
        )
    sink, report, session = run(path, tmp_path, "Q")
    assert [(row[1], source_seq(row[1])) for row in sink.rows("trades")] == [(7, 7)]
    assert session == "20131007.LEAN.ZZZ.TRADES.Q"
    assert report["other_exchanges"] == 1
    assert report["rejected"]["reasons"] == {
        "another number of values": 1, "ms is no number that can be": 1, "price or size is 0": 1,
        "suspicious": 1, "ms is not of that day": 1,
    }  # fmt: skip
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "")
    with pytest.raises(DecodeError, match=r"holds notes\.txt; a zip of ticks"):
        run(path, tmp_path)
