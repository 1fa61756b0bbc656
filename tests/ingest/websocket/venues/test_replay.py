"""A captured session of a venue that streams its own snapshots, played again over a socket."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ingest.capture import CaptureReader, CaptureWriter, RecordKind, session_path
from ingest.websocket.links import CONTROL_END, CONTROL_OPEN, control, control_event
from ingest.websocket.stream_replay import serve
from tests.fuzz.targets.websocket import genuine
from tests.ingest.websocket.venues.test_session import Kept, running, settings, wire
from tests.ingest.websocket.venues.wires import Wire
from tickloom.errors import SetupError
from tickloom.settings import StreamSettings

__all__ = ["settings", "wire"]  # fixtures
SECOND_NS = 10**9
WAIT_S = 60.0


def captured(path: Path, messages: list[bytes]) -> Path:
    """A session in which these came, a hundredth of a second apart, over one connection."""
    with CaptureWriter(path) as writer:
        writer.append(RecordKind.CONTROL, SECOND_NS, control(CONTROL_OPEN))
        for number, message in enumerate(messages):
            writer.append(RecordKind.DATA, SECOND_NS + number * SECOND_NS // 100, message)
    return path


@contextmanager
def venue(path: Path, speed: float, ended: threading.Event) -> Iterator[str]:
    """Its address."""
    stop, address = threading.Event(), list[str]()
    arguments: dict[str, Any] = {"port": 0, "speed": speed, "on_ready": address.append, "on_end": ended.set}
    thread = threading.Thread(target=serve, args=(path, stop), kwargs=arguments)
    thread.start()
    while not address and thread.is_alive():
        time.sleep(0.01)
    try:
        yield address[0]
    finally:
        stop.set()
        thread.join(WAIT_S)


def messages_of(path: Path) -> tuple[list[bytes], list[str | None]]:
    """Messages of a capture, and the events of its control records."""
    data, said = [], []
    with CaptureReader(path) as reader:
        for batch in reader.batches():
            for record in batch:
                if record.kind == RecordKind.DATA:
                    data.append(record.payload)
                elif record.kind == RecordKind.CONTROL:
                    said.append(control_event(record.payload))
    return data, said


def test_a_session_comes_again(wire: Wire, settings: Callable[..., StreamSettings], tmp_path: Path) -> None:
    """Every message, once, in its order; then the end of the session."""
    messages = genuine(wire, 7)
    path, ended, sink = captured(tmp_path / "before", messages), threading.Event(), Kept()
    with venue(path, 0, ended) as address:
        made = settings(wire, f"{address}/v2" if wire.venue == "KRAKEN" else address)
        again = session_path(tmp_path, wire.venue, "20210417")
        with running(made, sink):
            assert ended.wait(WAIT_S)
            deadline = time.monotonic() + WAIT_S
            while messages_of(again)[1] != [CONTROL_OPEN, CONTROL_END] and time.monotonic() < deadline:
                time.sleep(0.05)
    assert messages_of(again) == (messages, [CONTROL_OPEN, CONTROL_END])
    assert len(sink.of("trades")) > 100


def test_a_client_that_comes_again(
    settings: Callable[..., StreamSettings], tmp_path: Path, wire: Wire
) -> None:
    """It goes on behind what was under way to the one before it."""
    from websockets.sync.client import connect

    messages = genuine(wire, 8)[:300]
    path, ended = captured(tmp_path / "before", messages), threading.Event()
    with venue(path, 10, ended) as address:
        found: list[bytes] = []
        with connect(address) as client:
            client.send("{}")
            while len(found) < 100:
                found.append(client.recv(10, decode=False))
        with connect(address) as client:
            client.send("{}")
            rest = list(client)
            assert client.close_code == 1000
    got = [*found, *(one.encode() if isinstance(one, str) else one for one in rest)]
    assert got[:100] == messages[:100]
    assert got[100:] == (messages[-len(rest) :] if rest else [])


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    """Is named."""
    path = captured(tmp_path / "before", [])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SetupError, match=f"port {port} cannot be opened"):
            serve(path, threading.Event(), port=port)
