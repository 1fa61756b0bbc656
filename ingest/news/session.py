"""Sources in, capture records out: each source polled or followed by a task of its own.

Order of things for a document: captured with its receive time, read by the session's own decoder, its new
stories scored, the scores captured. The sinks follow the capture (:mod:`ingest.pipeline`) and see a story
when its score is there. A crash in between leaves stories without a score in the capture; the next start
scores them first.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Sequence
from pathlib import Path

import structlog
from prometheus_client import Counter

from ingest import metrics
from ingest.capture import CaptureBatch, CaptureReader, CaptureWriter, RecordKind, session_path
from ingest.feeds import decoder_for, sessions
from ingest.news.decoder import SEQS_PER_RECORD, NewsDecoder, body_digest
from ingest.news.file import FileSource, FollowedFile
from ingest.news.http import Fetched, FetchError, HttpSource
from ingest.news.lexicon import LexiconModel
from ingest.news.model import STORIES_MAX, Scorer, Text, load_model
from ingest.news.records import Failed, Open, Same, Scored, known_records, pack_control, pack_document
from ingest.news.sources import Source, load_sources
from ingest.pipeline import CapturePublisher, SinksFactory
from ingest.websocket.connection import Backoff
from ingest.websocket.feed import session_name
from tickloom.clock import Clock, SystemClock
from tickloom.errors import CaptureError, FeedError, SettingsError
from tickloom.events import SEQ_PER_DAY
from tickloom.instruments import Registry
from tickloom.settings import NewsSettings, StackSettings
from tickloom.telemetry import start_metrics

RECORDS_MAX = SEQ_PER_DAY // SEQS_PER_RECORD - 2
CHECK_S = 0.1  # how soon a stop or a dead sink is seen
FOLLOW_S = 0.1  # between two looks at a file that grows

FETCHED = Counter(
    "tickloom_news_fetched", "Documents and lines, by what came of asking", ["source", "outcome"]
)
STORIES = Counter(
    "tickloom_news_stories",
    "Stories by what became of them: new, duplicate, tagged, refused, ...",
    ["outcome"],
)
_OUTCOMES = ("new", "duplicate", "tagged", "refused", "empty", "cut", "unscored", "pending_full")


def run(
    settings: NewsSettings,
    sinks_factory: SinksFactory,
    stop: threading.Event,
    clock: Clock | None = None,
) -> None:
    """Capture news and feed the sinks until ``stop`` is set.

    Raises
    ------
    SettingsError
        Sources, lexicon or model cannot be used.
    CaptureError
        The capture cannot be written.
    """
    clock = clock or SystemClock()
    log = structlog.get_logger("news")
    registry = Registry.load()
    sources = load_sources(settings.sources_file)
    model = load_model(settings.model, lambda: LexiconModel.load(settings.lexicon_file))
    data_dir = StackSettings.load().data_dir
    session = session_name(settings, clock)
    path = session_path(data_dir, settings.venue, session)
    with CaptureWriter(path, settings.capture_segment_mb) as writer:
        feed = NewsFeed(settings, writer, session, registry, Scorer(model, settings.model_timeout_ms), clock)
        feed.recover(_before(data_dir, settings.venue, session, registry))
        publisher = CapturePublisher(
            path,
            lambda: decoder_for(settings.venue, session, registry),
            sinks_factory(),
            settings,
            writer.notification,
            clock,
        )
        publisher.start()
        start_metrics(settings.metrics_port)
        log.info("session.opened", session=session, next_record=writer.next_number, sources=len(sources))
        try:
            asyncio.run(feed.follow(sources, stop, publisher))
        finally:
            feed.close()
            writer.close()
            publisher.finish()


def news_decoder(venue: str, session: str, registry: Registry | None = None) -> NewsDecoder:
    """The decoder of a news venue.

    Raises
    ------
    SettingsError
        The venue's feed is another.
    """
    decoder = decoder_for(venue, session, registry)
    if not isinstance(decoder, NewsDecoder):
        raise SettingsError(f"news.venue = {venue!r} has another feed; see strategies/instruments.toml")
    return decoder


def _before(data_dir: Path, venue: str, session: str, registry: Registry) -> NewsDecoder | None:
    """What the session before this one had seen; None where there is none, or it cannot be read."""
    earlier = [name for name in sessions(data_dir, venue) if name < session]
    if not earlier:
        return None
    decoder = news_decoder(venue, earlier[-1], registry)
    try:
        with CaptureReader(session_path(data_dir, venue, earlier[-1])) as reader:
            for batch in reader.batches():
                decoder.decode(batch)
    except FeedError as error:
        structlog.get_logger("news").warning("session.before_unreadable", error=str(error))
        return None
    return decoder


class NewsFeed:
    """Asks sources, captures what they say, has it scored.

    Parameters
    ----------
    settings : NewsSettings
    writer : CaptureWriter
    scorer : Scorer
    """

    def __init__(
        self,
        settings: NewsSettings,
        writer: CaptureWriter,
        session: str,
        registry: Registry,
        scorer: Scorer,
        clock: Clock,
    ) -> None:
        self.decoder = news_decoder(settings.venue, session, registry)
        self._settings, self._writer, self._scorer, self._clock = settings, writer, scorer, clock
        self._log = structlog.get_logger("news")
        self._in_work: set[str] = set()  # keys that the model has
        self._told = self.decoder.counters.copy()

    def recover(self, before: NewsDecoder | None = None) -> None:
        """Read what is captured; of a session that begins, take over what the one before had seen."""
        fresh = self._writer.next_number == 1
        with CaptureReader(self._writer.path) as reader:
            for batch in reader.batches():
                self.decoder.decode(batch)
        self._told = self.decoder.counters.copy()
        if fresh and before is not None:
            for payload in known_records(before.seen.items()):
                self._append(RecordKind.CONTROL, [payload])
        limits = Open(self._settings.window_hours * 3_600, self._settings.keys_max)
        self._append(RecordKind.CONTROL, [pack_control(limits)])

    def close(self) -> None:
        """Let the model's thread end."""
        self._scorer.close()

    async def follow(
        self, sources: Sequence[Source], stop: threading.Event, publisher: CapturePublisher | None = None
    ) -> None:
        """Ask the sources until ``stop`` is set.

        Raises
        ------
        TickloomError
            What ended a sink, or the capture.
        """
        await self._score()  # what a crash left
        tasks = {asyncio.create_task(self._source(source)) for source in sources}
        try:
            while not stop.is_set():
                done, _ = await asyncio.wait(tasks, timeout=CHECK_S)
                for task in done:
                    task.result()
                if publisher is not None:
                    publisher.check()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _source(self, source: Source) -> None:
        """One source, for ever: what fails is tried again, later each time."""
        backoff = Backoff(self._settings.retry_ms, self._settings.retry_ms_max)
        if source.path is not None:
            work = self._followed if source.stream else self._file
            await work(source, backoff)
            return
        bytes_max = self._settings.line_bytes_max if source.stream else self._settings.document_bytes_max
        async with HttpSource(source, self._settings.timeout_ms, bytes_max) as http:
            while True:
                try:
                    if source.stream:
                        async for head, lines in http.lines():
                            await self._take(source, [Fetched(head, line) for line in lines])
                            backoff.reset()
                        raise FetchError(source.name, "connection", "the server ended the stream")
                    await self._answer(source, await http.fetch(self.decoder.heads.get(source.name)))
                except FetchError as error:
                    await asyncio.sleep(self._failed(source, error, backoff))
                else:
                    backoff.reset()
                    await asyncio.sleep(source.poll_s)

    async def _file(self, source: Source, backoff: Backoff) -> None:
        file = FileSource(source, self._settings.document_bytes_max)
        while True:
            try:
                await self._answer(source, file.fetch(self.decoder.heads.get(source.name)))
            except FetchError as error:
                await asyncio.sleep(self._failed(source, error, backoff))
            else:
                backoff.reset()
                await asyncio.sleep(source.poll_s)

    async def _followed(self, source: Source, backoff: Backoff) -> None:
        file = FollowedFile(source, self._settings.line_bytes_max, self.decoder.heads.get(source.name))
        while True:
            too_long = file.too_long
            try:
                lines = file.lines(STORIES_MAX)
            except FetchError as error:
                await asyncio.sleep(self._failed(source, error, backoff))
                continue
            backoff.reset()
            if file.too_long > too_long:
                self._refused(
                    source, FetchError(source.name, "too_large", f"{file.too_long - too_long} lines")
                )
            if lines:
                await self._take(source, lines)
            else:
                await asyncio.sleep(FOLLOW_S)

    async def _answer(self, source: Source, fetched: Fetched | None) -> None:
        """A document, or word that it is the same: by HTTP, or byte for byte."""
        if fetched is None or body_digest(fetched.body) == self.decoder.digests.get(source.name):
            FETCHED.labels(source.name, "same").inc()
            self._append(RecordKind.CONTROL, [pack_control(Same(source.name))])
            return
        await self._take(source, [fetched])

    async def _take(self, source: Source, found: Sequence[Fetched]) -> None:
        """Capture documents or lines, and have their stories scored."""
        for start in range(0, len(found), STORIES_MAX):
            some = found[start : start + STORIES_MAX]
            self._append(RecordKind.DATA, [pack_document(one.head, one.body) for one in some])
            FETCHED.labels(source.name, "document").inc(len(some))
            await self._score()

    async def _score(self) -> None:
        """Scores of all stories that wait for one and that the model does not have yet, in batches."""
        while True:
            waiting = (one for one in self.decoder.pending.items() if one[0] not in self._in_work)
            batch = dict(itertools.islice(waiting, STORIES_MAX))
            if not batch:
                return
            self._in_work.update(batch)
            try:
                texts = [Text(one.story.title, one.story.summary) for one in batch.values()]
                scores = await self._scorer.score(texts)
                found: list[tuple[str, float | None, int]]
                if scores is None:
                    found = [(key, None, 0) for key in batch]
                else:
                    found = [(key, one.score, one.words) for key, one in zip(batch, scores, strict=True)]
                self._append(RecordKind.CONTROL, [pack_control(Scored(self._scorer.label, found))])
            finally:
                self._in_work.difference_update(batch)

    def _failed(self, source: Source, error: FetchError, backoff: Backoff) -> float:
        """Say that a source could not be read; seconds until it is asked again."""
        self._refused(source, error)
        delay_s = max(backoff.next_ms() / 1_000, error.retry_after_s)
        self._log.warning("source.failed", error=str(error), retry_s=round(delay_s, 3))
        return delay_s

    def _refused(self, source: Source, error: FetchError) -> None:
        FETCHED.labels(source.name, error.reason).inc()
        failed = Failed(source.name, error.reason, error.detail)
        self._append(RecordKind.CONTROL, [pack_control(failed)])

    def _append(self, kind: RecordKind, payloads: Sequence[bytes]) -> None:
        """Capture records, and read them as the sinks will."""
        if self._writer.next_number + len(payloads) > RECORDS_MAX:
            raise CaptureError(
                f"the session has {RECORDS_MAX:,} records, and its numbers are used up; restart the ingester "
                "with a later session_date"
            )
        now_ns, number = self._clock.now_ns(), self._writer.next_number
        self._writer.append_many(kind, [now_ns] * len(payloads), payloads)
        if kind == RecordKind.DATA:
            metrics.RECEIVED.labels(self._settings.venue).inc(len(payloads))
            metrics.RECEIVED_BYTES.labels(self._settings.venue).inc(sum(map(len, payloads)))
        self.decoder.decode(CaptureBatch.of([(kind, now_ns, one) for one in payloads], number))
        counters = self.decoder.counters
        for name in _OUTCOMES:
            if counters[name] > self._told[name]:
                STORIES.labels(name).inc(counters[name] - self._told[name])
        self._told = counters.copy()
