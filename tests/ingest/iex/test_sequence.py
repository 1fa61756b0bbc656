"""Order, holes, doubles and restarts of IEX-TP: every number is there once, or its absence is an event."""

from __future__ import annotations

import random

import pytest

from ingest.iex import iextp
from ingest.iex.decoder import IexDecoder, end_record
from ingest.iex.iextp import pack
from tests.ingest.iex_venue import BASE, MIDNIGHT, MS, Record, Venue, decode, rows
from tickloom.events import GapReason, Side, StatusCode
from tickloom.prices import NO_PRICE

END = (1, 99, end_record())


def trades(venue: Venue, count: int, first: int = 1) -> list[Record]:
    """One trade a segment; a trade's id is its number."""
    return [venue.send(venue.trade(number)) for number in range(first, first + count)]


def ids(records: list[Record]) -> list[int]:
    return [trade_id for (trade_id,) in rows(decode(records)[1], "trades", "venue_id")]


def test_late_segment_fills_the_hole_once() -> None:
    """Segments behind a hole wait; the late one lets all of them out in order, once; no gap event is made."""
    one = trades(Venue(), 7)
    records = [one[0], one[3], one[6], one[4], one[3], one[1], one[2], one[2], one[5], one[6]]
    decoder, block = decode(records)
    assert [number for (number,) in rows(block, "trades", "venue_id")] == [1, 2, 3, 4, 5, 6, 7]
    assert len(block.gaps) == 0
    assert decoder.counters == {"decoded": 7, "early": 4, "duplicate": 3}


def test_lines_may_cut_their_segments_differently() -> None:
    """A and B have the same messages in other segments: what overlaps is counted as double."""
    venue = Venue()
    messages = [venue.trade(number) for number in range(1, 8)]
    now = venue.now

    def segment(first: int, last: int) -> Record:
        offset = 40 * (first - 1)
        return (0, now, pack(messages[first - 1 : last], first, now + first, offset, 77))

    decoder, block = decode([segment(1, 3), segment(2, 5), segment(4, 4), segment(5, 7)])
    assert [number for (number,) in rows(block, "trades", "venue_id")] == [1, 2, 3, 4, 5, 6, 7]
    assert decoder.counters == {"decoded": 7, "duplicate": 4}


def test_hole_is_given_up_after_a_second_of_send_time() -> None:
    """One segment is lost: the gap event has exactly its range, stands before what waited, and comes when the
    venue's own clock is a second on, not ours."""
    venue = Venue()
    one = trades(venue, 3)
    lost = [venue.send(venue.trade(4), venue.trade(5))]
    behind = trades(venue, 2, 6)
    venue.now += 998 * MS
    at_limit = venue.send()
    beyond = venue.send()
    decoder, block = decode([*one, *behind, at_limit])
    assert [len(block.trades), len(block.gaps)] == [3, 0]
    _, block = decode([beyond, *lost], decoder)
    assert rows(block, "gaps", "seq", "first_missing", "last_missing", "reason") == [
        (BASE + 4, 4, 5, GapReason.SEQUENCE)
    ]
    assert rows(block, "trades", "venue_id", "seq") == [(6, BASE + 6), (7, BASE + 7)]
    assert (decoder.counters["gap_messages"], decoder.counters["sequence_gaps"]) == (2, 1)
    assert decoder.counters["duplicate"] == 2


def test_hole_at_the_end_is_shown_by_a_heartbeat() -> None:
    """Nothing comes behind the loss but heartbeats, which say what is next: the gap is known all the same."""
    venue = Venue()
    one = trades(venue, 2)
    trades(venue, 3, 3)
    heartbeats = []
    for _ in range(2):
        venue.now += 1_000 * MS
        heartbeats.append(venue.send())
    decoder, block = decode([*one, *heartbeats])
    assert rows(block, "gaps", "first_missing", "last_missing") == [(3, 5)]
    assert decoder.counters["heartbeat"] == 2


def test_end_of_the_file_gives_up_every_hole() -> None:
    """The end of a file is the end of all waiting: each hole with its own range, and all that waited."""
    one = trades(Venue(), 9)
    decoder, block = decode([one[0], one[3], one[4], one[7], END])
    assert rows(block, "gaps", "first_missing", "last_missing", "ts_recv") == [
        (2, 3, one[3][1]), (6, 7, one[7][1]),
    ]  # fmt: skip
    assert [number for (number,) in rows(block, "trades", "venue_id")] == [1, 4, 5, 8]
    assert decoder.counters["gap_messages"] == 4


def test_bounded_waiting_gives_up_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """With too much behind a hole the decoder goes on, whatever the time, and says what is missing."""
    monkeypatch.setattr(iextp, "WAITING_SEGMENTS_MAX", 5)
    one = trades(Venue(), 11)
    _, block = decode([one[0], *one[2:]])
    assert rows(block, "gaps", "first_missing", "last_missing") == [(2, 2)]
    assert [number for (number,) in rows(block, "trades", "venue_id")] == [1, *range(3, 12)]


def test_joined_late() -> None:
    """The capture begins in mid session: what was before is a gap, with the time of what follows."""
    venue = Venue()
    trades(venue, 8)
    late = venue.send(venue.trade(9, timestamp=MIDNIGHT + 5_000))
    _, block = decode([late, END])
    assert rows(block, "gaps", "first_missing", "last_missing", "ts_event") == [(1, 8, MIDNIGHT + 5_000)]
    assert rows(block, "trades", "venue_id") == [(9,)]


def test_cut_datagrams_give_their_whole_messages() -> None:
    """Of a datagram cut off in its third message two are taken; the other line's copy brings the third alone.
    Without it, the third is a gap; also where the cut one had waited itself."""
    venue = Venue()
    whole = venue.send(*(venue.trade(number) for number in (1, 2, 3)))
    behind = venue.send(venue.trade(4))
    cut = (0, whole[1], whole[2][:-1])
    decoder, block = decode([cut, behind, whole])
    assert rows(block, "trades", "venue_id") == [(1,), (2,), (3,), (4,)]
    assert decoder.counters == {"decoded": 4, "truncated_packet": 1, "early": 1, "duplicate": 2}
    decoder, block = decode([cut, behind, END])
    assert rows(block, "gaps", "first_missing", "last_missing") == [(3, 3)]
    venue = Venue()
    one = [venue.send(*(venue.trade(n) for n in (m, m + 1))) for m in range(1, 41, 2)]
    cuts = [(0, at, raw[:-1]) for _, at, raw in one[1:]]
    decoder, block = decode([*cuts, one[0], END])
    assert [first for (first,) in rows(block, "gaps", "first_missing")] == list(range(4, 41, 2))[
        : len(block.gaps)
    ]
    assert len(block.gaps) >= 18


def test_restart_in_the_same_session() -> None:
    """A heartbeat goes back to 1: numbers go on behind the highest; the restart has one of its own, and one a
    symbol whose levels and quotes are taken back; the new run's book is its own."""
    venue = Venue()
    records = [venue.send(venue.level("8", 100, 10), venue.level("5", 102, 20), venue.level("8", 99, 1))]
    records.append(venue.send(venue.level("5", 7, 1, symbol="BRVO"), venue.trade(1, symbol="C")))
    venue.restart()
    records += [venue.send(), venue.send(venue.level("8", 90, 5))]
    decoder, block = decode(records)
    assert rows(block, "book_deltas", "seq", "price", "size", "side")[4:] == [
        (BASE + 6, 99 * 10**5, 0, Side.BUY),
        (BASE + 6, 100 * 10**5, 0, Side.BUY),
        (BASE + 6, 102 * 10**5, 0, Side.SELL),
        (BASE + 7, 7 * 10**5, 0, Side.SELL),
        (BASE + 9, 90 * 10**5, 5 * 10**9, Side.BUY),
    ]
    assert rows(block, "quotes", "seq", "bid_price", "bid_size", "ask_price", "ask_size", "venue_id")[3:] == [
        (BASE + 6, int(NO_PRICE), 0, int(NO_PRICE), 0, 0),
        (BASE + 7, int(NO_PRICE), 0, int(NO_PRICE), 0, 0),
        (BASE + 9, 90 * 10**5, 5 * 10**9, int(NO_PRICE), 0, 1),
    ]
    assert rows(block, "statuses", "seq", "symbol", "status", "reason") == [
        (BASE + 8, "", StatusCode.BOOK_SYNCED, b"RESTART")
    ]
    assert decoder.counters == {"decoded": 6, "heartbeat": 1, "restarts": 1}
    assert decoder.last_seq == BASE + 9


@pytest.mark.parametrize("session", [None, 78], ids=["same session", "other session"])
@pytest.mark.parametrize("heartbeat", [True, False], ids=["heartbeat first", "message first"])
def test_restart_is_seen_at_its_first_segment(session: int | None, heartbeat: bool) -> None:
    """By a heartbeat or by a message, in the same session or another, with what waited given up before it."""
    venue = Venue()
    one = trades(venue, 5)
    venue.restart(session)
    behind = [venue.send()] if heartbeat else []
    behind += trades(venue, 3, 101)
    decoder, block = decode([*one[:3], one[4], *behind])
    assert rows(block, "trades", "venue_id", "seq") == [
        (1, BASE + 1), (2, BASE + 2), (3, BASE + 3), (5, BASE + 5),
        (101, BASE + 7), (102, BASE + 8), (103, BASE + 9),
    ]  # fmt: skip
    assert rows(block, "gaps", "seq", "first_missing", "last_missing") == [(BASE + 4, 4, 4)]
    assert decoder.counters["restarts"] == 1


def test_gap_after_a_restart_is_in_the_numbers_of_seq() -> None:
    """What is missing of a later run has the numbers that its events would have had."""
    venue = Venue()
    one = trades(venue, 3)
    venue.restart()
    behind = [venue.send(), *trades(venue, 4, 101)]
    _, block = decode([*one, behind[0], behind[1], behind[4], END])
    assert rows(block, "gaps", "seq", "first_missing", "last_missing") == [(BASE + 6, 6, 7)]


def test_restart_whose_beginning_was_lost() -> None:
    """The first that comes of a new run is its third message, later than all: the run begins with a gap."""
    venue = Venue()
    one = trades(venue, 5)
    venue.restart()
    behind = trades(venue, 4, 101)
    decoder, block = decode([*one, *behind[2:], END])
    assert decoder.counters["restarts"] == 1
    assert rows(block, "gaps", "first_missing", "last_missing") == [(7, 8)]
    assert [number for (number,) in rows(block, "trades", "venue_id")] == [1, 2, 3, 4, 5, 103, 104]


def test_stragglers_are_no_restart() -> None:
    """What the slower line sends again, heartbeats that were overtaken, and an old session's rest are doubles
    or foreign: nothing begins anew."""
    venue = Venue()
    first = trades(venue, 3)
    heartbeat = venue.send()
    rest = trades(venue, 3, 4)
    slow = pack([venue.trade(4)], 4, venue.now + 50 * MS, 120, 77)
    slow = slow[: 40 + 2 + 2] + rest[0][2][44:52] + slow[52:]  # message 4 again, sent later
    ahead = pack([], 2, venue.now + 900 * MS, 40, 77)  # another clock, less than a second off
    decoder, block = decode([*first, *rest, heartbeat, (0, 1, slow), (0, 2, ahead), *first])
    assert decoder.counters == {"decoded": 6, "heartbeat": 2, "duplicate": 4}
    venue.restart(78)
    new = trades(venue, 2, 101)
    decoder, block = decode([new[0], *rest, new[1]], decoder)
    assert decoder.counters["foreign_session"] == 3
    assert rows(block, "trades", "venue_id") == [(101,), (102,)]


def test_another_session_in_its_middle_has_to_be_seen_twice() -> None:
    """One head with another session is damage; two are a session that was joined late."""
    venue = Venue()
    one = trades(venue, 2)
    other = Venue()
    other.now, other.session = venue.now + 10_000 * MS, 500
    two = trades(other, 9)
    damaged = trades(venue, 1, 3)
    decoder, block = decode([*one, two[6], *damaged])
    assert decoder.counters == {"decoded": 3, "foreign_session": 1}
    decoder, block = decode([two[7], two[8], END], decoder)
    assert decoder.counters["restarts"] == 1
    assert rows(block, "gaps", "first_missing", "last_missing") == [(5, 11)]
    assert rows(block, "trades", "venue_id") == [(8,), (9,)]


def test_head_with_a_wrong_number_is_no_gap() -> None:
    """A number far ahead whose stream offset does not go with it is a damaged head: counted, and no hole.
    Where offsets are wrong all the time they are believed no more."""
    venue = Venue()
    one = trades(venue, 4)
    lying = pack([venue.trade(9)], 5_000_000, venue.now, venue.offset, 77)
    decoder, block = decode([*one[:2], (0, 1, lying), *one[2:], END])
    assert decoder.counters == {"decoded": 4, "offset_mismatch": 1}
    assert len(block.gaps) == 0
    venue = Venue()
    records = []
    for number in range(1, 31):
        venue.offset = 0
        records.append(venue.send(venue.trade(number)))
    del records[4]
    decoder, block = decode([*records, END])
    assert rows(block, "gaps", "first_missing", "last_missing") in ([(5, 5)], [(5, 13)])
    assert decoder.counters["offset_mismatch"] > 0


def test_end_of_messages_holds_until_a_restart() -> None:
    """After the last message the session has ended; a run that begins anew takes that back."""
    venue = Venue()
    decoder, _ = decode([venue.send(venue.message("S", event="C"))])
    assert decoder.ended
    venue.restart()
    decode([venue.send()], decoder)
    assert not decoder.ended


@pytest.mark.parametrize("seed", range(4))
def test_lost_swapped_and_doubled_segments_are_accounted_for(seed: int) -> None:
    """5 % each of loss, reordering and doubling on one line: every number is a trade once or inside one gap,
    and the gaps are exactly the lost ones."""
    rng = random.Random(seed)
    venue = Venue()
    sent, lost, number = [], set(), 1
    for _ in range(600):
        numbers = list(range(number, number + rng.randrange(1, 4)))
        record = venue.send(*(venue.trade(each) for each in numbers))
        number = numbers[-1] + 1
        if rng.random() < 0.05:
            lost.update(numbers)
            continue
        sent.append(record)
        if rng.random() < 0.05:
            sent.append(record)
    for at in range(len(sent) - 4):
        if rng.random() < 0.05:
            other = at + rng.randrange(1, 4)
            sent[at], sent[other] = sent[other], sent[at]
    venue.now += 2_000 * MS
    _, block = decode([*sent, venue.send(), END])
    found = [trade_id for (trade_id,) in rows(block, "trades", "venue_id")]
    missing = [
        each
        for first, last in rows(block, "gaps", "first_missing", "last_missing")
        for each in range(first, last + 1)
    ]
    assert found == sorted(set(range(1, number)) - lost)
    assert missing == sorted(lost)


def test_numbers_never_leave_their_ten_digits() -> None:
    """A number that would no longer fit a seq is refused as a head that cannot be; so is a run behind those
    that used the digits up."""
    venue = Venue()
    decoder = IexDecoder("IEXG", "20170425")
    for sequence in (10**10 - 1, 2**62):
        venue.sequence = sequence
        decode([venue.send(venue.trade(1)), venue.send(), END], decoder)
    assert decoder.counters == {"malformed": 4}
    venue.sequence, venue.offset = 4 * 10**9, 40 * 10**10
    decode([venue.send(venue.trade(1)), END], decoder)
    venue.restart()
    venue.sequence, venue.offset = 3 * 10**9, 30 * 10**10
    decode([venue.send(venue.trade(2)), *trades(venue, 2), END], decoder)
    assert (decoder.last_seq, decoder.counters["restarts"]) == (BASE + 7 * 10**9 + 3, 1)
    venue.restart()
    venue.sequence, venue.offset = 29 * 10**8, 29 * 10**9
    _, block = decode([venue.send(venue.trade(3)), *trades(venue, 1), END], decoder)
    assert (len(block.trades), decoder.counters["malformed"]) == (2, 4)
    venue.restart()
    venue.sequence, venue.offset = 2 * 10**8, 20 * 10**8
    _, block = decode([venue.send(venue.trade(4)), END], decoder)
    assert (len(block.trades), decoder.counters["malformed"]) == (0, 5)
    assert decoder.last_seq < BASE + 10**10
