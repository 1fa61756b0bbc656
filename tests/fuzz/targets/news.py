"""News: documents and lines, and captures of them."""

from __future__ import annotations

import random
import re
import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from ingest.capture import CaptureBatch, RecordKind
from ingest.news.decoder import NewsDecoder
from ingest.news.documents import JSON_LINES, RSS, SYMBOLS_MAX, TS_MAX, read_stories
from ingest.news.records import Control, Failed, Head, Known, Open, Same, Scored, pack_control, pack_document
from ingest.news.story import KEY_HEX, SUMMARY_CHARACTERS_MAX, TITLE_CHARACTERS_MAX, Story
from ingest.news.tagging import TAGS_MAX, Tagger
from tests.fuzz.mutation import ODD_VALUES, JsonSpans, mutate_json
from tests.fuzz.target import Target, check_block, cut
from tests.ingest.news import test_documents as made
from tests.ingest.news.feed_server import rss
from tickloom.clock import NS_PER_S
from tickloom.codec import TickBatch
from tickloom.errors import DecodeError
from tickloom.events import NewsBlock
from tickloom.instruments import Registry
from tickloom.news_codec import encode

DAY_NS = 1_795_305_600 * NS_PER_S
_REGISTRY = Registry.load()
_CHARSETS = ("", "", "utf-8", "iso-8859-1", "windows-1252", "utf-7", "punycode", "utf-16", "no-such", "a\0b")
_RDF = (
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/" '
    b'xmlns:dc="http://purl.org/dc/elements/1.1/"><item rdf:about="urn:1"><title>BRVO &amp; ALFA</title>'
    b"<link>http://l.example:80/?b=2&amp;utm_x=1#f</link><dc:date>2026-11-22T00:00:01Z</dc:date></item></rdf:RDF>"
)
_LINES = (
    b'{"id":5,"headline":"Bravo recalls $ALFA","url":"https://x.example/5?ref=a&a=1","time":1795332600}\n'
    b'{"title":"Same hour (NYSE: BRVO, ALFA)","published":1795332600000,"tickers":["$ALFA","BTC-USDT"]}\n\n'
    b'{"summary":"A text of BTC/USDT","published_at":"22 Nov 2026 07:30:00 GMT","symbols":[]}\nnot json\n{}\n'
)
_LINE = (
    b'{"id":"a","title":"One $ALFA","body":"<b>t</b>","link":"http://[::1]:8/","time":1.5,"symbols":["A"]}'
)
_TEXT = re.compile(rb">([^<]*)<")
#: What stands in an element where a title, a link or a time was.
_ODD_TEXTS = (
    b"", b" ", b"&#0;", b"&#1114112;", b"&amp;#" + b"9" * 5_000 + b";", b"&amp;#x" + b"f" * 5_000, b"&x;",
    b"&lt;" + b"a" * 8_000, b"&lt;" * 3_000, b"&lt;script>" * 300, b"&lt;!--" * 900, b"&lt;!a" * 900,
    "a\u0301\u0327".encode() * 2_000, b"a" + "\u0327\u0301".encode() * 4_000, "\u1100\u1161".encode() * 900,
    "\ufdfa".encode() * 900, "\u202e\u200b\ufeff".encode(), b"]]>", b"<![CDATA[<b>&#65;", b"<a>" * 150,
    b"<a>" * 150 + b"</a>" * 150, b"&amp;" * 3_000, b"$" * 3_000, b"$ALFA" * 500, b"(NASDAQ: " * 500,
    b"(NYSE:" + b" A," * 900, b"AA-" * 1_500, b"AAAA " * 900, b"http://[", b"http://[::1", b"http://a:99999999/",
    b"http://a:x/", b"http://\xe2\x84\x80.com/", b"http://a?" + b"&amp;a=%ff" * 900, b"//@:#?",
    b"9999-12-31T23:59:59-23:59", b"0001-01-01T00:00:00+23:59", b"2026-11-22", b"2026-W47-7", b"24:00",
    b"Sun, 22 Nov 99999 08:30:00 +9999", b"Sun, 31 Feb 2026 25:61:61 GMT", b"1 Jan 0 0:0:0",
    b"22 Nov 2026 -1:-1", b"22 Nov 2026 08:30:00 +" + b"9" * 30, b",", b"1 2 3 4 5",
    b"\x00", b"\xff", b"\xed\xa0\x80",
)  # fmt: skip
_PROLOGUES = (
    b'<?xml version="1.0" encoding="utf-16"?>', b'<?xml version="1.0" encoding="utf-7"?>', b"\xff\xfe",
    b'<?xml version="1.0" encoding="ISO-8859-1"?>', b"\xef\xbb\xbf",
    b'<?xml version="1.0" encoding="punycode"?>',
    b'<?xml version="1.0" encoding="zlib"?>', b'<?xml version="1.1"?>', b'<!DOCTYPE rss SYSTEM "x.dtd">',
    b'<!DOCTYPE rss [<!ENTITY a "b">]>', b'<!DOCTYPE rss [<!ENTITY a SYSTEM "file:///etc/hosts">]>',
    b'<!DOCTYPE rss [<!ENTITY % a "b"> %a;]>', b"<!DOCTYPE rss [<!ATTLIST item a CDATA 'b'>]>",
    b"<!DOCTYPE rss>", b"<?x y?>", b"<!-- -->",
)  # fmt: skip


def odd_text(rng: random.Random, frame: bytes, _: bytes) -> bytes:
    """What an element has becomes something that no source would write."""
    places = [match.span(1) for match in _TEXT.finditer(frame)]
    if not places:
        return odd_value(rng, frame, b"")
    start, stop = rng.choice(places)
    return frame[:start] + rng.choice(_ODD_TEXTS) + frame[stop:]


def odd_prologue(rng: random.Random, frame: bytes, _: bytes) -> bytes:
    """Another declaration, entities, or another encoding of the whole."""
    body = frame[frame.find(b"?>") + 2 :] if frame[:5] == b"<?xml" else frame
    if rng.random() < 0.3:
        return body.decode("utf-8", "replace").encode(
            rng.choice(("utf-16", "utf-32", "utf-8-sig", "utf-16-be"))
        )
    entity = body.replace(b"</title>", b"&a;</title>", 1) if rng.random() < 0.5 else body
    return rng.choice(_PROLOGUES) + entity


def nested(rng: random.Random, frame: bytes, _: bytes) -> bytes:
    """Items within items."""
    times = rng.choice((2, 20, 120))
    return frame.replace(b"<item>", b"<item>" * times, 1).replace(b"</item>", b"</item>" * times, 1)


def odd_value(rng: random.Random, frame: bytes, other: bytes) -> bytes:
    """A line of JSON with something wrong in it, or a text of XML's as one of its values."""
    lines = frame.split(b"\n")
    at = int(rng.random() * len(lines))
    if rng.random() < 0.5:
        lines[at] = mutate_json(rng, JsonSpans(lines[at]), JsonSpans(other))
    else:
        spans = JsonSpans(lines[at])
        if spans.values:
            text = rng.choice(_ODD_TEXTS).replace(b'"', b"'")
            lines[at] = spans.replace(rng.choice(spans.values), rng.choice((b'"%s"' % text, *ODD_VALUES)))
    return b"\n".join(lines)


def check_story(story: Story, tagger: Tagger) -> None:
    """Its texts are limited, clean and can be stored; its time is one, or 0."""
    assert 0 < len(story.title) <= TITLE_CHARACTERS_MAX
    assert len(story.summary) <= SUMMARY_CHARACTERS_MAX
    assert len(story.link) <= TITLE_CHARACTERS_MAX
    for text in (story.title, story.summary, story.link):
        text.encode()
        assert text.isprintable() or "\n" not in text
        assert not re.search(r"[\x00-\x1f\ud800-\udfff]", text)
    assert 0 <= story.published < TS_MAX
    assert len(story.symbols) <= SYMBOLS_MAX
    assert all(len(key) == KEY_HEX for key in story.keys)
    tags = tagger.tags(story)
    assert tags == sorted(set(tags))
    assert len(tags) <= TAGS_MAX


class Documents(Target):
    """Documents and lines: each is read as XML and as JSON lines."""

    name = "news"
    alone = True
    batch_frames = 300
    mutations = (odd_text, odd_text, odd_prologue, nested, odd_value, odd_value)

    def __init__(self) -> None:
        super().__init__()
        self._tagger = Tagger(_REGISTRY)

    def seeds(self) -> list[list[bytes]]:
        tape = [made.RSS, made.ATOM.encode(), _RDF, _LINES, _LINE, made.RSS.replace(b"<item>", b"<item>\n")]
        tape += [rss("1|ALFA up", "2|Weather", "3|BRVO and ALFA merge"), made.BOMB]
        tape.append(made.ATOM.replace("utf-8", "utf-16").encode("utf-16"))
        tape.append(made.ATOM.replace("utf-8", "iso-8859-1").encode("iso-8859-1"))
        return [tape]

    def decode(self, frames: Sequence[bytes]) -> Counter[str]:
        counts: Counter[str] = Counter()
        for frame in frames:
            charset = _CHARSETS[zlib.crc32(frame) % len(_CHARSETS)]
            for kind in (RSS, JSON_LINES):
                try:
                    for story in read_stories("wire", kind, frame, charset):
                        if isinstance(story, Story):
                            check_story(story, self._tagger)
                            counts["stories"] += 1
                        else:
                            counts["empty" if story is None else "no_line"] += 1
                    counts[f"read_{kind}"] += 1
                except DecodeError:
                    counts["refused"] += 1
                    assert kind == RSS, "a bad line costs nothing but itself"
        assert counts["read_rss"] + counts["refused"] == counts["read_jsonl"] == len(frames)
        return counts


def genuine(seed: int) -> list[bytes]:
    """Payloads of a capture: documents and lines of some sources, and what the model said of them."""
    rng = random.Random(seed)
    guide = NewsDecoder("NEWS", "20261122", _REGISTRY)
    titles = ("ALFA up", "BRVO down", "Nothing", "ALFA and BRVO merge", "\u00dcn\u00efcode", "BTC/USDT $BRVO")
    tape = [pack_control(Open(3_600, 500)), pack_control(Known([("0" * KEY_HEX, DAY_NS), ("k", 1)]))]
    for number in range(1_200):
        choice, source = rng.random(), rng.choice(("wire", "agency", "blog"))
        said: Control | None = None
        if choice < 0.5:
            items = (f"{rng.randrange(900)}|{rng.choice(titles)} {number}" for _ in range(rng.randrange(4)))
            tape.append(pack_document(Head(source, RSS, "utf-8", etag='"x"'), rss(*items)))
        elif choice < 0.55:
            tape.append(pack_document(Head(source, JSON_LINES, inode=4, position=number), _LINE))
        elif choice < 0.6:
            body = made.ATOM.replace("agency:7", f"agency:{number}").encode()
            tape.append(pack_document(Head(source, "atom"), body))
        elif choice < 0.7:
            said = Same(source) if choice < 0.65 else Failed(source, "status", "500")
        else:
            score = None if rng.random() < 0.2 else rng.uniform(-1, 1)
            waiting = list(guide.pending)[:50]
            said = Scored("lexicon/1", [(key, score, rng.randrange(9)) for key in waiting])
        if said is not None:
            tape.append(pack_control(said))
        guide.decode(CaptureBatch.of([(_kind(tape[-1]), DAY_NS + number, tape[-1])], len(tape)))
    return tape


def odd_record(rng: random.Random, frame: bytes, other: bytes) -> bytes:
    """Its JSON has something wrong in it, or its document has."""
    head, newline, body = frame.partition(b"\n")
    if newline and rng.random() < 0.6:
        return head + newline + rng.choice(Documents.mutations)(rng, body or b" ", _LINE)
    return mutate_json(rng, JsonSpans(head), JsonSpans(other.partition(b"\n")[0])) + newline + body


class Captured(Target):
    """Payloads of a news capture; one that begins with an ``event`` is a CONTROL record."""

    name = "news_capture"
    batch_frames = 600
    mutations = (odd_record, odd_record, odd_record, odd_text)

    def seeds(self) -> list[list[bytes]]:
        return [genuine(seed) for seed in range(3)]

    def decode(self, frames: Sequence[bytes]) -> Counter[str]:
        decoder = NewsDecoder("NEWS", "20261122", _REGISTRY)
        records = [(_kind(frame), DAY_NS + at, frame) for at, frame in enumerate(frames)]
        blocks = []
        for low, high in cut(records):
            blocks.append(decoder.decode(CaptureBatch.of(records[low:high], 1 + low)))
            check_news(blocks[-1])
        rows = np.concatenate([block.news for block in blocks])
        assert (np.diff(rows["ts_event"]) >= 0).all()
        assert (np.diff(rows["seq"]) >= 0).all()
        counters = decoder.counters
        assert counters["decoded"] == len(frames)
        controls = sum(1 for kind, _, _ in records if kind == RecordKind.CONTROL)
        assert (
            counters["documents"] <= len(frames) - controls <= counters["documents"] + counters["malformed"]
        )
        known = sum(counters[name] for name in ("new", "duplicate", "empty", "pending_full"))
        assert known <= counters["stories"] <= known + counters["refused"]
        events = len(np.unique(rows["seq"]))  # one of each story that has its score
        assert events + len(decoder.pending) <= counters["new"]
        whole = NewsDecoder("NEWS", "20261122", _REGISTRY)
        assert whole.decode(CaptureBatch.of(records)).news.tobytes() == rows.tobytes()
        assert whole.counters == counters
        return counters + Counter(events=len(rows))


def check_news(block: NewsBlock) -> None:
    """Rows can be published: texts are UTF-8, scores and times are within their limits."""
    check_block(block)
    rows = block.news
    for name in ("venue", "source", "story", "headline", "link", "model"):
        for text in rows[name].tolist():
            text.decode()
    score = rows["score"]
    assert (np.isnan(score) | (np.abs(score) <= 1)).all()
    assert ((rows["words"] >= 0) & (rows["published"] >= 0) & (rows["published"] < TS_MAX)).all()
    assert (rows["model"][np.isnan(score)] == b"").all()
    if len(rows):
        encode(TickBatch(0, 0, 0, 0, block))


def _kind(frame: bytes) -> int:
    return int(RecordKind.CONTROL if frame[:8] == b'{"event"' else RecordKind.DATA)
