"""Rules as jobs on a real session cluster: submitted, seen, refused, stopped, gone on with."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from streaming import history, jobs, rules
from streaming.cluster import Cluster
from streaming.rules import Rule
from streaming.tape import Tape
from tickloom import topics
from tickloom.clock import NS_PER_DAY, NS_PER_MS
from tickloom.errors import RuleError, ServiceError
from tickloom.events import Signal
from tickloom.settings import FlinkSettings, KafkaSettings

pytestmark = pytest.mark.slow
Probe = Callable[[str], Rule]
VENUE = "LIVETEST"
SIGNALS = "signals.livetest"
TWO_DAYS_MS = 2 * NS_PER_DAY / NS_PER_MS


@pytest.fixture
def live_probe(probe: Probe, probe_text: str, flink: FlinkSettings) -> Iterator[Rule]:
    """The probe on a venue of its own; no job of it is left behind."""
    yield probe(probe_text.replace("XNAS", VENUE))
    cluster = Cluster(flink)
    for job in cluster.running("probe"):
        cluster.cancel(job.job_id)


def test_life_of_a_live_rule(live_probe: Rule, flink: FlinkSettings, kafka: KafkaSettings) -> None:
    """It sees what comes after it was submitted, gives the ids that history gives, is refused a second
    time, stops with a savepoint, and goes on from there with what came in between."""
    topics.ensure_topics([topics.ticks(VENUE), SIGNALS], kafka)
    _publish(_rises(-TWO_DAYS_MS), kafka)  # before: not for a job that begins with the latest
    (job,) = jobs.submit([live_probe], flink, kafka, signal_topic=SIGNALS)
    cluster = Cluster(flink)
    (seen,) = cluster.rule_jobs(details=True)
    assert (seen.rule, seen.version, seen.job_id, seen.state) == ("probe", "1", job.job_id, "RUNNING")
    assert cluster._get(f"/jobs/{job.job_id}")["name"] == "rule: probe v1"
    with pytest.raises(ServiceError, match="already runs"):
        list(jobs.submit([live_probe], flink, kafka, signal_topic=SIGNALS))

    first = _rises(0)
    _publish(first, kafka)
    found = _wait_for_signals(5, kafka)
    replayed = history.run([live_probe], [first.block()], flink, kafka)["probe"]
    assert [replace(one, ts_signal=0) for one in found] == [replace(one, ts_signal=0) for one in replayed]
    assert len(_ids(found)) == 5

    (savepoint,) = jobs.stop("probe", flink)
    assert cluster.running("probe") == []
    with pytest.raises(ServiceError, match="does not run"):
        jobs.stop("probe", flink)
    second = _rises(TWO_DAYS_MS, first.messages)
    _publish(second, kafka)
    list(jobs.submit([live_probe], flink, kafka, signal_topic=SIGNALS, savepoint=savepoint))
    both = _wait_for_signals(10, kafka)
    again = history.run([live_probe], [first.block(), second.block()], flink, kafka)["probe"]
    assert _ids(both) == _ids(again)
    assert cluster.rule_jobs(details=True)[0].late_rows == 0


def test_replaced_rule_runs_once(live_probe: Rule, flink: FlinkSettings, kafka: KafkaSettings) -> None:
    """--replace leaves one job of the rule, the new one."""
    (first,) = jobs.submit([live_probe], flink, kafka, signal_topic=SIGNALS)
    (second,) = jobs.submit([live_probe], flink, kafka, signal_topic=SIGNALS, replace=True)
    assert first.job_id != second.job_id
    assert [job.job_id for job in Cluster(flink).running("probe")] == [second.job_id]


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


def test_shipped_rules_are_planned(flink: FlinkSettings) -> None:
    """Flink plans each shipped rule, over one reading of the topic, and keeps event time."""
    for name in ("pair_spread", "trade_burst", "quote_fade"):
        plan = jobs.explain(rules.find(name), flink, KafkaSettings.load())
        optimised = plan.partition("== Optimized Execution Plan ==")[2]
        assert "Match(" in optimised
        assert optimised.count("TableSourceScan") == 1
        assert "SOURCE_WATERMARK()" in optimised


def _rises(at_ms: float, messages: int = 0) -> Tape:
    """Five rises on five symbols, in seqs behind ``messages``."""
    tape = Tape(venue=VENUE, messages=messages)
    for number in range(5):
        tape.trade(f"R{number}", at_ms + number, 10.0, 1, "buy")
        tape.trade(f"R{number}", at_ms + number + 0.5, 10.5, 1, "buy")
    return tape


def _publish(tape: Tape, kafka: KafkaSettings) -> None:
    history.publish([tape.block()], topics.ticks(VENUE), kafka, {VENUE})


def _wait_for_signals(count: int, kafka: KafkaSettings) -> list[Signal]:
    """The topic's signals, once there are so many (or a minute has passed)."""
    for _ in range(600):
        found = history.distinct(history.read_signals(SIGNALS, kafka))
        if len(found) >= count:
            break
        time.sleep(0.1)
    return found


def _ids(signals: list[Signal]) -> set[str]:
    return {one.signal_id for one in signals}
