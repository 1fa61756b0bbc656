"""Blocks into Parquet: the reader gives them back in order of time, and a file is whole or not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from storage import parquet_sink
from storage.columns import TS_MAX
from storage.parquet import ParquetReader
from storage.parquet_sink import ParquetSink
from tests.storage.conftest import DAY, DAY_NS
from tickloom.errors import StorageError
from tickloom.events import QUOTE_DTYPE, TRADE_DTYPE, EventBlock, SymbolTable, make_seq

SESSION = "20261120.A"


def blocks_of(rng: np.random.Generator, count: int, size: int, back_ns: int) -> list[EventBlock]:
    """Blocks in order of seq, whose times go back by up to ``back_ns``."""
    symbols = SymbolTable(["ALFA", "BRVO"])
    blocks = []
    for number in range(count):
        block = EventBlock("XNAS", SESSION, symbols)
        seqs = make_seq(DAY, 1) + number * size + np.arange(size)
        for kind, dtype in (("trades", TRADE_DTYPE), ("quotes", QUOTE_DTYPE)):
            records = np.zeros(size, dtype=dtype)
            records["seq"], records["symbol"] = seqs, rng.integers(1, 3, size)
            records["ts_event"] = DAY_NS + 10**9 + (seqs - seqs[0] + number * size) * 1_000
            records["ts_event"] -= rng.integers(0, back_ns + 1, size)
            records["ts_recv"] = records["ts_event"]
            setattr(block, kind, records)
        blocks.append(block)
    return blocks


@pytest.mark.parametrize("lateness_ns", [0, 50_000])
def test_what_was_written_is_read_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lateness_ns: int
) -> None:
    """All rows, by time and seq, with small row groups; with a watermark that keeps its word, and with one
    that does not."""
    monkeypatch.setattr(parquet_sink, "GROUP_ROWS", 100)
    blocks = blocks_of(np.random.default_rng(1), 40, 64, 50_000)
    sink = ParquetSink(tmp_path)
    latest = 0
    for block in blocks:
        latest = max(latest, int(block.trades["ts_event"].max()), int(block.quotes["ts_event"].max()))
        sink.write(block, latest - lateness_ns, 0)
    sink.close()
    sink.close()
    assert sink.rows == {"trades": 2_560, "quotes": 2_560}
    folder = tmp_path / "XNAS" / SESSION
    assert sorted(path.name for path in folder.iterdir()) == ["quotes.parquet", "trades.parquet"]
    read = list(ParquetReader(folder).read_events("XNAS", 0, TS_MAX))
    for kind in ("trades", "quotes"):
        found = np.concatenate([block.kinds()[kind] for block in read])
        wanted = np.concatenate([block.kinds()[kind] for block in blocks])
        wanted = wanted[np.lexsort((wanted["seq"], wanted["ts_event"]))]
        for name in ("ts_event", "ts_recv", "seq"):
            assert np.array_equal(found[name], wanted[name])
        names = [read[0].symbols.names[index] for index in found["symbol"]]
        assert names == [blocks[0].symbols.names[index] for index in wanted["symbol"]]


def test_abandoned_load_leaves_nothing(tmp_path: Path) -> None:
    """No file and no part of one; those of an earlier load stay until the next is whole."""
    first = blocks_of(np.random.default_rng(1), 1, 10, 0)[0]
    sink = ParquetSink(tmp_path)
    sink.write(first, 0, 0)
    sink.close()
    again = ParquetSink(tmp_path)
    again.write(blocks_of(np.random.default_rng(2), 1, 20, 0)[0], 0, 0)
    again.abandon()
    folder = tmp_path / "XNAS" / SESSION
    assert sorted(path.name for path in folder.iterdir()) == ["quotes.parquet", "trades.parquet"]
    blocks = list(ParquetReader(folder).read_events("XNAS", 0, TS_MAX, ("trades",)))
    assert sum(len(block.trades) for block in blocks) == 10


def test_disk_that_refuses(tmp_path: Path) -> None:
    """A sentence that says where and what to do; out of order is refused as by the other sink."""
    (tmp_path / "XNAS").write_text("in the way")
    block = blocks_of(np.random.default_rng(1), 1, 10, 0)[0]
    with pytest.raises(StorageError, match=r"cannot be written: .*name another folder"):
        ParquetSink(tmp_path).write(block, 0, 0)
    sink = ParquetSink(tmp_path / "else")
    sink.write(block, 0, 0)
    block.trades = block.trades[::-1]
    with pytest.raises(StorageError, match="out of seq order"):
        sink.write(block, 0, 0)
    sink.abandon()
