"""``tickloom load`` as a user runs it: into QuestDB and Parquet, again, after a kill, and where it cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storage import QuestDbReader
from storage.columns import TS_MAX
from storage.parquet import ParquetReader
from tickloom.settings import QuestDbSettings

DAY_S = 1_795_132_800
ROWS = 200_000


def command(*words: object, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tickloom", "load", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def loaded(*words: object) -> tuple[int, dict[str, Any], str]:
    process = command(*words)
    said, errors = process.communicate()
    return process.returncode, json.loads(said or "{}"), errors


@pytest.mark.usefixtures("tables")
def test_files_into_both_twice(tmp_path: Path, venue: str, reader: QuestDbReader) -> None:
    """Two files and one that is none: each with its summary, rows in both places, and once however often it
    is loaded."""
    rows = tmp_path / "rows.csv"
    rows.write_text(
        f"time,symbol,price,size\n{DAY_S},ALFA,1.5,2\n{DAY_S + 1},ALFA,x,2\n{DAY_S + 2},ALFA,2,2\n"
    )
    lean = tmp_path / "lean.zip"
    with zipfile.ZipFile(lean, "w") as archive:
        archive.writestr("20261120_zzz_Quote_Tick.csv", "1,10000,5,0,0,P,0,0\n2,0,0,10100,5,P,0,0\n")
    out, rejects = tmp_path / "out", tmp_path / "rejects"
    where = ("--venue", venue, "--parquet", out, "--rejects", rejects)
    for _ in range(2):
        code, report, errors = loaded(rows, lean, tmp_path / "none", *where)
        first, second, third = report["files"]
        assert code == 1  # the third file
        assert "there is no such file" in third["error"]
        assert "there is no such file" in errors
        assert (report["events"], report["failed"]) == (4, 1)
        assert first["in_questdb"] == {"trades": 2}
        assert first["parquet"] == {"folder": str(out / venue / "20261120.CSV.rows"), "rows": {"trades": 2}}
        assert first["rejected"]["reasons"] == {"price is no decimal number": 1}
        (told,) = rejects.glob("rows.csv.*.rejects.csv")
        assert told.read_text().splitlines()[1].startswith("3,")
        assert second["in_questdb"] == {"quotes": 2}
    (count,) = reader.query(f"SELECT count() AS n FROM trades WHERE venue = '{venue}'")["n"].to_pylist()
    assert count == 2
    blocks = list(ParquetReader(out / venue / "20261120.CSV.rows").read_events(venue, 0, TS_MAX))
    assert [block.trades["price"].tolist() for block in blocks] == [[1_500_000_000, 2_000_000_000]]


@pytest.mark.usefixtures("tables")
def test_killed_load_goes_on(tmp_path: Path, venue: str, reader: QuestDbReader) -> None:
    """SIGKILL when QuestDB has some rows: loading again gives all, once, and no half of a Parquet file."""
    rows = tmp_path / "rows.csv"
    number = np.arange(ROWS)
    lines = np.char.add(
        np.char.add((DAY_S * 1_000 + number).astype(str), ",ALFA,1.25,"), (number % 9 + 1).astype(str)
    )
    rows.write_text("time,symbol,price,size\n" + "\n".join(lines.tolist()) + "\n")
    words = (rows, "--venue", venue, "--parquet", tmp_path / "out")
    sql = f"SELECT count() AS n FROM trades WHERE venue = '{venue}'"
    process = command(*words)
    while process.poll() is None and not reader.query(sql)["n"].to_pylist()[0]:
        time.sleep(0.02)
    process.kill()
    process.communicate()
    folder = tmp_path / "out" / venue / "20261120.CSV.rows"
    assert process.returncode == 0 or not (folder / "trades.parquet").exists()
    code, report, errors = loaded(*words)
    assert code == 0, errors
    assert report["files"][0]["in_questdb"] == {"trades": ROWS} == report["files"][0]["parquet"]["rows"]
    assert reader.query(sql)["n"].to_pylist() == [ROWS]
    assert [path.name for path in folder.iterdir()] == ["trades.parquet"]


def test_where_it_cannot(tmp_path: Path, free_port: int, tables: QuestDbSettings) -> None:
    """A QuestDB that is away, a column that is not there, nowhere to load to: a sentence each, at once."""
    rows = tmp_path / "rows.csv"
    rows.write_text(f"time,symbol,price,size\n{DAY_S},ALFA,1.5,2\n")
    bad = tmp_path / "bad.csv"
    bad.write_text("time,symbol,price,size\nnoon,ALFA,1.5,2\n")
    port = str(free_port)
    away = command(rows, "--venue", "XNAS", TICKLOOM_QUESTDB_PG_PORT=port, TICKLOOM_QUESTDB_HTTP_PORT=port)
    out = ("--no-questdb", "--parquet", tmp_path / "out")
    told = {
        f"QuestDB does not answer at {tables.host} (PostgreSQL wire {port}": away,
        "has no column 'px'": command(rows, "--venue", "XNAS", "--columns", "price=px", *out),
        "leaves nowhere to load to": command(rows, "--venue", "XNAS", "--no-questdb"),
        "--kind 'trade': give trades or quotes": command(rows, "--venue", "XNAS", "--kind", "trade", *out),
        "no row of it is an event": command(bad, "--venue", "XNAS", "--rejects", tmp_path, *out),
    }
    for sentence, process in told.items():
        _, errors = process.communicate()
        assert process.returncode == 1, errors
        assert sentence in errors
        assert "Traceback" not in errors
    assert not list(tmp_path.glob("out/**/*.parquet*"))
