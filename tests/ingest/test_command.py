"""``tickloom ingest`` as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

from ingest.itch.messages import LAYOUTS

PROJECT = Path(__file__).parents[2]


def command(*words: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tickloom", "ingest", *words],
        cwd=PROJECT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_file_then_count(tmp_path: Path) -> None:
    """A file is loaded and counted as JSON; counting the capture later says the same."""
    messages = [
        LAYOUTS["R"].pack(stock_locate=1, timestamp=1, stock="ALFA"),
        LAYOUTS["A"].pack(stock_locate=1, reference=1, side="B", shares=1, stock="ALFA", price=1),
        b"z-unknown",
    ]
    source = tmp_path / "tape"
    source.write_bytes(b"".join(len(m).to_bytes(2, "big") + m for m in messages))
    where = ("--data-dir", str(tmp_path))
    said, errors = command("file", str(source), "--date", "2026-11-21", *where).communicate()
    loaded = json.loads(said or errors)
    assert loaded["events"] == {"trades": 0, "quotes": 1, "book_deltas": 1, "statuses": 0, "gaps": 0}
    assert loaded["messages"]["unknown_type"] == 1
    counted = json.loads(command("count", "20261121.FILE", *where).communicate()[0])
    assert loaded["file"] == {"packets": 2, "foreign": 0, "damage": ""}
    assert counted == {key: value for key, value in loaded.items() if key not in ("capture", "file")}


def test_session_that_is_not_there(tmp_path: Path) -> None:
    """A session that was not captured is a sentence with those that were, and exit code 1."""
    process = command("count", "20261121.X", "--data-dir", str(tmp_path))
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "has no session '20261121.X' of XNAS; captured are none" in errors
    assert "Traceback" not in errors


def test_latest_session_of_a_venue_without_any(tmp_path: Path) -> None:
    """Where nothing of a venue was captured the sentence says so, and of which venues something was."""
    (tmp_path / "capture" / "XNAS" / "20261121.A").mkdir(parents=True)
    process = command("count", "--venue", "NOPE", "--data-dir", str(tmp_path))
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "nothing of NOPE has been captured in" in errors
    assert "there are sessions of XNAS. Name another --venue" in errors


def test_news_without_usable_sources(tmp_path: Path) -> None:
    """A mistake among the sources is a sentence that names it, before anything is fetched or captured."""
    sources = tmp_path / "news.toml"
    sources.write_text('[[sources]]\nname = "a"\nurl = "ftp://x.example/"\nkind = "rss"\n')
    where = {"TICKLOOM_NEWS_SOURCES_FILE": str(sources), "TICKLOOM_STACK_DATA_DIR": str(tmp_path)}
    process = command("news", **where)
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "source 'a': url 'ftp://x.example/'; write one of http, https or file" in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "capture").exists()


def test_sigterm_without_servers_ends_with_zero(
    tmp_path: Path, free_ports: Callable[[int], list[int]]
) -> None:
    """With neither Kafka nor QuestDB up the ingester listens, says so on its metrics port, and ends
    cleanly on SIGTERM: it captures whoever else is away."""
    port, rerequest, metrics, kafka, http, pg = free_ports(6)
    process = command(
        "itch",
        TICKLOOM_ITCH_PORT=str(port),
        TICKLOOM_ITCH_REREQUEST_PORT=str(rerequest),
        TICKLOOM_ITCH_METRICS_PORT=str(metrics),
        TICKLOOM_KAFKA_PORT=str(kafka),
        TICKLOOM_QUESTDB_HTTP_PORT=str(http),
        TICKLOOM_QUESTDB_PG_PORT=str(pg),
        TICKLOOM_STACK_DATA_DIR=str(tmp_path),
    )
    assert process.stderr is not None
    while "listening" not in (line := process.stderr.readline()):
        assert line, "it ended"
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics") as answer:
        assert b"tickloom_ingest_received" in answer.read()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
