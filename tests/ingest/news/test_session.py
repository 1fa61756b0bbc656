"""A session over real sources on loopback: what is captured, what is asked again, what a restart knows."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np

from ingest.capture import CaptureReader, CaptureWriter, RecordKind
from ingest.news.decoder import NewsDecoder
from ingest.news.lexicon import LexiconModel
from ingest.news.model import NewsModel, Scorer
from ingest.news.session import NewsFeed
from ingest.news.sources import Source
from tests.ingest.news.feed_server import rss, send, serving
from tests.ingest.news.test_model import Model
from tickloom.clock import SystemClock
from tickloom.events import Records, SymbolTable
from tickloom.instruments import Registry
from tickloom.settings import NewsSettings

REGISTRY = Registry.load()
SESSION = "20261122"
PATIENCE_S = 30.0


def settings() -> NewsSettings:
    return NewsSettings.load(retry_ms=10, retry_ms_max=20, timeout_ms=5_000, line_bytes_max=1_000)


def follow(
    path: Path,
    sources: Sequence[Source],
    until: Callable[[NewsDecoder], bool],
    model: NewsModel | None = None,
    before: NewsDecoder | None = None,
) -> NewsFeed:
    """Run a session until something is true of its decoder."""
    with CaptureWriter(path) as writer:
        scorer = Scorer(model or LexiconModel.load(), 5_000)
        feed = NewsFeed(settings(), writer, SESSION, REGISTRY, scorer, SystemClock())
        feed.recover(before)

        async def go() -> None:
            stop = threading.Event()

            async def watch() -> None:
                for _ in range(int(PATIENCE_S / 0.01)):
                    if until(feed.decoder):
                        break
                    await asyncio.sleep(0.01)
                stop.set()

            await asyncio.gather(feed.follow(sources, stop), watch())

        asyncio.run(go())
        feed.close()
    assert until(feed.decoder)
    return feed


def replayed(path: Path) -> tuple[Records, SymbolTable, NewsDecoder]:
    decoder = NewsDecoder("NEWS", SESSION, REGISTRY)
    with CaptureReader(path) as reader:
        blocks = [decoder.decode(batch) for batch in reader.batches()]
    return np.concatenate([block.news for block in blocks]), blocks[-1].symbols, decoder


def bodies(path: Path) -> list[bytes]:
    with CaptureReader(path) as reader:
        return [
            record.payload.partition(b"\n")[2]
            for batch in reader.batches()
            for record in batch
            if record.kind == RecordKind.DATA
        ]


def test_polled_source_through_good_and_bad_answers(tmp_path: Path) -> None:
    """A document, 304, 500, a cut one and a larger one: two are captured, their stories scored once."""
    documents = [
        rss("1|ALFA issues profit warning"),
        rss("2|BRVO beats estimates", "1|ALFA issues profit warning"),
    ]
    answers = iter(["first", "304", "500", "cut", "same bytes", "second"])

    def answer(http: BaseHTTPRequestHandler) -> None:
        step = next(answers, "304")
        if step == "cut":
            http.send_response(200)
            http.send_header("Content-Length", "9999")
            http.end_headers()
            http.wfile.write(b"<rss><channel><item><title>half")
            http.close_connection = True
        elif step in ("304", "500"):
            send(http, b"", int(step))
        else:
            send(http, documents[step == "second"], ETag=f'"{step}"')

    with serving(feed=answer) as server:
        source = Source("wire", f"{server.url}/feed", None, "rss", 0.05, False)
        done = lambda decoder: decoder.counters["new"] == 2 and decoder.counters["same"] >= 3  # noqa: E731
        feed = follow(tmp_path, [source], done)
        asked = [headers.get("if-none-match") for headers in server.of("/feed")]
    assert bodies(tmp_path) == documents
    assert asked[:6] == [None, '"first"', '"first"', '"first"', '"first"', '"first"']
    assert asked[6] == '"second"'
    rows, symbols, again = replayed(tmp_path)
    assert again.counters == feed.decoder.counters
    assert again.counters["failed"] == 2
    assert [symbols.names[row["symbol"]] for row in rows] == ["ALFA", "BRVO"]
    assert [bool(row["score"] < 0) for row in rows] == [True, False]
    assert (rows["ts_event"] >= rows["ts_recv"]).all()


def test_streams_of_lines_by_http_and_from_a_file(tmp_path: Path) -> None:
    """A connection that ends is opened again and gives the same lines: each story is an event once."""
    path = tmp_path / "lines.jsonl"
    path.write_text('{"id": 1, "title": "ALFA soars"}\n{"id": 2, "title": "BRVO sinks"}\n')
    with path.open("a") as out:
        out.write('{"title": "' + "x" * 1_000 + '"}\n{"id": 3, "title": "Third"}\n')

    def answer(http: BaseHTTPRequestHandler) -> None:
        http.send_response(200)
        http.end_headers()
        http.wfile.write(b'{"title": "alfa  SOARS!"}\n\n{"title": "Streamed"}\n')
        http.close_connection = True

    with serving(feed=answer) as server:
        sources = [
            Source("file", "", path, "jsonl", 1.0, True),
            Source("http", f"{server.url}/feed", None, "jsonl", 1.0, True),
        ]
        follow(
            tmp_path / "capture", sources, lambda decoder: len(decoder.seen) >= 7 and len(server.requests) > 2
        )
    rows, _, decoder = replayed(tmp_path / "capture")
    titles = sorted(row["headline"].decode().lower().strip("!").replace("  ", " ") for row in rows)
    assert titles == ["alfa soars", "brvo sinks", "streamed", "third"]
    assert decoder.counters["duplicate"] >= 3


def test_restart_knows_what_was_seen_and_scores_what_was_left(tmp_path: Path) -> None:
    """Killed between document and score: the next start scores it first, and takes no story twice."""
    document = rss("1|ALFA falls", "2|BRVO rises")
    with serving(feed=lambda http: send(http, document)) as server:
        source = Source("wire", f"{server.url}/feed", None, "rss", 0.05, False)
        follow(tmp_path, [source], lambda decoder: decoder.counters["new"] == 2 and not decoder.pending)
        before, _, _ = replayed(tmp_path)
        cut_last_scores(tmp_path)
        lost, _, waiting = replayed(tmp_path)
        assert len(lost) == 0
        assert len(waiting.pending) == 2
        follow(tmp_path, [source], lambda decoder: decoder.counters["same"] >= 1 and not decoder.pending)
    after, _, _ = replayed(tmp_path)
    assert after[["story", "score", "ts_recv"]].tolist() == before[["story", "score", "ts_recv"]].tolist()


def cut_last_scores(path: Path) -> None:
    """A new capture of the first two records: the opening, and the document."""
    with CaptureReader(path) as reader:
        records = [record for batch in reader.batches() for record in batch][:2]
    for file in path.glob("*.tlcap"):
        file.unlink()
    with CaptureWriter(path) as writer:
        for record in records:
            writer.append(record.kind, record.ts_recv, record.payload)


def test_next_days_session_knows_what_the_one_before_had_seen(tmp_path: Path) -> None:
    """What a feed still has from yesterday is no news, and the new session's capture says so by itself."""
    old = rss("1|ALFA falls")
    with serving(
        feed=lambda http: send(http, old), two=lambda http: send(http, rss("1|ALFA falls", "2|New"))
    ) as server:
        wire = Source("wire", f"{server.url}/feed", None, "rss", 0.05, False)
        first = follow(tmp_path / "a", [wire], lambda decoder: decoder.counters["new"] == 1)
        second = Source("wire", f"{server.url}/two", None, "rss", 0.05, False)
        follow(
            tmp_path / "b",
            [second],
            lambda decoder: decoder.counters["new"] == 1 and not decoder.pending,
            before=first.decoder,
        )
    rows, _, _ = replayed(tmp_path / "b")
    assert rows["headline"].tolist() == [b"New"]


def test_stories_go_on_without_a_model_that_fails(tmp_path: Path) -> None:
    """No score, no model's name, and the event is there."""
    with serving(feed=lambda http: send(http, rss("1|ALFA falls"))) as server:
        source = Source("wire", f"{server.url}/feed", None, "rss", 0.05, False)
        follow(
            tmp_path,
            [source],
            lambda decoder: decoder.counters["unscored"] == 1,
            model=Model(RuntimeError("boom")),
        )
    rows, _, _ = replayed(tmp_path)
    assert math.isnan(rows["score"][0])
    assert rows["model"][0] == b""
