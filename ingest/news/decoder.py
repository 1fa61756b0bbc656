"""A news capture in, events out: one for each story and instrument.

A story waits from the record that brought it to the one with its score, and is an event then: ``ts_event`` is
when that was written, ``ts_recv`` when the document came. What the source says of its time (``published``)
orders nothing: it is minutes late, a day wrong or missing, and a rule that went by it would know things
before anybody did.

A story that names several instruments is an event for each, all with one ``seq`` and one ``story``; one that
names none is one event without venue and symbol. A rule partitions by symbol, so each instrument's stories
lie among its prices.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from ingest.capture import CaptureBatch, CaptureRecord, RecordKind
from ingest.feeds import session_date
from ingest.news.documents import read_stories
from ingest.news.records import Failed, Head, Known, Open, Same, Scored, read_control, read_document
from ingest.news.seen import SeenStories
from ingest.news.story import Story, cut_utf8
from ingest.news.tagging import Tagger
from tickloom.clock import NS_PER_DAY
from tickloom.errors import DecodeError
from tickloom.events import NEWS_DTYPE, NewsBlock, SymbolTable, make_seq
from tickloom.instruments import Registry

SEQS_PER_RECORD = 1_000  # source numbers of a record: a scored one has 50 stories at most
STORIES_PER_DOCUMENT_MAX = 10_000  # those behind are counted, and not read
PENDING_MAX = 100_000  # stories without a score; only a capture that nobody scores has many
WINDOW_S, KEYS_MAX = 72 * 3_600, 200_000  # until an open record says otherwise

_BYTES = {
    name: NEWS_DTYPE[name].itemsize for name in ("venue", "source", "story", "headline", "link", "model")
}


@dataclass(frozen=True, slots=True)
class Pending:
    """A new story that has no score yet. ts_recv: ns, of its document. tags: venue and symbol."""

    story: Story
    ts_recv: int
    tags: tuple[tuple[str, str], ...]


class NewsDecoder:
    """Decoder of a news capture (:class:`ingest.decoder.Decoder`).

    Attributes
    ----------
    pending : dict
        Key of a story to what waits for its score, in the order in which they came.
    heads, digests : dict
        Source to the head, and to the digest, of its last document.
    counters : Counter
        ``decoded`` records; ``documents``, ``same``, ``failed``; ``stories``, of them ``new``, ``duplicate``,
        ``empty``, ``tagged``, ``unscored``; ``refused`` documents, ``cut`` documents of too many stories,
        ``unknown`` scores of no story, ``malformed`` records.
    """

    def __init__(
        self, venue: str, session: str, registry: Registry | None = None, lateness_ns: int = 0
    ) -> None:
        self.venue, self.session = venue, session
        self.counters: Counter[str] = Counter()
        self.watermark_ns = 0
        self.ended = False
        self.pending: dict[str, Pending] = {}
        self.heads: dict[str, Head] = {}
        self.digests: dict[str, bytes] = {}
        self.seen = SeenStories(WINDOW_S, KEYS_MAX)
        self._day = session_date(session)
        self.last_seq = make_seq(self._day, 0)
        self._lateness_ns = lateness_ns
        self._latest_ns = 0
        self._tagger = Tagger(registry or Registry.load())
        self._symbols = SymbolTable()
        self._last_keys: dict[str, list[str]] = {}  # of each source's last document

    @property
    def end_ns(self) -> int:
        """UTC midnight behind the last record: news never closes, and a session may be of many days."""
        return (self.watermark_ns // NS_PER_DAY + 1) * NS_PER_DAY

    def decode(self, batch: CaptureBatch) -> NewsBlock:
        """Events of the next records; what is odd is counted."""
        rows: list[tuple[object, ...]] = []
        for record in batch:
            self.counters["decoded"] += 1
            self._latest_ns = max(self._latest_ns, record.ts_recv)
            self.watermark_ns = max(self.watermark_ns, self._latest_ns - self._lateness_ns)
            try:
                if record.kind == RecordKind.DATA:
                    self._document(record)
                else:
                    self._control(record, rows)
            except DecodeError:
                self.counters["malformed"] += 1
            self.last_seq = make_seq(self._day, (record.number + 1) * SEQS_PER_RECORD - 1)
        return NewsBlock(self.venue, self.session, self._symbols, news=np.array(rows, dtype=NEWS_DTYPE))

    def _document(self, record: CaptureRecord) -> None:
        head, body = read_document(record.payload)
        self.counters["documents"] += 1
        self.heads[head.source], self.digests[head.source] = head, body_digest(body)
        keys: list[str] = []
        try:
            for number, story in enumerate(read_stories(head.source, head.kind, body, head.charset)):
                if number == STORIES_PER_DOCUMENT_MAX:
                    self.counters["cut"] += 1
                    break
                self.counters["stories"] += 1
                if not isinstance(story, Story):
                    self.counters["empty" if story is None else "refused"] += 1
                    continue
                keys.extend(story.keys)
                self._story(story, record.ts_recv)
        except DecodeError:
            self.counters["refused"] += 1
        else:
            self._last_keys[head.source] = keys

    def _story(self, story: Story, ts_recv: int) -> None:
        keys = story.keys
        if not self.seen.is_new(keys, self._latest_ns):
            self.counters["duplicate"] += 1
            return
        if len(self.pending) == PENDING_MAX:
            self.counters["pending_full"] += 1
            return
        self.counters["new"] += 1
        tags = tuple(self._tagger.tags(story))
        self.counters["tagged"] += bool(tags)
        self.pending[keys[0]] = Pending(story, ts_recv, tags)

    def _control(self, record: CaptureRecord, rows: list[tuple[object, ...]]) -> None:
        said = read_control(record.payload)
        if isinstance(said, Scored):
            self._scored(said, record.number, rows)
        elif isinstance(said, Open):
            self.seen.set_limits(said.window_s, said.keys_max)
        elif isinstance(said, Known):
            for key, seen_ns in said.keys:
                self.seen.is_new([key], seen_ns)
        elif isinstance(said, Same):
            self.counters["same"] += 1
            self.seen.keep(self._last_keys.get(said.source, ()), self._latest_ns)
        elif isinstance(said, Failed):
            self.counters["failed"] += 1

    def _scored(self, said: Scored, number: int, rows: list[tuple[object, ...]]) -> None:
        model = cut_utf8(said.model, _BYTES["model"])
        for place, (key, score, words) in enumerate(said.scores[: SEQS_PER_RECORD - 1]):
            waiting = self.pending.pop(key, None)
            if waiting is None:
                self.counters["unknown"] += 1
                continue
            self.counters["unscored"] += score is None
            seq = make_seq(self._day, number * SEQS_PER_RECORD + place)
            story = waiting.story
            for venue, symbol in waiting.tags or (("", ""),):
                rows.append(
                    (
                        self._latest_ns,
                        waiting.ts_recv,
                        seq,
                        self._symbols.index(symbol),
                        cut_utf8(venue, _BYTES["venue"]),
                        cut_utf8(story.source, _BYTES["source"]),
                        key.encode(),
                        cut_utf8(story.title, _BYTES["headline"]),
                        cut_utf8(story.link, _BYTES["link"]),
                        model if score is not None else b"",
                        story.published,
                        words,
                        math.nan if score is None else score,
                    )
                )


def body_digest(body: bytes) -> bytes:
    """What tells one document from another."""
    return hashlib.blake2b(body, digest_size=16).digest()
