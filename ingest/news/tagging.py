"""A story in, the instruments that it is about out: tickers as they are marked, and names of the registry.
Pure.

What counts, in title and summary:

- a cashtag (``$ALFA``), a ticker behind its exchange (``(NASDAQ: ALFA)``, ``(NYSE: A, B)``), and what the
  source itself names (``symbols`` of a JSON line): any ticker of the registry;
- a symbol as it is written there, with a dash or a slash: ``BTC-USDT``, ``BTC/USDT``;
- a ticker by itself, in capitals, of :data:`BARE_LETTERS_MIN` letters or more: shorter ones are words and
  abbreviations (``SC``, ``NU``, ``UNI``), and in a text all in capitals every word looks like one;
- a name of ``[aliases]``, in any case, as a whole word; of two names at one place the longer one.

A ticker is an instrument's symbol, of a pair of currencies what stands before the dash: ``$BTC`` tags every
``BTC-...``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ingest.news.story import Story
from tickloom.instruments import Registry, ticker

BARE_LETTERS_MIN = 4
TAGS_MAX = 16  # of a story; a list of the day's movers is about none of them

_CASHTAG = re.compile(r"(?<![\w$])\$([A-Z][A-Z0-9]{0,9})(?![\w])")
_EXCHANGES = "nasdaq|nyse|amex|otc|lse|tsx|cboe|euronext"
_LISTED = re.compile(
    rf"[(\[]\s*(?:{_EXCHANGES})(?:\s?[A-Za-z]{{1,8}})?\s*:\s*([A-Z0-9][A-Z0-9, ]{{0,60}})[)\]]", re.IGNORECASE
)
_WORD = re.compile(r"(?<![\w$/.-])[A-Z][A-Z0-9]+(?:[-/][A-Z0-9]+)*(?![\w/-])")


class Tagger:
    """Finds the registry's instruments in texts."""

    def __init__(self, registry: Registry) -> None:
        self._of_ticker: dict[str, list[tuple[str, str]]] = {}
        self._of_symbol: dict[str, list[tuple[str, str]]] = {}
        for venue, symbol in registry.instruments:
            self._of_ticker.setdefault(ticker(symbol), []).append((venue, symbol))
            self._of_symbol.setdefault(symbol, []).append((venue, symbol))
        self._of_name: dict[str, str] = {}
        for key, names in registry.aliases.items():
            self._of_name.update({" ".join(name.casefold().split()): key for name in names})
        longest_first = sorted(self._of_name, key=len, reverse=True)
        alternatives = "|".join(re.escape(name) for name in longest_first)
        self._names = re.compile(rf"(?<!\w)(?:{alternatives})(?!\w)") if alternatives else None

    def tags(self, story: Story) -> list[tuple[str, str]]:
        """(venue, symbol) of each instrument, in order, at most :data:`TAGS_MAX`."""
        text = f"{story.title} . {story.summary}"
        found: dict[tuple[str, str], None] = {}
        for symbol in story.symbols:
            wanted = symbol.strip().lstrip("$").upper()
            found.update(dict.fromkeys(self._of_symbol.get(wanted) or self._of_ticker.get(wanted) or ()))
        for word in self._tickers(text):
            found.update(dict.fromkeys(self._of_ticker.get(word, ())))
        for symbol in self._symbols(text):
            found.update(dict.fromkeys(self._of_symbol.get(symbol, ())))
        return sorted(found)[:TAGS_MAX]

    def _tickers(self, text: str) -> Iterator[str]:
        for match in _CASHTAG.finditer(text):
            yield match[1]
        for match in _LISTED.finditer(text):
            yield from (part.strip().upper() for part in match[1].split(","))
        if self._names is not None:
            for match in self._names.finditer(text.casefold()):
                yield self._of_name[match[0]]
        if any(one.islower() for one in text):
            for match in _WORD.finditer(text):
                if len(match[0]) >= BARE_LETTERS_MIN and match[0].isalpha():
                    yield match[0]

    def _symbols(self, text: str) -> Iterator[str]:
        for match in _WORD.finditer(text):
            if not match[0].isalnum():
                yield match[0].replace("/", "-")
