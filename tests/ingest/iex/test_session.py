"""The live IEX session over real UDP lines: the events of the file, whatever one line loses."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from ingest.capture import CaptureBatch, CaptureReader, RecordKind, session_path
from ingest.feeds import load_file
from ingest.iex.decoder import IexDecoder, end_record
from ingest.iex.iextp import TOPS_1_6
from ingest.iex.session import run
from ingest.pcap import read_pcap
from ingest.trusted import TrustedDecoder
from tests.ingest.iex_venue import BASE, MIDNIGHT, MS, SESSION, Record, Venue
from tests.ingest.pcap_bytes import pcap, udp_frame
from tests.ingest.udp.rig import Faults, Rig, events_of, gap_ranges, ranges, timeless
from tickloom.errors import DecodeError, SettingsError, SetupError
from tickloom.events import TRADE_DTYPE, TrustReason
from tickloom.settings import IexSettings

PROJECT = Path(__file__).parents[3]
NOON = MIDNIGHT + 12 * 3_600 * 1_000 * MS
SYMBOLS = ("ALFA", "BRVO", "CHRL")
PACKETS_MAX = 8_500  # of a sample, played on each line
TRUST_KEYS = ("state", "reason", "first_missing", "last_missing")
SharedData = Callable[[str], Path]
MakeLines = Callable[..., Rig]


def flow(venue: Venue, count: int, seed: int, first: int = 1) -> list[Record]:
    """Segments of one to three messages: trades, whose ids rise from ``first``, and levels."""
    rng, records, trade = random.Random(seed), [], first
    for _ in range(count):
        messages = []
        for _ in range(rng.randrange(1, 4)):
            symbol = rng.choice(SYMBOLS)
            if rng.random() < 0.4:
                messages.append(venue.trade(trade, symbol=symbol))
                trade += 1
            else:
                letter = rng.choice("85")
                price = 10_000 + rng.randrange(1, 12) * (-100 if letter == "8" else 100)
                messages.append(venue.level(letter, price, rng.randrange(0, 5) * 100, symbol=symbol))
        records.append(venue.send(*messages))
    return records


def both(records: list[Record]) -> Iterator[tuple[int, bytes]]:
    for _, _, raw in records:
        yield 0, raw
        yield 1, raw


def numbers_of(record: Record) -> range:
    first = int.from_bytes(record[2][24:32], "little")
    return range(first, first + int.from_bytes(record[2][14:16], "little"))


def reference(records: list[Record]) -> dict[str, bytes]:
    """Events of segments that come in order, on one line; nobody brings what is missing."""
    end = (int(RecordKind.CONTROL), 0, end_record())
    return timeless(IexDecoder("IEXG", SESSION, lateness_ns=10**10).decode(CaptureBatch.of([*records, end])))


def trade_ids(events: dict[str, bytes]) -> list[int]:
    found: list[int] = np.frombuffer(events["trades"], dtype=TRADE_DTYPE)["venue_id"].tolist()
    return found


def settled(rig: Rig, last: int) -> Callable[[], bool]:
    """Whether the last sink has decoded up to this number."""
    return lambda: bool(rig.sinks) and rig.sinks[-1].last_seq == BASE + last


def live(rig: Rig, session: str = SESSION) -> dict[str, bytes]:
    return events_of(rig.capture(session), IexDecoder("IEXG", session, lateness_ns=10**10))


def test_clean_lines_give_the_events_of_the_file(make_lines: MakeLines, tmp_path: Path) -> None:
    """Two whole lines: sink, capture and `ingest file` of the same packets have the same events, each once;
    the capture has every datagram with its line."""
    records = flow(Venue(), 400, 1)
    tape = tmp_path / "tape.pcap"
    tape.write_bytes(pcap([udp_frame(raw) for _, _, raw in records], times=[ts for _, ts, _ in records]))
    loaded = load_file(tape, tmp_path / "file", "IEXG", date(2017, 4, 25))
    rig = make_lines(run, IexSettings, NOON)
    counts = {line: rig.metric("tickloom_ingest_line_packets_total", line=line) for line in "AB"}
    rig.play(both(records))
    rig.wait(settled(rig, numbers_of(records[-1])[-1]))
    rig.end()
    assert loaded.session == rig.sinks[0].session == SESSION
    assert rig.sinks[0].events == live(rig) == events_of(loaded.path, IexDecoder("IEXG", SESSION))
    for line, before in counts.items():
        assert rig.metric("tickloom_ingest_line_packets_total", line=line) - before == len(records)
    with CaptureReader(rig.capture(SESSION)) as reader:
        lines = [one.line for batch in reader.batches() for one in batch if one.kind == RecordKind.DATA]
    assert sorted(lines) == [0] * len(records) + [1] * len(records)


@pytest.mark.parametrize("seed", range(3))
def test_faulty_lines(make_lines: MakeLines, seed: int) -> None:
    """Segments dropped, doubled and swapped, from a seed, on either line and on both: no event twice, gaps of
    exactly the messages that no line brought, and of each instrument the trust that they leave."""
    records = flow(Venue(), 300, seed)
    played, lost = Faults(seed).play([raw for _, _, raw in records], 2, spare=5)
    rig = make_lines(run, IexSettings, NOON)
    rig.play(played)
    rig.give_up(settled(rig, numbers_of(records[-1])[-1]))
    rig.end()
    kept = [record for at, record in enumerate(records) if at not in lost]
    events = live(rig)
    assert lost
    assert gap_ranges(events) == ranges(number for at in lost for number in numbers_of(records[at]))
    assert events == reference(kept) == rig.sinks[0].events
    assert trust(rig.capture(SESSION)) == trust_of(kept)


def trust(path: Path) -> list[tuple[str, int, int, int, int]]:
    with CaptureReader(path) as reader:
        return _changes(TrustedDecoder(IexDecoder("IEXG", SESSION)), list(reader.batches()))


def trust_of(records: list[Record]) -> list[tuple[str, int, int, int, int]]:
    end = (int(RecordKind.CONTROL), 0, end_record())
    return _changes(TrustedDecoder(IexDecoder("IEXG", SESSION)), [CaptureBatch.of([*records, end])])


def _changes(decoder: TrustedDecoder, batches: list[CaptureBatch]) -> list[tuple[str, int, int, int, int]]:
    found = []
    for batch in batches:
        block = decoder.decode(batch)
        found += [
            (block.symbols.names[row["symbol"]], *(int(row[key]) for key in TRUST_KEYS))
            for row in block.trust
            if row["symbol"] and row["reason"] in (TrustReason.SEQUENCE, TrustReason.REQUOTED)
        ]
    return found


def test_hole_that_the_other_line_fills_is_no_gap(make_lines: MakeLines) -> None:
    """What A lost B brings, in other segments; it is counted as filled, and nothing is given up."""
    venue = Venue()
    messages = [venue.trade(number) for number in range(1, 8)]
    one, two, three = (venue.send(*messages[a:b]) for a, b in ((0, 2), (2, 5), (5, 7)))
    rig = make_lines(run, IexSettings, NOON)
    filled = rig.metric("tickloom_ingest_gaps_total", outcome="filled")
    rig.play([(0, one[2]), (0, three[2])])
    rig.play([(1, two[2]), (1, one[2])])
    rig.wait(settled(rig, 7))
    rig.end()
    events = live(rig)
    assert (trade_ids(events), gap_ranges(events)) == ([*range(1, 8)], [])
    assert rig.metric("tickloom_ingest_gaps_total", outcome="filled") - filled == 1


def test_venue_begins_again_at_one(make_lines: MakeLines) -> None:
    """In the same session, line B a few segments behind A, so that it still brings the old run when A has the
    new one; something is lost on both sides of the restart. Nothing is lost, doubled or mixed."""
    venue = Venue()
    old = flow(venue, 60, 5)
    venue.restart()
    new = [venue.send(), *flow(venue, 60, 6, first=1_000)]
    records = [*old[:40], *old[41:], *new[:20], *new[21:]]
    rig = make_lines(run, IexSettings, NOON)
    lag = 7
    for at in range(len(records) + lag):
        sent = [(0, records[at][2])] if at < len(records) else []
        rig.play([*sent, *([(1, records[at - lag][2])] if at >= lag else [])])
    expected = reference(records)
    decoder = IexDecoder("IEXG", SESSION)
    decoder.decode(CaptureBatch.of(records))
    rig.give_up(lambda: bool(rig.sinks) and rig.sinks[0].last_seq == decoder.last_seq)
    rig.end()
    events = live(rig)
    assert events == expected == rig.sinks[0].events
    assert len(gap_ranges(events)) == 2
    assert len(set(trade_ids(events))) == len(trade_ids(events))


def test_next_day_is_a_session_of_its_own(make_lines: MakeLines) -> None:
    """What was sent after the venue's midnight opens the next day's capture, from its first segment on. One
    segment with a spoiled time does not."""
    venue = Venue(TOPS_1_6)
    first = [venue.send(venue.trade(number)) for number in (1, 2, 3)]
    spoiled = bytearray(first[1][2])
    spoiled[32:40] = (MIDNIGHT + 90 * 3_600 * 1_000 * MS).to_bytes(8, "little")
    venue.now = MIDNIGHT + 24 * 3_600 * 1_000 * MS
    venue.sequence = 1
    venue.offset = 0
    second = [venue.send(venue.trade(number)) for number in (11, 12)]
    rig = make_lines(run, IexSettings, NOON)
    rig.play([(0, first[0][2]), (0, bytes(spoiled)), (0, first[1][2]), (0, first[2][2])])
    rig.play([(0, raw) for _, _, raw in second])
    rig.wait(lambda: len(rig.sinks) == 2 and rig.sinks[1].counts.get("trades") == 2)
    rig.end()
    assert [sink.session for sink in rig.sinks] == ["20170425.TOPS16", "20170426.TOPS16"]
    assert [trade_ids(live(rig, sink.session)) for sink in rig.sinks] == [[1, 2, 3], [11, 12]]


def test_garbage_opens_no_session(make_lines: MakeLines) -> None:
    """Only a whole segment of DEEP or TOPS does; behind that, everything is captured, and garbage counted."""
    (one,) = flow(Venue(), 1, 3)
    rig = make_lines(run, IexSettings, NOON)
    refused = rig.metric("tickloom_ingest_refused_total", reason="no_session")
    rig.play([(0, b""), (0, b"x" * 60), (1, one[2][:-1]), (1, os.urandom(39))])
    rig.play([(0, one[2]), (0, b"junk")])
    rig.wait(settled(rig, numbers_of(one)[-1]))
    rig.end()
    assert rig.metric("tickloom_ingest_refused_total", reason="no_session") - refused == 4
    with CaptureReader(rig.capture(SESSION)) as reader:
        data = [one.payload for batch in reader.batches() for one in batch if one.kind == RecordKind.DATA]
    assert data == [one[2], b"junk"]


def test_silent_line_is_told(make_lines: MakeLines) -> None:
    """B is never heard while A goes on: Prometheus is told, and A's events come."""
    records = flow(Venue(), 8, 4)
    rig = make_lines(run, IexSettings, NOON, line_silent_ms=60_000)
    for _, _, raw in records:
        rig.play([(0, raw)])
        rig.clock.let(rig.settings.line_silent_ms // 4 * MS)
    rig.wait(lambda: rig.metric("tickloom_ingest_line_up", line="B") == 0)
    assert rig.metric("tickloom_ingest_line_up", line="A") == 1
    rig.wait(settled(rig, numbers_of(records[-1])[-1]))
    rig.end()


CHILD = """
import sys, threading
from ingest.iex.session import run
from tickloom.settings import IexSettings
run(IexSettings.load(), list, threading.Event())
"""


def test_killed_ingester_goes_on_with_its_capture(
    tmp_path: Path, free_ports: Callable[[int], list[int]]
) -> None:
    """SIGKILL in the middle, and a new ingester: the same capture goes on, what was sent meanwhile is a gap
    and what comes twice is no event twice."""
    records = flow(Venue(), 90, 8)
    a, b, metrics_port = free_ports(3)
    environment = {
        **os.environ,
        "TICKLOOM_STACK_DATA_DIR": str(tmp_path),
        "TICKLOOM_IEX_PORT": str(a),
        "TICKLOOM_IEX_OTHER_LINES": f'["127.0.0.1:{b}"]',
        "TICKLOOM_IEX_METRICS_PORT": str(metrics_port),
        "TICKLOOM_IEX_SESSION_DATE": "2017-04-25",
        "TICKLOOM_IEX_CLOCK_MS": "10",
    }
    path = session_path(tmp_path, "IEXG", SESSION)
    runs = (records[:40], records[35:70], records[74:])
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for at, part in enumerate(runs):
        child = subprocess.Popen([sys.executable, "-c", CHILD], cwd=PROJECT, env=environment)
        try:
            _until(lambda: _listens(metrics_port))
            for _, raw in both(part):
                out.sendto(raw, ("127.0.0.1", a))
            wanted = numbers_of(part[-1])[-1] + 1
            _until(lambda: _expected(path) >= wanted)  # noqa: B023
        finally:
            child.send_signal(signal.SIGKILL if at < 2 else signal.SIGTERM)
            child.wait()
    out.close()
    events = events_of(path, IexDecoder("IEXG", SESSION, lateness_ns=10**10))
    assert events == reference([*records[:70], *records[74:]])
    assert gap_ranges(events) == ranges(number for each in records[70:74] for number in numbers_of(each))


def _until(reached: Callable[[], bool]) -> None:
    for _ in range(6_000):
        if reached():
            return
        threading.Event().wait(0.02)
    raise AssertionError("not reached")


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _expected(path: Path) -> int:
    """The number that is due behind what was captured."""
    decoder = IexDecoder("IEXG", SESSION)
    if path.exists():
        with CaptureReader(path) as reader:
            for batch in reader.batches():
                decoder.decode(batch)
    return decoder.expected


def test_taken_ports_and_bad_settings_say_what_to_do(make_lines: MakeLines) -> None:
    """The message names the line, the setting and the remedy."""
    rig = make_lines(run, IexSettings, NOON)
    settings = rig.settings
    with pytest.raises(SetupError, match=rf":{settings.port} cannot be opened .*; set another iex\.port"):
        run(settings, list, threading.Event())
    other = settings.model_copy(update={"port": 0})
    with pytest.raises(SetupError, match=r"set another iex\.other_lines\[0\]"):
        run(other, list, threading.Event())
    none = settings.model_copy(update={"port": 0, "other_lines": ("127.0.0.1:99999",)})
    with pytest.raises(SetupError, match=r"99999 cannot be opened .*iex\.other_lines\[0\]"):
        run(none, list, threading.Event())
    rig.end()
    with pytest.raises(SettingsError, match="other_lines"):
        IexSettings.load(other_lines=("somewhere",))
    with pytest.raises(SettingsError, match="gap_timeout_ms"):
        IexSettings.load(gap_timeout_ms=5_000)


def test_multicast_lines(make_lines: MakeLines, free_ports: Callable[[int], list[int]]) -> None:
    """Two groups on one port, as the venue has them: each line hears its own group alone."""
    (port,) = free_ports(1)
    groups = ("239.255.78.1", "239.255.78.2")
    records = flow(Venue(), 12, 9)
    rig = make_lines(
        run, IexSettings, NOON,
        port=port, multicast_group=groups[0], other_lines=(f"{groups[1]}:{port}@127.0.0.1",),
    )  # fmt: skip
    rig._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
    rig.lines = [(group, port) for group in groups]
    try:
        rig.play((at % 2, raw) for at, (_, _, raw) in enumerate(records))
    except OSError as error:
        pytest.skip(f"no multicast on this machine: {error}")
    rig.wait(settled(rig, numbers_of(records[-1])[-1]))
    rig.end()
    assert live(rig) == reference(records)
    with CaptureReader(rig.capture(SESSION)) as reader:
        lines = [one.line for batch in reader.batches() for one in batch if one.kind == RecordKind.DATA]
    assert sorted(lines) == [0] * 6 + [1] * 6


@pytest.mark.parametrize(("name", "restarts"), [("TOPS16.pcapng.gz", 0), ("DEEP10.pcap.gz", 3)])
def test_real_packets_live_and_from_the_file(
    name: str, restarts: int, make_lines: MakeLines, shared_data: SharedData
) -> None:
    """The exchange's own samples, played over two lines of which each loses what the other has: the events of
    the packets as they are in the file."""
    source = shared_data(f"iex/{name}")
    packets = _whole(source)[:PACKETS_MAX]
    sent = send_ns(packets[0])
    rig = make_lines(run, IexSettings, sent)
    rng = random.Random(3)

    together: list[tuple[int, bytes]] = []
    for at, raw in enumerate(packets):
        dice = rng.random()
        together += [(0, raw)] if dice > 0.02 else []
        together += [(1, raw)] if not 0.02 < dice < 0.04 else []
        # what is sent together may come A first and then B: not so much that a hole would be too old by then
        if at + 1 == len(packets) or send_ns(packets[at + 1]) - sent > 900 * MS:
            rig.play(together)
            together, sent = [], send_ns(packets[min(at + 1, len(packets) - 1)])
    session = rig.sinks[0].session
    decoder = IexDecoder("IEXG", session, lateness_ns=10**10)
    records = [(int(RecordKind.DATA), 0, raw) for raw in packets]
    wanted = timeless(decoder.decode(CaptureBatch.of([*records, (int(RecordKind.CONTROL), 0, end_record())])))
    rig.give_up(lambda: rig.sinks[0].last_seq == decoder.last_seq)
    rig.end()
    assert live(rig, session) == wanted
    assert decoder.counters["restarts"] == restarts


def send_ns(raw: bytes) -> int:
    return int.from_bytes(raw[32:40], "little")


def _whole(source: Path) -> list[bytes]:
    """The datagrams of a file, up to where it is cut off."""
    found: list[bytes] = []
    with contextlib.suppress(DecodeError):
        found.extend(payload for _, payload in read_pcap(source) if payload is not None)
    return found
