"""DBN records: the events of databento's own decoder, however the capture is cut; no input ends it."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import databento_dbn as dbn
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from ingest.capture import CaptureBatch, RecordKind
from ingest.dbn.decoder import DbnDecoder, end_record
from ingest.dbn.metadata import Head, metadata_bytes
from ingest.dbn.state import ORDERS_START
from ingest.feeds import decoder_for, load_file
from ingest.pcap import open_plain
from ingest.pipeline import load_capture
from tests.ingest.dbn_naive import NANOS, Reference, encoded
from tickloom.errors import DecodeError
from tickloom.events import EventBlock, Side, StatusCode, source_seq
from tickloom.instruments import Instrument, Registry, Venue

DAY = date(2026, 11, 20)
DAY_NS = 1_795_132_800_000_000_000
TICK = 10_000_000
UNDEF, UNDEF_TIME = dbn.UNDEF_PRICE, dbn.UNDEF_TIMESTAMP
REGISTRY = Registry(
    {"XNAS": Venue("XNAS", "", "itch", "America/New_York", "USD")},
    [Instrument("XNAS", "ALFA-NEW", "ALFA", "equity", 1, 1, 1)],
)
ACTIONS = {str(action): action for action in dbn.Action.variants()}
SIDES = {str(side): side for side in dbn.Side.variants()}


def mbo(action: str, side: str = "B", **fields: Any) -> dbn.MBOMsg:
    given: dict[str, Any] = {
        "publisher_id": 2, "instrument_id": 7, "ts_event": DAY_NS, "order_id": 1, "price": 100 * TICK,
        "size": 5, "ts_recv": DAY_NS + 9, "flags": dbn.F_LAST, "sequence": 3,
    }  # fmt: skip
    return dbn.MBOMsg(action=ACTIONS[action], side=SIDES[side], **{**given, **fields})


def trade(**fields: Any) -> dbn.TradeMsg:
    given: dict[str, Any] = {
        "publisher_id": 2, "instrument_id": 7, "ts_event": DAY_NS, "price": TICK, "size": 5, "depth": 0,
        "ts_recv": DAY_NS + 9, "flags": 0, "action": dbn.Action.TRADE, "side": dbn.Side.BID,
    }  # fmt: skip
    return dbn.TradeMsg(**{**given, **fields})


def mbp(kind: type, levels: list[tuple[int, int, int, int]], **fields: Any) -> Any:
    given: dict[str, Any] = {
        "publisher_id": 2, "instrument_id": 7, "ts_event": DAY_NS, "price": TICK, "size": 5, "depth": 0,
        "ts_recv": DAY_NS + 9, "flags": dbn.F_LAST, "action": dbn.Action.ADD, "side": dbn.Side.BID,
    }  # fmt: skip
    pairs = [dbn.BidAskPair(bid, ask, bids, asks) for bid, bids, ask, asks in levels]
    return kind(levels=pairs if kind is dbn.MBP10Msg else pairs[0], **{**given, **fields})


def batches(plain: bytes, cuts: list[int] | None = None) -> list[CaptureBatch]:
    """Metadata and records as a capture has them; ``cuts``: records a piece."""
    size = metadata_bytes(plain[:8])
    pieces, at = [], size
    lengths = []
    while at < len(plain):
        lengths.append(plain[at] * 4)
        at += lengths[-1]
    at = size
    for count in cuts or [len(lengths)]:
        piece, lengths = sum(lengths[:count]), lengths[count:]
        pieces.append(plain[at : at + piece])
        at += piece
    pieces.append(plain[at:])
    records = [(RecordKind.SNAPSHOT, DAY_NS, plain[:size])]
    records += [(RecordKind.DATA, DAY_NS, piece) for piece in pieces if piece]
    records.append((RecordKind.CONTROL, DAY_NS, end_record()))
    return [CaptureBatch.of([record]) for record in records]


def decoded(plain: bytes, cuts: list[int] | None = None) -> tuple[DbnDecoder, list[EventBlock]]:
    decoder = DbnDecoder("XNAS", f"{DAY:%Y%m%d}.DBN.X.1", REGISTRY, 10 * NANOS)
    return decoder, [decoder.decode(batch) for batch in batches(plain, cuts)]


def rows(blocks: list[EventBlock], kind: str) -> list[tuple[Any, ...]]:
    """Events as the reference has them: numbers for seqs, names for symbols."""
    return [
        (event, recv, source_seq(seq), block.symbols.names[symbol], *rest)
        for block in blocks
        for event, recv, seq, symbol, *rest in block.kinds()[kind].tolist()
    ]


def statuses(blocks: list[EventBlock]) -> list[tuple[Any, ...]]:
    names = {int(StatusCode.BOOK_SYNCED): "synced", int(StatusCode.BOOK_LOST): "lost"}
    found = rows(blocks, "statuses")
    return [(*row[:4], names.get(row[4], "status"), row[5].decode()) for row in found]


Rows = dict[str, list[tuple[Any, ...]]]


def told(blocks: list[EventBlock]) -> Rows:
    """Trades, quotes and statuses in order; deltas as what a record did to each level at last."""
    found = {kind: rows(blocks, kind) for kind in ("trades", "quotes", "gaps")}
    return {**found, "statuses": statuses(blocks), "deltas": sorted(rows(blocks, "book_deltas"))}


def expected(reference: Reference) -> Rows:
    """The same of the other reading, which has no gaps."""
    events = reference.events
    found = {"trades": events.trades, "quotes": events.quotes, "gaps": []}
    return {**found, "statuses": events.statuses, "deltas": sorted(events.deltas)}


def files(shared_data: Callable[[str], Path]) -> list[Path]:
    return sorted(shared_data("dbn").glob("*.dbn*"))


def test_every_file_of_databento(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    """Each record of each file: the events that databento_dbn's reading of it makes, exactly; what has no
    event is counted by its name."""
    for path in files(shared_data):
        with open_plain(path) as file:
            reference = Reference(file.read())
        loaded = load_file(path, tmp_path, "XCME", None)
        decoder = decoder_for("XCME", loaded.session)
        assert isinstance(decoder, DbnDecoder)
        blocks = list(load_capture(loaded.path, decoder))
        assert told(blocks) == expected(reference)
        assert loaded.messages == sum(reference.events.types.values()) == sum(decoder.message_types.values())
        assert not loaded.damage
        assert decoder.ended
        assert not decoder.counters["malformed"] + decoder.counters["wrong_length"]
        unplaced = reference.events.types["OHLCVMsg"]
        assert decoder.counters["unplaced_ohlcv_1m"] == unplaced, path.name
        assert (
            decoder.counters["unbooked"] == reference.events.types["MBOMsg"]
        )  # cancels, and no clear before


def test_the_head(shared_data: Callable[[str], Path]) -> None:
    """An id that is mapped anew each day has the name of the day."""
    with open_plain(shared_data("dbn/test_data.definition.v3.dbn.zst")) as file:
        plain = file.read()
    head = Head(plain[: metadata_bytes(plain[:8])])
    assert (head.version, head.dataset, head.schema) == (3, "XNAS.ITCH", "definition")
    found = head.interval(6819, 1633331241618029519)
    assert found is not None
    assert found.symbol == "MSFT"
    assert head.interval(6819, found.end_ns) is None
    with pytest.raises(DecodeError, match="version 9"):
        metadata_bytes(b"DBN\x09\0\0\0\0")
    with pytest.raises(DecodeError, match="no DBN"):
        metadata_bytes(b"DBZ\x01\0\0\0\0")
    with pytest.raises(DecodeError, match="cannot be read"):
        Head(b"DBN\x03\x04\0\0\0abcd")


orders = some.builds(
    dict,
    action=some.sampled_from("AAAACCMTFNR"),
    side=some.sampled_from("AB"),
    order_id=some.integers(1, 12),
    price=some.integers(95, 105).map(lambda ticks: ticks * TICK),
    size=some.integers(0, 9),
    instrument_id=some.sampled_from([7, 8]),
    flags=some.sampled_from([0, 0x80, 0x80, 0x80, 0x20, 0xA0, 0x84]),
)


@settings(max_examples=60, deadline=None)
@given(some.lists(orders, max_size=60), some.lists(some.integers(1, 20), max_size=3))
def test_books_by_order(stream: list[dict[str, Any]], cuts: list[int]) -> None:
    """Random orders of two instruments, clears, snapshots and doubts among them: the naive books, event by
    event, wherever the capture is cut."""
    messages = [mbo("R", instrument_id=7)]
    messages += [mbo(**{**item, "size": item["size"] or (item["action"] == "T")}) for item in stream]
    plain = encoded(messages)
    reference = Reference(plain)
    decoder, blocks = decoded(plain, cuts)
    assert told(blocks) == expected(reference)
    for number in {item["instrument_id"] for item in stream} | {7}:
        for letter, side in (("B", Side.BUY), ("A", Side.SELL)):
            try:
                found = dict(decoder.side_levels(number, side))
            except KeyError:
                found = {}
            assert found == reference.levels(str(number), letter)


ten = some.lists(
    some.tuples(some.integers(80, 99), some.integers(0, 3), some.integers(100, 119), some.integers(0, 3)),
    min_size=10,
    max_size=10,
    unique_by=(lambda level: level[0], lambda level: level[2]),
)


@settings(max_examples=40, deadline=None)
@given(some.lists(some.tuples(ten, some.sampled_from([0x80, 0x80, 0x84])), max_size=12))
def test_books_of_ten_levels(stream: list[tuple[list[tuple[int, int, int, int]], int]]) -> None:
    """Each record's levels against those before: what came, went and changed."""
    messages = [
        mbp(
            dbn.MBP10Msg,
            [(bid * TICK if bids else UNDEF, bids, ask * TICK, asks) for bid, bids, ask, asks in levels],
            flags=flags,
        )
        for levels, flags in stream
    ]
    plain = encoded(messages, "mbp-10")
    assert told(decoded(plain)[1]) == expected(Reference(plain))


def test_best_prices_and_trades() -> None:
    """mbp-1: a quote where the top changed, a trade of action T; sides without a price are none."""
    messages = [
        mbp(dbn.MBP1Msg, [(99 * TICK, 5, UNDEF, 0)]),
        mbp(dbn.MBP1Msg, [(99 * TICK, 5, UNDEF, 0)], action=dbn.Action.TRADE, side=dbn.Side.NONE),
        mbp(dbn.MBP1Msg, [(99 * TICK, 5, 99 * TICK, 1)]),
        mbp(dbn.MBP1Msg, [(99 * TICK, 5, 98 * TICK, 1)]),
    ]
    plain = encoded(messages, "mbp-1")
    decoder, blocks = decoded(plain)
    assert told(blocks) == expected(Reference(plain))
    assert len(rows(blocks, "quotes")) == 3
    assert (decoder.counters["locked"], decoder.counters["crossed"]) == (1, 1)


def test_names() -> None:
    """Of the metadata by day, canonical where the registry has the symbol; of a mapping or a definition for
    ids that it does not have; else the number."""
    spans = [(date(2026, 11, 20), date(2026, 11, 21), 7)]
    others = [(date(2026, 11, 21), date(2026, 11, 22), 7)]
    next_day = {"ts_event": DAY_NS + 86_400 * NANOS, "ts_recv": DAY_NS + 86_400 * NANOS}
    mapping = dbn.SymbolMappingMsg(
        2, 9, DAY_NS, dbn.SType.RAW_SYMBOL, "DELT", dbn.SType.RAW_SYMBOL, "DELT", 0, UNDEF_TIME
    )
    messages = [
        trade(), trade(**next_day), trade(instrument_id=8), mapping, trade(instrument_id=9),
        trade(instrument_id=9, **next_day),
    ]  # fmt: skip
    decoder, blocks = decoded(encoded(messages, "", [("ALFA", spans), ("BRVO", others)]))
    assert [row[3] for row in rows(blocks, "trades")] == ["ALFA-NEW", "BRVO", "8", "DELT", "DELT"]
    assert (decoder.counters["unnamed"], decoder.counters["mappings"]) == (1, 1)
    assert decoder.end_ns == DAY_NS + 2 * 86_400 * NANOS


def test_what_is_undefined_or_cannot_be_stored() -> None:
    """A time that is missing is the other one; a record without any, or a trade without a price, is a gap
    with its number; a price that a double would change is refused."""
    odd = 4_194_304 * NANOS * 1000 + 1
    messages = [
        trade(ts_event=UNDEF_TIME),
        trade(ts_recv=UNDEF_TIME),
        trade(ts_event=UNDEF_TIME, ts_recv=0),
        trade(price=UNDEF),
        trade(price=odd),
        trade(price=-5),
        trade(size=0),
        trade(size=2**32 - 1),
        trade(publisher_id=3),
        trade(action=dbn.Action.FILL),
    ]
    decoder, blocks = decoded(encoded(messages, "trades"))
    found = rows(blocks, "trades")
    assert [row[:3] for row in found[:2]] == [(DAY_NS + 9, DAY_NS + 9, 1), (DAY_NS, DAY_NS, 2)]
    assert [row[4:6] for row in found[2:]] == [(-5, 5 * NANOS), (TICK, (2**32 - 1) * NANOS)]
    assert [row[2:] for row in rows(blocks, "gaps")] == [
        (3, "", 3, 3, 2), (4, "7", 4, 4, 2), (5, "7", 5, 5, 2)
    ]  # fmt: skip
    assert decoder.counters == {
        "decoded": 8, "no_event_time": 1, "no_receive_time": 1, "bad_timestamp": 1, "undefined_price": 1,
        "refused_price": 1, "zero_size": 1, "foreign_publisher": 1, "other_action": 1, "unnamed": 1,
    }  # fmt: skip


def test_live_stream_with_send_times() -> None:
    """Records that are eight bytes longer by ts_out are the same records."""
    plain = bytearray(encoded([trade(), trade(size=6)], "trades"))
    records = plain[-96:]
    longer = b"".join(bytes([14]) + bytes(records[at + 1 : at + 48]) + bytes(8) for at in (0, 48))
    decoder, blocks = decoded(bytes(plain[:-96]) + longer)
    assert [row[5] // NANOS for row in rows(blocks, "trades")] == [5, 6]
    assert decoder.counters["wrong_length"] == 0


def test_book_larger_than_an_output() -> None:
    """More instruments, orders and levels than there was room for at first; a clear takes all away."""
    count = 12_000
    messages = [mbo("R", instrument_id=number) for number in range(300)]
    messages += [
        mbo("A", order_id=n, price=(n // 2 + 1) * TICK * (-1) ** (n % 2), side="AB"[n % 2])
        for n in range(count)
    ]
    messages += [mbo("R"), mbo("A", order_id=1)]
    decoder, blocks = decoded(encoded(messages))
    deltas = np.concatenate([block.deltas for block in blocks])
    assert (deltas["size"] > 0).sum() == count + 1
    assert ((deltas["size"] == 0) & (deltas["seq"] == decoder.last_seq - 1)).sum() == count
    assert decoder.side_levels(7, Side.BUY) == [(100 * TICK, 5)]


def test_no_input_ends_it() -> None:
    """Mutated records and metadata: an event or a count each time, and nothing that cannot be stored."""
    rng = random.Random(5)
    spans = [(date(2026, 11, 20), date(2026, 11, 21), 7)]
    status = dbn.StatusMsg(2, 7, DAY_NS, DAY_NS + 1, dbn.StatusAction.HALT)
    ten_levels = [(99 * TICK - n, 5, 100 * TICK + n, 5) for n in range(10)]
    messages = [mbo("R"), mbo("A"), mbo("M", price=7), trade(), mbp(dbn.MBP10Msg, ten_levels), status] * 3
    plain = encoded(messages, "", [("ALFA", spans)])
    size = metadata_bytes(plain[:8])
    for _ in range(400):
        raw = bytearray(plain)
        for _ in range(rng.randrange(1, 12)):
            raw[rng.randrange(size if rng.random() < 0.9 else 0, len(raw))] = rng.randrange(256)
        decoder = DbnDecoder("XNAS", f"{DAY:%Y%m%d}.DBN.X.1", REGISTRY, 10 * NANOS)
        data = bytes(raw[size : rng.randrange(size, len(raw) + 1)])
        block = decoder.decode(
            CaptureBatch.of([(RecordKind.SNAPSHOT, 1, bytes(raw[:size])), (RecordKind.DATA, DAY_NS, data)])
        )
        for kind in block.kinds().values():
            assert (np.diff(kind["seq"]) >= 0).all()
            assert (
                (kind["ts_event"] > 0) & (kind["symbol"] >= 0) & (kind["symbol"] < len(block.symbols))
            ).all()


def status(**fields: Any) -> dbn.StatusMsg:
    given: dict[str, Any] = {"instrument_id": 7, "ts_event": DAY_NS, "ts_recv": DAY_NS + 9}
    given |= {"publisher_id": 2, "action": dbn.StatusAction.TRADING}
    return dbn.StatusMsg(**{**given, **fields})


def test_status_of_a_book_has_no_reason_of_another() -> None:
    """Rows are used again from batch to batch: what an earlier status said is not said of a book."""
    plain = encoded([status(), mbo("R")], "")
    assert [row[4:] for row in statuses(decoded(plain, [1])[1])] == [("status", "7/0/0"), ("synced", "")]


def test_reason_that_does_not_fit() -> None:
    """Numbers that no status has are not cut to those of another: the action stands alone."""
    raw = bytearray(bytes(status()))
    raw[24:30] = b"\xff" * 6
    decoder, blocks = decoded(encoded([], "status") + bytes(raw))
    assert [row[5] for row in statuses(blocks)] == ["65535//"]
    assert decoder.counters["bad_field"] == 1


def test_best_price_that_means_none() -> None:
    """The smallest integer is our "no price": with a size it is no quote, but refused."""
    smallest = -(2**63)
    decoder, blocks = decoded(encoded([mbp(dbn.MBP1Msg, [(smallest, 5, 99 * TICK, 1)])], "mbp-1"))
    assert not rows(blocks, "quotes")
    assert (len(rows(blocks, "gaps")), decoder.counters["refused_price"]) == (1, 1)


def test_level_that_is_there_twice() -> None:
    """The first one counts, so that deltas and levels agree whatever comes next."""
    levels = [(99 * TICK, 5, 100 * TICK, 5), (99 * TICK, 7, 101 * TICK, 5), (98 * TICK, 2, 100 * TICK, 8)]
    levels += [(UNDEF, 0, UNDEF, 0)] * 7
    without = [levels[0], (98 * TICK, 2, 101 * TICK, 5), *[(UNDEF, 0, UNDEF, 0)] * 8]
    messages = [mbp(dbn.MBP10Msg, levels), mbp(dbn.MBP10Msg, without)]
    decoder, blocks = decoded(encoded(messages, "mbp-10"))
    found = {(row[7], row[4]): row[5] // NANOS for row in rows(blocks, "book_deltas")}
    assert found == {(1, 99 * TICK): 5, (1, 98 * TICK): 2, (2, 100 * TICK): 5, (2, 101 * TICK): 5}
    assert len(rows(blocks, "book_deltas")) == 4
    assert decoder.counters["bad_field"] == 2


def test_definition_that_is_too_short() -> None:
    """Counted once, by its length, and a gap as every record that could not be understood."""
    short = b"\x05\x13\x02\x00" + bytes(16)
    decoder, blocks = decoded(encoded([], "") + short)
    assert decoder.counters == {"wrong_length": 1}
    assert [row[4:] for row in rows(blocks, "gaps")] == [(1, 1, 2)]


def test_mapping_of_days_and_ids_that_cannot_be() -> None:
    """A day beyond 64 bits of ns is the last one within them; a digit of another script is no id."""
    spans = [(date(1, 1, 1), date(9999, 12, 31), 7)]
    _, blocks = decoded(encoded([trade()], "trades", [("ALFA", spans)]))
    assert rows(blocks, "trades")[0][3] == "ALFA-NEW"
    size = metadata_bytes((plain := encoded([], "trades", [("ALFA", spans)]))[:8])
    at = plain.rindex(b"7\0", 0, size)
    assert Head(plain[:at] + "\u00b2".encode() + plain[at + 2 : size]).intervals == {}
    with pytest.raises(DecodeError, match="cannot be read: year 0"):
        Head(plain[:size].replace((1_01_01).to_bytes(4, "little"), (1_01).to_bytes(4, "little")))


def test_orders_of_cleared_books_take_no_room() -> None:
    """The table of orders grows with those that rest, not with those that ever came."""
    messages: list[Any] = []
    for start in range(0, 40_000, 4_000):
        messages += [mbo("R"), *(mbo("A", order_id=start + n) for n in range(4_000))]
    decoder, _ = decoded(encoded(messages))
    assert len(decoder._state.orders) == ORDERS_START
    assert decoder.side_levels(7, Side.BUY) == [(100 * TICK, 20_000)]


def test_batches_without_events_take_no_memory() -> None:
    """A live gateway's heartbeats, and files of what has no place among events."""
    decoder = DbnDecoder("XNAS", f"{DAY:%Y%m%d}.DBN.X.1")
    beat = bytes(dbn.SystemMsg(DAY_NS, "Heartbeat", dbn.SystemCode.HEARTBEAT))
    room = len(decoder._output.deltas)
    for number in range(40):
        decoder.decode(CaptureBatch.of([(int(RecordKind.DATA), DAY_NS, beat)], 1 + number))
    assert len(decoder._output.deltas) == room
    assert decoder.counters == {"unplaced_system": 40}


@pytest.mark.parametrize("size", [0, 92, 100, 101, 104, 200])
def test_metadata_whose_length_cannot_be(size: int) -> None:
    """Shorter than what it must have, or longer than what there is: refused, whatever the package does."""
    plain = encoded([], "trades", [("ALFA", [(DAY, DAY + timedelta(days=1), 7)])])
    damaged = plain[:4] + size.to_bytes(4, "little") + plain[8:]
    for raw in (damaged, damaged[: 8 + size]):
        with pytest.raises(DecodeError, match="cannot be read"):
            Head(raw)
    decoder = DbnDecoder("XNAS", f"{DAY:%Y%m%d}.DBN.X.1")
    decoder.decode(CaptureBatch.of([(int(RecordKind.SNAPSHOT), DAY_NS, damaged[: 8 + size])]))
    assert decoder.counters == {"bad_metadata": 1}
