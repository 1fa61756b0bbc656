"""Absence rules on Flink: the same signals as the compiled engine's, over the past and live."""

from __future__ import annotations

import time
import uuid
from functools import partial

import numpy as np
import pytest
from confluent_kafka import Producer

from streaming.live import jobs
from streaming.stored import history, replay
from streaming.tape import START_NS, Tape
from tests.streaming.absence_definition import defined, said
from tests.streaming.absence_rule import (
    BODY,
    EMPTY,
    KINDS,
    PLAIN,
    UNKNOWN,
    Amounts,
    Probe,
    make_probe,
    play,
    tape_of,
)
from tickloom import topics
from tickloom.clock import NS_PER_MS
from tickloom.codec import TickBatch, encode
from tickloom.errors import RuleError
from tickloom.events import Signal
from tickloom.settings import FlinkSettings, KafkaSettings

TAGGED = BODY.format(tag=" || :tag")
SETS = [Amounts(1, 1, 26), Amounts(3, 2, 40), Amounts(10, 2, 11), Amounts(25, 4, 200)]
SECOND = """
WITH bought AS (
  SELECT symbol, MOD(seq, 2) AS parity, event_time, seq, price, size, side
  FROM trades WHERE side = 'buy' AND `condition` = 'regular'
),
sold AS (
  SELECT symbol, MOD(seq, 2) AS parity, event_time, seq, price, -size AS size, side
  FROM trades WHERE side <> 'buy'
)
SELECT symbol, side, ABS(turned) + 0.001E0 * least AS strength, 1E-9 * top + price AS ref_price,
  first_seq, last_seq
FROM ABSENCE (
  PARTITION BY symbol, parity
  EXPECT bought AS buyer WHERE price > 2 WITHIN :silence
  WHILE sold AS seller AT LEAST :prints
  MEASURES
    buyer.seq AS first_seq, seller.seq AS last_seq, FIRST(seller.side) AS text, buyer.price AS price,
    CASE WHEN seller.side = 'sell' THEN 'sell' ELSE 'buy' END AS side,
    SUM(seller.price * seller.size) / COUNT(seller.seq) AS turned,
    MIN(seller.seq) - buyer.seq AS least, AVG(seller.parity) + MAX(seller.seq) - buyer.seq AS top
)
WHERE :longest > INTERVAL '0' SECOND AND text <> ''
"""


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Probe:
    """``probe(header="", body=PLAIN, name="probe")``: the rule with more header lines, or another body."""
    return partial(make_probe, tmp_path_factory.mktemp("rules"))


def beat(topic: str, watermark_ns: int, kafka: KafkaSettings) -> None:
    """A heartbeat on every partition."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for partition in range(kafka.tick_partitions):
        batch = TickBatch(partition, 1, 1, watermark_ns, EMPTY)
        producer.produce(topic, encode(batch), partition=partition)
    assert producer.flush(30) == 0


@pytest.mark.slow
class TestOnFlink:
    """The reference."""

    def test_both_engines_say_the_same(
        self, flink: FlinkSettings, kafka: KafkaSettings, probe: Probe
    ) -> None:
        """Over a tape with ties, halts and messages of two events: Flink, the kernel and the definition,
        to the last bit. And rows of WITH queries, two keys, whole numbers, no end: Flink and the kernel."""
        rng = np.random.default_rng(5)
        events = [
            (
                float(rng.choice([0, 0, 0.4, 1, 1, 2, 5, 10, 30])),
                "ABC"[rng.integers(3)],
                KINDS[rng.choice(8, p=[0.2, 0.2, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05])],
                int(rng.integers(100, 900)),
                int(rng.integers(1, 9)),
            )
            for _ in range(2_000)
        ]
        # a silence that the end of the tape leaves open: Flink's own end of time would fire it
        events += [(30.0, "A", "quote", 0, 0), *([(1.0, "A", "trade", 300, 1)] * 4)]
        block = tape_of(events)
        block.trades["side"] = rng.integers(3, size=len(block.trades))
        lines = [
            f"-- set: s{number} tag=#{number} " + " ".join(f"{k}={v}" for k, v in one.overrides.items())
            for number, one in enumerate(SETS)
        ]
        header = "-- parameter: tag string - which set\n" + "\n".join(lines) + "\n"
        tagged, second = probe(header, TAGGED), probe("", SECOND, "second")
        on_flink = history.run([tagged, second], [block], flink, kafka)
        wanted = [
            (f"{symbol}#{number}", *rest)
            for number, amounts in enumerate(SETS)
            for symbol, *rest in defined(block, amounts)
        ]
        assert len(wanted) > 300
        assert said(on_flink["probe"]) == sorted(wanted)
        compiled = play(second, block, {}, [7, 500, 1_500])
        assert len(compiled) > 30
        assert said(on_flink["second"]) == said(compiled)
        assert {s.signal_id for s in on_flink["second"]} == {s.signal_id for s in compiled}

    def test_live_it_fires_with_a_heartbeat(
        self, flink: FlinkSettings, kafka: KafkaSettings, probe: Probe
    ) -> None:
        """Quotes and trades, then nothing but heartbeats: live, on either engine, the silence fires when its
        time has passed; also if the compiled rule was stopped in the middle of it and goes on from its
        savepoint."""
        venue = f"LIVE{uuid.uuid4().hex[:6]}"
        wanted = {name: probe(name=name) for name in ("probe", "second")}
        for rule in wanted.values():
            rule.venue = venue
        ticks, signals = topics.ticks(venue), f"{venue}.signals"
        topics.ensure_topics([ticks, signals], kafka)
        tape = Tape(venue=venue)
        tape.quote("A", 0, 4.0, 6.0)
        for at_ms in (1, 2, 5):
            tape.trade("A", at_ms, 3.0, 1, "buy")

        submit = partial(jobs.submit, flink=flink, kafka=kafka, signal_topic=signals)
        list(submit([wanted["probe"]], engine="flink"))
        list(submit([wanted["second"]], engine="compiled"))
        replay.publish([tape.block()], ticks, kafka, {venue})
        (savepoint,) = jobs.stop("second", flink)
        (again,) = submit([wanted["second"]], engine="compiled", savepoint=savepoint)
        assert again.note == ""  # it has its state
        beat(ticks, START_NS + 10 * NS_PER_MS, kafka)
        beat(ticks, START_NS + 11 * NS_PER_MS, kafka)
        found: list[Signal] = []
        for _ in range(600):
            found = history.read_signals(signals, kafka)
            if len({one.rule for one in found}) == 2:
                break
            time.sleep(0.1)
        for name in wanted:
            jobs.stop(name, flink, savepoint=False)
        seqs = [int(tape.block().quotes["seq"][0]), int(tape.block().trades["seq"][-1])]
        assert {(one.rule, one.first_seq, one.last_seq, one.ts_event) for one in found} == {
            (name, *seqs, START_NS + 10 * NS_PER_MS) for name in wanted
        }

    @pytest.mark.parametrize(("old", "new", "line"), UNKNOWN)
    def test_line_of_what_flink_refuses(self, probe: Probe, old: str, new: str, line: int) -> None:
        """Its message points into the file, as the compiled engine's does."""
        assert old in PLAIN
        with pytest.raises(RuleError) as caught:
            jobs.explain(probe(body=PLAIN.replace(old, new)), FlinkSettings.load(), KafkaSettings.load())
        assert caught.value.line == line
