"""Plain PyFlink jobs as rules: the contract is checked before they run, and kept where they run."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streaming import rules
from streaming.authoring import cases, linter
from streaming.live import jobs
from streaming.live.cluster import Cluster
from streaming.rules import JOB, Rule
from streaming.stored import history
from streaming.tape import Tape
from tickloom import topics
from tickloom.errors import RuleError, ServiceError
from tickloom.events import Signal, make_seq, signal_id
from tickloom.settings import FlinkSettings, KafkaSettings

VENUE = "JOBTEST"
SIGNALS = "signals.jobtest"

#: Table API: every large trade is a signal.
LARGE = '''\
"""
rule: large
version: 3
venue: XNAS
reads: trades
about: A trade of `least` or more,
  whatever its price.
parameter: least double 100 size
parameter: side string buy of the signal
"""

from pyflink.table.expressions import col, lit


def build(context):
    trades = context.view("trades")
    large = trades.filter(col("size") >= context.parameters["least"])
    context.signals(
        large.select(
            col("symbol"),
            lit(context.parameters["side"]).alias("side"),
            col("size").alias("strength"),
            col("price").alias("ref_price"),
            col("seq").alias("first_seq"),
            col("seq").alias("last_seq"),
            col("ts_event"),
        )
    )
'''

Write = Callable[[str], Rule]


@pytest.fixture
def job(tmp_path: Path) -> Write:
    """``job(text)``: the job of that text, called large."""

    def write(text: str = LARGE) -> Rule:
        path = tmp_path / "large.py"
        path.write_text(text)
        return rules.load(path)

    return write


def test_docstring_is_the_header(job: Write) -> None:
    """As in an SQL file, without the dashes; the module is not run to read it."""
    rule = job(LARGE.replace("from pyflink", "raise SystemExit\nfrom pyflink"))
    assert (rule.name, rule.version, rule.venue, rule.kind, rule.reads) == (
        "large",
        "3",
        "XNAS",
        JOB,
        ("trades",),
    )
    assert rule.about == "A trade of `least` or more, whatever its price."
    assert rule.parameters["least"].line == 8
    assert rules.bind(rule, {"least": "50"}).version == rules.version_of(rule, {"least": 50.0})
    assert linter.lint(rule) == []


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ('"""\nrule', 'x = 1\n"""\nrule', 1, "does not open with a docstring"),
        ("def build(context):", "def build(context:", 15, "no Python"),
        ("venue: XNAS\n", "", 1, "the header has no 'venue'. Fix: add a line venue: ..."),
        ("reads: trades", "raeds: trades", 5, "did you mean 'reads'"),
        ("reads: trades\n", "", 1, "add a line reads: trades, quotes"),
        ("reads: trades", "kind: absence", 5, "a Python file is a job"),
        ("of the signal", "of it\nset: one side=sell", 10, "a job has no sets"),
        ("double 100", "double much", 8, "is not a double"),
    ],
)
def test_bad_header_is_refused(old: str, new: str, line: int, message: str, job: Write) -> None:
    """With the line of the file."""
    assert old in LARGE
    with pytest.raises(RuleError, match=message) as caught:
        job(LARGE.replace(old, new))
    assert caught.value.line == line


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("reads: trades", "reads: trades, trade", 5, "no view 'trade'"),
        ("def build(", "def built(", 1, r"no function build\(context\)"),
        ("def build(context)", "def build(context, more)", 15, "one argument"),
        ("from pyflink", "import time; at = time.time()\nfrom pyflink", 12, "time.time is not the same live"),
    ],
)
def test_what_can_be_seen_is_linted(old: str, new: str, line: int, message: str, job: Write) -> None:
    """Before Flink, and without running the file."""
    with pytest.raises(RuleError, match=message) as caught:
        linter.check(job(LARGE.replace(old, new)))
    assert caught.value.line == line


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ('context.view("trades")', 'context.view("quotes")', 5, "build.. reads 'quotes'. Fix: add it to"),
        ('context.parameters["least"]', 'context.parameters["most"]', 17, "KeyError: 'most'"),
        ("    context.signals(", "    print(", 0, "gives no signals"),
        ('col("price").alias', 'col("prize").alias', 19, "Flink: .*prize"),
        ("import col, lit", "import colour", 12, "ImportError"),
    ],
)
def test_what_build_does_wrong_has_its_line(old: str, new: str, line: int, message: str, job: Write) -> None:
    """``rules check`` builds the job; its own errors and Flink's are a rule's errors."""
    with pytest.raises(RuleError, match=message) as caught:
        jobs.explain(job(LARGE.replace(old, new)), FlinkSettings.load(), KafkaSettings.load())
    assert caught.value.line == line


BEFORE = {"bid_price": 10.0, "bid_size": 5.0, "ask_price": 10.1, "ask_size": 7.0}


@pytest.mark.parametrize(
    ("now", "flow"),
    [
        ({}, 0.0),
        ({"bid_size": 9.0}, 4.0),  # the queue at the bid grew
        ({"ask_size": 9.0}, -2.0),
        ({"bid_price": 10.05, "bid_size": 3.0}, 3.0),  # a better bid: all of it is new demand
        ({"bid_price": 9.9, "bid_size": 3.0}, -5.0),  # the bid was taken out: all of it is gone
        ({"ask_price": 10.05, "ask_size": 3.0}, -3.0),
        ({"ask_price": 10.2, "ask_size": 3.0}, 7.0),
    ],
)
def test_order_flow_is_the_papers(now: dict[str, float], flow: float) -> None:
    """e_n of Cont, Kukanov and Stoikov (2014), for one change of the book at a time."""
    module = importlib.import_module("strategies.jobs.order_flow")
    assert module.contribution(BEFORE, {**BEFORE, **now}) == flow


@pytest.mark.slow
@pytest.mark.timeout(600)
class TestOnFlink:
    """What runs in the TaskManager."""

    @pytest.fixture
    def live(self, flink: FlinkSettings) -> Iterator[Cluster]:
        """The cluster; no job of the test is left behind."""
        cluster = Cluster(flink)
        yield cluster
        for one in cluster.running("order_flow"):
            cluster.cancel(one.job_id)

    def test_order_flow_passes_its_tape(self, flink: FlinkSettings, kafka: KafkaSettings) -> None:
        """A function with memory in a Python worker, its rows in the order of event time, over a tape."""
        rule = rules.find("order_flow")
        (case,) = cases.find(rule)
        assert cases.run(rule, case, cases.on_flink(flink, kafka)).differences == []

    def test_table_job_has_a_rules_identity(
        self, job: Write, flink: FlinkSettings, kafka: KafkaSettings
    ) -> None:
        """Ids, version with overrides, venue and event time are added behind a job as behind a SELECT."""
        tape = Tape()
        seqs = [tape.trade("T", at, 10.0 + at, size, "sell") for at, size in enumerate((99, 100, 300))]
        found = history.run([job()], [tape.block()], flink, kafka, overrides={"side": "sell"})["large"]
        version = rules.version_of(job(), {"side": "sell"})
        assert [(one.last_seq, one.strength, one.ref_price, one.side) for one in found] == [
            (seqs[1], 100.0, 11.0, "sell"),
            (seqs[2], 300.0, 12.0, "sell"),
        ]
        for one in found:
            assert (one.version, one.venue, one.rule) == (version, "XNAS", "large")
            assert one.signal_id == signal_id("large", version, "T", one.first_seq, one.last_seq)
        assert [one.ts_event for one in found] == tape.block().trades["ts_event"][1:].tolist()

    def test_python_error_is_named(
        self, job: Write, flink: FlinkSettings, kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A function that fails again after a restart stops the run with the Python error, not with a Java
        stack trace."""
        monkeypatch.setattr(history, "RESTARTS_MAX", 1)  # each starts the Python workers anew
        broken = LARGE.replace("from pyflink.table", "from pyflink.common import Types\nfrom pyflink.table")
        broken = broken.partition("    trades = ")[0] + (
            "    rows = context.stream('trades', ('price',))\n"
            "    def fail(row):\n"
            "        raise ValueError('no price like ' + str(row['price']) + context_side)\n"
            "    context_side = context.parameters['side'] * (context.parameters['least'] > 0)\n"
            "    context.signals(rows.map(fail, output_type=context.signal_type))\n"
        )
        tape = Tape()
        tape.trade("T", 0, 10.5, 1, "buy")
        with pytest.raises(
            ServiceError, match=r"large over history is FAILED: ValueError: no price like 10\.5buy"
        ):
            history.run([job(broken)], [tape.block()], flink, kafka)

    def test_live_job_goes_on_from_its_savepoint(
        self, live: Cluster, tmp_path: Path, flink: FlinkSettings, kafka: KafkaSettings
    ) -> None:
        """Submitted, listed and stopped as any rule. What its function remembers is in the savepoint: the
        second half of a tape gives what it gives in a run over the whole."""
        source = (rules.JOBS_DIR / "order_flow.py").read_text().replace("venue: XNAS", f"venue: {VENUE}")
        path = tmp_path / "order_flow.py"
        path.write_text(source)
        rule = rules.load(path)
        overrides = {"entry": "2", "calm": "0.5", "half_life": "1min", "depth_half_life": "1min"}
        topics.ensure_topics([topics.ticks(VENUE), SIGNALS], kafka)
        first = Tape(venue=VENUE)
        for at_s, bid, bid_size in ((0, 100.00, 100), (60, 100.00, 300), (120, 100.01, 400)):
            first.quote("FIRES", at_s * 1_000, bid, round(bid + 0.01, 2), bid_size, 100)
            if at_s < 120:
                first.quote("HALF", at_s * 1_000, bid, round(bid + 0.01, 2), bid_size, 100)
        first.quote("LATER", 180_000, 100.00, 100.01)  # moves event time past those before
        second = Tape(venue=VENUE, messages=first.messages)
        last = second.quote("HALF", 240_000, 100.01, 100.02, 400, 100)
        second.quote("LATER", 300_000, 100.00, 100.01)

        ((submitted),) = jobs.submit(
            [rule], flink, kafka, overrides=overrides, start="earliest", signal_topic=SIGNALS
        )
        (seen,) = live.running("order_flow")
        assert seen.version == submitted.version == rules.version_of(rule, overrides)
        _publish(first, kafka)
        (fired,) = _signals(1, kafka)
        assert (fired.symbol, fired.strength) == ("FIRES", 3.0)  # as on the tape beside the rule
        (savepoint,) = jobs.stop("order_flow", flink)
        _publish(second, kafka)
        list(
            jobs.submit([rule], flink, kafka, overrides=overrides, savepoint=savepoint, signal_topic=SIGNALS)
        )
        found = _signals(2, kafka)[-1]
        # three half-lives later an eighth is left of 200 and of 150; 500 and 250 are new
        assert found.strength == pytest.approx((200 / 8 + 500) / (150 / 8 + 250 * 7 / 8))
        assert (found.symbol, found.first_seq, found.last_seq) == ("HALF", _seq(2), last)
        assert found.version == submitted.version


def _seq(number: int) -> int:
    from streaming.tape import SESSION_DATE

    return make_seq(SESSION_DATE, number)


def _publish(tape: Tape, kafka: KafkaSettings) -> None:
    history.publish([tape.block()], topics.ticks(VENUE), kafka, {VENUE})


def _signals(count: int, kafka: KafkaSettings, timeout_s: float = 120.0) -> list[Signal]:
    """The topic's signals, each once, when there are so many."""
    deadline = time.monotonic() + timeout_s
    while len(found := history.distinct(history.read_signals(SIGNALS, kafka))) < count:
        assert time.monotonic() < deadline, f"{len(found)} signals of {count}"
        time.sleep(0.2)
    return found
