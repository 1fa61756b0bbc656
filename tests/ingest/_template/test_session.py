"""The template's session against a venue on loopback: captured, published, resumed; a silent one is left."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest._template import session
from ingest._template.declaration import TemplateSettings
from ingest.capture import CaptureReader, RecordKind, session_path
from tests.ingest._template.venue import DAY, LocalVenue, Script, end, heartbeat, quote, trade
from tickloom.errors import TickloomError
from tickloom.events import EventBlock

WAIT_S = 20.0
TAPE = [quote(1), trade(2), quote(3), trade(4), quote(5)]


class MemorySink:
    """Keeps the numbers of trades and quotes, and the gaps; ``failure`` is raised where it is set."""

    name = "memory"
    interval_ms = 1.0

    def __init__(self) -> None:
        self.seqs: list[int] = []
        self.gaps: list[tuple[int, int]] = []
        self.failure: TickloomError | None = None

    def resume_after(self, venue: str, session: str) -> dict[str, int]:
        return {}

    def write(self, block: EventBlock, watermark_ns: int, last_seq: int) -> None:
        if self.failure is not None:
            raise self.failure
        for rows in (block.trades, block.quotes):
            self.seqs += [seq % 10**10 for seq in rows["seq"].tolist()]
        self.gaps += block.gaps[["first_missing", "last_missing"]].tolist()

    def flush(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def ingest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., MemorySink]:
    """``ingest(venue, until)``: run a session until ``until(sink)``; the sink that it filled."""
    monkeypatch.setenv("TICKLOOM_STACK_DATA_DIR", str(tmp_path))

    def run(venue: LocalVenue, until: Callable[[MemorySink], bool], **values: int) -> MemorySink:
        settings = TemplateSettings(
            port=venue.port,
            session_date=DAY,
            metrics_port=0,
            **{"reconnect_ms": 1, "heartbeat_ms": 10, **values},
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
        assert until(sink), (sink.seqs, sink.gaps, venue.asked)
        return sink

    return run


def captured(tmp_path: Path) -> list[bytes]:
    with CaptureReader(session_path(tmp_path, "TEMPLATE", DAY.replace("-", ""))) as reader:
        return [
            record.payload for batch in reader.batches() for record in batch if record.kind == RecordKind.DATA
        ]


def drain(client: socket.socket) -> None:
    """Until the other side closes."""
    while client.recv(1_000):
        pass


def test_everything_is_captured_and_published(tmp_path: Path, ingest: Callable[..., MemorySink]) -> None:
    """A day from its first packet to its end, in pieces that are no packets."""

    def script(client: socket.socket, _: int) -> None:
        stream = b"".join([*TAPE, end(6)])
        for at in range(0, len(stream), 11):
            client.sendall(stream[at : at + 11])
        drain(client)

    with LocalVenue(script) as venue:
        sink = ingest(venue, lambda sink: sorted(sink.seqs) == [1, 2, 3, 4, 5])
    assert venue.asked == [1]
    assert captured(tmp_path) == [raw[2:] for raw in [*TAPE, end(6)]]
    assert sink.gaps == []


def test_lost_connection_is_resumed_behind_the_last_packet(ingest: Callable[..., MemorySink]) -> None:
    """Cut in the middle of a packet, twice: the rest is asked for, nothing is missing and nothing double."""

    def script(client: socket.socket, number: int) -> None:
        sent = b"".join(TAPE[2 * (number - 1) :])
        client.sendall(sent if number == 3 else sent[: len(TAPE[0]) + len(TAPE[1]) + 5])
        if number == 3:
            drain(client)

    with LocalVenue(script) as venue:
        sink = ingest(venue, lambda sink: len(sink.seqs) == 5)
    assert venue.asked == [1, 3, 5]
    assert sorted(sink.seqs) == [1, 2, 3, 4, 5]


def test_restart_goes_on_behind_the_capture(ingest: Callable[..., MemorySink]) -> None:
    """A second ingester asks for what the first has not, and hands on all from the first packet."""

    def first(client: socket.socket, _: int) -> None:
        client.sendall(b"".join(TAPE[:2]))
        drain(client)

    def second(client: socket.socket, _: int) -> None:
        client.sendall(b"".join(TAPE[2:]))
        drain(client)

    with LocalVenue(first) as venue:
        ingest(venue, lambda sink: len(sink.seqs) == 2)
    with LocalVenue(second) as venue:
        ingest(venue, lambda sink: sorted(sink.seqs) == [1, 2, 3, 4, 5])
    assert venue.asked == [3]


def _silent(client: socket.socket, number: int) -> None:
    client.sendall(TAPE[0] if number == 1 else b"".join(TAPE[1:]))
    drain(client)


def _garbage(client: socket.socket, number: int) -> None:
    client.sendall(TAPE[0] + b"\xff\xff" if number == 1 else b"".join(TAPE[1:]))
    drain(client)


@pytest.mark.parametrize("script", [_silent, _garbage])
def test_connection_that_is_of_no_use_is_left(script: Script, ingest: Callable[..., MemorySink]) -> None:
    """A venue that says nothing for too long while its socket stays open, and one whose lengths are none."""
    with LocalVenue(script) as venue:
        sink = ingest(venue, lambda sink: len(sink.seqs) == 5, silence_ms_max=300)
    assert venue.asked[:2] == [1, 2]
    assert sink.gaps == []


def test_what_the_venue_no_longer_has_is_a_gap(ingest: Callable[..., MemorySink]) -> None:
    """Asked for 1, it begins with 4, behind a heartbeat that says so."""

    def script(client: socket.socket, _: int) -> None:
        client.sendall(b"".join([heartbeat(4), *TAPE[3:]]))
        drain(client)

    with LocalVenue(script) as venue:
        sink = ingest(venue, lambda sink: sorted(sink.seqs) == [4, 5])
    assert sink.gaps == [(1, 3)]


def test_dead_sink_ends_the_session(ingest: Callable[..., MemorySink]) -> None:
    """An ingester must not go on half deaf: what ended the sink ends it, and the capture has all."""

    def script(client: socket.socket, _: int) -> None:
        client.sendall(TAPE[0])
        drain(client)

    def fail(sink: MemorySink) -> bool:
        sink.failure = TickloomError("the sink is broken")
        return False

    with LocalVenue(script) as venue, pytest.raises(TickloomError, match="the sink is broken"):
        ingest(venue, fail)
