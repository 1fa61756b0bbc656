"""The daily proof of rules as a real Dagster run over a real QuestDB."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import pytest
from msgspec import structs

from orchestration.defs.parity.assets import rule_parity
from storage import QuestDbFacts, QuestDbSink, schema, wait_applied
from streaming import rules
from streaming.live import runs
from streaming.live.runs import Run
from streaming.stored import history
from streaming.tape import Tape
from tickloom.clock import NS_PER_DAY, NS_PER_MS
from tickloom.events import EventBlock, Signal
from tickloom.settings import QuestDbSettings

DAYS = 30  # behind the other tests' day
PARTITION = dg.MultiPartitionKey({"date": "2024-09-07", "venue": "XNAS"})
RULE = "trade_burst"


@pytest.fixture(autouse=True)
def data_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Reports, what ran and what was proven are this test's own."""
    monkeypatch.setenv("TICKLOOM_STACK_DATA_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def day(questdb: QuestDbSettings) -> EventBlock:
    """A stored day in which somebody sweeps the book."""
    tape = Tape(messages=8_000_000)
    for number in range(40):
        tape.trade("SWEPT", DAYS * NS_PER_DAY / NS_PER_MS + number * 50, 100 + 0.02 * number, 100, "buy")
    block = tape.block()
    schema.apply(questdb)
    sink = QuestDbSink(questdb)
    sink.resume_after(block.venue, block.session)
    sink.write(block, int(block.trades["ts_event"].max()), int(block.trades["seq"].max()))
    sink.close()
    wait_applied(questdb, ["trades"])
    return block


def raise_live(questdb: QuestDbSettings, signals: list[Signal]) -> None:
    facts = QuestDbFacts(questdb)
    facts.write_facts(signals)
    facts.close()
    wait_applied(questdb, ["signals"])


def proven() -> tuple[dg.AssetCheckEvaluation, dict[str, object]]:
    """The check, and the metadata of the asset."""
    result = dg.materialize([rule_parity], partition_key=PARTITION)
    (evaluation,) = result.get_asset_check_evaluations()
    (event,) = result.asset_materializations_for_node("rule_parity")
    return evaluation, {name: entry.value for name, entry in event.metadata.items()}


def test_check_names_what_differs_until_nothing_does(
    day: EventBlock, questdb: QuestDbSettings, data_dir: Path
) -> None:
    """A day on which no rule ran passes and says so; one whose signals are all gone, or one of them, or of
    a rule that is gone, fails with rule, symbol and cause; one that is whole passes."""
    check, metadata = proven()
    assert check.passed
    assert check.description == "no rule ran on XNAS on 2024-09-07"

    signals = history.run_compiled([rules.find(RULE)], [day])[RULE]
    assert len(signals) > 2
    runs.submitted(Run(RULE, signals[0].version, "flink", "job", 1, complete=True))
    check, metadata = proven()
    assert not check.passed
    assert metadata["different"] == len(signals)

    raise_live(questdb, signals[1:])
    check, metadata = proven()
    assert not check.passed
    words = check.description or ""
    assert f"rule {RULE} v{signals[0].version}, symbol SWEPT, outcome missing, cause unexplained" in words
    assert signals[0].signal_id in words

    raise_live(questdb, signals[:1])
    check, metadata = proven()
    assert check.passed
    assert check.description == f"{len(signals)} signals are identical"
    assert (metadata["live_signals"], metadata["identical"], metadata["different"]) == (
        len(signals),
        len(signals),
        0,
    )
    (report,) = json.loads((data_dir / "parity" / "2024-09-07.XNAS.json").read_text())["rules"]
    assert (report["rule"], report["agrees"], report["replay"]) == (RULE, True, "compiled")

    raise_live(questdb, [structs.replace(signals[0], rule="retired", signal_id="f" * 64)])
    check, _ = proven()
    assert not check.passed
    assert "rule retired" in (check.description or "")
    assert "there is no such rule" in (check.description or "")
