"""``tickloom rules parity`` and ``rules run`` over a real QuestDB, whose signals were tampered with."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from msgspec import structs
from typer.testing import CliRunner, Result

from storage import QuestDbFacts, QuestDbReader, QuestDbSink, schema, wait_applied
from streaming import rules
from streaming.live import runs
from streaming.live.runs import Run
from streaming.rules import Rule
from streaming.stored import history
from streaming.tape import START_NS, Tape
from tickloom.cli import _mount
from tickloom.cli import app as root
from tickloom.cli.rules import app
from tickloom.clock import NS_PER_MS
from tickloom.errors import SettingsError, StorageError
from tickloom.events import GAP_DTYPE, EventBlock, Signal, signal_id
from tickloom.settings import QuestDbSettings

Probe = Callable[..., Rule]
runner = CliRunner()
DATE = "2024-08-08"
SPAN = ["--from", f"{DATE}T13:30", "--to", f"{DATE}T13:31"]


@pytest.fixture
def data_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """State of this test's own: what ran, and what was proven."""
    monkeypatch.setenv("TICKLOOM_STACK_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def store(questdb: QuestDbSettings, block: EventBlock, signals: Sequence[Signal]) -> None:
    """Events and signals, visible."""
    schema.apply(questdb)
    sink = QuestDbSink(questdb)
    sink.resume_after(block.venue, block.session)
    sink.write(block, int(block.trades["ts_event"].max()), int(block.trades["seq"].max()))
    sink.close()
    facts = QuestDbFacts(questdb)
    facts.write_facts(signals)
    facts.close()
    wait_applied(questdb, ["trades", "gaps", "signals"])


def replayed(rule: Rule, block: EventBlock) -> dict[str, Signal]:
    """Its signals over a day in order of time, by symbol; each symbol of the tape has one."""
    trades = block.trades[np.lexsort((block.trades["seq"], block.trades["ts_event"]))]
    found = history.run_compiled([rule], [replace(block, trades=trades)])[rule.name]
    return {one.symbol: one for one in found}


def moved(one: Signal, *, last: int = 0, ms: int = 0, version: str = "") -> Signal:
    """A signal as an engine gives it that takes another last row, or is of another version."""
    last_seq, version = one.last_seq + last, version or one.version
    identity = signal_id(one.rule, version, one.symbol, one.first_seq, last_seq)
    ts_event = one.ts_event + ms * NS_PER_MS
    return structs.replace(one, signal_id=identity, version=version, last_seq=last_seq, ts_event=ts_event)


def parity(rule: Rule, *words: str) -> tuple[int, list[dict[str, object]]]:
    """Exit code, and the reports."""
    done: Result = runner.invoke(app, ["parity", str(rule.path), "--date", DATE, "--format", "json", *words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, json.loads(done.stdout)


def test_each_way_to_tamper_is_found_with_its_cause(
    probe: Probe, probe_text: str, questdb: QuestDbSettings, data_dir: Path, tmp_path: Path
) -> None:
    """Missing, extra and shifted signals; a late tick, a gap, a tie, other parameters, another version."""
    rule = probe(probe_text.replace("XNAS", "TAMPERED"))
    tape = Tape(venue="TAMPERED")
    for number, symbol in enumerate(("FINE", "GONE", "GAPPED", "PARAMS", "OLDER", "UNSTORED")):
        tape.trade(symbol, 1_000 * number, 10.0, 1, "buy")
        tape.trade(symbol, 1_000 * number + 20, 11.0, 1, "buy")
    for at_ms, price in ((10_000, 10.0), (10_020, 11.0), (10_020.4, 11.5)):
        tape.trade("TIED", at_ms, price, 1, "buy")
    for at_ms, price in ((12_000, 10.0), (12_400, 11.0), (12_350, 10.5)):  # the last is 50 ms late
        tape.trade("LATE", at_ms, price, 1, "buy")
    block = tape.block()
    head = (START_NS + 2_010 * NS_PER_MS, START_NS, int(block.trades["seq"][-1]) + 1)
    block.gaps = np.array([(*head, tape.symbols.index("GAPPED"), 7, 9, 1)], dtype=GAP_DTYPE)
    found = replayed(rule, block)
    assert len(found) == 8
    live = [
        found["FINE"],
        moved(found["UNSTORED"], last=7_000),
        moved(found["PARAMS"], version=rules.version_of(rule, {"rise": "0.2"})),
        moved(found["OLDER"], version="0.9"),
        moved(found["TIED"], last=1),
        moved(found["LATE"], last=-1, ms=50),
    ]
    store(questdb, block, live)

    code, (report,) = parity(rule)
    assert code == 1
    assert (report["identical"], report["missing"], report["extra"], report["shifted"]) == (1, 2, 0, 5)
    assert report["agrees"] is False
    differences = report["differences"]
    assert isinstance(differences, list)
    assert {(one["symbol"], one["outcome"], one["cause"]) for one in differences} == {
        ("GONE", "missing", "unexplained"),
        ("GAPPED", "missing", "gap"),
        ("PARAMS", "shifted", "other parameters"),
        ("OLDER", "shifted", "other version"),
        ("UNSTORED", "shifted", "not stored"),
        ("TIED", "shifted", "tie in a millisecond"),
        ("LATE", "shifted", "late tick"),
    }
    evidence = {one["symbol"]: one["evidence"] for one in differences}
    assert "50 ms behind the watermark" in evidence["LATE"]
    assert "(disconnect, GAPPED)" in evidence["GAPPED"]

    out = tmp_path / "report.json"
    shown = runner.invoke(app, ["parity", str(rule.path), "--date", DATE, "--out", str(out)])
    assert shown.exit_code == 1
    for text in ("1 identical", "2 missing", "5 shifted", "late tick", "other parameters"):
        assert text in shown.stdout
    kept = json.loads(out.read_text())[0]["differences"]
    assert [(one["symbol"], one["cause"]) for one in kept] == [
        (one["symbol"], one["cause"]) for one in differences
    ]


def test_day_is_replayed_with_the_parameters_it_ran_with(
    probe: Probe, probe_text: str, questdb: QuestDbSettings, data_dir: Path
) -> None:
    """The version of the signals leads to the parameters given at submit; exit code 0, and the proof
    makes the compiled engine the default of the next run with them, and of no other."""
    rule = probe(probe_text.replace("XNAS", "PARAMETERS"))
    version = rules.version_of(rule, {"rise": "0.7"})
    tape = Tape(venue="PARAMETERS")
    for at_ms, price in ((0, 10.0), (20, 10.5), (40, 11.3)):
        tape.trade("A", at_ms, price, 1, "buy")
    bound = rules.bind(rule, {"rise": "0.7"})
    (one,) = replayed(bound, tape.block()).values()
    assert one.version == version
    store(questdb, tape.block(), [one])
    runs.submitted(Run("probe", version, "flink", "job", 1, {"rise": "0.7"}))

    code, (report,) = parity(rule)
    assert (code, report["identical"], report["live_engine"], report["replay"]) == (0, 1, "flink", "compiled")
    done = runner.invoke(app, ["run", str(rule.path), *SPAN, "--param", "rise=0.70", "-f", "csv"])
    assert one.signal_id in done.stdout
    assert f"1 signals of probe v{version} on compiled: 3 ticks" in done.stderr

    code, (report,) = parity(rule, "--param", "rise=0.1")
    assert code == 1
    assert report["causes"] == {"other parameters": 1}


def test_run_over_parquet_is_the_run_over_questdb(
    probe: Probe, probe_text: str, questdb: QuestDbSettings, data_dir: Path, tmp_path: Path
) -> None:
    """The same signals from QuestDB, from a file that QuestDB itself wrote, and from a folder that
    `tickloom export` made; with a time range and without."""
    rule = probe(probe_text.replace("XNAS", "FILES"))
    rng = np.random.default_rng(3)
    tape = Tape(venue="FILES")
    for number in range(2_000):
        tape.trade("ABCD"[rng.integers(4)], number * 20, round(float(rng.uniform(99, 101)), 2), 1, "sell")
    store(questdb, tape.block(), [])
    exported, written = tmp_path / "exported", tmp_path / "written"
    exported.mkdir()
    with QuestDbReader(questdb) as reader:
        reader.export_parquet("SELECT * FROM trades WHERE venue = 'FILES'", exported / "trades.parquet")
    _mount("export")
    done = runner.invoke(root, ["export", "FILES", str(written), *SPAN])
    assert (done.exit_code, "2,000 trades, 0 quotes" in done.stderr) == (0, True), done.exception
    ids = []
    for source in ([*SPAN], ["--source", str(exported)], ["--source", str(written), *SPAN]):
        out = tmp_path / "signals.parquet"
        words = ["run", str(rule.path), "--engine", "compiled", "--out", str(out), "-f", "parquet", *source]
        done = runner.invoke(app, words)
        assert done.exit_code == 0, done.exception
        assert "on compiled: 2,000 ticks in" in done.stderr, source
        ids.append(pyarrow.parquet.read_table(out)["signal_id"].to_pylist())
    assert ids[0] == ids[1] == ids[2]
    assert len(ids[0]) > 300
    short = [
        "--from",
        f"{DATE}T13:30:10",
        "--to",
        f"{DATE}T13:30:20",
        "--source",
        str(written / "trades.parquet"),
    ]
    done = runner.invoke(app, ["run", str(rule.path), "--engine", "compiled", "-f", "csv", *short])
    assert "on compiled: 500 ticks in" in done.stderr


def test_what_cannot_be_meant_is_said(probe: Probe, tmp_path: Path) -> None:
    """A day that is none, a run over QuestDB without a time, a file that is not there."""
    path = str(probe().path)
    for words, error, message in (
        (["parity", path, "--date", "today"], SettingsError, "no day such as"),
        (["run", path, "--engine", "compiled"], SettingsError, "give --from and --to"),
        (
            ["run", path, "--engine", "compiled", "--source", str(tmp_path / "x.parquet")],
            StorageError,
            "no such",
        ),
    ):
        done = runner.invoke(app, words)
        assert isinstance(done.exception, error), (words, done.exception)
        assert message in str(done.exception)
