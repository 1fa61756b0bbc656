"""Rules as jobs on a real session cluster: submitted, seen, refused, stopped, gone on with."""

from __future__ import annotations

import math
import re
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import Producer
from msgspec import structs

from streaming import derived, rules
from streaming.authoring import cases
from streaming.live import jobs, quarantine
from streaming.live.cluster import Cluster
from streaming.live.origin import Engine
from streaming.live.quarantine import Quarantined
from streaming.rules import Rule
from streaming.stored import history, parity, replay
from streaming.tape import Tape
from tickloom import topics
from tickloom.clock import NS_PER_DAY, NS_PER_MS
from tickloom.codec import TickBatch, encode
from tickloom.errors import RuleError, ServiceError
from tickloom.events import EventBlock, Signal
from tickloom.settings import FlinkSettings, KafkaSettings

pytestmark = pytest.mark.slow
Probe = Callable[[str], Rule]
ENGINES: tuple[Engine, ...] = ("flink", "compiled")
SIGNALS = "signals.livetest"
TWO_DAYS_MS = 2 * NS_PER_DAY / NS_PER_MS


@pytest.fixture
def live_probe(probe: Probe, probe_text: str) -> Rule:
    """The probe on a venue of its own."""
    return probe(probe_text.replace("XNAS", f"LIVE{uuid.uuid4().hex[:6]}"))


@pytest.mark.parametrize("engine", ENGINES)
def test_life_of_a_live_rule(
    engine: Engine, live_probe: Rule, flink: FlinkSettings, kafka: KafkaSettings
) -> None:
    """On either engine it sees what comes after it was submitted, gives the ids that history gives, is
    refused a second time, stops with a savepoint, and goes on from there with what came in between."""
    ticks, signals = derived.source_topic(live_probe.venue, ["trades"]), f"{live_probe.venue}.signals"
    topics.ensure_topics([ticks, signals], kafka)
    _publish(_rises(live_probe, -TWO_DAYS_MS), kafka)  # before: not for a job that begins with the latest
    submit = partial(jobs.submit, [live_probe], flink, kafka, engine=engine, signal_topic=signals)
    (job,) = submit()
    cluster = Cluster(flink)
    (seen,) = cluster.rule_jobs(details=True)
    assert (seen.rule, seen.version, seen.job_id, seen.state) == ("probe", "1", job.job_id, "RUNNING")
    assert seen.engine == job.engine == engine
    with pytest.raises(ServiceError, match="already runs"):
        list(submit())

    first = _rises(live_probe, 0)
    _publish(first, kafka)
    found = _wait_for_signals(5, signals, kafka)
    replayed = history.run([live_probe], [first.block()], flink, kafka)["probe"]
    assert [structs.replace(one, ts_signal=0) for one in found] == [
        structs.replace(one, ts_signal=0) for one in replayed
    ]
    assert len(_ids(found)) == 5

    (savepoint,) = jobs.stop("probe", flink)
    assert cluster.running("probe") == []
    with pytest.raises(ServiceError, match="does not run"):
        jobs.stop("probe", flink)
    second = _rises(live_probe, TWO_DAYS_MS, first.messages)
    _publish(second, kafka)
    (again_job,) = submit(savepoint=savepoint)
    assert again_job.note == ""
    both = _wait_for_signals(10, signals, kafka)
    again = history.run([live_probe], [first.block(), second.block()], flink, kafka)["probe"]
    assert _ids(both) == _ids(again)
    assert cluster.rule_jobs(details=True)[0].late_rows == 0


def test_replaced_rule_runs_once(live_probe: Rule, flink: FlinkSettings, kafka: KafkaSettings) -> None:
    """--replace leaves one job of the rule, the new one; here on the other engine."""
    (first,) = jobs.submit([live_probe], flink, kafka, signal_topic=SIGNALS)
    (second,) = jobs.submit([live_probe], flink, kafka, signal_topic=SIGNALS, replace=True, engine="compiled")
    assert first.job_id != second.job_id
    assert "state of probe v1 (flink" in second.note
    (running,) = Cluster(flink).running("probe")
    assert (running.job_id, running.engine) == (second.job_id, "compiled")


@pytest.mark.parametrize("engine", ENGINES)
def test_upgraded_rule_begins_where_the_old_version_stopped(
    engine: Engine, live_probe: Rule, probe: Probe, flink: FlinkSettings, kafka: KafkaSettings
) -> None:
    """A new version takes no state of the old one: what that had half matched is forgotten. But it sees
    every tick since, also those that came while nothing ran."""
    signals = f"{live_probe.venue}.signals"
    ticks = derived.source_topic(live_probe.venue, ["trades"])
    topics.ensure_topics([ticks, signals], kafka)
    submit = partial(jobs.submit, flink=flink, kafka=kafka, engine=engine, signal_topic=signals)
    list(submit([live_probe]))
    first = _rises(live_probe, 0)
    first.trade("HALF", 100, 10.0, 1, "buy")
    _publish(first, kafka)
    _wait_for_signals(5, signals, kafka)
    (savepoint,) = jobs.stop("probe", flink)

    second = _rises(live_probe, TWO_DAYS_MS, first.messages)
    second.trade("HALF", TWO_DAYS_MS, 11.0, 1, "buy")
    _publish(second, kafka)
    text = live_probe.path.read_text().replace("version: 1", "version: 2")
    (job,) = submit([probe(text)], savepoint=savepoint)
    assert "state of probe v1" in job.note
    assert "is not for probe v2" in job.note
    both = _wait_for_signals(10, signals, kafka)
    assert sorted(one.version for one in both) == ["1"] * 5 + ["2"] * 5
    assert {one.first_seq for one in both if one.version == "2"} == set(second.block().trades["seq"][:10:2])


@pytest.mark.parametrize("engine", ENGINES)
def test_poison_batch_is_quarantined_and_the_stream_goes_on(
    engine: Engine, live_probe: Rule, flink: FlinkSettings, kafka: KafkaSettings
) -> None:
    """A batch cut short, one with an array longer than memory, and text: each is kept with its bytes and
    place, and neither the rows before nor those behind are lost."""
    signals, ticks = f"{live_probe.venue}.signals", derived.source_topic(live_probe.venue, ["trades"])
    topics.ensure_topics([ticks, signals], kafka)
    (job,) = jobs.submit([live_probe], flink, kafka, engine=engine, signal_topic=signals)
    first = _rises(live_probe, 0)
    _publish(first, kafka)
    block = first.block()
    good = encode(TickBatch(0, 1, 1, 1, block))
    header = encode(TickBatch(0, 1, 1, 1, EventBlock(block.venue, block.session, block.symbols)))[:-5]
    huge = header + b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f"
    poison = [good[:-9], huge, b"no batch", good + b"\0"]
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for raw in poison:
        producer.produce(ticks, raw, partition=1)
    assert producer.flush(30) == 0
    second = _rises(live_probe, TWO_DAYS_MS, first.messages)
    _publish(second, kafka)

    assert len(_wait_for_signals(10, signals, kafka)) == 10
    kept = _wait_for_quarantine(len(poison), ticks, kafka)
    assert [one.raw for one in kept] == poison
    assert {one.partition for one in kept} == {1}
    assert all(one.error for one in kept)
    cluster = Cluster(flink)
    assert cluster.state(job.job_id) == "RUNNING"
    for _ in range(60):  # the cluster's own look at its metrics is up to ten seconds old
        (seen,) = cluster.rule_jobs(details=True)
        if seen.quarantined == len(poison):
            break
        time.sleep(0.5)
    assert (seen.restores, seen.quarantined) == (0, len(poison))


def test_savepoint_of_another_rule_is_refused(
    live_probe: Rule, flink: FlinkSettings, kafka: KafkaSettings
) -> None:
    """The folder of a savepoint says whose it is; one that says nothing is nobody's."""
    for path, whose in (
        ("file:///x/sweep/1/flink/0a0a0a0a/savepoint-1", "of rule sweep"),
        ("/x/savepoint-1", "not one"),
    ):
        with pytest.raises(ServiceError, match=f"is {whose}"):
            list(jobs.submit([live_probe], flink, kafka, signal_topic=SIGNALS, savepoint=path))


def test_no_slot_is_said_at_once(live_probe: Rule, flink: FlinkSettings, kafka: KafkaSettings) -> None:
    """A job that could not run is not submitted."""
    wide = flink.model_copy(update={"parallelism": 99})
    with pytest.raises(ServiceError, match="free slots; 1 rules of parallelism 99 need 99"):
        list(jobs.submit([live_probe], wide, kafka, signal_topic=SIGNALS))
    assert Cluster(flink).running("probe") == []


def test_no_cluster_is_said(
    live_probe: Rule, flink: FlinkSettings, kafka: KafkaSettings, free_port: int
) -> None:
    """Without a cluster the message names the address."""
    away = flink.model_copy(update={"rest_port": free_port})
    with pytest.raises(ServiceError, match=f"127.0.0.1:{free_port} does not answer"):
        list(jobs.submit([live_probe], away, kafka, signal_topic=SIGNALS))


@pytest.mark.parametrize(
    ("old", "new", "line", "reason"),
    [
        ("A.seq AS first_seq", "A.sequence AS first_seq", 11, "'sequence'"),
        ("A.price > 0", "A.price > > 0", 15, r"Encountered|syntax"),
        ("A.price > 0", "A.price > 'much' || 1 AND", 15, "."),
        ("B.price > A.price", "NO_SUCH(B.price) > A.price", 15, "NO_SUCH"),
        ("price AS ref_price", "symbol AS ref_price", 7, "ref_price is VARCHAR, no number"),
    ],
)
def test_flinks_own_refusal_has_the_files_line(
    old: str, new: str, line: int, reason: str, probe: Probe, probe_text: str, flink: FlinkSettings
) -> None:
    """What the linter lets pass and Flink does not is reported at its line of the rule file."""
    assert old in probe_text
    with pytest.raises(RuleError, match=reason) as caught:
        jobs.explain(probe(probe_text.replace(old, new)), flink, KafkaSettings.load())
    assert caught.value.line == line
    assert str(caught.value).startswith(str(Path(caught.value.path)))


def test_numbers_without_bounds_are_the_same_on_both_engines(
    probe: Probe, probe_text: str, flink: FlinkSettings, kafka: KafkaSettings
) -> None:
    """A division by zero is a signal of a strength that is infinite, or of a price that is none."""
    text = probe_text.replace("rise AS strength", "rise / (price - price) AS strength")
    rule = probe(text.replace("price AS ref_price", "(price - price) / (price - price) AS ref_price"))
    block = _rises(rule, 1_000).block()
    on_flink = history.run([rule], [block], flink, kafka)[rule.name]
    for found in (on_flink, cases.compiled(rules.bind(rule), block)):
        assert [one.symbol for one in found] == [f"R{number}" for number in range(5)]
        assert {one.strength for one in found} == {math.inf}
        assert all(math.isnan(one.ref_price) for one in found)
    assert all(map(parity.same_values, on_flink, cases.compiled(rules.bind(rule), block)))


def test_shipped_rules_are_planned(flink: FlinkSettings) -> None:
    """Flink plans each shipped rule, over one reading of the topic, and keeps event time."""
    for name in ("pair_spread", "trade_burst", "quote_fade"):
        plan = jobs.explain(rules.find(name), flink, KafkaSettings.load())
        optimised = plan.partition("== Optimized Execution Plan ==")[2]
        assert "Match(" in optimised
        assert len(set(re.findall(r"anonymous_datastream_source\$\d+", optimised))) == 1
        assert "SOURCE_WATERMARK()" in optimised


def _rises(rule: Rule, at_ms: float, messages: int = 0) -> Tape:
    """Five rises on five symbols, in seqs behind ``messages``."""
    tape = Tape(venue=rule.venue, messages=messages)
    for number in range(5):
        tape.trade(f"R{number}", at_ms + number, 10.0, 1, "buy")
        tape.trade(f"R{number}", at_ms + number + 0.5, 10.5, 1, "buy")
    return tape


def _publish(tape: Tape, kafka: KafkaSettings) -> None:
    """The tape's events, then a heartbeat of a day later on every partition, as an ingester's would come."""
    block, topic = tape.block(), topics.ticks(tape.venue)
    replay.publish([block], topic, kafka, {tape.venue})
    nothing = EventBlock(block.venue, block.session, block.symbols)
    seq, watermark = int(block.trades["seq"].max()), int(block.trades["ts_event"].max()) + NS_PER_DAY
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for shard in range(kafka.tick_partitions):
        producer.produce(topic, encode(TickBatch(shard, seq, seq, watermark, nothing)), partition=shard)
    assert producer.flush(30) == 0


def _wait_for_signals(count: int, topic: str, kafka: KafkaSettings) -> list[Signal]:
    """The topic's signals, once there are so many (or a minute has passed)."""
    for _ in range(600):
        found = history.distinct(history.read_signals(topic, kafka))
        if len(found) >= count:
            break
        time.sleep(0.1)
    return found


def _wait_for_quarantine(count: int, topic: str, kafka: KafkaSettings) -> list[Quarantined]:
    for _ in range(300):
        found = [one for one in quarantine.read(kafka) if one.topic == topic]
        if len(found) >= count:
            break
        time.sleep(0.1)
    return found


def _ids(signals: list[Signal]) -> set[str]:
    return {one.signal_id for one in signals}
