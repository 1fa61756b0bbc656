"""Folders of sessions are played as one tape, in order, without all being held."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.parquet import ParquetReader, write_events
from storage.parquet_sessions import common_names, session_folders
from tickloom.clock import NS_PER_DAY, NS_PER_MS
from tickloom.errors import StorageError
from tickloom.events import QUOTE_DTYPE, TRADE_DTYPE, EventBlock, SymbolTable, make_seq

DAY = date(2026, 11, 16)
DAY_NS = 1_794_787_200_000_000_000  # its midnight, UTC
EVERYTHING = ("XNAS", 0, 2**62)


def session(
    name: str, symbol: str, times_ms: list[int], kind: str = "trades", venue: str = "XNAS"
) -> EventBlock:
    """Events at so many ms behind the first day's midnight; ``seq`` is the day and the place in the list."""
    records = np.zeros(len(times_ms), TRADE_DTYPE if kind == "trades" else QUOTE_DTYPE)
    records["ts_event"] = DAY_NS + np.array(times_ms, np.int64) * NS_PER_MS
    records["ts_recv"] = records["ts_event"]
    records["seq"] = [make_seq(DAY + timedelta(ms // 86_400_000), n + 1) for n, ms in enumerate(times_ms)]
    records["symbol"] = 1
    return EventBlock(venue, name, SymbolTable([symbol]), **{kind: records})


def stored(folder: Path, *sessions: EventBlock) -> Path:
    """The sessions as ``tickloom load --parquet`` lays them out."""
    for block in sessions:
        kinds = [kind for kind in ("trades", "quotes") if len(block.kinds()[kind])]
        write_events([block], folder / block.venue / block.session, kinds)
    return folder


def rows(blocks: list[EventBlock], kind: str = "trades") -> list[tuple[str, str, int]]:
    """Session, symbol and ms of each row."""
    return [
        (one.session, one.symbols.names[row["symbol"]], (int(row["ts_event"]) - DAY_NS) // NS_PER_MS)
        for one in blocks
        for row in one.kinds()[kind]
    ]


@pytest.mark.parametrize("chunk_rows", [1, 7, 1_000])
@pytest.mark.parametrize("depth", ["XNAS", "."])
def test_days_follow_each_other(tmp_path: Path, chunk_rows: int, depth: str) -> None:
    """Each under its own name, whether the venue's folder is given or the one above."""
    days = [[day * 86_400_000 + ms for ms in range(0, 400, 5)] for day in range(3)]
    names = [f"2026111{6 + day}.A" for day in range(3)]
    folder = stored(tmp_path, *(session(name, "ALFA", day) for name, day in zip(names, days, strict=True)))
    reader = ParquetReader(folder / depth)
    assert reader.time_range() == (DAY_NS, DAY_NS + days[2][-1] * NS_PER_MS)
    found = rows(list(reader.read_events(*EVERYTHING, chunk_rows=chunk_rows)))
    assert found == [(name, "ALFA", ms) for name, day in zip(names, days, strict=True) for ms in day]


def test_time_that_is_wanted_is_given(tmp_path: Path) -> None:
    """Half open, over the border between two sessions."""
    folder = stored(
        tmp_path,
        session("20261116.A", "ALFA", [10, 20, 30]),
        session("20261117.A", "ALFA", [86_400_000, 86_400_010]),
    )
    found = ParquetReader(folder).read_events(
        "XNAS", DAY_NS + 20 * NS_PER_MS, DAY_NS + NS_PER_DAY + 10 * NS_PER_MS
    )
    assert [ms for _, _, ms in rows(list(found))] == [20, 30, 86_400_000]


def test_sessions_that_overlap_are_one(tmp_path: Path) -> None:
    """Trades and quotes of two stocks of one day, a file each as Lean has them: not a block for each row."""
    times = list(range(0, 3_000, 3))
    folder = stored(
        tmp_path,
        session("20261116.LEAN.ALFA.trade", "ALFA", times),
        session("20261116.LEAN.ALFA.quote", "ALFA", [ms + 1 for ms in times], "quotes"),
        session("20261116.LEAN.BETA.trade", "BETA", times),
        session("20261117.LEAN.ALFA.trade", "ALFA", [ms + 86_400_000 for ms in times]),
    )
    blocks = list(ParquetReader(folder).read_events(*EVERYTHING))
    trades = rows(blocks)
    assert [ms for _, _, ms in trades] == sorted([*times, *times, *(ms + 86_400_000 for ms in times)])
    assert {(name, symbol) for name, symbol, _ in trades} == {
        ("20261116.LEAN.ALFA.trade", "ALFA"),
        ("20261116.LEAN.ALFA.trade", "BETA"),
        ("20261117.LEAN.ALFA.trade", "ALFA"),
    }
    assert len(rows(blocks, "quotes")) == len(times)
    assert len(blocks) <= 3


def test_other_venues_stay_out(tmp_path: Path) -> None:
    """Two venues of the same hours keep their sessions' names; one that is not there is said."""
    folder = stored(
        tmp_path,
        session("20261116.A", "ALFA", [1, 2, 3]),
        session("20261116.B", "ALFA", [2, 3, 4], venue="XTWO"),
    )
    reader = ParquetReader(folder)
    assert rows(list(reader.read_events("XTWO", 0, 2**62))) == [
        ("20261116.B", "ALFA", ms) for ms in (2, 3, 4)
    ]
    with pytest.raises(StorageError, match="has events of XNAS, XTWO, and none of XLON"):
        list(reader.read_events("XLON", 0, 2**62))


@given(
    sessions=st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=12), min_size=1, max_size=5),
    chunk_rows=st.integers(1, 9),
)
@settings(max_examples=30, deadline=None)
def test_rows_are_those_of_all_sessions(
    tmp_path_factory: pytest.TempPathFactory, sessions: list[list[int]], chunk_rows: int
) -> None:
    """However they overlap and wherever a step ends: each row once, in the order of time."""
    folder = tmp_path_factory.mktemp("sessions")
    stored(folder, *(session(f"20261116.{n}", f"S{n}", sorted(ms)) for n, ms in enumerate(sessions)))
    found = [
        (ms, symbol)
        for _, symbol, ms in rows(list(ParquetReader(folder).read_events(*EVERYTHING, chunk_rows=chunk_rows)))
    ]
    assert [ms for ms, _ in found] == sorted(ms for one in sessions for ms in one)
    assert sorted(found) == sorted((ms, f"S{n}") for n, one in enumerate(sessions) for ms in one)


def test_names_of_what_overlaps(tmp_path: Path) -> None:
    """A chain of overlaps is one group, however long; touching is overlapping; venues are apart."""
    spans = {
        tmp_path / "V" / "a": (0, 10),
        tmp_path / "V" / "b": (5, 20),
        tmp_path / "V" / "c": (20, 30),
        tmp_path / "V" / "d": (31, 40),
        tmp_path / "W" / "e": (0, 40),
    }
    assert common_names(spans) == {tmp_path / "V" / name: "a" for name in "abc"}


def test_folders_of_sessions(tmp_path: Path) -> None:
    """A session's own folder is itself; else those below, and no deeper than VENUE/SESSION."""
    for name in ("V/a", "V/b", "V/c/deeper"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "trades.parquet").touch()
    names = ["trades.parquet", "quotes.parquet"]
    assert session_folders(tmp_path / "V" / "a", names) == [tmp_path / "V" / "a"]
    assert session_folders(tmp_path, names) == [tmp_path / "V" / "a", tmp_path / "V" / "b"]
    assert [one.name for one in session_folders(tmp_path / "V", names)] == ["a", "b", "deeper"]
