"""The template's decoder: what each packet makes, and what becomes of those that are odd."""

from __future__ import annotations

import random
from typing import Any

import pytest

from ingest._template.decoder import TemplateDecoder
from ingest._template.messages import LENGTH_BYTES, Framer
from ingest.capture import CaptureBatch
from tests.ingest._template.venue import MIDNIGHT_NS, OPEN_NS, end, heartbeat, quote, trade
from tickloom.errors import DecodeError
from tickloom.events import EventBlock, GapReason, Side, StatusCode
from tickloom.instruments import Instrument, Registry, Venue
from tickloom.prices import NO_PRICE

SESSION = "20261120"
BASE = 261120 * 10**10
REGISTRY = Registry(
    {"TEMPLATE": Venue("TEMPLATE", "made up", "template", "UTC", "USD")},
    [Instrument("TEMPLATE", "ALFA-USD", "ALFA", "stock", 10**7, 10**9, 10**9)],
)


def records(*packets: bytes) -> list[tuple[int, int, bytes]]:
    """Packets without their lengths, received at 1, 2, 3, ..."""
    return [(0, number, raw[LENGTH_BYTES:]) for number, raw in enumerate(packets, 1)]


def decode(*packets: bytes) -> tuple[TemplateDecoder, EventBlock]:
    decoder = TemplateDecoder("TEMPLATE", SESSION, registry=REGISTRY)
    return decoder, decoder.decode(CaptureBatch.of(records(*packets)))


def rows(block: EventBlock, table: str, *fields: str) -> list[tuple[Any, ...]]:
    return [tuple(record[field].item() for field in fields) for record in block.kinds()[table]]


def test_quote_and_trade() -> None:
    """Prices of 1e-4 and whole sizes become nanos, names canonical ones; seq is the day and the number."""
    decoder, block = decode(quote(1), trade(2, b"ZETA", side=ord("S"), trade_id=77), quote(3, ask_size=0))
    assert rows(block, "quotes", "seq", "ts_event", "ts_recv", "bid_price", "bid_size", "ask_price")[0] == (
        BASE + 1, OPEN_NS + 1, 1, 10**9, 10**9, 1_010_000_000,
    )  # fmt: skip
    assert rows(block, "quotes", "ask_price", "ask_size")[1] == (int(NO_PRICE), 0)
    assert rows(block, "trades", "seq", "price", "size", "venue_id", "side") == [
        (BASE + 2, 1_010_000_000, 3 * 10**9, 77, Side.SELL)
    ]
    names = [block.symbols.names[index] for index in (*block.quotes["symbol"], *block.trades["symbol"])]
    assert names == ["ALFA-USD", "ALFA-USD", "ZETA"]
    assert (decoder.last_seq, decoder.watermark_ns) == (BASE + 3, OPEN_NS + 3)


def test_hole_is_a_gap_and_what_comes_twice_is_dropped() -> None:
    """Numbers 2 and 3 never came; 4 comes twice; a heartbeat shows that 5 is missing."""
    decoder, block = decode(quote(1), quote(4), quote(4), heartbeat(6))
    assert rows(block, "gaps", "first_missing", "last_missing", "reason") == [
        (2, 3, GapReason.SEQUENCE),
        (5, 5, GapReason.SEQUENCE),
    ]
    assert len(block.quotes) == 2
    names = ("decoded", "duplicate", "gap_messages", "heartbeat")
    assert [decoder.counters[name] for name in names] == [2, 1, 3, 1]
    assert decoder.expected == 6


YESTERDAY = (MIDNIGHT_NS - 1).to_bytes(8, "big")


@pytest.mark.parametrize(
    "spoilt",
    [
        trade(2, side=ord("X")),
        trade(2)[:-1],
        trade(2) + b"x",
        trade(2).replace((OPEN_NS + 2).to_bytes(8, "big"), YESTERDAY),
    ],
)
def test_malformed_packet_is_a_gap(spoilt: bytes) -> None:
    """A side that is none, too short or too long a packet, a time of another day: the next one is read."""
    decoder, block = decode(quote(1), spoilt, quote(3))
    assert rows(block, "gaps", "first_missing", "last_missing", "reason") == [(2, 2, GapReason.MALFORMED)]
    assert (len(block.quotes), decoder.counters["malformed"]) == (2, 1)


def test_end_of_session() -> None:
    """It is said once, and the decoder says so."""
    decoder, block = decode(quote(1), end(2), end(2))
    assert rows(block, "statuses", "seq", "status") == [(BASE + 1, StatusCode.SESSION_END)]
    assert decoder.ended
    assert decoder.decode(CaptureBatch.of(records(quote(2)))).statuses.size == 0


def test_events_do_not_depend_on_how_the_capture_is_cut() -> None:
    """One batch, or each record in a batch of its own: the same events."""
    rng = random.Random(3)
    tape = [rng.choice([quote, trade])(number, rng.choice([b"ALFA", b"B"])) for number in range(1, 90, 2)]
    whole = records(*tape, end(90))
    _, block = decode(*tape, end(90))
    decoder = TemplateDecoder("TEMPLATE", SESSION, registry=REGISTRY)
    blocks = [decoder.decode(CaptureBatch.of([record])) for record in whole]
    for table, found in block.kinds().items():
        assert [row for each in blocks for row in each.kinds()[table].tolist()] == found.tolist()


def test_framer() -> None:
    """Packets however the stream is cut; behind a length that cannot be nothing is believed."""
    tape = [quote(1), trade(2), end(3)]
    stream = b"".join(tape)
    for step in (1, 7, 1_000):
        framer = Framer()
        found = [raw for at in range(0, len(stream), step) for raw in framer.feed(stream[at : at + step])]
        assert found == [raw[LENGTH_BYTES:] for raw in tape]
    framer = Framer()
    assert framer.feed(stream + b"\xff\xff" + stream) == [raw[LENGTH_BYTES:] for raw in tape]
    with pytest.raises(DecodeError, match="a packet of 65535 bytes"):
        framer.feed(b"")
