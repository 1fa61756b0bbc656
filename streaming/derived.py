"""Views that have topics of their own: what is computed from the market before rules read it, and news.

``spreads`` is one. Live, a job of its own (``strategies/features``) writes them to a topic of the venue;
over history they are computed anew from stored events by the same code, so that nothing depends on when
that job ran. A rule reads such a view or the market itself, not both: there is one topic to a rule.

``news`` is the exception. It is no venue's: the stories of all venues' instruments are on one topic, and a
rule may read it beside the market, as a second source whose watermark its event time waits for as well.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from tickloom import codec, news_codec, spread_codec, topics
from tickloom.codec import EVENT_FIELDS, TickBatch
from tickloom.errors import SettingsError
from tickloom.events import EventBlock, SymbolTable
from tickloom.news_codec import NEWS_FIELDS
from tickloom.spread_codec import SPREAD_FIELDS

NEWS = "news"
MARKET = "ticks"
#: Where their code lies: module ``VIEW`` with ``history(blocks, venue)``. By name, since it is what a user
#: edits, as the rules are: nothing here may depend on it.
FEATURES = "strategies.features"
#: View to the topic of a venue that has it.
TOPICS: dict[str, Callable[[str], str]] = {"spreads": topics.spreads}
_FIELDS = {MARKET: EVENT_FIELDS, "spreads": SPREAD_FIELDS, NEWS: NEWS_FIELDS}
_DECODERS: dict[str, Callable[[bytes, SymbolTable | None], TickBatch]] = {
    MARKET: codec.decode,
    "spreads": spread_codec.decode,
    NEWS: news_codec.decode,
}
_ENCODERS: dict[str, Callable[[TickBatch], bytes]] = {
    MARKET: codec.encode,
    "spreads": spread_codec.encode,
    NEWS: news_codec.encode,
}


def derived_view(views: Sequence[str]) -> str | None:
    """The computed view among those that a rule reads; None where it reads the market itself.

    Raises
    ------
    SettingsError
        It reads both, or two computed views.
    """
    found = [view for view in views if view in TOPICS]
    if found and len(views) > 1:
        raise SettingsError(
            f"a rule that reads {found[0]} reads nothing else (here: {', '.join(views)}); two rules may do"
        )
    return found[0] if found else None


def source_name(views: Sequence[str]) -> str:
    """What the topic that a rule over ``views`` reads is of: a computed view, :data:`NEWS` where the rule
    reads nothing else, or :data:`MARKET`."""
    return derived_view(views) or (NEWS if list(views) == [NEWS] else MARKET)


def news_beside(views: Sequence[str]) -> tuple[str, ...]:
    """``("news",)`` where a rule reads news and the market; else nothing."""
    return (NEWS,) if NEWS in views and len(views) > 1 else ()


def source_topic(venue: str, views: Sequence[str]) -> str:
    """The topic that a rule over ``views`` reads; with :func:`news_beside` it also reads that of news."""
    name = source_name(views)
    if name == NEWS:
        return topics.NEWS
    return TOPICS[name](venue) if name in TOPICS else topics.ticks(venue)


def fields(views: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """Arrays of that topic's batches, as :data:`tickloom.codec.EVENT_FIELDS`."""
    return _FIELDS[source_name(views)]


def decoder(views: Sequence[str]) -> Callable[[bytes, SymbolTable | None], TickBatch]:
    """What decodes a record of that topic."""
    return _DECODERS[source_name(views)]


def encoder(views: Sequence[str]) -> Callable[[TickBatch], bytes]:
    """What encodes a record of that topic."""
    return _ENCODERS[source_name(views)]


def over_history(views: Sequence[str], blocks: Iterable[EventBlock], venue: str) -> Iterator[EventBlock]:
    """What a rule over ``views`` reads of stored events: these themselves, or what is computed from them.

    Parameters
    ----------
    blocks : iterable of EventBlock
        Quotes, trades, statuses and gaps of the venue, none older than those of an earlier block.

    Raises
    ------
    TickloomError
        What the computation needs is not there: calibrations of the venue, for one.
    """
    view = derived_view(views)
    if view is None:
        yield from blocks
        return
    module = importlib.import_module(f"{FEATURES}.{view}")
    yield from module.history(blocks, venue)
