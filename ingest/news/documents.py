"""A document or a line in, its stories out: RSS 2.0 (and 1.0), Atom 1.0 (RFC 4287), JSON lines. Pure.

XML is parsed by expat through ``defusedxml``, which refuses entity declarations and external references: a
document cannot make the parser expand or fetch anything. Sizes are limited before (:mod:`.http`).
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from xml.etree.ElementTree import Element, ParseError

import msgspec
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from ingest.news.story import SUMMARY_CHARACTERS_MAX, TITLE_CHARACTERS_MAX, Story, plain
from tickloom.clock import NS_PER_MS, NS_PER_S
from tickloom.errors import DecodeError

RSS, ATOM, JSON_LINES = KINDS = ("rss", "atom", "jsonl")
DEPTH_MAX = 100  # of elements; a feed has five or so
CHARSET_CHARACTERS_MAX = 40  # Python keeps every name that it was asked for, known or not
SYMBOLS_MAX = 64  # that a source may name for a story
TS_MAX = 4_102_444_800 * NS_PER_S  # 2100: a time beyond it is a mistake

_ATOM = "{http://www.w3.org/2005/Atom}"
_CONTENT = "{http://purl.org/rss/1.0/modules/content/}"
_DUBLIN_CORE = "{http://purl.org/dc/elements/1.1/}"
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_RSS_1 = "{http://purl.org/rss/1.0/}"
#: Python's, of no document; punycode takes the square of its length.
_NO_CHARSETS = ("punycode", "idna", "unicode-escape", "raw-unicode-escape")
_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_MS_MIN = 100_000_000_000  # a number this large is milliseconds: as seconds it would be the year 5138


class Line(msgspec.Struct):
    """A JSON line: the names that sources use for the same things."""

    id: str | int | None = None
    title: str | None = None
    headline: str | None = None
    link: str | None = None
    url: str | None = None
    summary: str | None = None
    body: str | None = None
    description: str | None = None
    published: str | int | float | None = None
    published_at: str | int | float | None = None
    time: str | int | float | None = None
    symbols: list[str] | None = None
    tickers: list[str] | None = None


_line_decoder = msgspec.json.Decoder(Line)


def read_stories(
    source: str, kind: str, body: bytes, charset: str = ""
) -> Iterator[Story | DecodeError | None]:
    """Stories of a document or of lines, in their order; None for an entry that has neither title nor text,
    the error of a line that is none.

    Parameters
    ----------
    kind : {"rss", "atom", "jsonl"}
        RSS and Atom tell themselves apart by their first element: either is read under either name.
    charset : str
        What the HTTP answer says; a byte order mark goes before it, an XML declaration behind it (RFC 7303,
        3).

    Raises
    ------
    DecodeError
        It is nothing of that kind, or declares entities. Nothing of it is given then.
    """
    if kind == JSON_LINES:
        return (_of_line(source, line) for line in body.splitlines() if line.strip())
    root = _parse(source, body, charset)
    if root.tag == f"{_ATOM}feed":
        return (_of_entry(source, entry) for entry in root.iter(f"{_ATOM}entry"))
    if root.tag == "rss":
        return (_of_item(source, item, "") for item in root.iter("item"))
    if root.tag == f"{_RDF}RDF":
        return (_of_item(source, item, _RSS_1) for item in root.iter(f"{_RSS_1}item"))
    raise DecodeError(source, f"a document of <{root.tag[:60]}>; RSS and Atom are read")


def _parse(source: str, body: bytes, charset: str) -> Element:
    given: bytes | str = body
    if 0 < len(charset) <= CHARSET_CHARACTERS_MAX and not body.startswith(_MARKS):
        try:
            if codecs.lookup(charset).name not in _NO_CHARSETS:
                given = body.decode(charset)  # strictly: where it does not hold, the declaration may
        except (LookupError, ValueError):
            given = body
    try:
        root = fromstring(given, forbid_dtd=False, forbid_entities=True, forbid_external=True)
    except DefusedXmlException as error:
        raise DecodeError(source, f"hostile XML: {type(error).__name__}") from None
    except (ParseError, ValueError, LookupError) as error:
        raise DecodeError(source, f"no XML: {error}") from None
    _check_depth(source, root)
    return root  # type: ignore[no-any-return]


def _check_depth(source: str, root: Element) -> None:
    level = [root]
    for _ in range(DEPTH_MAX):
        level = [child for element in level for child in element]
        if not level:
            return
    raise DecodeError(source, f"elements in more than {DEPTH_MAX} levels")


def _of_item(source: str, item: Element, space: str) -> Story | None:
    """An item: RSS 2.0 specification, "Elements of <item>"."""
    return _story(
        source,
        _text(item, f"{space}guid") or item.get(f"{_RDF}about", ""),
        _text(item, f"{space}title"),
        _text(item, f"{space}description") or _text(item, f"{_CONTENT}encoded"),
        _text(item, f"{space}link"),
        _first_time(_text(item, f"{space}pubDate"), _text(item, f"{_DUBLIN_CORE}date")),
    )


def _of_entry(source: str, entry: Element) -> Story | None:
    """An entry: RFC 4287, 4.1.2."""
    link = ""
    for one in entry.findall(f"{_ATOM}link"):
        if one.get("rel", "alternate") == "alternate":
            link = one.get("href", "")
            break
    return _story(
        source,
        _text(entry, f"{_ATOM}id"),
        _text(entry, f"{_ATOM}title"),
        _text(entry, f"{_ATOM}summary") or _text(entry, f"{_ATOM}content"),
        link,
        _first_time(_text(entry, f"{_ATOM}published"), _text(entry, f"{_ATOM}updated")),
    )


def _of_line(source: str, raw: bytes) -> Story | DecodeError | None:
    try:
        line = _line_decoder.decode(raw)
    except (ValueError, RecursionError) as error:  # msgspec's and Unicode's are ValueErrors
        return DecodeError(source, f"no line of JSON with a story: {error}")
    times = (line.published, line.published_at, line.time)
    return _story(
        source,
        "" if line.id is None else str(line.id),
        line.title or line.headline or "",
        line.summary or line.body or line.description or "",
        line.link or line.url or "",
        _first_time(*(one for one in times if one is not None)),
        tuple((line.symbols or line.tickers or ())[:SYMBOLS_MAX]),
    )


def _story(
    source: str,
    story_id: str,
    title: str,
    summary: str,
    link: str,
    published: int,
    symbols: tuple[str, ...] = (),
) -> Story | None:
    cleaned = plain(title, TITLE_CHARACTERS_MAX)
    text = plain(summary, SUMMARY_CHARACTERS_MAX)
    if not cleaned:
        cleaned, text = (
            text[:TITLE_CHARACTERS_MAX],
            text[TITLE_CHARACTERS_MAX:],
        )  # RSS has items without title
    if not cleaned:
        return None
    return Story(
        source, story_id.strip(), cleaned, text, plain(link, TITLE_CHARACTERS_MAX), published, symbols
    )


def _text(element: Element, name: str) -> str:
    """Text of the first child of that name, with that of the elements in it (Atom's XHTML)."""
    found = element.find(name)
    return "" if found is None else "".join(found.itertext()).strip()


def _first_time(*given: str | int | float) -> int:
    """The first of some times that is one, ns; 0 where none is."""
    for one in given:
        found = _number_ns(one) if isinstance(one, int | float) else _text_ns(one)
        if found:
            return found
    return 0


def _number_ns(number: int | float) -> int:
    """Seconds or milliseconds since 1970."""
    if not 0 < number < TS_MAX:
        return 0
    found = round(number * (NS_PER_MS if number >= _MS_MIN else NS_PER_S))
    return found if found < TS_MAX else 0


def _text_ns(text: str) -> int:
    """RFC 3339 (Atom), or RFC 822 (RSS); without a zone it is UTC."""
    parsers: tuple[Callable[[str], Any], ...] = (datetime.fromisoformat, parsedate_to_datetime)
    for parse in parsers:
        try:
            moment: datetime = parse(text.strip()[:64])
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            since = moment - datetime(1970, 1, 1, tzinfo=UTC)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
        found = (since.days * 86_400 + since.seconds) * NS_PER_S + since.microseconds * 1_000
        return found if 0 < found < TS_MAX else 0
    return 0
