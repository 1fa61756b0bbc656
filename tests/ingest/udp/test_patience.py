"""When a hole is given up that nobody can be asked for."""

from __future__ import annotations

from ingest.udp.gaps import Gap, gap_from, gap_record
from ingest.udp.patience import Patience
from tickloom.clock import NS_PER_MS


def at(ms: int) -> int:
    return ms * NS_PER_MS


def test_hole_is_given_up_when_its_time_is_over() -> None:
    """Not a millisecond sooner; while it is open the caller is told to come back soon."""
    patience = Patience(100)
    assert patience.next(None, 1, at(0)) is None
    assert not patience.waiting
    assert patience.next(Gap(5, 6), 8, at(10)) is None
    assert patience.waiting
    assert patience.next(Gap(5, 6), 20, at(109)) is None
    assert patience.next(Gap(5, 6), 20, at(110)) == Gap(5, 6)
    assert patience.next(None, 20, at(110)) is None
    assert not patience.waiting


def test_each_hole_has_its_own_time() -> None:
    """The second hole was heard of 50 ms behind the first, and is given up 50 ms behind it, not 100."""
    patience = Patience(100)
    assert patience.next(Gap(5, 6), 8, at(0)) is None
    assert patience.next(Gap(5, 6), 12, at(50)) is None
    assert patience.next(Gap(5, 6), 12, at(100)) == Gap(5, 6)
    assert patience.next(Gap(8, 10), 12, at(101)) is None
    assert patience.next(Gap(8, 10), 12, at(150)) == Gap(8, 10)


def test_hole_that_became_smaller_keeps_its_time() -> None:
    """A part of it came: what is left was missing all the while."""
    patience = Patience(100)
    assert patience.next(Gap(5, 9), 11, at(0)) is None
    assert patience.next(Gap(7, 9), 11, at(60)) is None
    assert patience.next(Gap(7, 9), 11, at(100)) == Gap(7, 9)


def test_numbers_that_begin_anew_have_all_the_time() -> None:
    """A hole of the new run is not as old as what was heard of the old one."""
    patience = Patience(100)
    assert patience.next(Gap(500, 510), 600, at(0)) is None
    assert patience.next(Gap(3, 4), 6, at(90)) is None
    assert patience.next(Gap(3, 4), 6, at(189)) is None
    assert patience.next(Gap(3, 4), 6, at(190)) == Gap(3, 4)


def test_record_of_a_gap() -> None:
    """It can be read again; anything else is none."""
    assert gap_from(gap_record(Gap(3, 7))) == Gap(3, 7)
    for other in (
        b"",
        b"{}",
        b"[1]",
        b'{"type": "end"}',
        b'{"type": "gap", "first": "x", "last": 1}',
        b"[" * 10**5,
    ):
        assert gap_from(other) is None
