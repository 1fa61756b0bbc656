"""Spreads and calibrations of pairs in QuestDB: stored once, to the last bit, and read back."""

from __future__ import annotations

import math
import threading
import uuid
from dataclasses import replace

import numpy as np
import pytest
from confluent_kafka import Producer

from storage import QuestDbReader, calibrations, spreads, wait_applied
from storage.columns import SPREADS
from storage.connection import Connection
from storage.spreads import QuestDbSpreads
from tickloom import spread_codec, topics
from tickloom.codec import TickBatch
from tickloom.errors import StorageError
from tickloom.events import SPREAD_DTYPE, Calibration, EventBlock, SymbolTable
from tickloom.settings import KafkaSettings, QuestDbSettings

DAY_NS = 1_795_132_800_000_000_000  # 2026-11-20T00:00:00Z
PAIRS = ["ALFA~BRVO", "BTC-USDT~ETH-USDT"]


def block_of(venue: str, count: int = 500, calibration: int = 2_340_424_878) -> EventBlock:
    """Spreads of two pairs, of every state, some without a rolling score."""
    rng = np.random.default_rng(3)
    records = np.zeros(count, dtype=SPREAD_DTYPE)
    records["ts_event"] = DAY_NS + np.cumsum(rng.integers(0, 2_000_000, count))
    records["ts_recv"] = records["ts_event"] + 1
    records["seq"] = 2_611_200_000_000_000 + np.arange(count)
    records["symbol"] = rng.integers(1, 3, count)
    for name in ("spread", "z", "z_rolling", "mid_a", "mid_b"):
        records[name] = rng.normal(0, 100, count)
    records["z_rolling"][rng.random(count) < 0.3] = np.nan
    records["age_ns"] = rng.integers(0, 10**10, count)
    records["state"] = rng.integers(0, 3, count)
    records["calibration"] = calibration
    return EventBlock(venue, "20261120", SymbolTable(PAIRS), spreads=records)


def stored(reader: QuestDbReader, venue: str) -> list[EventBlock]:
    return list(reader.read_events(venue, DAY_NS, DAY_NS + 10**15, ("spreads",), chunk_rows=180))


def assert_same(blocks: list[EventBlock], expected: EventBlock) -> None:
    found = np.concatenate([block.spreads for block in blocks])
    names = [blocks[0].symbols.names[index] for index in found["symbol"]]
    assert names == [expected.symbols.names[index] for index in expected.spreads["symbol"]]
    for field in SPREAD_DTYPE.names or ():
        if field != "symbol":
            assert np.array_equal(found[field], expected.spreads[field], equal_nan=field == "z_rolling"), (
                field
            )


def test_table_has_the_columns_and_the_identity(tables: QuestDbSettings) -> None:
    """What is sent is what there is; spreads by other calibrations are others."""
    with Connection(tables) as connection:
        rows = connection.fetch("SELECT \"column\", upsertKey FROM table_columns('spreads')")
    assert {name for name, _ in rows} == {"venue", "session", *SPREADS.selected}
    keys = {name for name, key in rows if key}
    assert keys == {"ts", "venue", "session", "seq", "symbol", "calibration"}


def test_spreads_come_back_and_twice_is_once(
    tables: QuestDbSettings, venue: str, reader: QuestDbReader
) -> None:
    """Every field to the last bit, NaN as NULL and back; written again nothing changes, by another
    calibration there are as many more."""
    writer, block = QuestDbSpreads(tables), block_of(venue)
    assert writer.write([block]) == 500
    assert writer.write([block]) == 500
    wait_applied(tables, ["spreads"])
    assert_same(stored(reader, venue), block)
    sql = "SELECT count() FROM spreads WHERE venue = %s AND z_rolling IS NULL"
    nulls = int(np.isnan(block.spreads["z_rolling"]).sum())
    assert reader.fetch(sql, (venue,)) == [(nulls,)]
    writer.write([block_of(venue, calibration=7)])
    writer.close()
    wait_applied(tables, ["spreads"])
    assert reader.count_by_symbol("spreads", venue) == {
        name: 2 * int((block.spreads["symbol"] == index).sum()) for index, name in enumerate(PAIRS, start=1)
    }


def test_recorder_goes_on_where_it_was(
    tables: QuestDbSettings, kafka: KafkaSettings, reader: QuestDbReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is on the topic is in the table, once, over a stop; what is no batch is passed over."""
    venue = f"REC{uuid.uuid4().hex[:6]}"
    monkeypatch.setattr(spreads, "GROUP", f"test-{venue}")  # other tests have read other venues
    whole = block_of(venue)
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    topics.ensure_topics([topics.spreads(venue)], kafka)

    def publish(rows: slice) -> None:
        part = EventBlock(venue, whole.session, whole.symbols, spreads=whole.spreads[rows])
        for name in PAIRS:
            own = part.select({"spreads": part.spreads["symbol"] == PAIRS.index(name) + 1})
            shard = topics.shard(name, kafka.tick_partitions)
            producer.produce(topics.spreads(venue), b"poison", partition=shard)
            producer.produce(
                topics.spreads(venue), spread_codec.encode(TickBatch(shard, 0, 0, 0, own)), partition=shard
            )
        assert producer.flush(30) == 0

    def run_until(rows: int) -> None:
        stop = threading.Event()
        thread = threading.Thread(target=spreads.record, args=([venue], kafka, tables, stop))
        thread.start()
        deadline = threading.Event()
        for _ in range(600):
            wait_applied(tables, ["spreads"])
            if sum(reader.count_by_symbol("spreads", venue).values()) >= rows or not thread.is_alive():
                break
            deadline.wait(0.1)
        stop.set()
        thread.join(30)
        assert not thread.is_alive()

    publish(slice(0, 300))
    run_until(300)
    publish(slice(300, None))
    run_until(500)
    assert_same(stored(reader, venue), whole)


def calibrated(symbol: str, ts: int, **values: object) -> Calibration:
    leg_a, leg_b = symbol.split("~")
    numbers = dict.fromkeys(
        ("statistic", "q_value", "ar_coefficient", "johansen_hedge_ratio", "leg_a_p_value", "leg_b_p_value"),
        0.25,
    )
    one = Calibration(
        ts=ts, sample_from=DAY_NS + 7, bar_s=60.0, venue="", symbol=symbol, leg_a=leg_a, leg_b=leg_b,
        method="engle-granger", admitted=True, refused="", hedge_ratio=1.2, mean=9.9, deviation=0.2,
        p_value=1e-9, half_life_s=123.4, observations=1_500, coverage=0.99, **numbers,
    )  # fmt: skip
    return replace(one, **values)  # type: ignore[arg-type]


def test_calibrations_come_back_and_take_the_place_of_their_like(
    tables: QuestDbSettings, venue: str, reader: QuestDbReader
) -> None:
    """The latest unless another is named; NaN and no reason as they were; a repeated one replaces."""
    with pytest.raises(StorageError, match="tickloom pairs calibrate"):
        calibrations.read_calibrations(reader, venue)
    first, second = DAY_NS + 10**12 + 1, DAY_NS + 2 * 10**12 + 1
    refused = calibrated(
        "AA~CC", second, venue=venue, admitted=False, refused="not cointegrated (p 0.4)", half_life_s=math.nan
    )
    good = calibrated("AA~BB", second, venue=venue)
    calibrations.write_calibrations(tables, [calibrated("AA~BB", first, venue=venue)])
    calibrations.write_calibrations(tables, [refused, replace(good, mean=1.0)])
    calibrations.write_calibrations(tables, [good])
    wait_applied(tables, [calibrations.TABLE])
    found = calibrations.read_calibrations(reader, venue)
    assert found[0] == good
    assert math.isnan(found[1].half_life_s)
    assert replace(found[1], half_life_s=0.0) == replace(refused, half_life_s=0.0)
    assert [one.ts for one in calibrations.read_calibrations(reader, venue, first)] == [first]
    with pytest.raises(StorageError, match="pairs list"):
        calibrations.read_calibrations(reader, venue, first + 1)
