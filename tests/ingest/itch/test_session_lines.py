"""Two faulty lines and a retransmission server over real UDP: the same events as undisturbed, each once."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ingest.capture import CaptureReader, session_path
from ingest.capture_format import ANSWERS
from ingest.itch import session
from ingest.itch.decoder import ItchDecoder
from ingest.itch.session import run, track
from ingest.synthetic.datagrams import SESSION_NAME, Datagrams, Faults
from ingest.synthetic.itch_stream import ItchStream
from ingest.synthetic.moldudp64_sender import MoldSender
from tests.ingest.itch.faulty_lines import batch_of, sound_tape, timeless
from tests.ingest.itch.rig import WAIT_S, MemorySink
from tickloom.settings import ItchSettings

NAME = f"20261121.{SESSION_NAME}"


def test_faulty_lines_and_lossless_events(
    tmp_path: Path, free_ports: Callable[[int], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """5 % of the datagrams dropped, doubled and overtaken on each line: what neither brings is asked for,
    every message comes once and in order, and the capture says which line brought what."""
    monkeypatch.setenv("TICKLOOM_STACK_DATA_DIR", str(tmp_path))
    ready, stop = threading.Event(), threading.Event()
    monkeypatch.setattr(session, "start_metrics", lambda port: ready.set())
    tape = sound_tape(3_000, 11)
    offsets = np.cumsum([0, *map(len, tape)])
    data = np.frombuffer(b"".join(tape), dtype=np.uint8)
    stream = ItchStream(data, offsets, np.arange(len(tape), dtype=np.int64) * 500_000)
    a, b = free_ports(2)
    sender = MoldSender(stream, "127.0.0.1", a, other_lines=[("127.0.0.1", b)], speed=1.0)
    for seed, line in enumerate(sender.lines):
        drawn = Faults.seeded(seed, len(sender.packing), drop=0.05, duplicate=0.05, reorder=0.05)
        line.faults = replace(drawn, drop=drawn.drop | {100, 101, 300})  # some on both
    settings = ItchSettings(
        port=a, other_lines=(f"127.0.0.1:{b}",), rerequest_port=sender.rerequests.port, metrics_port=0,
        session_date="2026-11-21", gap_timeout_ms=60_000,
    )  # fmt: skip
    sink = MemorySink()
    thread = threading.Thread(target=run, args=(settings, lambda: [sink], stop), daemon=True)
    thread.start()
    try:
        assert ready.wait(120)
        sender.start()
        assert sender.wait(WAIT_S)
        path = session_path(tmp_path, "XNAS", NAME)
        for _ in range(int(WAIT_S * 10)):
            if track(path, SESSION_NAME).sequencer.ended:
                break
            threading.Event().wait(0.1)
    finally:
        stop.set()
        thread.join(WAIT_S)
        sender.stop()
    with CaptureReader(path) as reader:
        batches = list(reader.batches())
    decoder = ItchDecoder("XNAS", NAME)
    found = [timeless(decoder.decode(batch)) for batch in batches]
    datagrams = Datagrams(stream)
    bounds = [*range(0, len(stream), 20), len(stream)]
    packets = [(0, 0, datagrams.build(x, y), 0) for x, y in itertools.pairwise(bounds)]
    plain = timeless(ItchDecoder("XNAS", NAME).decode(batch_of(packets)))
    assert {table: b"".join(one[table] for one in found) for table in plain} == plain
    assert decoder.ended
    assert {int(line) for batch in batches for line in batch.lines} == {0, 1, ANSWERS}
    assert sink.gaps == []
    assert sender.rerequests.counters["requests"] > 0
