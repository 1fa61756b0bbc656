"""Captured records in, events out: what is new, what waits, and that nothing depends on how it is cut."""

from __future__ import annotations

import math
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.capture import CaptureBatch, RecordKind
from ingest.capture_packed import pack_segment
from ingest.capture_sessions import digest
from ingest.news.decoder import SEQS_PER_RECORD, STORIES_PER_DOCUMENT_MAX, NewsDecoder
from ingest.news.records import (
    Control,
    Failed,
    Head,
    Known,
    Open,
    Same,
    Scored,
    pack_control,
    pack_document,
)
from tests.ingest.news.feed_server import rss
from tickloom.clock import NS_PER_S
from tickloom.events import NewsBlock, Records
from tickloom.instruments import Registry

REGISTRY = Registry.load()
SEQ = 261122 * 10**10
Record = tuple[int, int, bytes]


def data(ts: int, body: bytes, source: str = "wire", kind: str = "rss") -> Record:
    return (int(RecordKind.DATA), ts, pack_document(Head(source, kind), body))


def control(ts: int, said: Control) -> Record:
    return (int(RecordKind.CONTROL), ts, pack_control(said))


def decoder() -> NewsDecoder:
    return NewsDecoder("NEWS", "20261122", REGISTRY)


def run(target: NewsDecoder, *records: Record, first: int = 1) -> NewsBlock:
    return target.decode(CaptureBatch.of(records, first))


def test_story_is_an_event_when_its_score_is_there() -> None:
    """One event for each instrument, of one seq; times of the score and of the document."""
    news = decoder()
    assert len(run(news, data(1_000, rss("1|ALFA and BRVO merge", "2|Weather"))).news) == 0
    keys = list(news.pending)
    scored = Scored("lexicon/1", [(keys[0], 0.5, 2), (keys[1], None, 0), ("0" * 32, 0.1, 1)])
    block = run(news, control(2_000, scored), first=2)
    rows = block.news
    assert [block.symbols.names[row["symbol"]] for row in rows] == ["ALFA", "BRVO", ""]
    assert rows["venue"].tolist() == [b"XNAS", b"XNAS", b""]
    assert rows["seq"].tolist() == [SEQ + 2 * SEQS_PER_RECORD] * 2 + [SEQ + 2 * SEQS_PER_RECORD + 1]
    assert rows["ts_event"].tolist() == [2_000] * 3
    assert rows["ts_recv"].tolist() == [1_000] * 3
    assert rows["story"].tolist() == [keys[0].encode()] * 2 + [keys[1].encode()]
    assert rows["headline"].tolist() == [b"ALFA and BRVO merge"] * 2 + [b"Weather"]
    assert rows["score"].tolist()[:2] == [0.5, 0.5]
    assert math.isnan(rows["score"][2])
    assert rows["model"].tolist() == [b"lexicon/1", b"lexicon/1", b""]
    assert not news.pending
    assert news.watermark_ns == 2_000
    counted = {"documents": 1, "stories": 2, "new": 2, "tagged": 1, "unscored": 1, "unknown": 1, "decoded": 2}
    assert {name: count for name, count in news.counters.items() if count} == counted


def test_duplicates_of_every_kind() -> None:
    """The same id, the same text from elsewhere, and a known key of the session before are not new."""
    before, news = decoder(), decoder()
    run(before, data(1, rss("9|Yesterday")))
    run(news, control(5, Known(before.seen.items())))
    run(news, data(10, rss("1|One", "1|One, corrected", "2|Two", "9|Yesterday")), first=2)
    run(news, data(20, rss("77|ONE!"), source="other"), first=3)
    run(news, data(30, b'{"title": "two."}\n{"title": "Three"}', kind="jsonl"), first=4)
    assert [one.story.title for one in news.pending.values()] == ["One", "Two", "Three"]
    assert news.counters["duplicate"] == 4


def test_window_is_the_captures_own() -> None:
    """An open record sets it; ``same`` keeps a document's stories in it; what left it is new again."""
    news = decoder()
    run(news, control(0, Open(10, 100)), data(0, rss("1|One")), control(8 * NS_PER_S, Same("wire")))
    run(news, data(16 * NS_PER_S, rss("1|One")), first=4)
    assert news.counters["new"] == 1
    run(news, data(27 * NS_PER_S, rss("1|One")), first=5)
    assert news.counters["new"] == 2


def test_document_of_very_many_stories_is_cut() -> None:
    """Those behind the limit are not read, and it is counted."""
    news = decoder()
    lines = b"".join(b'{"title": "%d"}\n' % number for number in range(STORIES_PER_DOCUMENT_MAX + 5))
    run(news, data(1, lines, kind="jsonl"))
    assert news.counters["new"] == STORIES_PER_DOCUMENT_MAX
    assert news.counters["cut"] == 1


def test_refused_documents_change_nothing_else() -> None:
    """What cannot be read is counted, and the stories of the source's other documents stay."""
    news = decoder()
    bomb = b'<!DOCTYPE x [<!ENTITY a "b">]><rss><item><title>&a;</title></item></rss>'
    run(news, data(1, rss("1|One")), data(2, bomb), data(3, b'nonsense\n{"title": "L"}', kind="jsonl"))
    run(news, (int(RecordKind.DATA), 4, b"no head"), (int(RecordKind.CONTROL), 5, b"{}"), first=4)
    run(news, control(6, Failed("wire", "status", "500")), first=6)
    assert len(news.pending) == 2
    assert (news.counters["refused"], news.counters["malformed"], news.counters["failed"]) == (2, 2, 1)


def test_damaged_records_are_counted() -> None:
    """A head of endless depth, a score or a number of words that no model may give: nothing is scored."""
    news = decoder()
    run(news, data(1, rss("1|One")))
    key = next(iter(news.pending))
    deep = b'{"source":"wire","kind":"rss","x":' + b"[" * 5_000 + b"]" * 5_000 + b"}\n"
    run(news, (int(RecordKind.DATA), 2, deep), first=2)
    for number, (score, words) in enumerate([("2", "1"), ("0.5", "-1"), ("0.5", str(10**20))], 3):
        said = f'{{"event":"scored","model":"m","scores":[["{key}",{score},{words}]]}}'
        run(news, (int(RecordKind.CONTROL), number, said.encode()), first=number)
    assert news.counters["malformed"] == 4
    assert list(news.pending) == [key]


def test_clock_that_steps_back() -> None:
    """Event times never fall, so no event lies behind the watermark."""
    news = decoder()
    run(news, data(10**9, rss("1|One")))
    block = run(news, control(10**8, Scored("m/1", [(next(iter(news.pending)), 0.0, 0)])), first=2)
    assert block.news["ts_event"].tolist() == [10**9] == [news.watermark_ns]


_TITLES = st.sampled_from(["ALFA up", "BRVO down", "Nothing", "ALFA and BRVO", "Ünïcode 🚀" * 60, ""])
_DOCUMENTS = st.lists(st.tuples(st.integers(0, 9), _TITLES), max_size=4)
_SCORES = st.one_of(st.none(), st.floats(-1, 1))


@settings(deadline=None)
@given(st.lists(st.one_of(_DOCUMENTS, _SCORES, st.binary(max_size=20)), max_size=12), st.data())
def test_events_do_not_depend_on_how_the_capture_is_cut(steps: list[object], draw: st.DataObject) -> None:
    """Any records, in one batch, one by one, or cut anywhere: byte for byte the same events and counters."""
    guide, records = decoder(), list[Record]()
    for number, step in enumerate(steps):
        if isinstance(step, list):
            record = data(number, rss(*(f"{key}|{title}" for key, title in step)))
        elif isinstance(step, bytes):
            record = (draw.draw(st.sampled_from([0, 1])), number, step)
        else:
            record = control(number, Scored("m/1", [(key, step, 1) for key in list(guide.pending)[:2]]))
        run(guide, record, first=number + 1)
        records.append(record)
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(records)), max_size=4)))
    whole, parts = decoder(), decoder()
    expected = run(whole, *records).news
    found = [
        run(parts, *records[start:stop], first=start + 1).news
        for start, stop in zip([0, *cuts], [*cuts, len(records)], strict=True)
    ]
    assert b"".join(part.tobytes() for part in found) == expected.tobytes()
    assert parts.counters == whole.counters == guide.counters
    _check(expected)


def _check(rows: Records) -> None:
    """Texts are UTF-8, seqs rise, and a story and instrument comes once."""
    for name in ("headline", "link", "source"):
        assert all(text.decode() is not None for text in rows[name].tolist())
    assert (rows["seq"][1:] >= rows["seq"][:-1]).all()
    identities = list(
        zip(rows["story"].tolist(), rows["venue"].tolist(), rows["symbol"].tolist(), strict=True)
    )
    assert len(set(identities)) == len(identities)


def test_capture_packed_or_plain_gives_the_same_digest(tmp_path: Path) -> None:
    """``tickloom capture verify --events`` of a session, before and after it was packed."""
    from ingest.capture import CaptureWriter, segments

    news = decoder()
    with CaptureWriter(tmp_path) as writer:
        for number in range(20):
            body = rss(*(f"{number}-{k}|ALFA falls {number} {k}" for k in range(3)))
            run(news, data(number, body), first=2 * number + 1)
            writer.append(*data(number, body))
            found = Scored("m/1", [(key, -0.5, 1) for key in news.pending])
            run(news, control(number, found), first=2 * number + 2)
            writer.append(*control(number, found))
    plain = digest(tmp_path, decoder())
    assert len(plain["news"]) == 64
    for segment in segments(tmp_path):
        pack_segment(segment)
    assert digest(tmp_path, decoder()) == plain
