"""``tickloom rules`` from the command line."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from storage.parquet_sink import ParquetSink
from streaming import rules
from streaming.rules import Rule
from streaming.stored import history
from streaming.tape import Tape
from tickloom.cli.rules import app
from tickloom.errors import RuleError, ServiceError, SettingsError
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


def test_place_of_the_result_is_looked_at_before_the_run(tmp_path: Path) -> None:
    """A run of minutes is not lost because its --out has no folder, or is one."""
    for out, message in ((tmp_path / "none" / "x.csv", "there is no folder"), (tmp_path, "is a folder")):
        for words in (
            ["run", "trade_burst", "--source", "none"],
            ["parity", "trade_burst", "--date", "2026-01-01"],
        ):
            done = runner.invoke(app, [*words, "--out", str(out)])
            assert isinstance(done.exception, SettingsError)
            assert message in str(done.exception)


def test_run_over_nothing_says_so(fresh: Path, tmp_path: Path) -> None:
    """No signal of no event is not the silence of a rule."""
    tape = Tape()
    tape.trade("UP", 0, 100, 1, "buy")
    sink = ParquetSink(tmp_path / "stored")
    sink.write(tape.block(), int(tape.block().trades["ts_event"][0]), 1)
    sink.close()
    words = ["run", str(fresh), "--engine", "compiled", "--source", str(next(tmp_path.glob("stored/*/*")))]
    done = runner.invoke(app, words)
    assert "nothing of" not in done.output
    done = runner.invoke(app, [*words, "--from", "2015-01-01", "--to", "2015-01-02"])
    assert "nothing of XNAS is stored there from 2015-01-01 00:00:00 to 2015-01-02" in done.output


def test_no_broker_is_one_sentence(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Kafka has gone away, cleaning up behind a run waits in vain, and must not hide why it failed."""

    class Deaf:
        def __init__(self, _settings: object) -> None: ...

        def delete_topics(self, names: list[str], **_options: object) -> dict[str, Future[None]]:
            return {name: Future() for name in names}

    def away(names: list[str], _kafka: object) -> None:
        if any(name.endswith(".signals") for name in names):
            raise ServiceError("Kafka does not answer")

    monkeypatch.setattr(history, "AdminClient", Deaf)
    monkeypatch.setattr(history, "KAFKA_TIMEOUT_S", 0.01)
    monkeypatch.setattr(history.topics, "ensure_topics", away)
    with pytest.raises(ServiceError, match="Kafka does not answer"):
        history.run([rules.find(str(fresh))], [], FlinkSettings.load(), KafkaSettings.load())


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A rule file that ``rules new`` wrote."""
    done = runner.invoke(app, ["new", "fresh", "--in", str(tmp_path)])
    assert done.exit_code == 0, done.exception
    return tmp_path / "fresh.sql"


def test_new_rule_passes_check_and_test(fresh: Path, tmp_path: Path) -> None:
    """What ``new`` writes is in order as it is, says what comes next, and is written once."""
    checked = runner.invoke(app, ["check", str(fresh)])
    assert "the linter and Flink accept it" in checked.stdout
    tested = runner.invoke(app, ["test", str(fresh)])
    assert (tested.exit_code, "passed" in tested.stdout) == (0, True)
    again = runner.invoke(app, ["new", "fresh", "--in", str(tmp_path)])
    assert "nothing was written" in str(again.exception)


def test_failed_tape_is_shown_line_by_line(fresh: Path) -> None:
    """Missing, extra and different signals, each with its line; --update makes what was found expected."""
    signals = fresh.parent / "tapes" / "fresh" / "rises.signals.csv"
    was = signals.read_text()
    signals.write_text(
        was.replace("UP,buy,10,", "UP,sell,9,").replace("AUCTION,buy,5,100.05,13,15", "SMALL,buy,4,,7,8")
    )
    done = runner.invoke(app, ["test", str(fresh)])
    assert done.exit_code == 1
    assert "failed: 3 of its signals" in done.stdout
    lines = {line.split()[0]: " ".join(line.split()) for line in done.stdout.splitlines() if " to " in line}
    assert lines == {
        "different": "different UP sell 9 100.1 4 to 5 side is buy, strength is 10 rises.signals.csv:4",
        "missing": "missing SMALL buy 4 7 to 8 rises.signals.csv:5",
        "extra": "extra AUCTION buy 5 100.05 13 to 15",
    }
    updated = runner.invoke(app, ["test", str(fresh), "--update"])
    assert (updated.exit_code, "different" in updated.stdout) == (0, True)
    assert signals.read_text() == was
    assert runner.invoke(app, ["test", str(fresh)]).exit_code == 0


def test_tape_without_expectation_fails(fresh: Path) -> None:
    """Nobody has said what must come: that is no pass; --update writes what came."""
    signals = fresh.parent / "tapes" / "fresh" / "rises.signals.csv"
    was = [line for line in signals.read_text().splitlines() if not line.startswith("#")]
    signals.unlink()
    done = runner.invoke(app, ["test", str(fresh)])
    assert (done.exit_code, "nothing is expected of it yet" in done.stdout) == (1, True)
    runner.invoke(app, ["test", str(fresh), "--update"])
    assert signals.read_text().splitlines() == was


def test_rule_without_tapes_and_job_are_explained(fresh: Path) -> None:
    """What cannot be tested says why, with what to do."""
    shutil.rmtree(fresh.parent / "tapes")
    done = runner.invoke(app, ["test", str(fresh)])
    assert "has no tapes" in str(done.exception)
    done = runner.invoke(app, ["test", "order_flow"])
    assert "give --engine flink" in str(done.exception)


def test_explain_draws_the_pattern(fresh: Path, tmp_path: Path) -> None:
    """Views, parameters with what was overridden, bounds, and the picture in the file that was named."""
    words = ["explain", str(fresh), "--no-plan", "--param", "span=1min", "--svg", str(tmp_path / "fresh.svg")]
    done = runner.invoke(app, words)
    assert done.exit_code == 0, done.exception
    assert "reads: trades" in done.stdout
    assert "fresh v1+" in done.stdout
    assert "1 rows: a match has 2 at most" in done.stdout
    assert ":span = 1min" in (tmp_path / "fresh.svg").read_text()
    done = runner.invoke(app, [*words[:-1], str(tmp_path / "none" / "x.svg")])
    assert isinstance(done.exception, SettingsError)


def test_explain_shows_flinks_plan(fresh: Path) -> None:
    """Unless it is told not to."""
    assert "Match(" in runner.invoke(app, ["explain", str(fresh)]).stdout


@pytest.mark.slow
def test_run_over_stored_events(
    questdb: QuestDbSettings, flink: FlinkSettings, kafka: KafkaSettings, tmp_path: Path
) -> None:
    """Over QuestDB the rule gives what it gives over the same events directly; as CSV and as Parquet."""
    from storage import schema
    from storage.writer import QuestDbSink

    tape = Tape()
    for number in range(40):
        tape.trade("RUNS", number * 50, 100 + 0.02 * number, 100, "buy")
        tape.quote("RUNS", number * 50 + 10, 99.9, 100.1)
    block = tape.block()
    schema.apply(questdb)
    sink = QuestDbSink(questdb, rewrite=True)  # whatever another test has stored of the session
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
