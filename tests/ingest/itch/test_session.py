"""The ITCH session over real UDP: everything captured, holes filled or said, sessions told apart."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable

import pytest
from prometheus_client import REGISTRY

from ingest.capture import CaptureReader, CaptureWriter, RecordKind
from ingest.itch import session
from ingest.itch.decoder import ItchDecoder
from ingest.itch.messages import LAYOUTS
from ingest.itch.moldudp64 import pack, pack_end, parse
from ingest.itch.session import run, track
from ingest.itch.sockets import LineAddress, line_addresses
from ingest.pipeline import load_capture
from tests.ingest.itch.rig import MOLD, WAIT_S, Rig, changes, trade
from tickloom.errors import CaptureError, SettingsError, SetupError, TickloomError
from tickloom.events import GapReason, TrustState
from tickloom.settings import ItchSettings


def test_datagrams_are_captured_and_decoded(make_rig: Callable[..., Rig]) -> None:
    """What is sent is in the capture as it came, garbage too, and its events are in the sink."""
    rig = make_rig()
    sent = [pack(MOLD, 1, [trade(1), trade(2)]), b"garbage", pack(MOLD, 3, [trade(3)])]
    rig.send(*sent)
    rig.wait(lambda: bool(rig.sinks) and rig.sinks[0].trades == [1, 2, 3])
    rig.end()
    assert rig.sinks[0].closed
    with CaptureReader(rig.capture()) as reader:
        records = [
            record for batch in reader.batches() for record in batch if record.kind != RecordKind.CLOCK
        ]
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


def test_restart_of_the_venue_at_number_one(
    make_rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The venue begins another session, from 1, while the old one could still go on: what comes until that is
    silent for long enough is in its capture, and asked for once the new one has its own. Nothing is lost."""
    monkeypatch.setattr(session, "SILENCE_NS", 300_000_000)
    rig = make_rig(gap_timeout_ms=60_000)
    rig.send(pack(MOLD, 1, [trade(1), trade(2)]))
    rig.wait(lambda: bool(rig.sinks) and rig.sinks[0].trades == [1, 2])
    rig.send(pack(b"NEXT", 1, [trade(11), trade(12)]))
    threading.Event().wait(0.5)
    rig.send(pack(b"NEXT", 3, [trade(13)]))
    mold, sequence, count, asker = rig.request()
    assert (mold, sequence, count) == (b"NEXT      ", 1, 2)
    rig.server.sendto(pack(b"NEXT", 1, [trade(11), trade(12)]), asker)
    rig.wait(lambda: len(rig.sinks) == 2 and rig.sinks[1].trades == [11, 12, 13])
    rig.end()
    assert (rig.sinks[0].trades, rig.sinks[0].gaps, rig.sinks[1].gaps) == ([1, 2], [], [])


def test_restart_at_number_one_under_the_same_name(make_rig: Callable[..., Rig]) -> None:
    """The same session name begins again at 1 with other messages: they are a run of their own, with its own
    capture, sinks and requests, and none is taken for a copy; an ingester started anew goes on with it."""
    rig = make_rig(gap_timeout_ms=60_000)
    old = [pack(MOLD, 1, [trade(1), trade(2)]), pack(MOLD, 3, [trade(3)])]
    rig.send(*old)
    rig.wait(lambda: bool(rig.sinks) and rig.sinks[0].trades == [1, 2, 3])
    rig.send(old[0], pack(MOLD, 1, [trade(11)]), pack(MOLD, 2, [trade(12)]))
    rig.wait(lambda: len(rig.sinks) == 2 and rig.sinks[1].trades == [11, 12])
    rig.send(pack(MOLD, 5, [trade(15)]))
    mold, sequence, count, asker = rig.request()
    assert (mold, sequence, count) == (MOLD, 3, 2)
    rig.server.sendto(pack(MOLD, 3, [trade(13), trade(14)]), asker)
    rig.wait(lambda: rig.sinks[1].trades == [11, 12, 13, 14, 15])
    rig.end()
    assert [sink.session for sink in rig.sinks] == ["20261121.0000000001", "20261121.0000000001.r2"]
    assert rig.sinks[0].trades == [1, 2, 3]
    rig.start()
    rig.send(pack(MOLD, 1, [trade(11)]), pack(MOLD, 6, [trade(16)]))
    rig.wait(lambda: len(rig.sinks) == 3 and rig.sinks[2].trades == [*range(11, 17)])
    rig.end()
    assert rig.sinks[2].session == "20261121.0000000001.r2"


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
    rig.wait(lambda: bool(rig.sinks) and bool(rig.sinks[0].trades))
    rig.end()
    (sink,) = rig.sinks
    assert sink.trades == [1]
    assert sink.gaps == []


def test_multicast_lines(make_rig: Callable[..., Rig], free_ports: Callable[[int], list[int]]) -> None:
    """Two groups on one port, as venues have them: each line hears its own group alone."""
    (port,) = free_ports(1)
    groups = ("239.255.77.1", "239.255.77.2")
    rig = make_rig(
        port=port, multicast_group=groups[0], other_lines=(f"{groups[1]}:{port}@127.0.0.1",), hold_ms=10_000.0
    )
    rig.venue.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
    try:
        for number in range(1, 9):
            rig.venue.sendto(pack(MOLD, number, [trade(number)]), (groups[number % 2], port))
    except OSError as error:
        pytest.skip(f"no multicast on this machine: {error}")
    rig.wait(lambda: bool(rig.sinks) and rig.sinks[0].trades == [*range(1, 9)])
    rig.end()
    with CaptureReader(rig.capture()) as reader:
        heard = {
            parse(one.payload).sequence: one.line
            for batch in reader.batches()
            for one in batch
            if one.kind is RecordKind.DATA
        }  # type: ignore[union-attr]
    assert heard == {number: number % 2 for number in range(1, 9)}


def test_two_lines_make_one_session(
    make_rig: Callable[..., Rig], free_ports: Callable[[int], list[int]]
) -> None:
    """B fills what A loses within the hold time: nobody is asked, every message comes once, and the capture
    has each datagram with its line; decoded again it gives the same."""
    port = free_ports(1)[0]
    rig = make_rig(other_lines=(f"127.0.0.1:{port}",), hold_ms=5_000.0, gap_timeout_ms=60_000)
    b = ("127.0.0.1", port)
    before = {(line, outcome): counted(outcome, line) for line in "AB" for outcome in ("first", "late")}
    rig.send(pack(MOLD, 1, [trade(1)]), pack(MOLD, 3, [trade(3)]))
    rig.wait(lambda: bool(rig.sinks) and rig.sinks[0].trades == [1])
    for packet in (pack(MOLD, 1, [trade(1)]), pack(MOLD, 2, [trade(2), trade(3)]), pack(MOLD, 4, [trade(4)])):
        rig.venue.sendto(packet, b)
    rig.wait(lambda: rig.sinks[0].trades == [1, 2, 3, 4])
    rig.send(pack(MOLD, 4, [trade(4)]))
    rig.end()
    counts = {key: counted(key[1], key[0]) - count for key, count in before.items()}
    assert counts == {("A", "first"): 2, ("A", "late"): 1, ("B", "first"): 2, ("B", "late"): 2}
    rig.server.settimeout(0)
    with pytest.raises(BlockingIOError):
        rig.request()
    with CaptureReader(rig.capture()) as reader:
        records = [one for batch in reader.batches() for one in batch if one.kind is RecordKind.DATA]
    assert [len([r for r in records if r.line == line]) for line in (0, 1)] == [3, 3]
    decoder = ItchDecoder("XNAS", "20261121.0000000001")
    with CaptureReader(rig.capture()) as reader:
        trades = [t for batch in reader.batches() for t in decoder.decode(batch).trades["venue_id"].tolist()]
    assert trades == [1, 2, 3, 4]


def test_silent_line_does_not_stop_the_other(
    make_rig: Callable[..., Rig], free_ports: Callable[[int], list[int]]
) -> None:
    """B is never heard: that is told, and A goes on; what A loses is asked for."""
    port = free_ports(1)[0]
    rig = make_rig(other_lines=(f"127.0.0.1:{port}",), line_silent_ms=500, gap_timeout_ms=60_000)
    rig.send(pack(MOLD, 1, [trade(1)]))
    rig.wait(lambda: bool(rig.sinks) and rig.sinks[0].trades == [1])
    rig.send(pack(MOLD, 3, [trade(3)]))
    assert rig.request()[1:3] == (2, 1)

    def silent() -> bool:
        rig.send(pack(MOLD, 4, []))
        return sample("tickloom_ingest_line_up", line="B") == 0

    rig.wait(silent)
    assert sample("tickloom_ingest_line_up", line="A") == 1


def test_lines_are_addresses() -> None:
    """A line of a multicast group says on which interface it comes; anything else is refused by its key."""
    settings = ItchSettings(
        host="10.0.0.5",
        multicast_group="233.54.12.1",
        other_lines=("233.54.12.2:26477@10.0.0.6", "10.0.0.7:1"),
    )
    assert line_addresses(settings) == [
        LineAddress("10.0.0.5", 26400, "233.54.12.1"),
        LineAddress("10.0.0.6", 26477, "233.54.12.2"),
        LineAddress("10.0.0.7", 1),
    ]
    with pytest.raises(SettingsError, match="other_lines"):
        ItchSettings.load(other_lines=("somewhere",))


def test_taken_port_of_another_line_is_said(make_rig: Callable[..., Rig]) -> None:
    """The message names the setting that has the line."""
    rig = make_rig()
    line = f"127.0.0.1:{rig.settings.port}"
    with pytest.raises(SetupError, match=r"itch.other_lines\[0\]"):
        run(rig.settings.model_copy(update={"port": 0, "other_lines": (line,)}), list, threading.Event())
    rig.end()


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, {"venue": "XNAS", **labels}) or 0.0


def counted(outcome: str, line: str) -> float:
    """Messages of a line in the metrics of this process."""
    return sample("tickloom_ingest_line_messages_total", line=line, outcome=outcome)


def test_silence_is_seen_live_and_again_in_a_replay(make_rig: Callable[..., Rig]) -> None:
    """Nothing comes: line and instrument go stale while it lasts, and are trusted with the next packet. The
    capture gives the same changes."""
    rig = make_rig(stale_ms=150, line_stale_ms=80, clock_ms=10)
    rig.send(pack(MOLD, 1, [LAYOUTS["R"].pack(stock_locate=1, timestamp=1, stock="ALFA"), trade(1)]))

    def states(count: int) -> list[tuple[str, int]]:
        rig.wait(lambda: bool(rig.sinks) and len(rig.sinks[0].trust) >= count)
        return [change[:2] for change in rig.sinks[0].trust[:count]]

    assert states(4)[:2] == [("", TrustState.TRUSTED), ("ALFA", TrustState.TRUSTED)]
    assert set(states(4)[2:]) == {("", TrustState.STALE), ("ALFA", TrustState.STALE)}
    rig.send(pack(MOLD, 3, [trade(2)]))
    assert states(6)[4:] == [("", TrustState.TRUSTED), ("ALFA", TrustState.TRUSTED)]
    rig.end()
    decoder = ItchDecoder("XNAS", "20261121.0000000001")
    again = [change for block in load_capture(rig.capture(), decoder) for change in changes(block)]
    assert again == rig.sinks[0].trust
