"""Recorded sessions of venues, as an ingester would have captured them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ingest.capture import RecordKind
from ingest.websocket.cryptofeed_dump import CryptofeedDump
from ingest.websocket.links import control

Record = tuple[int, int, bytes]


@pytest.fixture(scope="session")
def dump(shared_data: Callable[[str], Path]) -> Callable[[str], list[Record]]:
    """``dump("KRAKEN")``: an open connection, and all that cryptofeed recorded of the venue."""
    kept: dict[str, list[Record]] = {}

    def load(venue: str) -> list[Record]:
        if venue not in kept:
            lines = list(CryptofeedDump(shared_data("cryptofeed"), venue).lines())
            records: list[Record] = [(int(RecordKind.CONTROL), lines[0].recv_ns, control("open"))]
            kept[venue] = records + [(int(RecordKind.DATA), one.recv_ns, one.payload) for one in lines]
        return kept[venue]

    return load
