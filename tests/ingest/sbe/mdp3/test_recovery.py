"""How long the recovery feeds of a channel are listened to."""

from __future__ import annotations

from ingest.sbe.mdp3.decoder import Mdp3Decoder
from ingest.sbe.mdp3.recovery import DefinitionLoop, Report, SnapshotLoop, loops, reports
from tests.ingest.sbe.mdp3.test_streams import DEPTHS
from tests.ingest.sbe.mdp3.venue import NOW, SESSION, Venue, future, packet
from tickloom.settings import Mdp3Settings


class Lacking(Mdp3Decoder):
    """A decoder that says what a test says."""

    lost_now = hole_now = undefined_now = 0

    @property
    def lost_books(self) -> int:
        return self.lost_now

    @property
    def lost_to(self) -> int:
        return self.hole_now

    @property
    def undefined_instruments(self) -> int:
        return self.undefined_now


def begun() -> tuple[SnapshotLoop, Lacking, Venue]:
    loop, decoder = SnapshotLoop("snapshot_lines", 8, ["127.0.0.1:1"]), Lacking("XCME", SESSION)
    assert loop.wanted()
    loop.begin(decoder)
    assert loop.wanted()
    return loop, decoder, Venue(1, DEPTHS)


def hear(loop: SnapshotLoop, venue: Venue, securities: list[int]) -> None:
    for security in securities:
        loop.heard(venue.snapshot(security, len(DEPTHS)))


def test_one_whole_loop_is_enough_where_nothing_is_lost() -> None:
    """Each instrument once, in any order, twice or not; a part of the loop is not enough."""
    loop, _, venue = begun()
    first, *rest = DEPTHS
    hear(loop, venue, [first, first, *rest[:-1], first])
    assert loop.wanted()
    hear(loop, venue, rest[-1:])
    assert not loop.wanted()


def test_loops_go_on_while_they_bring_something() -> None:
    """Three books lost: a loop that mends one is followed by another; one that mends none is the last. What
    is lost anew begins it again, what stays lost does not."""
    loop, decoder, venue = begun()
    decoder.lost_now = 3
    hear(loop, venue, list(DEPTHS))
    decoder.lost_now = 2
    hear(loop, venue, list(DEPTHS))
    assert loop.wanted()
    hear(loop, venue, list(DEPTHS))
    assert not loop.wanted()
    decoder.lost_now = 1
    assert not loop.wanted()
    decoder.lost_now = 2
    assert loop.wanted()


def test_snapshots_from_before_a_hole_do_not_count() -> None:
    """A hole up to packet 40: a loop of snapshots as of packet 39 is none."""
    loop, decoder, venue = begun()
    hear(loop, venue, list(DEPTHS))
    assert not loop.wanted()
    decoder.hole_now, venue.sequence = 40, 39
    assert loop.wanted()
    hear(loop, venue, list(DEPTHS))
    assert loop.wanted()
    venue.sequence = 40
    hear(loop, venue, list(DEPTHS))
    assert not loop.wanted()


def test_definitions_are_heard_until_all_have_names() -> None:
    """A whole loop; and again when an instrument is heard of that nothing has defined."""
    loop, decoder = DefinitionLoop("definition_lines", 12, ["127.0.0.1:1"]), Lacking("XCME", SESSION)
    loop.begin(decoder)
    for security in (5, 6):
        assert loop.wanted()
        loop.heard(packet(1, NOW, [future(security, "X", 10, loop=2)]))
    assert not loop.wanted()
    decoder.undefined_now = 1
    assert loop.wanted()


def test_reports_of_a_packet() -> None:
    """Security, size of the loop and place; what is damaged or another message is none."""
    raw = Venue(1, DEPTHS).snapshot(-7, 5)
    assert list(reports(raw, SnapshotLoop.templates)) == [Report(-7, 5, 0)]
    assert list(reports(raw, DefinitionLoop.templates)) == []
    null = packet(1, NOW, [future(9, "X", 10, loop=2**32 - 1)])
    assert list(reports(null, DefinitionLoop.templates)) == [Report(9, 0, 0)]
    for stop in range(len(raw)):
        assert len(list(reports(raw[:stop], SnapshotLoop.templates))) == 0


def test_lines_of_the_settings() -> None:
    """Each listed address is a line of its own, behind the feed's own lines and before the answers."""
    settings = Mdp3Settings(snapshot_lines=("1.1.1.1:1", "1.1.1.1:2"), definition_lines=("1.1.1.1:3",))
    assert [(loop.setting, loop.addresses) for loop in loops(settings)] == [
        ("snapshot_lines", {8: "1.1.1.1:1", 9: "1.1.1.1:2"}),
        ("definition_lines", {12: "1.1.1.1:3"}),
    ]
    assert loops(Mdp3Settings()) == ()
