"""Live sessions of feeds on several lines, for the tests of all such feeds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.udp import session, sockets
from tests.ingest.udp.rig import PATIENCE_MS, Rig
from tickloom.settings import LineSettings


@pytest.fixture
def make_lines(
    tmp_path: Path, free_ports: Callable[[int], list[int]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Rig]]:
    """``make(run, kind, start_ns, **settings)``: a session of two lines; ``start_ns`` is when it receives."""
    monkeypatch.setenv("TICKLOOM_STACK_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(sockets, "_SO_TIMESTAMPNS", -1)  # receive times are those of the rig's clock
    ready = threading.Event()
    monkeypatch.setattr(session, "start_metrics", lambda port: ready.set())
    rigs: list[Rig] = []

    def make(run: Callable[..., None], kind: type[LineSettings], start_ns: int, **values: Any) -> Rig:
        a, b = free_ports(2)
        defaults = {"port": a, "other_lines": (f"127.0.0.1:{b}",), "metrics_port": 0, "heartbeat_ms": 10}
        settings = kind(**{**defaults, **values}).model_copy(update={"gap_timeout_ms": PATIENCE_MS})
        rigs.append(Rig(run, settings, tmp_path, ready, start_ns))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()
