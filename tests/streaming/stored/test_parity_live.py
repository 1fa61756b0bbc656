"""A rule live on one engine, its day stored, and replayed by the other: real Kafka, Flink and QuestDB."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ingest.kafka_sink import KafkaSink
from storage import QuestDbFacts, QuestDbSink, schema, wait_applied
from streaming import rules
from streaming.live import jobs, runs, texts
from streaming.live.cluster import Cluster
from streaming.live.origin import Engine
from streaming.rules import Rule
from streaming.stored import history, proven
from streaming.tape import START_NS, Tape
from tickloom.cli.rules import app
from tickloom.clock import NS_PER_DAY, NS_PER_MS
from tickloom.events import EventBlock, Signal
from tickloom.settings import FlinkSettings, ItchSettings, KafkaSettings, QuestDbSettings

pytestmark = pytest.mark.slow
Probe = Callable[..., Rule]
DAY_MS = NS_PER_DAY / NS_PER_MS
SIGNALS = "signals.parity"


class LiveDay:
    """Events published as an ingester does, and written to QuestDB once all are."""

    def __init__(self, venue: str, kafka: KafkaSettings, flink: FlinkSettings) -> None:
        self.tape = Tape(venue=venue)
        self._cluster = Cluster(flink)
        self._kafka = kafka
        self._sink = KafkaSink(kafka, ItchSettings.load(), venue)
        self._sink.resume_after(venue, "20240808")
        self._published = 0
        self._watermark = 0

    def publish(self) -> None:
        """What the tape has behind what was published."""
        block = self.tape.block()
        trades = block.trades[self._published :]
        self._published = len(block.trades)
        self._watermark = max(self._watermark, int(trades["ts_event"].max()))
        self._write(replace(block, trades=trades))
        self._sink.flush()

    def _write(self, block: EventBlock) -> None:
        self._sink.write(block, self._watermark, int(self.tape.block().trades["seq"][-1]))

    def wait_for(self, symbol: str) -> list[Signal]:
        """All signals, once there is one of ``symbol``: so event time has passed its trades.

        Heartbeats go on, as live: a batch that was read seconds after it was written is backlog, whose
        watermark Flink takes in coarse steps.
        """
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            self._write(EventBlock(self.tape.venue, "20240808", self.tape.symbols))
            raised = history.read_signals(SIGNALS, self._kafka)  # of both engines' days, with the same ids
            found = history.distinct([one for one in raised if one.venue == self.tape.venue])
            if any(one.symbol == symbol for one in found):
                return found
            time.sleep(0.2)
        failures = [self._cluster.failure(job.job_id) for job in self._cluster.running("probe")]
        raise AssertionError(f"no signal of {symbol}; the job's last failure: {failures}")

    def store(self, questdb: QuestDbSettings, signals: list[Signal]) -> None:
        """The day as the platform's other processes store it."""
        block = self.tape.block()
        schema.apply(questdb)
        sink = QuestDbSink(questdb)
        sink.resume_after(block.venue, block.session)
        sink.write(block, self._watermark, int(block.trades["seq"][-1]))
        sink.close()
        facts = QuestDbFacts(questdb)
        facts.write_facts(signals)
        facts.close()
        wait_applied(questdb, ["trades", "signals"])


@pytest.mark.parametrize("engine", ["flink", "compiled"])
def test_live_day_is_identical_on_the_other_engine(
    engine: Engine,
    probe: Probe,
    probe_text: str,
    questdb: QuestDbSettings,
    kafka: KafkaSettings,
    flink: FlinkSettings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The first day is identical, and proves the rule. On the second one a trade came behind the watermark:
    the live engine did not see it, the replay does, and the differences say so."""
    monkeypatch.setenv("TICKLOOM_STACK_DATA_DIR", str(tmp_path))
    rule = probe(probe_text.replace("XNAS", f"PARITY{engine.upper()}"))
    day = LiveDay(rule.venue, kafka, flink)
    list(jobs.submit([rule], flink, kafka, engine=engine, start="earliest", signal_topic=SIGNALS))
    assert [(run.engine, run.complete) for run in runs.known("probe")] == [(engine, True)]
    kept = texts.kept(tmp_path, "probe", rule.version, runs.known("probe")[0].from_ns)
    assert kept is not None
    assert kept.text == rule.path.read_text()

    for number in range(40):
        day.tape.trade(f"S{number % 5}", number * 5, 10 + number % 7 / 5, 1, "buy")
    day.tape.trade("NIGHT", 300, 10.0, 1, "buy")
    day.tape.trade("NIGHT", 400, 11.0, 1, "buy")
    day.tape.trade("LATE", DAY_MS, 10.0, 1, "buy")
    day.tape.trade("LATE", DAY_MS + 100, 11.0, 1, "buy")
    day.tape.trade("CLOCK", DAY_MS + 101, 10.0, 1, "buy")  # else the trade before it waits for the watermark
    day.publish()
    day.wait_for("LATE")
    day.tape.trade("LATE", DAY_MS + 50, 10.5, 1, "buy")
    day.tape.trade("LATE", DAY_MS + 200, 12.0, 1, "buy")
    day.tape.trade("END", DAY_MS + 300, 10.0, 1, "buy")
    day.tape.trade("END", DAY_MS + 310, 11.0, 1, "buy")
    day.tape.trade("CLOCK", DAY_MS + 311, 10.0, 1, "buy")
    day.publish()
    signals = day.wait_for("END")
    day.store(questdb, signals)

    code, report = parity(rule, START_NS)
    assert code == 0, report["differences"]
    of_first_day = [one for one in signals if one.ts_event < START_NS + NS_PER_DAY / 2]
    assert report["identical"] == len(of_first_day) > 5
    assert (report["live_engine"], {report["live_engine"], report["replay"]}) == (
        engine,
        {"flink", "compiled"},
    )
    compiled = jobs.identity_of(rules.bind(rule), "compiled")
    assert proven.is_proven(compiled)

    if engine == "flink":  # the other parameter's replay is a run of Flink over the stored day already
        code, report = parity(rule, START_NS, "--against", "flink")
        assert (code, report["reference"], report["identical"]) == (0, "flink", len(of_first_day))

    code, report = parity(rule, START_NS + NS_PER_DAY)
    assert code == 1
    assert (report["identical"], report["shifted"], report["missing"]) == (1, 1, 1)
    assert report["causes"] == {"late tick": 2}
    assert all("LATE came 51 ms behind" in one["evidence"] for one in report["differences"])
    assert not proven.is_proven(compiled)


def parity(rule: Rule, at_ns: int, *words: str) -> tuple[int, dict[str, object]]:
    """Exit code and report of the command, for the day of a time."""
    date = time.strftime("%Y-%m-%d", time.gmtime(at_ns // 10**9))
    done = CliRunner().invoke(app, ["parity", str(rule.path), "--date", date, "--format", "json", *words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    (report,) = json.loads(done.stdout)
    return done.exit_code, report
