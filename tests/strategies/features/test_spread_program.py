"""The features job's inside: tick batches of all partitions in, spread batches of all partitions out."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import numpy as np
import pytest

from strategies.features import spread_program
from strategies.features.spread_program import SpreadProgram
from strategies.features.spreads import over
from strategies.pairs.frozen import PairCalibration, PairSet
from tickloom import codec, spread_codec, topics
from tickloom.clock import NS_PER_MS, NS_PER_S
from tickloom.codec import TickBatch
from tickloom.errors import CalibrationError, CodecError
from tickloom.events import QUOTE_DTYPE, SPREAD_DTYPE, EventBlock, Records, SymbolTable

START_NS = 1_732_199_400_000_000_000
PARTITIONS = 4
LEGS = [f"S{number:02}" for number in range(12)]
PAIRS = PairSet(
    "XNAS",
    tuple(
        PairCalibration(f"{leg_a}~{leg_b}", leg_a, leg_b, 1.1, 1.0, 2.0)
        for number, leg_a in enumerate(LEGS)
        for leg_b in LEGS[number + 1 : number + 4]
    ),
    stale_ms=1_000,
    rolling_half_life_ms=500,
    valid_from=datetime(2024, 1, 1, tzinfo=UTC),
)


def quotes(count: int = 3_000) -> EventBlock:
    """Quotes of all legs over two seconds, several in some milliseconds."""
    rng = np.random.default_rng(7)
    records = np.zeros(count, dtype=QUOTE_DTYPE)
    records["symbol"] = rng.integers(1, len(LEGS) + 1, count)
    records["ts_event"] = START_NS + np.sort(rng.integers(0, 2 * NS_PER_S, count))
    records["ts_recv"] = records["ts_event"] + 50_000
    records["seq"] = np.arange(1, count + 1)
    records["bid_price"] = rng.integers(1_000, 2_000, count) * 10_000_000
    records["ask_price"] = records["bid_price"] + 10_000_000
    return EventBlock("XNAS", "20241121", SymbolTable(LEGS), quotes=records)


def by_partition(block: EventBlock, size: int) -> list[list[bytes]]:
    """The records of each partition, as an ingester writes them; the last of each ends the session."""
    shard_of = np.array([topics.shard(name, PARTITIONS) for name in block.symbols.names])
    found = []
    for shard in range(PARTITIONS):
        records = block.quotes[shard_of[block.quotes["symbol"]] == shard]
        raws = []
        for start in range(0, len(records), size):
            piece = records[start : start + size]
            own = EventBlock(block.venue, block.session, block.symbols, quotes=piece)
            first, last = int(piece["seq"][0]), int(piece["seq"][-1])
            raws.append(codec.encode(TickBatch(shard, first, last, int(piece["ts_event"][-1]), own)))
        nothing = EventBlock(block.venue, block.session, block.symbols)
        raws.append(codec.encode(TickBatch(shard, 0, 0, START_NS + 86_400 * NS_PER_S, nothing)))
        found.append(raws)
    return found


def interleaved(partitions: list[list[bytes]], seed: int) -> list[bytes]:
    """The records in an order in which Flink may read them: each partition's own order is kept."""
    rng, left = random.Random(seed), [list(raws) for raws in partitions]
    order = []
    while any(left):
        order.append(rng.choice([raws for raws in left if raws]).pop(0))
    return order


def spreads_by_pair(values: list[bytes]) -> dict[str, Records]:
    symbols = SymbolTable(["", *(pair.symbol for pair in PAIRS.pairs)])
    batches = [spread_codec.decode(value, symbols) for value in values]
    joined = np.concatenate([batch.block.spreads for batch in batches])
    return {name: joined[joined["symbol"] == index] for index, name in enumerate(symbols.names) if index}


@pytest.fixture(scope="module")
def history() -> dict[str, Records]:
    """What the same quotes give over history."""
    parts = [block.spreads for block in over([quotes()], PAIRS)]
    joined = np.concatenate(parts)
    return {pair.symbol: joined[joined["symbol"] == index] for index, pair in enumerate(PAIRS.pairs, start=1)}


@pytest.mark.parametrize("seed", range(4))
def test_live_and_history_are_the_same_to_the_last_bit(seed: int, history: dict[str, Records]) -> None:
    """Whatever the order in which partitions are read and wherever a restart falls: each pair's spreads are,
    in order and to the last bit, those that history gives."""
    program, values, rng = SpreadProgram(PAIRS, PARTITIONS), [], random.Random(seed)
    for raw in interleaved(by_partition(quotes(), rng.choice((1, 20, 200))), seed):
        values += [value for _, value in program.process(raw)]
        if rng.random() < 0.1:
            again = SpreadProgram(PAIRS, PARTITIONS)
            again.restore(program.snapshot())
            program = again
    found = spreads_by_pair(values)
    assert found.keys() == history.keys()
    assert sum(map(len, found.values())) > 10_000
    for symbol, records in history.items():
        mine = found[symbol].copy()
        mine["symbol"] = records["symbol"]
        assert mine.tobytes() == records.tobytes(), symbol


def test_every_shard_moves_on_and_no_promise_is_broken() -> None:
    """With each step of event time every shard gets a record, so a quiet one holds nobody up; a watermark
    never goes back, and no spread that comes later is older than it."""
    program = SpreadProgram(PAIRS, PARTITIONS)
    marks = dict.fromkeys(range(PARTITIONS), -1)
    for raw in interleaved(by_partition(quotes(), 50), 1):
        records = program.process(raw)
        batches = [(key, spread_codec.decode(value)) for key, value in records]
        assert {batch.shard for _, batch in batches} in (set(), set(range(PARTITIONS)))
        for key, batch in batches:
            assert key == topics.partition_key(batch.shard, PARTITIONS)
            ts = batch.block.spreads["ts_event"]
            assert not len(ts) or ts.min() >= marks[batch.shard]
            names = [batch.block.symbols.names[index] for index in batch.block.spreads["symbol"]]
            assert {topics.shard(name, PARTITIONS) for name in names} <= {batch.shard}
            assert batch.watermark >= marks[batch.shard]
            marks[batch.shard] = batch.watermark
            if len(ts):
                seqs = batch.block.spreads["seq"]
                assert (batch.first_seq, batch.last_seq) == (seqs.min(), seqs.max())
        assert len(set(marks.values())) == 1
    assert marks[0] == START_NS + 86_400 * NS_PER_S


def test_nothing_comes_before_every_partition_was_seen() -> None:
    """Three of four partitions say nothing about the fourth."""
    partitions = by_partition(quotes(), 100)
    program = SpreadProgram(PAIRS, PARTITIONS)
    for raws in partitions[:-1]:
        for raw in raws:
            assert program.process(raw) == []
    assert sum(len(program.process(raw)) for raw in partitions[-1]) > 0


def test_large_steps_are_cut_for_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catching up makes many spreads at once: no record is larger than the broker takes, and only the last
    of a shard carries the new watermark."""
    monkeypatch.setattr(spread_program, "BATCH_SPREADS_MAX", 100)
    program = SpreadProgram(PAIRS, PARTITIONS)
    *before, last = by_partition(quotes(), 10_000)
    for raw in (raw for raws in before for raw in raws):
        program.process(raw)
    at = program.spreads.watermark_ns
    batches = [spread_codec.decode(value) for _, value in program.process(last[0])]
    for shard in range(PARTITIONS):
        own = [batch for batch in batches if batch.shard == shard]
        assert max(len(batch.block.spreads) for batch in own) <= 100
        assert {batch.watermark for batch in own[:-1]} == {at}
        assert own[-1].watermark == program.spreads.watermark_ns > at


def test_the_record_limit_keeps_below_a_megabyte() -> None:
    """4,000 spreads with the longest varints and long names are a record that the broker takes."""
    records = np.zeros(spread_program.BATCH_SPREADS_MAX, dtype=SPREAD_DTYPE)
    for name in ("ts_event", "ts_recv", "seq", "age_ns", "calibration"):
        records[name] = 2**62
    records["symbol"] = 1
    block = EventBlock("XNAS", "20241121", SymbolTable(["BTC-USDT-PERP~ETH-USDT-PERP"]), spreads=records)
    assert len(spread_codec.encode(TickBatch(0, 0, 0, 0, block))) < 1_000_000


def test_snapshot_is_small_and_its_own() -> None:
    """Some KB for these pairs, whatever was seen; of other partitions, or no snapshot, it is refused."""
    program = SpreadProgram(PAIRS, PARTITIONS)
    for raw in interleaved(by_partition(quotes(), 20), 3):
        program.process(raw)
    assert len(program.snapshot()) < 8_000
    with pytest.raises(CalibrationError, match="partitions"):
        SpreadProgram(PAIRS, 8).restore(program.snapshot())
    with pytest.raises(CalibrationError, match="no snapshot"):
        program.restore(b"")
    with pytest.raises(CodecError):
        program.process(b"rubbish")
    foreign = EventBlock("XNYS", "20241121", SymbolTable())
    with pytest.raises(CodecError, match="XNYS"):
        program.process(codec.encode(TickBatch(0, 0, 0, 0, foreign)))
    with pytest.raises(CodecError, match="shard 4"):
        program.process(codec.encode(TickBatch(4, 0, 0, 0, EventBlock("XNAS", "", SymbolTable()))))


def test_events_inside_the_watermarks_millisecond_wait() -> None:
    """A batch's watermark may lie inside a millisecond that has more to come: its spreads wait."""
    program = SpreadProgram(PAIRS, 1)
    block = quotes(2)
    block.quotes["symbol"] = (1, 2)
    block.quotes["ts_event"] = START_NS + np.array([100, 900_000])
    raw = codec.encode(TickBatch(0, 1, 2, START_NS + 900_000, block))
    assert [spread_codec.decode(value).block.spreads.size for _, value in program.process(raw)] == [0]
    nothing = EventBlock("XNAS", "20241121", SymbolTable())
    later = codec.encode(TickBatch(0, 2, 2, START_NS + NS_PER_MS, nothing))
    assert [spread_codec.decode(value).block.spreads.size for _, value in program.process(later)] == [2]
