"""The rig of a session, for all tests of ITCH that have sockets."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.itch import session
from tests.ingest.itch.rig import WAIT_S, Rig


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
