"""The disk is full under a capture: said, nothing lost that was captured; with space again it goes on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingest.capture import (
    CaptureReader,
    CaptureWriter,
    RecordKind,
    lock_session,
    segments,
    session_path,
)
from ingest.itch import session
from ingest.itch.moldudp64 import pack
from tests.ingest.itch.test_session import MOLD, Rig, trade
from tests.ingest.websocket.venues.local_venue import LocalVenue, Visit
from tests.ingest.websocket.venues.test_session import Kept, running, wait_for
from tests.ingest.websocket.venues.wires import Kraken
from tickloom.errors import CaptureError
from tickloom.events import GapReason
from tickloom.settings import KrakenSettings

DISK_BYTES = 256 * 1024


class Disk:
    """A file system of its own. ``fill`` leaves so many bytes, ``free`` gives all back."""

    def __init__(self, path: Path) -> None:
        self.path, self._ballast = path, path / "ballast"

    def fill(self, left_bytes: int = 0) -> None:
        with self._ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        if left_bytes:
            os.truncate(self._ballast, self._ballast.stat().st_size - left_bytes)

    def free(self) -> None:
        self._ballast.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Needs the right to mount."""
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted: {done.stderr.strip()}")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def payloads(path: Path) -> list[bytes]:
    with CaptureReader(path) as reader:
        return [
            record.payload
            for batch in reader.batches()
            for record in batch
            if record.kind is not RecordKind.CLOCK
        ]


def test_full_while_a_segment_begins(disk: Disk) -> None:
    """The next segment's head does not fit: the old one is whole, and a new writer goes on behind it."""
    path = disk.path / "capture"
    writer = CaptureWriter(path, segment_mb=1)
    writer._segment_bytes = 10_000  # a segment is full before the disk is
    sent = [b"%d" % number + bytes(2_000) for number in range(20)]
    writer.append(RecordKind.DATA, 0, sent[0])
    disk.fill(4_096)  # four records take two pages, of which one is taken; the next segment has none
    for number in range(1, 4):
        writer.append(RecordKind.DATA, number, sent[number])
    with pytest.raises(CaptureError, match=r"record 5 could not be written: the disk is full.* 1 to 4 are"):
        writer.append(RecordKind.DATA, 4, sent[4])
    assert payloads(path) == sent[:4]
    disk.free()
    with pytest.raises(CaptureError, match="record 5 could not be written"):
        writer.append(RecordKind.DATA, 5, b"behind a hole that nobody knows")
    writer.close()
    with CaptureWriter(path) as again:
        again.append_many(RecordKind.DATA, [0] * 16, sent[4:])
    assert payloads(path) == sent


def test_full_before_anything_is_there(disk: Disk) -> None:
    """Who starts on a full disk is told, and what that left does not keep the next one from starting."""
    disk.fill()
    path = disk.path / "capture" / "V" / "20261120"
    with pytest.raises(CaptureError, match=r"record 1 could not be written: the disk is full\. Free space"):
        CaptureWriter(path)
    disk.free()
    with CaptureWriter(path) as writer:
        writer.append(RecordKind.DATA, 0, b"first")
    assert payloads(path) == [b"first"]
    assert len(segments(path)) == 1


def test_reader_never_loses_what_it_has_read(disk: Disk) -> None:
    """Of a batch that does not fit, what a reader could have taken stays: numbers are given once."""
    path = disk.path / "capture"
    writer, reader = CaptureWriter(path), CaptureReader(path)
    seen: list[int] = []
    stop = threading.Event()

    def follow() -> None:
        for batch in reader.batches(follow=True, stop=stop):
            seen.extend(record.number for record in batch)

    thread = threading.Thread(target=follow)
    thread.start()
    disk.fill(4_096 * 18)  # a batch takes thirteen pages
    batch = ([0] * 300, [bytes(150)] * 300)
    writer.append_many(RecordKind.DATA, *batch)
    with pytest.raises(CaptureError, match="the disk is full"):
        writer.append_many(RecordKind.DATA, *batch)
    stop.set()
    thread.join(20)
    assert seen == list(range(1, writer.next_number))
    assert writer.next_number % 300 != 1  # it was cut inside a batch
    writer.close()
    disk.free()
    with CaptureWriter(path) as again:
        assert again.append(RecordKind.DATA, 0, b"next") == writer.next_number


def test_itch_ingester_ends_and_goes_on(
    disk: Disk, free_ports: Callable[[int], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that was captured is published, the error says what to do; started again, it asks for what comes
    behind the last captured packet, and each trade is there once."""
    monkeypatch.setenv("TICKLOOM_STACK_DATA_DIR", str(disk.path))
    ready = threading.Event()
    monkeypatch.setattr(session, "start_metrics", lambda port: ready.set())
    rig = Rig(disk.path, free_ports(2), ready)
    try:
        rig.send(pack(MOLD, 1, [trade(1)]))
        rig.wait(lambda: bool(rig.sinks) and rig.sinks[0].trades == [1])
        disk.fill(4_096 * 2)
        sent = 1
        while rig.thread.is_alive():
            sent += 1
            rig.send(pack(MOLD, sent, [trade(sent)]))
            rig.thread.join(0.001)
        with pytest.raises(CaptureError, match=r"could not be written: the disk is full\. Free space"):
            rig.end()
        published = list(rig.sinks[0].trades)
        assert published == list(range(1, len(published) + 1))
        assert 1 < len(published) < sent
        assert len(payloads(rig.capture())) == len(published)
        disk.free()
        rig.error = None
        rig.start()
        _, first, _, asker = rig.request()
        assert first == len(published) + 1
        for number in range(first, sent + 1):
            rig.server.sendto(pack(MOLD, number, [trade(number)]), asker)
        rig.wait(lambda: rig.sinks[-1].trades == list(range(1, sent + 1)))
    finally:
        rig.stop.set()
        rig.thread.join(20)
        rig.venue.close()
        rig.server.close()


def test_websocket_ingester_ends_and_goes_on(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that was captured is published; started again with space, what is missing is a gap and no trade is
    there twice."""
    monkeypatch.setenv("TICKLOOM_STACK_DATA_DIR", str(disk.path))
    wire = Kraken()
    symbol, path = wire.symbols[0], session_path(disk.path, wire.venue, "20210417")
    more = threading.Event()

    async def script(visit: Visit) -> None:
        await visit.subscribed()
        for number in range(1, 200_000):
            await visit.send(wire.trade(symbol, number, f"{100 * (visit.number + 1)}", f"{number}", "buy"))
            if number >= 20:
                await asyncio.sleep(0.001 if more.is_set() else 0.05)

    def settings(url: str) -> KrakenSettings:
        return KrakenSettings(
            instruments=("ETH-CHF", "BTC-CHF"),
            websocket_url=url,
            session_date="2021-04-17",
            metrics_port=0,
            reconnect_ms=5,
        )

    sinks = [Kept(), Kept()]
    with LocalVenue(wire, script) as venue:

        def fill() -> None:
            with running(settings(venue.url), sinks[0]):
                wait_for(lambda: len(sinks[0].of("trades")) >= 20)
                disk.fill(4_096)
                more.set()
                wait_for(lambda: not _is_written(path))

        with pytest.raises(CaptureError, match=r"could not be written: the disk is full\. Free space"):
            fill()
        before = [int(one["size"]) for one in sinks[0].of("trades")]
        assert before == [number * 10**9 for number in range(1, len(before) + 1)]
        assert len(before) == sum(b'"trade"' in raw for raw in payloads(path))
        disk.free()
        with running(settings(venue.url), sinks[1]):
            wait_for(lambda: len(sinks[1].of("trades")) >= len(before) + 20)
    again = sinks[1].of("trades")
    assert [int(one["size"]) for one in again[: len(before)]] == before
    assert len({int(one["seq"]) for one in again}) == len(again)
    assert GapReason.DISCONNECT in [GapReason(int(one["reason"])) for one in sinks[1].of("gaps")]


def _is_written(path: Path) -> bool:
    """Whether an ingester holds the session."""
    try:
        os.close(lock_session(path))
    except CaptureError:
        return True
    return False
