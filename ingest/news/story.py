"""Texts off the wire in, a story with its identity out. Pure."""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

TITLE_CHARACTERS_MAX = 1_000
SUMMARY_CHARACTERS_MAX = 20_000  # that are looked at for instruments and words; a story says it early
KEY_HEX = 32  # 128 bits

_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]*+)[^<>]*+>|<!--|<[!?][A-Za-z][^<>]*+>")
#: More digits than any character has: Python's ``int`` refuses some thousand.
_LONG_REFERENCE = re.compile(r"&#[0-9]{20,}+;?")
_MARKS_MAX = 30  # in a row, as UAX 15's stream-safe text; sorting them takes the square of their number
_MARKS = re.compile(rf"([^\w\x00-\x7f]{{{_MARKS_MAX}}})([^\w\x00-\x7f]++)")
_HIDDEN = ("script", "style")  # elements whose text nobody reads
#: Controls, marks without width or for direction, halves of surrogate pairs.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
_BLANK = re.compile(r"\s+")
_NO_WORD = re.compile(r"[\W_]+")
#: Query parameters that say where a reader came from, and not what is read.
_TRACKING = re.compile(r"utm_\w+|fbclid|gclid|mc_[ce]id|cmpid|ref|rss|src|source", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Story:
    """A story as its source gave it, cleaned.

    Attributes
    ----------
    source : str
        Name of the source in ``strategies/news.toml``.
    story_id : str
        The source's own id (RSS guid, Atom id, JSON id); empty where it gave none.
    published : int
        What the source says, ns; 0 where it does not say, or nonsense.
    symbols : tuple of str
        Tickers that the source itself names.
    """

    source: str
    story_id: str
    title: str
    summary: str
    link: str
    published: int
    symbols: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """What makes it the same story: its id at its source, and title with link wherever it comes from.

        The first is also the story's identity in events.
        """
        same_text = _key("text", normal_title(self.title), normal_link(self.link))
        if not self.story_id:
            return (same_text,)
        return (_key("id", self.source, self.story_id), same_text)


def plain(text: str, characters_max: int) -> str:
    """Text without markup, entities, control characters and superfluous blanks, cut at ``characters_max``."""
    text = text[: 4 * characters_max]
    if "<" in text:
        text = _without_tags(text)
    if "&" in text:
        text = html.unescape(_LONG_REFERENCE.sub("\ufffd", text))
    text = _MARKS.sub(_fewer_marks, _CONTROL.sub(" ", text))
    return _BLANK.sub(" ", unicodedata.normalize("NFC", text)).strip()[:characters_max].rstrip()


def _fewer_marks(match: re.Match[str]) -> str:
    return match[1] + "".join(one for one in match[2] if not unicodedata.combining(one))


def _without_tags(text: str) -> str:
    """One pass, whatever the text: none of its expressions looks further than the next angle bracket."""
    parts: list[str] = []
    hidden, start = "", 0
    for match in _TAG.finditer(text):
        if not hidden:
            parts.append(text[start : match.start()])
        start = match.end()
        name = (match[2] or "").lower()
        if name in _HIDDEN and not match[1]:
            hidden = hidden or name
        elif match[1] and name == hidden:
            hidden = ""
    if not hidden:
        parts.append(text[start:])
    return " ".join(parts)


def normal_title(title: str) -> str:
    """Letters and digits in one case: what is left is the same however a headline is set."""
    return _NO_WORD.sub(" ", unicodedata.normalize("NFKC", title).casefold()).strip()


def normal_link(link: str) -> str:
    """A link without scheme, ``www.``, fragment, tracking parameters and a slash at its end."""
    try:
        parts = urlsplit(link.strip())
        host = (parts.hostname or "").removeprefix("www.")
        port = parts.port
    except ValueError:
        return link.strip()
    query = [
        item for item in parse_qsl(parts.query, keep_blank_values=True) if not _TRACKING.fullmatch(item[0])
    ]
    place = f"{host}:{port}" if port not in (None, 80, 443) else host
    return f"{place}{parts.path.rstrip('/')}?{urlencode(sorted(query))}".rstrip("?")


def cut_utf8(text: str, bytes_max: int) -> bytes:
    """UTF-8 of a text, cut between two characters, with an ellipsis where something is missing."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= bytes_max:
        return raw
    return raw[: bytes_max - 3].decode("utf-8", "ignore").encode() + "…".encode()


def _key(*parts: str) -> str:
    joined = "\x00".join(parts).encode("utf-8", "replace")
    return hashlib.blake2b(joined, digest_size=KEY_HEX // 2).hexdigest()
