"""Rules over stored events on a real Flink: nothing lost or late on the way, and identity as the kernel's."""

from __future__ import annotations

from collections.abc import Callable
from math import nan

import numpy as np
import pytest
from msgspec import structs

from streaming.rules import Rule
from streaming.stored import history, replay
from streaming.tape import START_NS, Tape
from tickloom import topics
from tickloom.clock import NS_PER_MS
from tickloom.errors import FeedError
from tickloom.events import GAP_DTYPE, STATUS_DTYPE, EventBlock, StatusCode, make_seq, signal_id
from tickloom.settings import FlinkSettings, KafkaSettings

Probe = Callable[[str], Rule]


def test_parts_hold_every_event_and_none_is_late() -> None:
    """Behind a watermark there is no older event, whatever disorder of time seq brings."""
    rng = np.random.default_rng(7)
    tape = Tape()
    for at_ms in np.arange(20_000) + rng.uniform(-400, 400, 20_000):
        tape.trade("ABCDEFGH"[rng.integers(8)], float(at_ms), 10.0, 1, "buy")
    block = tape.block()
    parts = list(replay._parts(block, START_NS + 30_000 * NS_PER_MS))
    assert len(parts) > 2
    assert np.concatenate([part.trades["seq"] for part, _ in parts]).tolist() == block.trades["seq"].tolist()
    promised = 0
    for part, watermark in parts:
        assert int(part.trades["ts_event"].min()) >= promised
        assert watermark >= promised
        promised = watermark


def test_batches_are_sharded_as_the_ingesters_do() -> None:
    """A partition gets the events of its symbols, or a heartbeat."""
    tape = Tape()
    for symbol in ("ALFA", "BRVO", "ALFA"):
        tape.trade(symbol, 0, 10.0, 1, "buy")
    block = tape.block()
    shard_of = np.array([topics.shard(name, 4) for name in block.symbols.names])
    batches = [replay._batch(block, shard_of, shard, 5) for shard in range(4)]
    assert {batch.shard: len(batch.block) for batch in batches if len(batch.block)} == {
        topics.shard("ALFA", 4): 2,
        topics.shard("BRVO", 4): 1,
    }
    assert {batch.last_seq for batch in batches if not len(batch.block)} == {make_seq_of(3)}


def make_seq_of(number: int) -> int:
    return 240808 * 10**10 + number


@pytest.mark.slow
class TestOnFlink:
    """What a rule sees of each view."""

    def test_every_pair_of_trades_is_seen_once(
        self, flink: FlinkSettings, kafka: KafkaSettings, probe: Probe
    ) -> None:
        """Over 4 shards and many batches, each rise gives its signal, with the kernel's id, in order."""
        rng = np.random.default_rng(11)
        tape = Tape()
        expected = []
        last: dict[str, tuple[float, int]] = {}
        for number in range(6_000):
            symbol = f"S{rng.integers(12):02}"
            price = round(float(rng.uniform(99, 101)), 2)
            seq = tape.trade(symbol, number * 0.4, price, 100, "sell")  # several a millisecond
            before = last.pop(symbol, None)
            if before is not None and price > before[0] + 0.1:
                expected.append((symbol, before[1], seq, price))
            else:
                last[symbol] = (price, seq)
        blocks = _cut(tape.block(), 1_700)
        found = history.run([probe()], blocks, flink, kafka)["probe"]
        assert sorted((s.symbol, s.first_seq, s.last_seq, s.ref_price) for s in found) == sorted(expected)
        for one in found:
            assert one.signal_id == signal_id("probe", "1", one.symbol, one.first_seq, one.last_seq)
            at_ms = (one.last_seq - make_seq_of(1)) * 0.4
            assert one.ts_event == START_NS + int(at_ms) * NS_PER_MS
            assert (one.side, one.venue, one.version) == ("buy", "XNAS", "1")
            assert one.ts_signal > one.ts_event
        assert [one.ts_event for one in found] == sorted(one.ts_event for one in found)

    def test_views_show_every_kind_of_event(
        self, flink: FlinkSettings, kafka: KafkaSettings, probe: Probe, probe_text: str
    ) -> None:
        """Quotes without a side have NULL there and no mid; statuses and gaps come as texts; bars add up."""
        tape = Tape()
        tape.quote("Q", 0, 99.0, nan)
        tape.quote("Q", 1, 99.0, 101.0, 300, 400)
        for at_ms, price, size in ((100, 10.0, 1), (500, 12.0, 2), (999, 11.0, 3), (1_000, 20.0, 4)):
            tape.trade("B", at_ms, price, size, "buy")
        block = tape.block()
        head = (START_NS + 5 * NS_PER_MS, START_NS, make_seq_of(90), tape.symbols.index("H"))
        block.statuses = np.array([(*head, StatusCode.HALTED, b"LUDP")], dtype=STATUS_DTYPE)
        block.gaps = np.array([(START_NS, START_NS, make_seq_of(91), 0, 7, 9, 2)], dtype=GAP_DTYPE)
        select = """
            WITH seen AS (
              SELECT symbol, event_time, seq, 0 AS kind, COALESCE(ask_price, -1) AS price,
                COALESCE(mid, -2) AS figure, 'buy' AS side FROM quotes
              UNION ALL
              SELECT symbol, event_time, seq, 1 AS kind, 0 AS price, 0 AS figure, status || reason AS side
              FROM statuses
              UNION ALL
              SELECT 'gap' || symbol AS symbol, event_time, seq, 2 AS kind,
                CAST(first_missing AS DOUBLE) AS price, CAST(last_missing AS DOUBLE) AS figure, reason AS side
              FROM gaps
              UNION ALL
              SELECT symbol, event_time, seq, 3 AS kind,
                open_price * 10000 + high_price * 100 + close_price AS price,
                volume AS figure, CAST(trade_count AS STRING) AS side
              FROM bars_1s
            )
            SELECT symbol, side, price AS strength, figure AS ref_price, first_seq, last_seq
            FROM seen MATCH_RECOGNIZE (
              PARTITION BY symbol ORDER BY event_time, seq, kind
              MEASURES A.seq AS first_seq, A.seq AS last_seq, A.price AS price, A.figure AS figure,
                A.side AS side
              ONE ROW PER MATCH AFTER MATCH SKIP PAST LAST ROW
              PATTERN (A) DEFINE A AS A.price > :rise - 1000
            )
            """
        rule = probe(probe_text.partition("\n\n")[0] + "\n\n" + select)
        found = history.run([rule], [block], flink, kafka)["probe"]
        assert {(s.symbol, s.last_seq % 1000, s.side, s.strength, s.ref_price) for s in found} == {
            ("Q", 1, "buy", -1.0, -2.0),
            ("Q", 2, "buy", 101.0, 100.0),
            ("H", 90, "haltedLUDP", 0.0, 0.0),
            ("gap", 91, "malformed", 7.0, 9.0),
            ("B", 5, "3", 101_211.0, 6.0),
            ("B", 6, "1", 202_020.0, 4.0),
        }

    def test_missing_rows_are_null(
        self, flink: FlinkSettings, kafka: KafkaSettings, probe: Probe, probe_text: str
    ) -> None:
        """LAST(B.price, 1) of the first B is NULL, and a condition may say so (see streaming.tables)."""
        text = (
            probe_text.replace("PATTERN (A B)", "PATTERN (A B{2})")
            .replace(
                "B.price > A.price + :rise", "LAST(B.price, 1) IS NULL OR B.price > LAST(B.price, 1) + :rise"
            )
            .replace("B.price AS price, B.price - A.price", "LAST(B.price) AS price, LAST(B.price) - A.price")
            .replace("B.seq AS last_seq", "LAST(B.seq) AS last_seq")
        )
        tape = Tape()
        for at_ms, price in enumerate((5.0, 1.0, 2.0, 5.0, 2.0, 1.0)):
            tape.trade("N", at_ms, price, 1, "buy")
        (found,) = history.run([probe(text)], [tape.block()], flink, kafka)["probe"]
        assert (found.first_seq, found.last_seq) == (make_seq_of(1), make_seq_of(3))

    def test_topics_and_jobs_are_tidied_up(
        self, flink: FlinkSettings, kafka: KafkaSettings, probe: Probe
    ) -> None:
        """A run leaves no topic behind, nor does one that fails."""
        from confluent_kafka.admin import AdminClient

        block = Tape().block()
        assert history.run([probe()], [block], flink, kafka) == {"probe": []}
        tape = Tape()
        tape.trade("ALFA", 0, 1.0, 1, "buy")
        late = Tape()
        late.trade("ALFA", -5, 1.0, 1, "buy")
        with pytest.raises(FeedError, match="back in time"):
            history.run([probe()], [tape.block(), late.block()], flink, kafka)
        known = AdminClient({"bootstrap.servers": kafka.bootstrap}).list_topics(timeout=10).topics
        assert not [name for name in known if name.startswith("replay.")]


def test_other_venues_are_refused(flink: FlinkSettings, kafka: KafkaSettings, probe: Probe) -> None:
    """Events of a venue that the rule is not about are an error, not an empty answer."""
    tape = Tape(venue="BINANCE")
    tape.trade("BTC-USDT", 0, 1.0, 1, "buy")
    with pytest.raises(FeedError, match="events of BINANCE"):
        history.run([probe()], [tape.block()], flink, kafka)


def test_null_on_flink_is_told_as_the_compiled_engine_does() -> None:
    """Flink's own advice is to drop such signals in silence; any other failure is passed on as it is."""
    said = (
        "org.apache.flink.table.runtime.operators.sink.constraint.EnforcerException: Column 'ref_price' is "
        "NOT NULL, however, a null value is being written into it. You can set job configuration"
    )
    assert history._why(said).startswith("a signal has no ref_price. Let the pattern or a WHERE")
    assert history._why("java.lang.NumberFormatException: x") == "java.lang.NumberFormatException: x"


def test_signals_are_distinct_and_in_order() -> None:
    """Delivered twice is one signal; the order is that of the match's last row."""
    make = history.signal_from_json
    raw = (
        b'{"signal_id":"%s","rule":"r","version":"1","symbol":"A","side":"buy","strength":1.0,'
        b'"ref_price":2.0,"first_seq":1,"last_seq":2,"venue":"V","ts_event":%d,"ts_signal":%d}'
    )
    signals = [
        make(raw % (name, at, signal)) for name, at, signal in ((b"b", 9, 1), (b"a", 3, 2), (b"b", 9, 7))
    ]
    assert [(one.signal_id, one.ts_signal) for one in history.distinct(signals)] == [("a", 2), ("b", 1)]
    assert structs.asdict(signals[0])["venue"] == "V"


def _cut(block: EventBlock, size: int) -> list[EventBlock]:
    """The block in blocks of so many trades."""
    return [
        EventBlock(block.venue, block.session, block.symbols, trades=block.trades[start : start + size])
        for start in range(0, len(block.trades), size)
    ]


def test_seq_of_the_tape() -> None:
    """The tape numbers messages as an ITCH session of its day."""
    from datetime import date

    assert Tape().trade("A", 0, 1.0, 1, "buy") == make_seq(date(2024, 8, 8), 1) == make_seq_of(1)
