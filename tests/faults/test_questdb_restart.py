"""QuestDB goes away while events are written to it: nothing is lost, nothing is there twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from storage import QuestDbReader, QuestDbSink, schema, wait_applied
from tickloom.events import DELTA_DTYPE, QUOTE_DTYPE, TRADE_DTYPE, EventBlock, Records, SymbolTable, make_seq
from tickloom.stack import questdb
from tickloom.stack.configuration import StackConfiguration
from tickloom.stack.supervisor import Stack

pytestmark = pytest.mark.slow

BLOCKS = 300
ROWS = 500  # of each kind in a block
FLUSH_ROWS_MAX = 4_000
AWAY_S = 10.0
START_NS = 1_795_132_800_000_000_000
KINDS = ("trades", "quotes", "book_deltas")
SYMBOLS = SymbolTable([f"S{number}" for number in range(20)])


def tape() -> list[EventBlock]:
    """The same events each time: three kinds, a message every 10 us, two levels a message."""
    rng = np.random.default_rng(7)

    def records(dtype: np.dtype[np.void], block: int) -> Records:
        rows = np.zeros(ROWS, dtype=dtype)
        number = block * ROWS + np.arange(ROWS)
        if dtype is DELTA_DTYPE:
            number -= number % 2
            rows["side"] = 1 + np.arange(ROWS) % 2
        rows["seq"] = make_seq(date(2026, 11, 20), 1) + number
        rows["ts_event"] = START_NS + number * 10_000
        rows["ts_recv"] = rows["ts_event"] + 77
        rows["symbol"] = rng.integers(1, len(SYMBOLS), ROWS)
        rows["venue_id"] = number
        for name in dtype.names or ():
            if name.endswith(("price", "size")):
                rows[name] = rng.integers(1, 10**15, ROWS)
        return rows

    return [
        EventBlock(
            "XNAS",
            "20261120",
            SYMBOLS,
            records(TRADE_DTYPE, block),
            records(QUOTE_DTYPE, block),
            records(DELTA_DTYPE, block),
        )
        for block in range(BLOCKS)
    ]


@contextmanager
def server(data_dir: Path) -> Iterator[tuple[Stack, StackConfiguration]]:
    """A QuestDB of this test's own, with the schema."""
    configuration = StackConfiguration.load(
        stack={"data_dir": data_dir, "start_timeout_s": 180, "restart_backoff_ms": 100}
    ).with_free_ports()
    service = questdb.service(configuration.questdb, data_dir)
    with Stack([service], configuration.stack) as stack:
        schema.apply(configuration.questdb)
        yield stack, configuration


class Feeder(threading.Thread):
    """Writes the tape at a pace that leaves time to break things, and flushes."""

    def __init__(self, sink: QuestDbSink, blocks: list[EventBlock]) -> None:
        super().__init__(daemon=True)
        self._sink, self._blocks = sink, blocks
        self.pending_rows_max = 0
        self.written = 0
        self.error: Exception | None = None
        self.stop = threading.Event()

    def run(self) -> None:
        try:
            for block in self._blocks:
                if self.stop.wait(0.02):
                    return
                self._sink.write(block, 0, 0)
                self.written += 1
                self.pending_rows_max = max(self.pending_rows_max, self._sink.pending_rows)
            self._sink.flush()
        except Exception as error:
            self.error = error


def assert_all_there_once(configuration: StackConfiguration, blocks: list[EventBlock]) -> None:
    """What is stored is exactly the tape: row by row, field by field."""
    wait_applied(configuration.questdb, KINDS)
    with QuestDbReader(configuration.questdb) as reader:
        stored = list(reader.read_events("XNAS", 0, 2**62, kinds=KINDS))
    for kind in KINDS:
        wanted = np.concatenate([block.kinds()[kind] for block in blocks])
        found = np.concatenate([block.kinds()[kind] for block in stored])
        names = np.array(stored[0].symbols.names)
        found["symbol"] = [SYMBOLS.index(name) for name in names[found["symbol"]].tolist()]
        if kind == "book_deltas":
            wanted, found = (np.sort(rows, order=["seq", "side"]) for rows in (wanted, found))
        assert len(found) == len(wanted)
        assert (found == wanted).all()


def test_stop_and_start_of_ten_seconds(tmp_path: Path) -> None:
    """An ordered stop of ten seconds in the middle of the tape: the writer waits with bounded memory,
    goes on by itself, and every event is stored once."""
    blocks = tape()
    with server(tmp_path) as (stack, configuration):
        sink = QuestDbSink(configuration.questdb, flush_rows_max=FLUSH_ROWS_MAX)
        feeder = Feeder(sink, blocks)
        feeder.start()
        while feeder.written < BLOCKS // 4:
            feeder.join(0.01)
        stack.stop_service("questdb")
        stopped_at = feeder.written
        feeder.join(AWAY_S)
        assert feeder.is_alive()
        waited_at = feeder.written
        assert waited_at < BLOCKS  # it waits ...
        assert waited_at - stopped_at <= 4 * FLUSH_ROWS_MAX / ROWS + 1  # ... with what memory may hold
        stack.start_service("questdb")
        feeder.join(120)
        assert not feeder.is_alive()
        assert feeder.error is None
        assert feeder.pending_rows_max <= 4 * FLUSH_ROWS_MAX
        sink.close()
        assert_all_there_once(configuration, blocks)


def test_kill_in_mid_request_and_a_new_writer(tmp_path: Path) -> None:
    """SIGKILL of the server three times while requests are under way, and then of the writer's memory: a
    new writer goes on from what is stored, and every event is stored once."""
    blocks = tape()
    with server(tmp_path) as (stack, configuration):
        sink = QuestDbSink(configuration.questdb, flush_ms=1, flush_rows_max=FLUSH_ROWS_MAX)
        feeder = Feeder(sink, blocks)
        feeder.start()
        for part in (1, 2, 3):
            while feeder.written < part * BLOCKS // 5:
                feeder.join(0.01)
            pid = stack.kill("questdb")
            stack.wait_healthy("questdb", not_pid=pid)
        feeder.stop.set()  # as if killed here: what it has in memory is not flushed
        feeder.join(30)
        assert feeder.error is None
        second = QuestDbSink(configuration.questdb)
        second.write(EventBlock("XNAS", "20261120", SYMBOLS), 0, 0)
        for block in blocks:
            second.write(block, 0, 0)
        second.close()
        sink.close()
        assert_all_there_once(configuration, blocks)
