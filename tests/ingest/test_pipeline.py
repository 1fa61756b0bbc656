"""The pipeline: each sink follows the capture on its own, and gets everything, in order, once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ingest.capture import CaptureBatch, CaptureWriter, RecordKind
from ingest.pipeline import CapturePublisher, Watermark, count_events, load_capture
from tickloom.clock import NS_PER_DAY, NS_PER_MS, ReplayClock
from tickloom.errors import ClientLostError, ServiceError, StorageError
from tickloom.events import STATUS_DTYPE, TRADE_DTYPE, EventBlock, SymbolTable
from tickloom.settings import ItchSettings

SETTINGS = ItchSettings(heartbeat_ms=10, idle_ms=0)
WAIT_S = 20.0


class NumberDecoder:
    """Each record is a decimal number, which makes a trade of that seq; ``end`` ends the session."""

    venue, session, end_ns = "TEST", "20261121", NS_PER_DAY

    def __init__(self) -> None:
        self.watermark_ns = self.last_seq = 0
        self.counters: Counter[str] = Counter()
        self.ended = False
        self._symbols = SymbolTable(["EVEN", "ODD"])

    def decode(self, batch: CaptureBatch) -> EventBlock:
        numbers = [int(record.payload) for record in batch if record.payload != b"end"]
        self.ended = self.ended or len(numbers) < len(batch)
        trades = np.zeros(len(numbers), dtype=TRADE_DTYPE)
        trades["seq"] = trades["ts_event"] = numbers
        trades["symbol"] = [1 + number % 2 for number in numbers]
        if numbers:
            self.last_seq = self.watermark_ns = numbers[-1]
        self.counters["decoded"] += len(numbers)
        statuses = np.zeros(int(0 in numbers), dtype=STATUS_DTYPE)
        return EventBlock(self.venue, self.session, self._symbols, trades, statuses=statuses)


class Sink:
    """Remembers; can be away at first, slow, or failing."""

    interval_ms = 0.0

    def __init__(self, name: str = "sink", away: int = 0) -> None:
        self.name, self.away = name, away
        self.seqs: list[int] = []
        self.watermarks: list[int] = []
        self.empty_writes = 0
        self.flushed = self.closed = False
        self.open = threading.Event()
        self.open.set()

    def resume_after(self, venue: str, session: str) -> dict[str, int]:
        if self.away:
            self.away -= 1
            raise ServiceError("away")
        return {}

    def write(self, block: EventBlock, watermark_ns: int, last_seq: int) -> None:
        self.open.wait()
        self.seqs.extend(block.trades["seq"].tolist())
        self.watermarks.append(watermark_ns)
        self.empty_writes += not len(block)

    def flush(self) -> None:
        self.flushed = True

    def close(self) -> None:
        self.closed = True


def wait(reached: Callable[[], bool]) -> None:
    for _ in range(int(WAIT_S * 100)):
        if reached():
            return
        threading.Event().wait(0.01)
    raise AssertionError("not reached in time")


def append(writer: CaptureWriter, numbers: range) -> None:
    writer.append_many(RecordKind.DATA, [1] * len(numbers), [str(number).encode() for number in numbers])


def test_late_and_live_are_one(tmp_path: Path) -> None:
    """What was captured before the start, and what comes while it runs, arrives in order and once."""
    sink = Sink()
    with CaptureWriter(tmp_path) as writer:
        append(writer, range(1, 1_000))
        publisher = CapturePublisher(tmp_path, NumberDecoder, [sink], SETTINGS, writer.notification)
        publisher.start()
        for start in range(1_000, 3_000, 10):
            append(writer, range(start, start + 10))
    assert publisher.finish(WAIT_S)
    assert sink.seqs == list(range(1, 3_000))
    assert sink.closed


def test_a_stuck_sink_holds_up_nobody_else(tmp_path: Path) -> None:
    """While one sink's server hangs the other one gets everything; ending does not wait for ever, and the
    next start brings the rest."""
    stuck, free = Sink("stuck"), Sink("free")
    stuck.open.clear()
    with CaptureWriter(tmp_path) as writer:
        publisher = CapturePublisher(tmp_path, NumberDecoder, [stuck, free], SETTINGS, writer.notification)
        publisher.start()
        append(writer, range(1, 500))
        wait(lambda: len(free.seqs) == 499)
    assert not publisher.finish(0.5)
    assert (free.closed, stuck.closed) == (True, False)
    stuck.open.set()


def test_a_sink_that_is_away_at_first_gets_all(tmp_path: Path) -> None:
    """A server that is not up yet is asked again until it is."""
    sink = Sink(away=2)
    with CaptureWriter(tmp_path) as writer:
        append(writer, range(1, 10))
        publisher = CapturePublisher(tmp_path, NumberDecoder, [sink], SETTINGS, writer.notification)
        publisher.start()
        wait(lambda: len(sink.seqs) == 9)
    assert publisher.finish(WAIT_S)


def test_a_sink_whose_client_is_lost_begins_again(tmp_path: Path) -> None:
    """It is given all from the first record on, decoded anew; what came meanwhile follows, in order."""
    sink = Sink()
    taken: list[list[int]] = []

    def lose_the_client(block: EventBlock, watermark_ns: int, last_seq: int) -> None:
        if len(block) and len(taken) < 2:
            taken.append(block.trades["seq"].tolist())
            append(writer, range(100 * len(taken), 100 * len(taken) + 100))
            raise ClientLostError("lost")
        Sink.write(sink, block, watermark_ns, last_seq)

    sink.write = lose_the_client  # type: ignore[method-assign]
    with CaptureWriter(tmp_path) as writer:
        append(writer, range(1, 100))
        publisher = CapturePublisher(tmp_path, NumberDecoder, [sink], SETTINGS, writer.notification)
        publisher.start()
        wait(lambda: len(sink.seqs) >= 299)
    assert publisher.finish(WAIT_S)
    assert [numbers[0] for numbers in taken] == [1, 1]
    assert sink.seqs == list(range(1, 300))


def test_a_failed_sink_is_told(tmp_path: Path) -> None:
    """What ends a sink for good is raised to the session, not kept by a thread that has died."""

    class Failing(Sink):
        def write(self, block: EventBlock, watermark_ns: int, last_seq: int) -> None:
            raise StorageError("no such table")

    with CaptureWriter(tmp_path) as writer:
        append(writer, range(1, 2))
        publisher = CapturePublisher(tmp_path, NumberDecoder, [Failing()], SETTINGS, writer.notification)
        publisher.start()
        wait(lambda: publisher.threads[0].error is not None)
    with pytest.raises(StorageError, match="no such table"):
        publisher.check()


def test_sinks_are_written_to_while_nothing_comes(tmp_path: Path) -> None:
    """A silent venue still gives sinks a turn every heartbeat_ms, so that they can send heartbeats."""
    sink = Sink()
    with CaptureWriter(tmp_path) as writer:
        publisher = CapturePublisher(tmp_path, NumberDecoder, [sink], SETTINGS, writer.notification)
        publisher.start()
        wait(lambda: sink.empty_writes >= 5)
    assert publisher.finish(WAIT_S)


def test_watermark_goes_on_in_silence() -> None:
    """Silent for longer than idle_ms, the watermark goes on with the clock; it never goes back."""
    clock, decoder = ReplayClock(0), NumberDecoder()
    watermark = Watermark(1_000, clock)
    assert watermark.value(decoder) == 0
    decoder.watermark_ns = 50
    clock.advance_by(900 * NS_PER_MS)
    assert watermark.value(decoder) == 50
    clock.advance_by(300 * NS_PER_MS)
    assert watermark.value(decoder) == 50 + 200 * NS_PER_MS
    watermark.progress()
    decoder.watermark_ns = 60
    assert watermark.value(decoder) == 50 + 200 * NS_PER_MS


def test_watermark_before_the_first_event_and_with_idle_off() -> None:
    """Before there was an event there is no watermark to move; idle_ms = 0 never moves it."""
    clock, decoder = ReplayClock(0), NumberDecoder()
    on, off = Watermark(1_000, clock), Watermark(0, clock)
    clock.advance_by(10_000 * NS_PER_MS)
    assert on.value(decoder) == 0
    decoder.watermark_ns = 50
    assert off.value(decoder) == 50


def test_end_moves_the_watermark_to_the_end_of_the_day() -> None:
    """After the end nothing more comes of that day, whoever waits for time gets it all, and the next day's
    first event is not late; a session that goes on past midnight moves nothing back."""
    decoder = NumberDecoder()
    decoder.watermark_ns, decoder.ended = 50, True
    assert Watermark(1_000, ReplayClock(0)).value(decoder) == NS_PER_DAY
    decoder.watermark_ns = NS_PER_DAY + 50
    assert Watermark(1_000, ReplayClock(0)).value(decoder) == NS_PER_DAY + 50


def test_finished_capture_through_sinks(tmp_path: Path) -> None:
    """Loading a capture writes all of it, moves the watermark behind its end, and makes it durable."""
    with CaptureWriter(tmp_path) as writer:
        append(writer, range(1, 100))
        writer.append(RecordKind.DATA, 1, b"end")
    sink = Sink()
    blocks = list(load_capture(tmp_path, NumberDecoder(), [sink]))
    assert sink.seqs == list(range(1, 100)) == [seq for block in blocks for seq in block.trades["seq"]]
    assert sink.watermarks[-1] == NS_PER_DAY
    assert sink.flushed


def test_counts_by_symbol(tmp_path: Path) -> None:
    """Events of a capture, a table and symbol; the empty name is the venue as a whole."""
    with CaptureWriter(tmp_path) as writer:
        append(writer, range(0, 101))
    counts = count_events(tmp_path, NumberDecoder())
    assert counts == {
        "trades": {"EVEN": 51, "ODD": 50},
        "quotes": {},
        "book_deltas": {},
        "statuses": {"": 1},
        "gaps": {},
    }
