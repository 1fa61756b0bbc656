"""The live session against a gateway on loopback: captured, published, resumed; a hole is said."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest.capture import CaptureReader, CaptureWriter, RecordKind, session_path
from ingest.dbn import session
from ingest.dbn.gateway import serve
from ingest.dbn.live import cut_apart, warm_up
from ingest.feeds import decoder_for
from ingest.pipeline import count_events
from ingest.warm import warm_up_feed, warm_up_shared
from tests.ingest.dbn.gateway import KEY, Gateway, Turn
from tests.ingest.dbn.test_decoder import DAY, DAY_NS, TICK, mbo
from tests.ingest.dbn.test_live import METADATA, some_trades
from tests.ingest.dbn_naive import encoded
from tickloom.errors import CaptureError, SetupError, StorageError, TickloomError
from tickloom.events import EventBlock, GapReason, Records, StatusCode
from tickloom.instruments import Registry
from tickloom.settings import DbnSettings

WAIT_S = 20.0
NAME = f"{DAY:%Y%m%d}.DBN.LIVE"
Ingest = Callable[..., "MemorySink"]


class MemorySink:
    """Keeps what it is given; ``failure`` is raised where it is set."""

    name = "memory"
    interval_ms = 1.0

    def __init__(self) -> None:
        self.blocks: list[EventBlock] = []
        self.failure: TickloomError | None = None

    def resume_after(self, venue: str, session: str) -> dict[str, int]:
        return {}

    def write(self, block: EventBlock, watermark_ns: int, last_seq: int) -> None:
        if self.failure is not None:
            raise self.failure
        self.blocks.append(block)

    def flush(self) -> None: ...

    def close(self) -> None: ...

    def rows(self, kind: str) -> Records:
        parts = [getattr(block, kind) for block in self.blocks]
        return np.concatenate(parts) if parts else np.zeros(0)

    @property
    def trades(self) -> int:
        return sum(len(block.trades) for block in self.blocks)


@pytest.fixture(scope="module")
def compiled() -> None:
    """What a session compiles at its start is no part of how long a test may take."""
    warm_up_shared()
    warm_up_feed("dbn", Registry.load())
    warm_up()


@pytest.fixture
def ingest(compiled: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ingest:
    """``ingest(gateway, until)``: run a session until ``until(sink)``; the sink that it filled."""
    monkeypatch.setenv("TICKLOOM_STACK_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DATABENTO_API_KEY", KEY)

    def run(port: int, until: Callable[[MemorySink], bool], **values: Any) -> MemorySink:
        given = {"dataset": "XNAS.ITCH", "schemas": ("trades",), "symbols": ("7",), **values}
        settings = DbnSettings(
            venue="XNAS",
            gateway=f"127.0.0.1:{port}",
            session_date=f"{DAY}",
            metrics_port=0,
            **{"reconnect_ms": 1, "reconnect_ms_max": 20, "heartbeat_ms": 10, **given},
        )
        sink, stop = MemorySink(), threading.Event()
        errors: list[BaseException] = []

        def body() -> None:
            try:
                session.run(settings, lambda: [sink], stop)
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=body)
        thread.start()
        deadline = time.monotonic() + WAIT_S
        while not until(sink) and thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        stop.set()
        thread.join(WAIT_S)
        assert not thread.is_alive()
        if errors:
            raise errors[0]
        return sink

    return run


def captured(tmp_path: Path) -> list[bytes]:
    """Every record that is in the capture."""
    found = []
    with CaptureReader(session_path(tmp_path, "XNAS", NAME)) as reader:
        for batch in reader.batches():
            for record in range(len(batch)):
                if batch.kinds[record] == RecordKind.DATA:
                    found += cut_apart(batch.payload(record))
    return found


def sizes(sink: MemorySink) -> list[int]:
    return [size // 10**9 for size in sink.rows("trades")["size"].tolist()]


def test_a_stream_is_captured_and_published(ingest: Ingest, tmp_path: Path) -> None:
    """All records, once; what is asked for; the capture decodes to the same by itself."""
    records = some_trades(300)
    with Gateway(METADATA, records, [Turn(300, stays=True)]) as gateway:
        sink = ingest(gateway.port, lambda sink: sink.trades == 300)
    assert sizes(sink) == [1 + number % 2 for number in range(300)]
    assert gateway.asked[0].auth["dataset"] == "XNAS.ITCH"
    assert gateway.asked[0].subscriptions == [
        {
            "schema": "trades",
            "stype_in": "raw_symbol",
            "symbols": "7",
            "snapshot": "0",
            "id": "1",
            "is_last": "1",
        }
    ]
    decoder = decoder_for("XNAS", NAME)
    counts = count_events(session_path(tmp_path, "XNAS", NAME), decoder)
    assert sum(counts["trades"].values()) == 300
    assert decoder.counters["unplaced_system"] == len(captured(tmp_path)) - 300
    assert not decoder.counters["unknown_control"]


def test_lost_connections_and_restarts_leave_no_hole(ingest: Ingest, tmp_path: Path) -> None:
    """Five connections and a restart: each goes on where the capture ends, by the second before it."""
    records = some_trades(240, step_ns=200_000_000)
    turns = [Turn(stop) for stop in (50, 51, 120, 120)]
    with Gateway(METADATA, records, [*turns, Turn(200, stays=True)]) as gateway:
        first = ingest(gateway.port, lambda sink: sink.trades >= 200)
        starts = [int(asked.subscriptions[0].get("start", 0)) for asked in gateway.asked]
    assert starts[0] == 0
    assert starts[1] == records[49][0] - 10**9
    assert starts == sorted(starts)
    with Gateway(METADATA, records, [Turn(240, stays=True)]) as gateway:
        second = ingest(gateway.port, lambda sink: sink.trades >= 240)
        assert int(gateway.asked[0].subscriptions[0]["start"]) == records[199][0] - 10**9
    assert [one for one in captured(tmp_path) if one[1] == 0] == [raw for _, raw in records]
    assert sizes(first) == sizes(second)[:200]
    assert sizes(second) == [1 + number % 2 for number in range(240)]
    assert not len(second.rows("gaps"))


@pytest.mark.parametrize("why", ["replay is off", "the gateway does not go back so far"])
def test_what_cannot_be_replayed_is_a_gap(ingest: Ingest, why: str) -> None:
    """Of unknown length, once, with the seq of its own; what comes behind it comes."""
    off = why == "replay is off"
    records = some_trades(100)
    turns = [Turn(40), *([] if off else [Turn(0, too_old=why)]), Turn(100, stays=True)]
    with Gateway(METADATA, records, turns) as gateway:
        sink = ingest(gateway.port, lambda sink: sink.trades >= 140, replay=not off)
        assert len(gateway.asked) == len(turns)
        assert "start" not in gateway.asked[-1].subscriptions[0]
    (gap,) = sink.rows("gaps")
    assert (gap["symbol"], gap["first_missing"], gap["last_missing"]) == (0, 0, 0)
    assert gap["reason"] == GapReason.DISCONNECT
    seqs = sink.rows("trades")["seq"]
    assert seqs[39] < gap["seq"] < seqs[40]


def test_books_are_lost_with_what_is_missing_and_come_again(ingest: Ingest) -> None:
    """Orders by order, without replay: BOOK_LOST at the gap, BOOK_SYNCED when the next snapshot is whole."""
    snapshot = [mbo("R", flags=0x20), mbo("A", order_id=1, price=99 * TICK, flags=0x20)]
    snapshot.append(mbo("A", "A", order_id=2, price=101 * TICK, flags=0xA0))
    records = [(DAY_NS + at, bytes(raw)) for at, raw in enumerate(snapshot)]
    with Gateway(encoded([], "mbo"), records, [Turn(3), Turn(3, stays=True)]) as gateway:
        two = 2
        sink = ingest(
            gateway.port,
            lambda sink: sum(len(block.quotes) for block in sink.blocks) >= two,
            replay=False,
            schemas=("mbo",),
        )
        assert [asked.subscriptions[0]["snapshot"] for asked in gateway.asked] == ["1", "1"]
    synced, lost = int(StatusCode.BOOK_SYNCED), int(StatusCode.BOOK_LOST)
    assert sink.rows("statuses")["status"].tolist() == [synced, lost, synced]
    quotes = sink.rows("quotes")
    assert quotes[["bid_price", "ask_price"]].tolist() == [(99 * TICK, 101 * TICK)] * 2


def test_a_silent_gateway_is_left(ingest: Ingest) -> None:
    """One that accepts and says nothing is taken for dead; the next connection is served."""
    records = some_trades(5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        accepted: list[socket.socket] = []

        def hold() -> None:
            accepted.append(silent.accept()[0])
            accepted.append(silent.accept()[0])

        holder = threading.Thread(target=hold, daemon=True)
        holder.start()
        ingest(port, lambda _: len(accepted) == 2, silence_ms_max=200)
        for one in accepted:
            one.close()
    with Gateway(METADATA, records, [Turn(5, stays=True)]) as gateway:
        assert ingest(gateway.port, lambda sink: sink.trades == 5).trades == 5


def test_a_refusal_ends_the_first_connection_and_is_waited_out_later(ingest: Ingest) -> None:
    """A wrong key never gets right by itself; a gateway that has let us in may be full for a while."""
    records = some_trades(20)
    with (
        Gateway(METADATA, records, [Turn(0, refusal="User is not entitled.")]) as gateway,
        pytest.raises(SetupError, match=r"User is not entitled\. Check dbn\.dataset.*DATABENTO_API_KEY"),
    ):
        ingest(gateway.port, lambda _: False)
    turns = [Turn(10), Turn(0, refusal="Too many connections."), Turn(20, stays=True)]
    with Gateway(METADATA, records, turns) as gateway:
        assert ingest(gateway.port, lambda sink: sink.trades == 20).trades == 20


def test_a_sink_that_fails_ends_the_session(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in every ingester: with its own error, when everything is captured."""
    monkeypatch.setattr(MemorySink, "write", lambda *_: (_ for _ in ()).throw(StorageError("refused")))
    with (
        Gateway(METADATA, some_trades(5), [Turn(5, stays=True)]) as gateway,
        pytest.raises(StorageError, match="refused"),
    ):
        ingest(gateway.port, lambda _: False)


def test_address() -> None:
    """Databento's own gateways are named after their datasets."""
    assert session.address_of(DbnSettings(dataset="GLBX.MDP3")) == ("glbx-mdp3.lsg.databento.com", 13_000)
    assert session.address_of(DbnSettings(dataset="GLBX.MDP3", gateway="localhost:5")) == ("localhost", 5)


def test_a_capture_is_a_gateway_again(ingest: Ingest, tmp_path: Path) -> None:
    """Served over a socket, also from the middle on after a restart, a session gives the same events."""
    records = some_trades(240, step_ns=200_000_000)
    with Gateway(METADATA, records, [Turn(100), Turn(240, stays=True)]) as gateway:
        first = ingest(gateway.port, lambda sink: sink.trades == 240)
    (tmp_path / "capture").rename(tmp_path / "played")
    stop, ended, address = threading.Event(), threading.Event(), list[str]()
    path = tmp_path / "played" / "XNAS" / NAME
    server = threading.Thread(
        target=serve,
        args=(path, stop),
        kwargs={"port": 0, "speed": 0, "on_ready": address.append, "on_end": ended.set},
    )
    server.start()
    while not address and server.is_alive():
        time.sleep(0.01)
    try:
        port = int(address[0].rpartition(":")[2])
        second = ingest(port, lambda sink: sink.trades == 240)
        assert ended.wait(WAIT_S)
        third = ingest(port, lambda sink: sink.trades == 240 and len(captured(tmp_path)) >= 240)
    finally:
        stop.set()
        server.join(WAIT_S)
    assert [one for one in captured(tmp_path) if one[1] == 0] == [raw for _, raw in records]
    values = ["ts_event", "ts_recv", "price", "size", "side"]
    for sink in (second, third):
        assert sink.rows("trades")[values].tolist() == first.rows("trades")[values].tolist()
        assert not len(sink.rows("gaps"))


def test_what_cannot_be_served(tmp_path: Path) -> None:
    """A capture of something else, and a port that is taken."""
    with CaptureWriter(tmp_path / "other") as writer:
        writer.append(RecordKind.DATA, 1, b"data")
    with pytest.raises(CaptureError, match="no metadata of DBN"):
        serve(tmp_path / "other", threading.Event(), port=0)
    with CaptureWriter(tmp_path / "session") as writer:
        writer.append(RecordKind.SNAPSHOT, 1, METADATA)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SetupError, match=f"port {port} cannot be opened"):
            serve(tmp_path / "session", threading.Event(), port=port)
