"""Trust in IEX: a crossed book, and segments that never came."""

from __future__ import annotations

from ingest.capture import CaptureBatch
from ingest.iex.decoder import IexDecoder, end_record
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


def test_broken_from_a_gap_to_the_next_quote() -> None:
    """2 and 3 never come; a trade behind them says nothing of the book, a quote does."""
    venue = Venue()
    first = venue.send(venue.level("8", 100, 10))
    venue.send(venue.level("8", 99, 10), venue.level("5", 105, 1))
    trade, quote = venue.send(venue.trade(1)), venue.send(venue.level("5", 103, 1))
    assert changes([first, trade, quote, (1, venue.now, end_record())]) == [
        ("trusted", "heard", 0, 0), ("broken", "sequence", 2, 3), ("trusted", "requoted", 0, 0)
    ]  # fmt: skip
