"""An ITCH ingester in a thread, a venue's sockets, and a sink that remembers: for tests of sessions."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ingest.capture import session_path
from ingest.itch.messages import LAYOUTS
from ingest.itch.moldudp64 import HEAD
from ingest.itch.session import run
from tickloom.errors import TickloomError
from tickloom.events import EventBlock
from tickloom.settings import ItchSettings

WAIT_S = 20.0
MOLD = b"0000000001"


def trade(number: int) -> bytes:
    return LAYOUTS["P"].pack(
        stock_locate=1, timestamp=number, side="B", stock="ALFA", shares=1, price=1, match_number=number
    )


def changes(block: EventBlock) -> list[tuple[str, int, int, int]]:
    """Symbol, state, since when and number of each change of trust."""
    return [
        (block.symbols.names[row["symbol"]], int(row["state"]), int(row["ts_event"]), int(row["seq"]))
        for row in block.trust
    ]


class MemorySink:
    """Keeps what it is given; fails where it is told to."""

    name = "memory"
    interval_ms = 1.0

    def __init__(self) -> None:
        self.trades: list[int] = []
        self.gaps: list[tuple[int, int, int]] = []
        self.trust: list[tuple[str, int, int, int]] = []
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
        self.trust.extend(changes(block))

    def flush(self) -> None: ...

    def close(self) -> None:
        self.closed = True


class Ingester:
    """``tickloom ingest itch`` in a thread; its sinks remember. ``ready`` is set where it serves metrics."""

    def __init__(self, data_dir: Path, ready: threading.Event, **values: Any) -> None:
        defaults: dict[str, Any] = {"metrics_port": 0, "heartbeat_ms": 10, "gap_timeout_ms": 100}
        self.settings = ItchSettings(**{**defaults, **values})
        self.data_dir, self.ready = data_dir, ready
        self.sinks: list[MemorySink] = []
        self.error: BaseException | None = None

    def start(self) -> None:
        self.ready.clear()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        def sinks() -> list[MemorySink]:
            self.sinks.append(MemorySink())
            return self.sinks[-1:]

        try:
            run(self.settings, sinks, self.stop)
        except BaseException as error:
            self.error = error

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


class Rig(Ingester):
    """An ingester of MoldUDP64, and a venue's two sockets."""

    def __init__(self, tmp_path: Path, ports: list[int], ready: threading.Event, **values: Any) -> None:
        defaults = {"port": ports[0], "rerequest_port": ports[1], "session_date": "2026-11-21"}
        super().__init__(tmp_path, ready, **{**defaults, **values})
        self.venue = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.server.bind(("127.0.0.1", ports[1]))
        self.server.settimeout(WAIT_S)
        self.start()

    def start(self) -> None:
        super().start()
        self.wait(lambda: self.ready.is_set() or not self.thread.is_alive())

    def send(self, *packets: bytes) -> None:
        for packet in packets:
            self.venue.sendto(packet, ("127.0.0.1", self.settings.port))

    def request(self) -> tuple[bytes, int, int, Any]:
        """The next re-request: session, sequence, count, asker."""
        raw, asker = self.server.recvfrom(100)
        return (*HEAD.unpack(raw), asker)

    def capture(self, session: str = "20261121.0000000001") -> Path:
        return session_path(self.data_dir, "XNAS", session)
