"""Websocket API v2 over recorded sessions: v1's messages in the words of v2 make the same events.

Nobody has published a capture of v2 that may be used here, so the recorded one of v1 is converted. All 4,269
updates of it carry a checksum; the ten snapshots have one in v2.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

from ingest.capture import CaptureBatch
from ingest.feeds import decoder_for
from ingest.websocket.decoder import StreamDecoder
from tests.ingest.websocket.kraken.conversion import Conversion, Record
from tests.ingest.websocket.venues.conftest import dump
from tests.ingest.websocket.venues.test_scan import differences, mutated, wire_of
from tickloom.events import EventBlock, Side
from tickloom.prices import parse_nanos

__all__ = ["dump"]
Dump = Callable[[str], list[Record]]
MUTATIONS = 3_000
UPDATES, SNAPSHOTS = 4_269, 10


def decoded(records: list[Record]) -> tuple[StreamDecoder, EventBlock]:
    decoder = decoder_for("KRAKEN", "20210417")
    assert isinstance(decoder, StreamDecoder)
    return decoder, decoder.decode(CaptureBatch.of(records))


def test_v2_makes_the_events_of_v1(dump: Dump) -> None:
    """Record by record: the same quotes, statuses and deltas under the same seq; trades have numbers, too."""
    before, want = decoded(dump("KRAKEN"))
    after, found = decoded(Conversion().records(dump("KRAKEN")))
    for table in ("quotes", "statuses", "gaps"):
        assert found.kinds()[table].tobytes() == want.kinds()[table].tobytes(), table
    # v1 has asks before bids, v2 bids before asks
    order = ["seq", "side", "price"]
    assert np.sort(found.deltas, order=order).tobytes() == np.sort(want.deltas, order=order).tobytes()
    assert found.trades["venue_id"].tolist() == list(range(1, len(want.trades) + 1))
    found.trades["venue_id"] = 0
    assert found.trades.tobytes() == want.trades.tobytes()
    assert (after.watermark_ns, after.last_seq) == (before.watermark_ns, before.last_seq)
    assert before.counters["checksums_equal"] == UPDATES
    assert after.counters["checksums_equal"] == UPDATES + SNAPSHOTS
    assert after.counters["accepted"] == SNAPSHOTS
    assert after.counters["malformed"] == after.counters["unknown_type"] == 0


def test_both_versions_in_one_capture(dump: Dump) -> None:
    """A session that was begun in v1 and went on in v2 is read as one: each snapshot makes the books anew."""
    records = dump("KRAKEN")
    decoder, block = decoded([*records, *Conversion().records(records)])
    assert decoder.counters["checksums_equal"] == 2 * UPDATES + SNAPSHOTS
    assert decoder.counters["checksums_different"] == decoder.counters["malformed"] == 0
    assert not len(decoder.unsynced)
    assert len(block.trades) == 2 * len(decoded(records)[1].trades)


@pytest.mark.parametrize("depth", [10, 25])
@pytest.mark.parametrize("answered", [True, False], ids=["answered", "unanswered"])
def test_books_of_few_levels(depth: int, answered: bool, dump: Dump) -> None:
    """A subscriber to few levels never hears of those that fall behind: each checksum verifies all the same,
    and the book ends as the best levels of the whole one. The depth is in the answer to the subscription, or,
    where the capture has none, it is the least that the snapshot fits in."""
    conversion = Conversion(depth)
    records = conversion.records(dump("KRAKEN"))
    if not answered:
        records = [one for one in records if not one[2].startswith(b'{"method"')]
    decoder, _ = decoded(records)
    assert decoder.counters["checksums_equal"] == conversion.book_messages > 1_000
    assert decoder.counters["checksums_different"] == 0
    for pair, book in conversion.books.items():
        for side, levels in zip((Side.BUY, Side.SELL), book.top(depth), strict=True):
            want = [(parse_nanos(price), parse_nanos(size)) for price, size in levels.values()]
            assert decoder.book_levels(pair, side) == want


def test_levels_that_fall_behind_would_show(dump: Dump) -> None:
    """The test above can fail: told another depth, the same stream has checksums that differ."""
    records = [
        (kind, ts, payload.replace(b'"depth":10}', b'"depth":1000}'))
        for kind, ts, payload in Conversion(10).records(dump("KRAKEN"))
    ]
    decoder, _ = decoded(records)
    assert decoder.counters["checksums_different"] > 0


def test_batches_do_not_matter(dump: Dump) -> None:
    """However a capture is cut into batches, the events are the same: what an answer said is remembered."""
    records = Conversion(10).records(dump("KRAKEN"))
    _, want = decoded(records)
    chance = random.Random(11)
    decoder, parts, at = decoder_for("KRAKEN", "20210417"), [], 0
    while at < len(records):
        size = chance.choice([1, 3, 40, 400])
        parts.append(decoder.decode(CaptureBatch.of(records[at : at + size], first_number=at + 1)))
        at += size
    for table, rows in want.kinds().items():
        assert np.concatenate([part.kinds()[table] for part in parts]).tobytes() == rows.tobytes(), table


def test_templates_read_nearly_all_and_alike(dump: Dump) -> None:
    """Of the converted recording all but answers and statuses, which come once; of mutated messages what they
    take."""
    wire, names = wire_of("KRAKEN")
    payloads = [record[2] for record in Conversion().records(dump("KRAKEN"))[1:]]
    wrong, fast = differences(wire, names, payloads)
    assert not wrong
    assert fast == len(payloads) - 30 - 3
    chance = random.Random(20_260_428)
    short = [payload for payload in payloads if len(payload) < 1_500]
    broken = [mutated(chance.choice(short), chance) for _ in range(MUTATIONS)]
    wrong, fast = differences(wire, names, broken)
    assert not wrong
    assert fast > MUTATIONS // 100
    decoder, block = decoded([*Conversion().records(dump("KRAKEN")[:60]), *((0, 1, one) for one in broken)])
    assert decoder.counters["malformed"] > MUTATIONS // 4
    assert len(block) > 0
