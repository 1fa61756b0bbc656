"""The live MDP 3.0 session over real UDP lines, and the market recovery feed that makes lost books whole."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest

from ingest.capture import CaptureBatch, CaptureReader, RecordKind
from ingest.feeds import load_file
from ingest.sbe.mdp3.decoder import Mdp3Decoder
from ingest.sbe.mdp3.lines import Mdp3Feed
from ingest.sbe.mdp3.packets import parse
from ingest.sbe.mdp3.session import run
from ingest.trusted import TrustedDecoder
from ingest.udp.gaps import Gap, gap_record
from tests.ingest.pcap_bytes import pcap, udp_frame
from tests.ingest.sbe.mdp3.test_streams import DEPTHS, Tape, check_books, shown_of
from tests.ingest.sbe.mdp3.venue import NOW, SESSION, Venue, future, packet
from tests.ingest.udp.rig import WAIT_S, Events, Faults, Rig, events_of, gap_ranges, ranges, timeless
from tickloom.errors import SettingsError, SetupError
from tickloom.events import Side, StatusCode, TrustState
from tickloom.instruments import Registry
from tickloom.settings import Mdp3Settings
from tickloom.stack.ports import is_free

DAY_NS = 86_400 * 10**9
MakeLines = Callable[..., Rig]


def definitions(loop: int = 0) -> list[bytes]:
    return [future(security, f"S{security}", depth, loop=loop) for security, depth in DEPTHS.items()]


class Channel:
    """Packets of a week from its beginning on, and the true books after each RptSeq."""

    def __init__(self, seed: int) -> None:
        self.tape = Tape(venue=Venue(seed, DEPTHS))
        self.packets = [self.venue.packet(definitions())]
        self._chance = random.Random(seed)

    @property
    def venue(self) -> Venue:
        return self.tape.venue

    def go_on(self, events: int) -> list[bytes]:
        """The packets of so many more events."""
        before = len(self.packets)
        for _ in range(events):
            raw = self.venue.event()
            cut = self._chance.randrange(0, len(raw))
            self.packets += [self.venue.packet(part) for part in (raw[:cut], raw[cut:]) if part]
            for security in DEPTHS:
                self.tape.shown[security, self.venue.books[security].rpt] = shown_of(self.venue, security)
        return self.packets[before:]

    def snapshots(self) -> list[bytes]:
        """A whole loop of the market recovery feed."""
        return [self.venue.snapshot(security, len(DEPTHS)) for security in DEPTHS]


def make(make_lines: MakeLines, **values: object) -> Rig:
    return make_lines(run, Mdp3Settings, NOW, **{"stale_ms": 0, "line_stale_ms": 0, **values})


def both(packets: list[bytes]) -> Iterator[tuple[int, bytes]]:
    for raw in packets:
        yield 0, raw
        yield 1, raw


def decoded(path: Path) -> Mdp3Decoder:
    decoder = Mdp3Decoder("XCME", SESSION)
    trusted = TrustedDecoder(decoder)
    if path.exists():
        with CaptureReader(path) as reader:
            for batch in reader.batches():
                trusted.decode(batch)
    return decoder


def sequence_of(raw: bytes) -> int:
    found = parse(raw)
    assert found is not None
    return found.sequence


def reference(packets: list[bytes]) -> tuple[Mdp3Decoder, Events]:
    """What packets in order give, holes between them given up."""
    records, due = [], sequence_of(packets[0])
    for raw in packets:
        sequence = sequence_of(raw)
        records.append((int(RecordKind.DATA), NOW, raw))
        if sequence > due:
            records.append((int(RecordKind.CONTROL), NOW, gap_record(Gap(due, sequence - 1))))
        due = sequence + 1
    decoder = Mdp3Decoder("XCME", SESSION)
    return decoder, timeless(decoder.decode(CaptureBatch.of(records)))


def test_clean_lines_give_the_events_of_the_file(make_lines: MakeLines, tmp_path: Path) -> None:
    """Two whole lines: sink, capture and `ingest file` of these packets have the same events, each once."""
    channel = Channel(1)
    channel.go_on(300)
    tape = tmp_path / "tape.pcap"
    tape.write_bytes(pcap([udp_frame(raw) for raw in channel.packets], times=[NOW] * len(channel.packets)))
    loaded = load_file(tape, tmp_path / "file", "XCME", date(2023, 11, 14))
    rig = make(make_lines)
    rig.play(both(channel.packets))
    wanted, _ = reference(channel.packets)
    rig.wait(lambda: bool(rig.sinks) and rig.sinks[0].last_seq == wanted.last_seq)
    rig.end()
    assert rig.sinks[0].session == SESSION
    events = events_of(rig.capture(SESSION), Mdp3Decoder("XCME", SESSION))
    assert rig.sinks[0].events == events == events_of(loaded.path, Mdp3Decoder("XCME", SESSION))
    assert check_books(decoded(rig.capture(SESSION)), channel.tape) == len(DEPTHS)


@pytest.mark.parametrize("seed", range(3))
def test_faulty_lines(make_lines: MakeLines, seed: int) -> None:
    """Packets dropped, doubled and swapped, from a seed, on either line and on both: no event twice, gaps of
    exactly the packets that no line brought; and at each record an instrument is trusted exactly while its
    book is known, which is then the venue's."""
    channel = Channel(seed)
    channel.go_on(150)
    played, lost = Faults(seed, drop=0.04).play(channel.packets[1:], 2, spare=5)
    rig = make(make_lines)
    rig.play(both(channel.packets[:1]))
    rig.play(played)
    kept = [raw for at, raw in enumerate(channel.packets) if at - 1 not in lost]
    wanted, events = reference(kept)
    rig.give_up(lambda: rig.sinks[0].last_seq == wanted.last_seq)
    rig.end()
    assert lost
    assert gap_ranges(events) == ranges(sequence_of(channel.packets[at + 1]) for at in lost)
    path = rig.capture(SESSION)
    assert events_of(path, Mdp3Decoder("XCME", SESSION)) == events == rig.sinks[0].events
    decoder = Mdp3Decoder("XCME", SESSION)
    trusted = TrustedDecoder(decoder)
    broken = 0
    with CaptureReader(path) as reader:
        for batch in reader.batches():
            for at in range(len(batch)):
                trusted.decode(batch.slice(at, at + 1))
                check_books(decoder, channel.tape, ended=False)
                for name, state in trusted.states().items():
                    if name:
                        assert (state is TrustState.TRUSTED) == decoder.is_synced(int(name[1:]))
                        broken += state is TrustState.BROKEN
    assert broken


def test_market_recovery_makes_lost_books_whole(
    make_lines: MakeLines, free_ports: Callable[[int], list[int]]
) -> None:
    """A hole on both lines: every book is lost; the recovery feed, heard at the start until a loop was whole
    and not since, is heard again, makes each the book of an undisturbed run, and is left alone again."""
    (port,) = free_ports(1)
    channel = Channel(11)
    rig = make(make_lines, snapshot_lines=(f"127.0.0.1:{port}",))
    rig.lines.append(("127.0.0.1", port))
    path = rig.capture(SESSION)
    first = [channel.packets[0], *channel.go_on(60)]
    rig.play(both(first))
    assert not is_free(port, udp=True)
    cast(rig, channel.snapshots(), lambda: is_free(port, udp=True))

    lost = channel.go_on(3)
    behind = channel.go_on(40)
    rig.play(both(behind))
    rig.give_up(lambda: decoded(path).expected == channel.venue.sequence + 1)
    assert {decoded(path).is_synced(security) for security in DEPTHS} == {False}
    cast(rig, channel.snapshots(), lambda: all(decoded(path).is_synced(each) for each in DEPTHS))
    cast(rig, channel.snapshots(), lambda: is_free(port, udp=True))

    rest = channel.go_on(30)
    rig.play(both(rest))
    rig.wait(lambda: decoded(path).expected == channel.venue.sequence + 1)
    rig.end()
    events = events_of(path, Mdp3Decoder("XCME", SESSION))
    assert rig.sinks[0].events == events
    assert gap_ranges(events) == ranges(map(sequence_of, lost))
    undisturbed, _ = reference(channel.packets)
    ours = decoded(path)
    for security in DEPTHS:
        for side in (Side.BUY, Side.SELL):
            assert ours.book_levels(security, side) == undisturbed.book_levels(security, side)
    assert check_books(ours, channel.tape) == len(DEPTHS)
    assert ours.counters["books_lost"] == len(DEPTHS)
    assert statuses(path) == {StatusCode.BOOK_LOST, StatusCode.BOOK_SYNCED}
    assert kinds(path) == {(0, RecordKind.DATA), (1, RecordKind.DATA), (8, RecordKind.SNAPSHOT)}


def cast(rig: Rig, packets: list[bytes], reached: Callable[[], bool]) -> None:
    """Repeat the loop of a feed beside, which may not be heard, until ``reached``."""
    for _ in range(int(WAIT_S * 20)):
        for raw in packets:
            rig.send(2, raw)
        threading.Event().wait(0.05)
        if reached():
            return
    raise AssertionError(f"not reached; {rig.error!r}")


def statuses(path: Path) -> set[int]:
    decoder, found = Mdp3Decoder("XCME", SESSION), set()
    trusted = TrustedDecoder(decoder)
    with CaptureReader(path) as reader:
        for batch in reader.batches():
            found |= set(trusted.decode(batch).statuses["status"].tolist())
    return found & {StatusCode.BOOK_LOST, StatusCode.BOOK_SYNCED}


def kinds(path: Path) -> set[tuple[int, RecordKind]]:
    with CaptureReader(path) as reader:
        return {
            (one.line, one.kind)
            for batch in reader.batches()
            for one in batch
            if one.kind in (RecordKind.DATA, RecordKind.SNAPSHOT)
        }


def test_late_joiner_learns_names_and_books(
    make_lines: MakeLines, free_ports: Callable[[int], list[int]]
) -> None:
    """Joined in mid week: instrument replay gives the names, market recovery the books; there is no gap."""
    snapshots, replay = free_ports(2)
    channel = Channel(12)
    channel.go_on(50)
    rig = make(
        make_lines,
        snapshot_lines=(f"127.0.0.1:{snapshots}",),
        definition_lines=(f"127.0.0.1:{replay}",),
    )
    path = rig.capture(SESSION)
    rig.lines.append(("127.0.0.1", replay))
    rig.play(both(channel.go_on(1)))
    loop = [packet(number, NOW, [raw]) for number, raw in enumerate(definitions(len(DEPTHS)), 1)]
    cast(rig, loop, lambda: is_free(replay, udp=True))
    rig.lines[2] = ("127.0.0.1", snapshots)
    rig.play(both(channel.go_on(20)))
    cast(rig, channel.snapshots(), lambda: is_free(snapshots, udp=True))
    rig.play(both(channel.go_on(20)))
    rig.end()
    decoder = decoded(path)
    assert check_books(decoder, channel.tape) == len(DEPTHS)
    assert {f"S{security}" for security in DEPTHS} <= set(decoder.symbols.names)
    assert gap_ranges(events_of(path, Mdp3Decoder("XCME", SESSION))) == []


def test_started_anew_it_goes_on_with_the_week(make_lines: MakeLines) -> None:
    """A new ingester, days later: the same capture; what was sent meanwhile is one gap, nothing is double."""
    channel = Channel(13)
    rig = make(make_lines)
    first = [channel.packets[0], *channel.go_on(40)]
    rig.play(both(first))
    rig.end()
    missed = channel.go_on(5)
    rig.clock.let(2 * DAY_NS)
    rig.start()
    behind = channel.go_on(40)
    rig.play(both([*first[-4:], *behind]))
    wanted, events = reference([*first, *behind])
    rig.give_up(lambda: rig.sinks[-1].last_seq == wanted.last_seq)
    rig.end()
    assert [sink.session for sink in rig.sinks] == [SESSION] * 2
    assert rig.sinks[1].events == events
    assert gap_ranges(events) == ranges(map(sequence_of, missed))


def test_next_week_is_a_session_of_its_own(make_lines: MakeLines) -> None:
    """The numbers begin anew behind the weekend: another capture, from its first packet on."""
    channel, next_week = Channel(14), Channel(15)
    channel.go_on(20)
    next_week.venue.time += 6 * DAY_NS
    next_week.venue.sequence = 0
    next_week.packets = [next_week.venue.packet(definitions())]
    next_week.go_on(20)
    rig = make(make_lines)
    rig.play(both(channel.packets))
    rig.play(both(next_week.packets))
    rig.wait(lambda: len(rig.sinks) == 2 and rig.sinks[1].last_seq > 0)
    rig.end()
    assert [sink.session for sink in rig.sinks] == [SESSION, "20231120.310"]
    assert check_books(decoded(rig.capture(SESSION)), channel.tape) == len(DEPTHS)
    with CaptureReader(rig.capture("20231120.310")) as reader:
        data = [one.payload for batch in reader.batches() for one in batch if one.kind == RecordKind.DATA]
    assert sorted(set(map(sequence_of, data))) == [*range(1, len(next_week.packets) + 1)]


def test_weeks() -> None:
    """A week ends on Saturday, UTC; a session of this week is resumed, none of another week or channel."""
    feed = Mdp3Feed(Mdp3Settings(), Registry.load())
    friday = NOW // DAY_NS * DAY_NS + 3 * DAY_NS  # 2023-11-17
    assert feed.end_ns("20231114.310") == friday + DAY_NS
    assert feed.end_ns("20231118.310") == friday + 8 * DAY_NS
    assert feed.resumes("20231112.310", friday)
    assert not feed.resumes("20231112.310", friday + DAY_NS)
    assert not feed.resumes("20231110.310", friday)
    assert not feed.resumes("20231114.311", friday)
    assert not feed.resumes("20231114.FILE", friday)
    set_day = Mdp3Feed(Mdp3Settings(session_date="2023-11-14"), Registry.load())
    assert set_day.resumes("20231114.310", friday + 9 * DAY_NS)
    assert set_day.end_ns("20231114.310") > 2**63


def test_taken_ports_and_bad_settings_say_what_to_do(make_lines: MakeLines) -> None:
    """The message names the line, the setting and the remedy, also of the recovery feeds."""
    rig = make(make_lines)
    settings = rig.settings.model_copy(
        update={"port": 0, "other_lines": (), "snapshot_lines": (f"127.0.0.1:{rig.settings.port}",)}
    )
    with pytest.raises(SetupError, match=r"cannot be opened .*; set another mdp3\.snapshot_lines\[0\]"):
        run(settings, list, threading.Event())
    rig.end()
    with pytest.raises(SettingsError, match="definition_lines"):
        Mdp3Settings.load(definition_lines=("somewhere",))
    with pytest.raises(SettingsError, match="gap_timeout_ms"):
        Mdp3Settings.load(gap_timeout_ms=500)
    with pytest.raises(SettingsError, match="channel"):
        Mdp3Settings.load(channel="ES")
