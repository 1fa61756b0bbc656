"""``tickloom sql`` and ``tickloom schema`` as a user runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from tickloom.settings import QuestDbSettings

SQL = (
    "SELECT 1795180500123456789::timestamp_ns AS ts, 'AA' AS symbol, 0.1 + 0.2 AS price, 12345678901 AS seq, "
    "null::double AS nothing FROM long_sequence(2)"
)


def tickloom(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own; the environment points to the test's server."""
    return subprocess.run(
        [sys.executable, "-m", "tickloom", *words], input=stdin, capture_output=True, text=True, check=False
    )


@pytest.mark.usefixtures("tables")
def test_table_has_right_aligned_numbers_and_ns_times() -> None:
    """On screen: ISO times in UTC with nine digits, numbers whole and to the right, NULL as nothing."""
    done = tickloom("sql", SQL)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    head, row = (next(line for line in lines if word in line) for word in ("symbol", "AA"))
    assert "2026-11-20T13:15:00.123456789Z" in row
    assert row.index("0.30000000000000004") + 19 == head.index("price") + 5
    assert row.index("12345678901") + 11 == head.index("seq") + 3
    assert row.index("AA") == head.index("symbol")
    assert done.stderr.strip() == "2 rows"


@pytest.mark.usefixtures("tables")
def test_csv_goes_to_stdout_and_parquet_to_a_file(tmp_path: Path) -> None:
    """The same result as CSV on standard output and as Parquet in a file, types and nanoseconds kept."""
    done = tickloom("sql", "-", "--format", "csv", "--limit", "1", stdin=SQL)
    assert done.stdout.splitlines() == [
        '"ts","symbol","price","seq","nothing"',
        '"2026-11-20T13:15:00.123456789Z","AA",0.30000000000000004,12345678901,',
    ]
    out = tmp_path / "result.parquet"
    done = tickloom("sql", SQL, "--out", str(out))
    assert (done.returncode, done.stdout) == (0, "")
    table = pyarrow.parquet.read_table(out)
    assert table["ts"].type == pa.timestamp("ns", "UTC")
    assert table["ts"].cast(pa.int64()).to_pylist() == [1795180500123456789] * 2
    assert table["price"].to_pylist() == [0.30000000000000004] * 2


@pytest.mark.usefixtures("tables")
def test_long_result_is_cut_with_notice() -> None:
    """A table shows 100 rows and says that there are more, and how to get them."""
    done = tickloom("sql", "SELECT x FROM long_sequence(1000)")
    assert sum(line.strip().isdigit() for line in done.stdout.splitlines()) == 100
    assert "the first 100 rows; --limit 0" in done.stderr


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("sql", "SELECT nope FROM trades"), "Invalid column: nope (line 1, column 8)"),
        (("sql", "SELECT 1", "--format", "parquet"), "name a file with --out"),
        (("sql", "SELECT 1", "--out", "x.xls"), "--format csv or --format parquet"),
        (("sql", "SELECT 1", "--out", "/no/where/x.csv"), "does not exist; make it first"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_1(words: tuple[str, ...], message: str) -> None:
    """No traceback: what is wrong and what to do."""
    done = tickloom(*words)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_dead_server(free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a server the command ends with code 1 and says how to start one."""
    monkeypatch.setenv("TICKLOOM_QUESTDB_HTTP_PORT", str(free_port))
    done = tickloom("sql", "SELECT 1")
    assert done.returncode == 1
    assert "Start it with `tickloom up`" in done.stderr


def test_schema_commands(tables: QuestDbSettings) -> None:
    """apply says that nothing is left to do; status lists each file as applied."""
    done = tickloom("schema", "apply")
    assert done.stdout == "0 applied, the schema is up to date\n"
    assert "applied  0001_trades" in tickloom("schema", "status").stdout
