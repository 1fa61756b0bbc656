"""When the venue is asked again, and when a hole is given up."""

from __future__ import annotations

from ingest.itch.moldudp64 import Gap
from ingest.itch.rerequest import GiveUp, Request, Rerequester

MS = 1_000_000


def test_reordered_packet_is_waited_for() -> None:
    """A hole that closes within milliseconds is no reason to ask anybody."""
    asks = Rerequester(gap_timeout_ms=1_000)
    assert asks.next(Gap(5, 6), 0) is None
    assert asks.waiting
    assert asks.next(Gap(5, 6), 2 * MS) is None
    assert asks.next(None, 3 * MS) is None
    assert not asks.waiting
    assert asks.requests == 0


def test_request_is_repeated_until_given_up() -> None:
    """Asked at once, then every 50 ms; after gap_timeout_ms without an answer nobody has it."""
    asks = Rerequester(gap_timeout_ms=120)
    assert asks.next(Gap(5, 6), 0) is None
    steps = {at: asks.next(Gap(5, 6), at * MS) for at in range(1, 121)}
    assert [at for at, step in steps.items() if step == Request(5, 2)] == [3, 53, 103]
    assert steps[120] == GiveUp(Gap(5, 6))


def test_partial_answer_is_progress() -> None:
    """While answers come, however many it takes, the time to give up begins anew and the next request
    goes out at once."""
    asks = Rerequester(gap_timeout_ms=100)
    asks.next(Gap(1, 200_000), 0)
    assert asks.next(Gap(1, 200_000), 3 * MS) == Request(1, 65_534)
    assert asks.next(Gap(900, 200_000), 90 * MS) is None
    assert asks.next(Gap(900, 200_000), 91 * MS) == Request(900, 65_534)
    assert asks.next(Gap(900, 200_000), 189 * MS) == Request(900, 65_534)
    assert asks.next(Gap(900, 200_000), 190 * MS) == GiveUp(Gap(900, 200_000))


def test_holes_of_one_moment_are_over_together() -> None:
    """While nobody answers, a feed with many holes is held up for gap_timeout_ms once, not once for each:
    those that were seen as early as the first are asked for once more, for 50 ms, and given up."""
    asks = Rerequester(gap_timeout_ms=1_000)
    holes = [Gap(5, 6), Gap(9, 9), Gap(20, 29)]
    done: list[tuple[int, object]] = []
    for at in range(2_500):
        step = asks.next(holes[0] if holes else None, at * MS, 31)
        if step is not None and step != Request(5, 2):
            done.append((at, step))
        if isinstance(step, GiveUp):
            holes.pop(0)
    assert done == [
        (1_000, GiveUp(Gap(5, 6))),
        (1_001, Request(9, 1)),
        (1_051, GiveUp(Gap(9, 9))),
        (1_052, Request(20, 10)),
        (1_102, GiveUp(Gap(20, 29))),
    ]


def test_hole_that_opens_later_has_its_own_time() -> None:
    """Its time begins when something behind it was heard of."""
    asks = Rerequester(gap_timeout_ms=1_000)
    for at in range(1_000):
        step = asks.next(Gap(5, 6), at * MS, 8 if at < 700 else 11)
    assert step is None
    assert asks.next(Gap(5, 6), 1_000 * MS, 11) == GiveUp(Gap(5, 6))
    given_up = [at for at in range(1_001, 2_500) if asks.next(Gap(9, 9), at * MS, 11) == GiveUp(Gap(9, 9))]
    assert given_up[0] == 1_700
