"""``tickloom rules`` from the command line."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from streaming import history, rules
from streaming.rules import Rule
from streaming.tape import Tape
from tickloom.cli.rules import app
from tickloom.errors import RuleError, SettingsError
from tickloom.settings import FlinkSettings, KafkaSettings, QuestDbSettings

runner = CliRunner()


def test_list_names_every_rule() -> None:
    """Each rule is listed with what makes it fire."""
    shown = runner.invoke(app, ["list"])
    assert shown.exit_code == 0
    assert all(name in shown.stdout for name in rules.names())


def test_check_shows_every_finding(probe: Callable[[str], Rule], probe_text: str) -> None:
    """All mistakes of a file are shown at once, each with its line, and the command fails."""
    text = probe_text.replace("(A B)", "(A B?)").replace("event_time, seq", "event_time")
    done = runner.invoke(app, ["check", str(probe(text).path)])
    assert isinstance(done.exception, RuleError)
    assert "probe.sql:10: error: ORDER BY without seq" in done.stdout
    assert "probe.sql:14: error: B? ends the pattern" in done.stdout


def test_bad_arguments_are_explained() -> None:
    """What cannot be meant is said before a server is asked."""
    for words, message in (
        (["run", "trade_burst", "--from", "yesterday", "--to", "2024-08-09"], "no time"),
        (["run", "trade_burst", "--from", "2024-08-09", "--to", "2024-08-08"], "not behind"),
        (["explain", "trade_burst", "--param", "trades"], "key=value"),
        (["explain", "trade_burst", "--param", "trade=3"], "did you mean 'trades'"),
    ):
        done = runner.invoke(app, words)
        assert isinstance(done.exception, SettingsError), words
        assert message in str(done.exception)


@pytest.mark.slow
def test_run_over_stored_events(
    questdb: QuestDbSettings, flink: FlinkSettings, kafka: KafkaSettings, tmp_path: Path
) -> None:
    """Over QuestDB the rule gives what it gives over the same events directly; as CSV and as Parquet."""
    from storage import schema
    from storage.writer import QuestDbSink

    tape = Tape(messages=5_000_000)  # no other test's messages
    for number in range(40):
        tape.trade("RUNS", number * 50, 100 + 0.02 * number, 100, "buy")
        tape.quote("RUNS", number * 50 + 10, 99.9, 100.1)
    block = tape.block()
    schema.apply(questdb)
    sink = QuestDbSink(questdb)
    sink.resume_after(block.venue, block.session)
    sink.write(block, int(block.trades["ts_event"].max()), int(block.quotes["seq"].max()))
    sink.close()
    expected = history.run([rules.find("trade_burst")], [block], flink, kafka)["trade_burst"]
    assert len(expected) > 3
    span = ["--from", "2024-08-08T13:30", "--to", "2024-08-08T13:31"]
    for form in ("csv", "parquet"):
        out = tmp_path / f"signals.{form}"
        done = runner.invoke(app, ["run", "trade_burst", *span, "--format", form, "--out", str(out)])
        assert done.exit_code == 0, done.exception
        if form == "csv":
            with out.open() as file:
                rows = list(csv.DictReader(file))
        else:
            rows = pyarrow.parquet.read_table(out).to_pylist()
        of_tape = [row for row in rows if row["symbol"] == "RUNS"]
        assert [row["signal_id"] for row in of_tape] == [one.signal_id for one in expected]
