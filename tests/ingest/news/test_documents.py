"""Documents that we wrote after the specifications, and bytes that are none."""

from __future__ import annotations

import encodings
import json
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.news.documents import JSON_LINES, KINDS, read_stories
from ingest.news.story import SUMMARY_CHARACTERS_MAX, Story, plain
from tickloom.errors import DecodeError

RSS = b"""<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:media="http://search.yahoo.com/mrss/">
 <channel>
  <title>Wire</title><link>https://wire.example/</link><description>All of it</description>
  <item>
   <title>Alfa &amp;amp; Bravo: &lt;b&gt;profit warning&lt;/b&gt;</title>
   <link>https://wire.example/1?utm_source=rss</link>
   <guid isPermaLink="false">wire-1</guid>
   <pubDate>Sun, 22 Nov 2026 08:30:00 +0100</pubDate>
   <description><![CDATA[<p>Sales <i>fell</i>.</p><script>var hidden = "growth";</script>]]></description>
   <media:title>not this one</media:title>
  </item>
  <item><description>Only a text.</description><dc:date>2026-11-22T07:31:00Z</dc:date></item>
  <item><title>   </title></item>
 </channel>
</rss>"""

ATOM = """<?xml version="1.0" encoding="utf-8"?>
<feed xmlns="http://www.w3.org/2005/Atom">
 <title>Agency</title><id>urn:agency</id><updated>2026-11-22T07:00:00Z</updated>
 <entry>
  <id>urn:agency:7</id>
  <title type="html">Société &lt;em&gt;Alfa&lt;/em&gt; wins contract</title>
  <link rel="self" href="https://agency.example/7.atom"/>
  <link href="https://agency.example/7"/>
  <published>2026-11-22T08:00:00.250+01:00</published>
  <updated>2026-11-22T09:00:00Z</updated>
  <summary type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml">A <b>strong</b> year.</div></summary>
 </entry>
</feed>"""


def ns(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * 10**9  # type: ignore[arg-type,misc]


def stories(kind: str, body: bytes, charset: str = "") -> list[Story | DecodeError | None]:
    return list(read_stories("s", kind, body, charset))


def test_rss() -> None:
    """Markup, scripts and entities go; an item without title has its text as one; an empty one is none."""
    first, second, third = stories("rss", RSS)
    title = "Alfa & Bravo: profit warning"
    link = "https://wire.example/1?utm_source=rss"
    assert first == Story("s", "wire-1", title, "Sales fell .", link, ns(2026, 11, 22, 7, 30))
    assert second == Story("s", "", "Only a text.", "", "", ns(2026, 11, 22, 7, 31))
    assert third is None


def test_atom_under_either_name() -> None:
    """The link without ``rel`` is the story's; ``published`` goes before ``updated``; so under kind rss."""
    (entry,) = stories("atom", ATOM.encode())
    published = ns(2026, 11, 22, 7) + 250_000_000
    title, link = "Société Alfa wins contract", "https://agency.example/7"
    assert entry == Story("s", "urn:agency:7", title, "A strong year.", link, published)
    assert stories("rss", ATOM.encode()) == [entry]


def test_rss_1() -> None:
    """RDF Site Summary 1.0: items beside the channel, identified by rdf:about."""
    body = b"""<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/"
      xmlns:dc="http://purl.org/dc/elements/1.1/"><channel rdf:about="u"><title>c</title></channel>
      <item rdf:about="urn:1"><title>One</title><link>http://l.example/</link>
      <dc:date>2026-11-22T00:00:01Z</dc:date></item></rdf:RDF>"""
    assert stories("rss", body) == [
        Story("s", "urn:1", "One", "", "http://l.example/", ns(2026, 11, 22) + 10**9)
    ]


def test_json_lines() -> None:
    """Each line by itself: a bad one costs nothing but itself. Times in s, ms or text."""
    body = b"""{"id": 5, "headline": "Bravo recalls", "url": "https://x.example/5", "time": 1795332600}
{"title": "Same hour", "published": 1795332600000, "tickers": ["$ALFA", "BTC"]}

{"title": 7}
not json
{"summary": "A text", "published_at": "22 Nov 2026 07:30:00 GMT"}
{}
"""
    at = ns(2026, 11, 22, 7, 30)
    first, second, number, text, fourth, nothing = stories("jsonl", body)
    assert first == Story("s", "5", "Bravo recalls", "", "https://x.example/5", at)
    assert second == Story("s", "", "Same hour", "", "", at, ("$ALFA", "BTC"))
    assert isinstance(number, DecodeError)
    assert isinstance(text, DecodeError)
    assert fourth == Story("s", "", "A text", "", "", at)
    assert nothing is None


@pytest.mark.parametrize(
    ("body", "charset", "title"),
    [
        ("<title>Zürich</title>".encode("latin-1"), "iso-8859-1", "Zürich"),
        ("<title>Zürich</title>".encode(), "", "Zürich"),
        ("<title>Zürich €</title>".encode("cp1252"), "windows-1252", "Zürich €"),
    ],
)
def test_charset_of_the_answer(body: bytes, charset: str, title: str) -> None:
    """What HTTP says of the encoding holds (RFC 7303, section 3)."""
    (story,) = stories("rss", b"<rss><channel><item>" + body + b"</item></channel></rss>", charset)
    assert isinstance(story, Story)
    assert story.title == title


def test_declared_encoding_where_http_is_wrong_or_silent() -> None:
    """A declaration is believed where the answer's charset does not fit the bytes; a mark before both."""
    head = '<?xml version="1.0" encoding="ISO-8859-1"?>'
    text = f"{head}<rss><channel><item><title>é</title></item></channel></rss>"
    for charset in ("", "utf-8", "no-such-charset"):
        (story,) = stories("rss", text.encode("latin-1"), charset)
        assert isinstance(story, Story)
        assert story.title == "é"
    marked = text.replace("ISO-8859-1", "UTF-16").encode("utf-16")
    (story,) = stories("rss", marked, "utf-8")
    assert isinstance(story, Story)
    assert story.title == "é"


BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE rss [<!ENTITY a "ha">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
    + b"]><rss><channel><item><title>&j;</title></item></channel></rss>"
)


@pytest.mark.parametrize(
    "body",
    [
        BOMB,
        b'<!DOCTYPE rss [<!ENTITY x SYSTEM "file:///etc/passwd">]><rss><item><title>&x;</title></item></rss>',
        b'<!DOCTYPE rss SYSTEM "http://evil.example/x.dtd"><rss><item><title>&x;</title></item></rss>',
        b"<html><body>Not found</body></html>",
        b"<rss><channel><item><title>cut o",
        b"<rss><channel><item><title>\xff\xfe\xfa</title></item></channel></rss>",
        b"<rss>" + b"<a>" * 200_000 + b"</a>" * 200_000 + b"</rss>",
        b'<?xml version="1.0" encoding="no-such"?><rss/>',
        b"",
    ],
    ids=["bomb", "file", "dtd", "html", "cut", "bytes", "deep", "encoding", "nothing"],
)
def test_hostile_and_broken_xml_is_refused(body: bytes) -> None:
    """Nothing is expanded, fetched or half read: one error says that the document was refused."""
    with pytest.raises(DecodeError):
        stories("rss", body)


@st.composite
def garbage(draw: st.DrawFn) -> bytes:
    """Any bytes, or a sound document in which some were put in the place of others."""
    raw = draw(st.sampled_from([b"", RSS, ATOM.encode(), b'{"title": "A", "published": 1}\n' * 3]))
    at = draw(st.integers(0, len(raw)))
    return raw[:at] + draw(st.binary(max_size=300)) + raw[draw(st.integers(at, len(raw))) :]


@given(kind=st.sampled_from(KINDS), body=garbage(), charset=st.sampled_from(["", "utf-8", "utf-7"]))
def test_any_bytes_are_stories_or_an_error(kind: str, body: bytes, charset: str) -> None:
    """A document is read or refused as a whole; each line that is not blank is a story, none or an error,
    whatever its neighbours are."""
    lines = [line for line in body.splitlines() if line.strip()]
    try:
        found = stories(kind, body, charset)
    except DecodeError:
        assert kind != JSON_LINES
        return
    assert all(isinstance(one, Story | DecodeError | None) for one in found)
    assert len(found) == len(lines) or kind != JSON_LINES


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


_VALUES = st.one_of(_TEXT, st.integers(), st.floats(), st.none(), st.lists(_TEXT, max_size=3))
_NAMES = st.sampled_from(["id", "title", "link", "summary", "published", "symbols"])


@given(st.dictionaries(_NAMES, _VALUES))
def test_any_json_object_is_a_story_none_or_an_error(line: dict[str, object]) -> None:
    """Values of any type and size; what is a story can be encoded."""
    for story in stories("jsonl", json.dumps(line).encode()):
        if isinstance(story, Story):
            assert story.title
            assert 0 <= story.published < 2**62
            story.title.encode()


def _cpu_s(text: str) -> float:
    began_s = time.process_time()
    plain(text, SUMMARY_CHARACTERS_MAX)
    return time.process_time() - began_s


@pytest.mark.parametrize("text", ["<" + "a" * 80_000, "a" + "\u0301\u0327" * 40_000, "&#" + "9" * 79_000])
def test_no_text_takes_more_than_its_length(text: str) -> None:
    """A tag without end, marks without end and a number without end: milliseconds, where the square of their
    length is seconds."""
    assert min(_cpu_s(text) for _ in range(3)) < 0.2


def test_references_of_many_digits() -> None:
    """None is a character; those that are stay what they are."""
    assert plain("a &#" + "9" * 5_000 + "; &#65;&#0000000066; &#99999999;", 2_000) == "a \ufffd AB \ufffd"


def test_marks_in_a_row() -> None:
    """Thirty stay, as in stream-safe text; symbols and letters are not touched."""
    assert plain("e" + "\u0327" * 100 + "\u2014" * 50, 200) == "\u0229" + "\u0327" * 29 + "\u2014" * 50
    assert plain("\u2014" * 100 + "\u00e9", 200) == "\u2014" * 100 + "\u00e9"


def test_long_charsets_are_not_kept() -> None:
    """Python remembers each name it does not know: an answer's is looked up only if it can be one."""
    known = len(encodings._cache)
    body = b"<rss><channel><item><title>x</title></item></channel></rss>"
    assert [len(stories("rss", body, "x" * 30_000 + str(n))) for n in range(5)] == [1] * 5
    assert len(encodings._cache) == known


def test_charset_that_is_no_documents() -> None:
    """Python decodes punycode in the square of its length: such an answer is read without it."""
    body = b"<rss><channel><item><title>x</title></item></channel></rss>" + b" " * 10**6
    began_s = time.process_time()
    assert len(stories("rss", body, "punycode")) == 1
    assert time.process_time() - began_s < 1
