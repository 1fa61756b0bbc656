"""The ITCH session over real UDP: everything captured, holes filled or said, sessions told apart."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.capture import CaptureReader, CaptureWriter, RecordKind, session_path
from ingest.itch import session
from ingest.itch.decoder import ItchDecoder
from ingest.itch.messages import LAYOUTS
from ingest.itch.moldudp64 import HEAD, pack, pack_end
from ingest.itch.session import run, track
from tickloom.errors import CaptureError, SetupError, TickloomError
from tickloom.events import EventBlock, GapReason
from tickloom.settings import ItchSettings

WAIT_S = 20.0
MOLD = b"0000000001"


def trade(number: int) -> bytes:
    return LAYOUTS["P"].pack(
        stock_locate=1, timestamp=number, side="B", stock="ALFA", shares=1, price=1, match_number=number
    )


class MemorySink:
    """Keeps what it is given; fails where it is told to."""

    name = "memory"
    interval_ms = 1.0

    def __init__(self) -> None:
        self.trades: list[int] = []
        self.gaps: list[tuple[int, int, int]] = []
        self.watermarks: list[int] = []
        self.session = ""
        self.closed = False
        self.failure: TickloomError | None = None

    def resume_after(self, venue: str, session: str) -> dict[str, int]:
        self.session = session
        return {}

    def write(self, block: EventBlock, watermark_ns: int, last_seq: int) -> None:
        if self.failure is not None:
            raise self.failure
        self.trades.extend(block.trades["venue_id"].tolist())
        self.gaps.extend(block.gaps[["first_missing", "last_missing", "reason"]].tolist())
        self.watermarks.append(watermark_ns)

    def flush(self) -> None: ...

    def close(self) -> None:
        self.closed = True


class Rig:
    """An ingester in a thread, a venue's two sockets, and a sink that remembers."""

    def __init__(self, tmp_path: Path, ports: list[int], ready: threading.Event, **values: Any) -> None:
        self.ready = ready
        self.data_dir = tmp_path
        defaults = {"port": ports[0], "rerequest_port": ports[1], "session_date": "2026-11-21"}
        self.settings = ItchSettings(
            **{**defaults, "metrics_port": 0, "heartbeat_ms": 10, "gap_timeout_ms": 100, **values}
        )
        self.venue = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.server.bind(("127.0.0.1", ports[1]))
        self.server.settimeout(WAIT_S)
        self.sinks: list[MemorySink] = []
        self.error: BaseException | None = None
        self.start()

    def start(self) -> None:
        self.ready.clear()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        self.wait(lambda: self.ready.is_set() or not self.thread.is_alive())

    def _run(self) -> None:
        def sinks() -> list[MemorySink]:
            self.sinks.append(MemorySink())
            return self.sinks[-1:]

        try:
            run(self.settings, sinks, self.stop)
        except BaseException as error:
            self.error = error

    def send(self, *packets: bytes) -> None:
        for packet in packets:
            self.venue.sendto(packet, ("127.0.0.1", self.settings.port))

    def request(self) -> tuple[bytes, int, int, Any]:
        """The next re-request: session, sequence, count, asker."""
        raw, asker = self.server.recvfrom(100)
        return (*HEAD.unpack(raw), asker)

    def wait(self, reached: Callable[[], bool]) -> None:
        for _ in range(int(WAIT_S * 100)):
            if reached():
                return
            threading.Event().wait(0.01)
        raise AssertionError(f"not reached; {self.error!r}; {[vars(sink) for sink in self.sinks]}")

    def end(self) -> None:
        self.stop.set()
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive()
        if self.error is not None:
            raise self.error

    def capture(self, session: str = "20261121.0000000001") -> Path:
        return session_path(self.data_dir, "XNAS", session)


@pytest.fixture
def make_rig(
    tmp_path: Path, free_ports: Callable[[int], list[int]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Rig]]:
    monkeypatch.setenv("TICKLOOM_STACK_DATA_DIR", str(tmp_path))
    ready = threading.Event()
    monkeypatch.setattr(session, "start_metrics", lambda port: ready.set())
    rigs: list[Rig] = []

    def make(**values: Any) -> Rig:
        rigs.append(Rig(tmp_path, free_ports(2), ready, **values))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.stop.set()
        rig.thread.join(WAIT_S)
        rig.venue.close()
        rig.server.close()


def test_datagrams_are_captured_and_decoded(make_rig: Callable[..., Rig]) -> None:
    """What is sent is in the capture as it came, garbage too, and its events are in the sink."""
    rig = make_rig()
    sent = [pack(MOLD, 1, [trade(1), trade(2)]), b"garbage", pack(MOLD, 3, [trade(3)])]
    rig.send(*sent)
    rig.wait(lambda: bool(rig.sinks) and rig.sinks[0].trades == [1, 2, 3])
    rig.end()
    assert rig.sinks[0].closed
    with CaptureReader(rig.capture()) as reader:
        records = [record for batch in reader.batches() for record in batch]
    assert [record.payload for record in records] == sent
    assert {record.kind for record in records} == {RecordKind.DATA}
    assert all(record.ts_recv > 1_700_000_000 * 10**9 for record in records)


def test_hole_is_asked_for_and_filled(make_rig: Callable[..., Rig]) -> None:
    """What is missing is asked for by number; the answer fills the hole; no gap event is made."""
    rig = make_rig(gap_timeout_ms=60_000)
    rig.send(pack(MOLD, 1, [trade(1)]), pack(MOLD, 4, [trade(4)]))
    mold, sequence, count, asker = rig.request()
    assert (mold, sequence, count) == (MOLD, 2, 2)
    rig.server.sendto(pack(MOLD, 2, [trade(2)]), asker)  # half of it; the rest is asked for again
    while (sequence := rig.request()[1]) == 2:
        pass
    assert sequence == 3
    rig.server.sendto(pack(MOLD, 3, [trade(3)]), asker)
    rig.wait(lambda: rig.sinks[0].trades == [1, 2, 3, 4])
    rig.end()
    assert rig.sinks[0].gaps == []


def test_hole_that_nobody_fills_is_a_gap_event(make_rig: Callable[..., Rig]) -> None:
    """Given up, a hole is a gap event, and a record of the capture: a replay gives the same one."""
    rig = make_rig()
    rig.send(pack(MOLD, 1, [trade(1)]), pack(MOLD, 4, [trade(4)]))
    rig.wait(lambda: bool(rig.sinks) and rig.sinks[0].trades == [1, 4])
    rig.end()
    assert rig.sinks[0].gaps == [(2, 3, GapReason.SEQUENCE)]
    decoder = ItchDecoder("XNAS", "20261121.0000000001")
    with CaptureReader(rig.capture()) as reader:
        gaps = [tuple(gap)[4:] for batch in reader.batches() for gap in decoder.decode(batch).gaps.tolist()]
    assert gaps == [(2, 3, GapReason.SEQUENCE)]
    assert track(rig.capture(), "0000000001").sequencer.expected == 5


def test_lost_tail_is_noticed_by_the_heartbeat(make_rig: Callable[..., Rig]) -> None:
    """A heartbeat ahead of what came is reason to ask."""
    rig = make_rig(gap_timeout_ms=60_000)
    rig.send(pack(MOLD, 1, [trade(1)]), pack(MOLD, 6, []))
    assert rig.request()[1:3] == (2, 4)


def test_restart_continues_the_session(make_rig: Callable[..., Rig]) -> None:
    """Started again on the same day, the ingester asks for what came meanwhile and goes on in the same
    capture; the sink gets the whole session again, to drop what it has."""
    rig = make_rig(gap_timeout_ms=60_000)
    rig.send(pack(MOLD, 1, [trade(1)]))
    rig.wait(lambda: bool(rig.sinks) and rig.sinks[0].trades == [1])
    rig.end()
    rig.start()
    mold, sequence, _, asker = rig.request()
    assert (mold, sequence) == (MOLD, 2)
    rig.server.sendto(pack(MOLD, 2, [trade(2)]), asker)
    rig.send(pack(MOLD, 3, [trade(3)]), pack_end(MOLD, 4))
    rig.wait(lambda: len(rig.sinks) == 2 and rig.sinks[1].trades == [1, 2, 3])
    rig.end()
    assert track(rig.capture(), "0000000001").sequencer.ended


def test_end_moves_the_watermark_and_the_next_session_begins(
    make_rig: Callable[..., Rig],
) -> None:
    """Behind its end a session takes nothing more; another one gets a capture and sinks of its own."""
    rig = make_rig()
    rig.send(pack(MOLD, 1, [trade(1)]), pack_end(MOLD, 2))
    day_ns = 86_400 * 10**9
    rig.wait(lambda: bool(rig.sinks) and len(set(rig.sinks[0].watermarks)) >= 1)
    rig.wait(lambda: max(rig.sinks[0].watermarks) > 20_779 * day_ns)  # 2026-11-22
    rig.send(pack(b"B", 1, [trade(7)]))
    rig.wait(lambda: len(rig.sinks) == 2 and rig.sinks[1].trades == [7])
    rig.end()
    assert [sink.session for sink in rig.sinks] == ["20261121.0000000001", "20261121.B"]
    assert rig.sinks[0].trades == [1]


def test_other_session_does_not_disturb(make_rig: Callable[..., Rig]) -> None:
    """While a session goes on, packets of another one are captured, counted, and make no event."""
    rig = make_rig()
    rig.send(pack(MOLD, 1, [trade(1)]), pack(b"OTHER", 1, [trade(9)]), pack(MOLD, 2, [trade(2)]))
    rig.wait(lambda: bool(rig.sinks) and rig.sinks[0].trades == [1, 2])
    rig.end()
    assert len(rig.sinks) == 1


def test_garbage_alone_opens_no_session(make_rig: Callable[..., Rig]) -> None:
    """Before a session is known, what is no whole packet with a plain session name is refused."""
    rig = make_rig()
    rig.send(b"x", pack(b"../../etc", 1, [trade(1)]), pack(b"S", 1, [trade(1)])[:-1], os.urandom(300))
    rig.send(pack(MOLD, 1, [trade(1)]))
    rig.wait(lambda: bool(rig.sinks) and rig.sinks[0].trades == [1])
    rig.end()
    assert [path.name for path in (rig.data_dir / "capture" / "XNAS").iterdir()] == ["20261121.0000000001"]


def test_taken_port_is_said(make_rig: Callable[..., Rig]) -> None:
    """Two ingesters on one port: the second one ends with the port in its message."""
    rig = make_rig()
    settings = rig.settings
    with pytest.raises(SetupError, match=rf":{settings.port} cannot be opened"):
        run(settings, list, threading.Event())
    rig.end()


def test_failed_sink_ends_the_process(make_rig: Callable[..., Rig]) -> None:
    """A sink that cannot go on ends the ingester, so that its supervisor starts it anew."""
    rig = make_rig()
    rig.send(pack(MOLD, 1, [trade(1)]))
    rig.wait(lambda: bool(rig.sinks) and rig.sinks[0].trades == [1])
    rig.sinks[0].failure = TickloomError("refused")
    rig.thread.join(WAIT_S)
    with pytest.raises(TickloomError, match="refused"):
        rig.end()


def test_capture_in_use_is_said(make_rig: Callable[..., Rig]) -> None:
    """A session that another process is capturing is not captured twice."""
    rig = make_rig()
    with CaptureWriter(rig.capture()):
        rig.send(pack(MOLD, 1, [trade(1)]))
        rig.thread.join(WAIT_S)
    with pytest.raises(CaptureError, match="another process"):
        rig.end()


def test_multicast(make_rig: Callable[..., Rig]) -> None:
    """With a multicast group the ingester joins it and hears it."""
    rig = make_rig(multicast_group="239.255.77.1")
    rig.venue.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
    try:
        for _ in range(50):
            rig.venue.sendto(pack(MOLD, 1, [trade(1)]), ("239.255.77.1", rig.settings.port))
            threading.Event().wait(0.05)
            if rig.sinks:
                break
    except OSError as error:
        pytest.skip(f"no multicast on this machine: {error}")
    rig.wait(lambda: bool(rig.sinks) and rig.sinks[0].trades == [1])
    rig.end()
