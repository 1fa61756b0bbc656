"""Trust in IEX: a crossed book, and segments that never came."""

from __future__ import annotations

from ingest.capture import CaptureBatch
from ingest.iex.decoder import IexDecoder, end_record
from ingest.iex.iextp import TOPS_1_6
from ingest.trusted import TrustedDecoder
from tests.ingest.iex_venue import SESSION, Record, Venue
from tickloom.events import TrustReason, TrustState


def changes(records: list[Record]) -> list[tuple[str, str, int, int]]:
    """State and reason of ALFA, and what is missing."""
    block = TrustedDecoder(IexDecoder("IEXG", SESSION)).decode(CaptureBatch.of(records))
    return [
        (
            TrustState(row["state"]).name.lower(),
            TrustReason(row["reason"]).name.lower(),
            int(row["first_missing"]),
            int(row["last_missing"]),
        )
        for row in block.trust
        if block.symbols.names[row["symbol"]] == "ALFA"
    ]


def test_broken_while_the_book_is_crossed() -> None:
    """No quote mends it: from BOOK_LOST to BOOK_SYNCED."""
    venue = Venue()
    records = [
        venue.send(venue.level("8", 100, 10), venue.level("5", 101, 20)),
        venue.send(venue.level("8", 102, 20)),
        venue.send(venue.level("8", 99, 5)),
        venue.send(venue.level("8", 102, 0)),
    ]
    assert changes(records) == [
        ("trusted", "heard", 0, 0), ("broken", "crossed", 0, 0), ("trusted", "synced", 0, 0)
    ]  # fmt: skip


def test_tops_is_broken_from_a_gap_to_the_next_quote() -> None:
    """2 and 3 never come; a trade behind them says nothing of the quote, a quote all."""
    venue = Venue(TOPS_1_6)
    sides = {"bid_price": 100, "bid_size": 10, "ask_price": 101, "ask_size": 20}
    first = venue.send(venue.message("Q", **sides))
    venue.send(venue.message("Q", **sides), venue.trade(1))
    trade, quote = venue.send(venue.trade(2)), venue.send(venue.message("Q", **sides))
    assert changes([first, trade, quote, (1, venue.now, end_record())]) == [
        ("trusted", "heard", 0, 0), ("broken", "sequence", 2, 3), ("trusted", "requoted", 0, 0)
    ]  # fmt: skip


def test_deep_is_broken_from_a_gap_until_trades_prove_its_best_quote() -> None:
    """2 and 3 never come. Bids trade at 98 and asks at 103, then the best is inside of both; and is not."""
    venue = Venue()
    first = venue.send(venue.level("8", 98, 10), venue.level("5", 103, 20))
    venue.send(venue.level("8", 99, 10), venue.level("5", 102, 1))
    behind = [
        venue.send(venue.level("8", 98, 9)),
        venue.send(venue.trade(1, price=98, size=1), venue.level("8", 98, 8)),
        venue.send(venue.trade(2, price=103, size=1), venue.level("5", 103, 19)),
        venue.send(venue.level("8", 100, 1)),
        venue.send(venue.level("5", 101, 1)),
        venue.send(venue.level("8", 100, 0)),
        venue.send(venue.level("8", 99, 5)),
    ]
    assert changes([first, *behind, (1, venue.now, end_record())]) == [
        ("trusted", "heard", 0, 0), ("broken", "sequence", 3, 4), ("trusted", "proven", 0, 0),
        ("broken", "unproven", 3, 4), ("trusted", "proven", 0, 0),
    ]  # fmt: skip


def test_a_venue_that_begins_again_at_one_has_whole_books() -> None:
    """A hole, then a restart: nothing is missing of the new run."""
    venue = Venue()
    first = venue.send(venue.level("8", 98, 10))
    venue.send(venue.level("8", 99, 10))
    second = venue.send(venue.level("5", 105, 10))
    end = (1, venue.now, end_record())
    venue.restart(session=78)
    anew = [venue.send(venue.level("8", 97, 1)), venue.send(venue.level("5", 104, 1))]
    assert changes([first, second, end, *anew])[1:] == [
        ("broken", "sequence", 2, 2), ("trusted", "synced", 0, 0)
    ]  # fmt: skip
