"""The wire codec against fastavro, which knows nothing of it."""

from __future__ import annotations

import io
import struct
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickloom import prices
from tickloom.codec import EVENT_FIELDS, SCHEMA, TickBatch, decode, decode_columns, encode
from tickloom.errors import CodecError, PriceRangeError
from tickloom.events import (
    DELTA_DTYPE,
    GAP_DTYPE,
    QUOTE_DTYPE,
    STATUS_DTYPE,
    TRADE_DTYPE,
    EventBlock,
    Records,
    SymbolTable,
    empty,
)
from tickloom.wire import pack_long, pack_longs, pack_string

LONGS = st.integers(-(2**63) + 1, 2**63 - 1)
NANOS = st.integers(-(2**22) * 10**9 + 1, 2**22 * 10**9 - 1) | st.just(int(prices.NO_PRICE))
DOUBLES = {"price", "size", "bid_price", "bid_size", "ask_price", "ask_size"}


def _value(name: str, dtype: np.dtype[Any]) -> st.SearchStrategy[Any]:
    if name == "symbol":
        return st.integers(0, 3)
    if name in DOUBLES:
        return NANOS
    if dtype.kind == "S":
        return st.text("ABCH1234", max_size=8).map(str.encode)
    if dtype.itemsize == 1:
        return st.integers(-128, 127)
    return LONGS


def _records(dtype: np.dtype[np.void]) -> st.SearchStrategy[Records]:
    assert dtype.names is not None
    row = st.tuples(*(_value(name, dtype[name]) for name in dtype.names))
    return st.lists(row, max_size=8).map(lambda rows: np.array(rows, dtype=dtype))


@st.composite
def batches(draw: st.DrawFn) -> TickBatch:
    symbols = SymbolTable(["ALFA", "BTC-USDT", "Ünicode"])
    block = EventBlock(
        draw(st.text(max_size=5)),
        draw(st.text(max_size=12)),
        symbols,
        *(
            draw(_records(dtype))
            for dtype in (TRADE_DTYPE, QUOTE_DTYPE, DELTA_DTYPE, STATUS_DTYPE, GAP_DTYPE)
        ),
    )
    return TickBatch(draw(st.integers(0, 255)), draw(LONGS), draw(LONGS), draw(LONGS), block)


def _as_fastavro(batch: TickBatch) -> dict[str, Any]:
    """The same batch as the plain dictionary that fastavro writes, by the events' own definitions."""
    block = batch.block
    record: dict[str, Any] = {
        "venue": block.venue,
        "session": block.session,
        "shard": batch.shard,
        "first_seq": batch.first_seq,
        "last_seq": batch.last_seq,
        "watermark": batch.watermark,
    }
    for field, rows in zip(EVENT_FIELDS, block.kinds().values(), strict=True):
        record[field] = []
        for row in rows:
            event: dict[str, Any] = {}
            for name, _ in EVENT_FIELDS[field]:
                value = row[name]
                if name == "symbol":
                    event[name] = block.symbols.names[value]
                elif name in DOUBLES:
                    event[name] = float("nan") if value == prices.NO_PRICE else int(value) / 10**9
                else:
                    event[name] = value.decode() if isinstance(value, bytes) else int(value)
            record[field].append(event)
    return record


@settings(max_examples=150, deadline=None)
@given(batches())
def test_bytes_are_those_of_fastavro(batch: TickBatch) -> None:
    """The Numba encoder writes, byte for byte, what fastavro writes for the same events and schema."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, SCHEMA, _as_fastavro(batch))
    assert encode(batch) == out.getvalue()


@settings(max_examples=150, deadline=None)
@given(batches())
def test_decode_returns_the_same_events(batch: TickBatch) -> None:
    """A batch comes back with every field equal, prices to the last unit of 1e-9."""
    back = decode(encode(batch))
    assert (back.shard, back.first_seq, back.last_seq, back.watermark) == (
        batch.shard,
        batch.first_seq,
        batch.last_seq,
        batch.watermark,
    )
    for name, rows in batch.block.kinds().items():
        again = back.block.kinds()[name]
        assert [back.block.symbols.names[i] for i in again["symbol"]] == [
            batch.block.symbols.names[i] for i in rows["symbol"]
        ]
        for field in rows.dtype.names or ():
            if field != "symbol":
                assert (again[field] == rows[field]).all(), (name, field)


def _small() -> bytes:
    trades = np.zeros(3, TRADE_DTYPE)
    trades["symbol"] = 1
    trades["price"] = 152_400_000_000
    block = EventBlock("XNAS", "20261121.S", SymbolTable(["ALFA"]), trades)
    return encode(TickBatch(0, 1, 3, 99, block))


@pytest.mark.parametrize("cut", range(len(_small())))
def test_every_truncation_is_an_error(cut: int) -> None:
    """A record cut off at any byte raises CodecError and nothing else."""
    with pytest.raises(CodecError):
        decode(_small()[:cut])


def test_trailing_bytes_are_an_error() -> None:
    """Bytes behind the batch mean another schema, not something to pass over."""
    with pytest.raises(CodecError, match="behind the batch"):
        decode(_small() + b"\x00")


def test_price_that_a_double_would_change_is_refused() -> None:
    """9,007,198.123456781 cannot be carried by a double to 1e-9, so the encoder refuses it."""
    trades = np.zeros(1, TRADE_DTYPE)
    trades["price"] = 9_007_198_123_456_781
    with pytest.raises(PriceRangeError, match=r"9007198\.123456781"):
        encode(TickBatch(0, 1, 1, 0, EventBlock("X", "S", SymbolTable(), trades)))


def test_blocks_with_a_byte_length_are_read() -> None:
    """Avro lets a writer give an array block's size with a negative count; such a record is read too."""
    raw = _small()
    at = raw.index(b"\x06\x08ALFA")  # count 3 as a zigzag varint, then the first symbol
    end = len(raw) - 5  # trades' end mark and four empty arrays
    body = raw[at + 1 : end]
    assert len(body) < 8192
    size = len(body) * 2
    patched = raw[:at] + b"\x05" + bytes([size & 0x7F | 0x80, size >> 7]) + body + raw[end:]
    assert (decode(patched).block.trades == decode(raw).block.trades).all()


def test_names_are_told_apart_by_all_their_bytes() -> None:
    """Names with the same first eight bytes, prefixes of each other, in one record and over several, with a
    table that knows none, some or all of them."""
    names = ["", "A", "AB", "LONGNAME", "LONGNAME1", "LONGNAME2", "LONGNAME21", "LONGNAME12"]
    writer = SymbolTable([*names, *(f"S{number}" for number in range(1_500))])
    records = np.zeros(len(writer), dtype=TRADE_DTYPE)
    records["symbol"] = np.arange(len(writer))
    reader = SymbolTable(["S7", "LONGNAME2"])
    for order in (slice(0, 6), slice(None), slice(None, None, -1)):
        raw = encode(TickBatch(0, 0, 0, 0, EventBlock("V", "s", writer, trades=records[order])))
        for found in (decode(raw, reader).block.trades, decode_columns(raw, reader).block.trades):
            assert [reader.names[index] for index in found["symbol"]] == writer.names[order]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5))
def test_longs_together_are_the_longs_one_by_one(values: list[int]) -> None:
    """The kernel's varints are those of the plain definition."""
    assert pack_longs(*values) == b"".join(map(pack_long, values))


def test_an_empty_batch_is_a_heartbeat() -> None:
    """Without events a record still carries its last seq and watermark."""
    back = decode(encode(TickBatch(2, 7, 7, 123, EventBlock("XNAS", "S", SymbolTable()))))
    assert (back.last_seq, back.watermark, len(back.block)) == (7, 123, 0)
    assert back.block.trades.dtype == empty(TRADE_DTYPE).dtype


@settings(max_examples=100, deadline=None)
@given(batches())
def test_columns_are_the_doubles_of_the_events(batch: TickBatch) -> None:
    """What rules read off the wire is what decode() gives: prices as doubles, NaN where there is none."""
    raw = encode(batch)
    whole, columns = decode(raw), decode_columns(raw, SymbolTable())
    assert (columns.shard, columns.watermark) == (whole.shard, whole.watermark)
    assert (columns.block.venue, columns.block.session) == (whole.venue, whole.session)
    for kind in ("trades", "quotes", "statuses", "gaps"):
        records, found = getattr(whole.block, kind), getattr(columns.block, kind)
        assert len(records) == len(found)
        for name in records.dtype.names if len(found) else ():
            if name == "symbol":
                assert _names(columns.block.symbols, found[name]) == _names(
                    whole.block.symbols, records[name]
                )
            elif name in DOUBLES:
                np.testing.assert_array_equal(found[name], prices.to_double(records[name]))
            else:
                assert found[name].tolist() == records[name].tolist()


def _names(symbols: SymbolTable, indices: np.ndarray[Any, Any]) -> list[str]:
    return [symbols.names[index] for index in indices]


@settings(max_examples=60)
@given(batches(), st.sets(st.sampled_from([name for name, _ in EVENT_FIELDS["trades"]])))
def test_columns_that_are_not_wanted_are_passed_over(batch: TickBatch, wanted: set[str]) -> None:
    """Those that are wanted are as if all were; symbol and times are always there, and no other kind is."""
    raw = encode(batch)
    whole = decode_columns(raw, SymbolTable()).block.trades
    found = decode_columns(raw, SymbolTable(), {"trades": wanted}).block
    assert len(found.trades) == len(whole)
    for name in {"symbol", "ts_event", "seq", *wanted} if len(whole) else ():
        np.testing.assert_array_equal(found.trades[name], whole[name])
    for name in {"ts_recv", "price", "venue_id", "side"} - wanted if len(whole) else ():
        with pytest.raises(KeyError):
            found.trades[name]
    if len(found.quotes):
        with pytest.raises(KeyError):
            found.quotes["bid_price"]


_LIKE_NUMBERS = {"ts_event": 1_795_185_000 * 10**9, "ts_recv": 1_795_185_000 * 10**9, "seq": 2_611 * 10**12}
_RUN_NAMES = ["ALFA", "BTC-USDT", "BTC-USDT-SWAP", "BTC-USDT-SPOT", "Ünicode", "B"]


@st.composite
def alike(draw: st.DrawFn) -> TickBatch:
    """Trades as they come: times and seqs of one length, with a few between them that are not so."""
    trades = np.zeros(draw(st.integers(1, 60)), TRADE_DTYPE)
    for name, base in _LIKE_NUMBERS.items():
        trades[name] = base + np.arange(len(trades))
    trades["symbol"] = 1 + np.arange(len(trades)) % draw(st.integers(1, len(_RUN_NAMES)))
    trades["price"] = 10**9 * (1 + np.arange(len(trades)))
    odd = st.tuples(
        st.integers(0, len(trades) - 1),
        st.sampled_from([*_LIKE_NUMBERS, "venue_id"]),
        LONGS | st.sampled_from([0, -1, 63, 64, 2**55, 2**62 - 1, 2**62, -(2**62) - 1]),
    )
    for row, name, value in draw(st.lists(odd, max_size=4)):
        trades[name][row] = value
    return TickBatch(0, 1, 2, 3, EventBlock("XNAS", "1", SymbolTable(_RUN_NAMES), trades))


@settings(max_examples=150, deadline=None)
@given(alike(), st.sets(st.sampled_from(_RUN_NAMES)), st.booleans())
def test_runs_of_like_events_are_read_as_event_by_event(
    batch: TickBatch, known: set[str], with_recv: bool
) -> None:
    """Whichever names the reader knows. Asked for what stands behind the prices, it takes one by one."""
    raw = encode(batch)
    table = SymbolTable(sorted(known))
    whole = decode_columns(raw, SymbolTable()).block.trades
    for _ in range(2):  # the second time it knows all names
        found = decode_columns(raw, table, {"trades": {"price", *["ts_recv"] * with_recv}}).block.trades
        for name in ("ts_event", "seq", "price", *["ts_recv"] * with_recv):
            np.testing.assert_array_equal(found[name], whole[name])
        assert _names(table, found["symbol"]) == [
            batch.block.symbols.names[index] for index in batch.block.trades["symbol"]
        ]


@settings(max_examples=60, deadline=None)
@given(alike(), st.data())
def test_runs_that_are_cut_off_are_an_error(batch: TickBatch, data: st.DataObject) -> None:
    """At whatever byte, with names that the reader knows."""
    raw = encode(batch)
    cut = data.draw(st.integers(1, len(raw)))
    with pytest.raises(CodecError):
        decode_columns(raw[:-cut], SymbolTable(_RUN_NAMES), {"trades": {"price"}})


@pytest.mark.parametrize("cut", [1, 9, 40])
def test_truncated_columns_are_an_error(cut: int) -> None:
    """As with decode(): never half a batch."""
    with pytest.raises(CodecError):
        decode_columns(_small()[:-cut], SymbolTable())


@pytest.mark.parametrize("count", [2_048, 2_049, 10_000])
def test_any_number_of_new_symbols(count: int) -> None:
    """A reader that knows none of a record's symbols, however many they are, gets each event's own."""
    names = [f"SYMBOL-{number}" for number in range(count)]
    trades = np.zeros(count, dtype=TRADE_DTYPE)
    trades["symbol"], trades["seq"] = np.arange(1, count + 1), np.arange(count)
    raw = encode(TickBatch(0, 0, 0, 0, EventBlock("V", "S", SymbolTable(names), trades)))
    symbols = SymbolTable(["SYMBOL-3", "ANOTHER"])
    columns = decode_columns(raw, symbols).block.trades
    assert [symbols.names[index] for index in columns["symbol"]] == names
    block = decode(raw).block
    assert [block.symbols.names[index] for index in block.trades["symbol"]] == names


def test_a_reason_that_is_no_ascii_travels() -> None:
    """A venue's code is what the venue sends: damaged, it must not keep a whole batch from Kafka."""
    statuses = np.zeros(1, dtype=STATUS_DTYPE)
    statuses["reason"] = b"T\x80"
    batch = TickBatch(0, 0, 0, 0, EventBlock("V", "S", SymbolTable(["A"]), statuses=statuses))
    assert decode(encode(batch)).block.statuses["reason"][0] == rb"T\x80"


@pytest.mark.parametrize("length", [2**63 - 1, 2**62, 10**6])
def test_a_text_longer_than_the_record_is_refused(length: int) -> None:
    """Also where position and length together are beyond 64 bits: the sum would be negative."""
    trades = np.zeros(3, dtype=TRADE_DTYPE)
    trades["symbol"] = 1
    raw = encode(TickBatch(0, 0, 0, 0, EventBlock("V", "S", SymbolTable(["ALFA"]), trades)))
    spoilt = raw.replace(pack_string("ALFA"), pack_long(length) + b"ALFA", 1)
    with pytest.raises(CodecError, match="ends inside an event"):
        decode(spoilt)


def test_a_number_too_large_for_its_field_is_refused() -> None:
    """A status of 300 does not fit its byte; it is a record of another schema, not an arithmetic error."""
    statuses = np.zeros(1, dtype=STATUS_DTYPE)
    statuses["status"], statuses["reason"] = 7, b"CODE"
    batch = TickBatch(0, 0, 0, 0, EventBlock("V", "S", SymbolTable(["A"]), statuses=statuses))
    raw = encode(batch).replace(pack_long(7) + pack_string("CODE"), pack_long(300) + pack_string("CODE"))
    with pytest.raises(CodecError, match="does not fit its field"):
        decode(raw)


@pytest.mark.parametrize("price", [float("inf"), -1e300, 9_223_372_036.854776])
def test_a_price_beyond_64_bits_is_refused(price: float) -> None:
    """A reader of exact events must not make another price of it, or none."""
    trades = np.zeros(1, dtype=TRADE_DTYPE)
    trades["symbol"], trades["price"] = 1, 7 * 10**9
    raw = encode(TickBatch(0, 0, 0, 0, EventBlock("V", "S", SymbolTable(["ALFA"]), trades)))
    spoilt = raw.replace(struct.pack("<d", 7.0), struct.pack("<d", price))
    with pytest.raises(CodecError, match="beyond 64 bits"):
        decode(spoilt)
