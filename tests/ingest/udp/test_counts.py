"""What a line was worth, of the feeds whose heads are not ITCH's."""

from __future__ import annotations

from ingest.capture import CaptureBatch, RecordKind
from ingest.iex.iextp import pack
from ingest.iex.lines import IexLines
from ingest.sbe.mdp3.lines import Mdp3Lines
from ingest.udp.counts import LineCounts
from tests.ingest.iex_venue import Venue
from tests.ingest.sbe.mdp3.venue import NOW, packet


def batch(sent: list[tuple[int, int, bytes]]) -> CaptureBatch:
    """Of line, receive time and datagram."""
    records = [(int(RecordKind.DATA), ts, raw) for _, ts, raw in sent]
    return CaptureBatch.of(records, lines=[line for line, _, _ in sent])


def test_iex_lines_are_counted_by_message() -> None:
    """B cuts its segments differently and loses one message; A leads by 5 ns; heartbeats tell what is next;
    garbage is no packet of any line."""
    venue, lines = Venue(), IexLines()
    messages = [venue.trade(number) for number in range(1, 5)]
    sent = [
        (0, 100, pack(messages[:2], 1, NOW)),
        (1, 105, pack(messages[:1], 1, NOW)),
        (0, 110, pack(messages[2:], 3, NOW)),
        (1, 115, pack(messages[2:], 3, NOW)),
        (0, 116, b"x" * 50),
        (1, 117, b"short"),
        (0, 120, pack([], 5, NOW)),
    ]
    assert lines.take(batch(sent)) == [0, 1]
    assert lines.counts(0) == LineCounts(3, 4, 0, 0, 0, 3, 15)
    assert lines.counts(1) == LineCounts(2, 0, 3, 0, 1, 0, 0)


def test_numbers_that_begin_anew_are_no_copies() -> None:
    """What was counted stays; the new run's messages are first, and nothing is lost by the step back."""
    venue, lines = Venue(), IexLines()
    lines.take(batch([(0, 1, pack([venue.trade(1), venue.trade(2)], 1, NOW))]))
    lines.restart()
    lines.take(batch([(0, 2, pack([venue.trade(3)], 1, NOW))]))
    assert lines.counts(0) == LineCounts(2, 3, 0, 0, 0, 0, 0)


def test_mdp3_lines_are_counted_by_packet() -> None:
    """Packets have the numbers there; what came on the recovery feeds counts for no line."""
    lines = Mdp3Lines()
    taken = batch([(0, 1, packet(7, NOW, [])), (1, 3, packet(7, NOW, [])), (0, 4, packet(9, NOW, []))])
    assert lines.take(taken) == [0, 1]
    beside = CaptureBatch.of([(int(RecordKind.SNAPSHOT), 5, packet(1, NOW, []))], lines=[8])
    assert lines.take(beside) == []
    assert lines.counts(0) == LineCounts(2, 2, 0, 0, 1, 1, 2)
    assert lines.counts(1) == LineCounts(1, 0, 1, 0, 0, 0, 0)
