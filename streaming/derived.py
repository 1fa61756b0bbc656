"""Views that are computed from the market before rules read them: their topics, their past, their wire.

``spreads`` is one. Live, a job of its own (``strategies/features``) writes them to a topic of the venue;
over history they are computed anew from stored events by the same code, so that nothing depends on when
that job ran. A rule reads such a view or the market itself, not both: there is one topic to a rule.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from tickloom import codec, spread_codec, topics
from tickloom.codec import EVENT_FIELDS, TickBatch
from tickloom.errors import SettingsError
from tickloom.events import EventBlock, SymbolTable
from tickloom.spread_codec import SPREAD_FIELDS

#: Where their code lies: module ``VIEW`` with ``history(blocks, venue)``. By name, since it is what a user
#: edits, as the rules are: nothing here may depend on it.
FEATURES = "strategies.features"
#: View to the topic of a venue that has it.
TOPICS: dict[str, Callable[[str], str]] = {"spreads": topics.spreads}
_FIELDS = {"spreads": SPREAD_FIELDS}
_DECODERS: dict[str, Callable[[bytes, SymbolTable | None], TickBatch]] = {"spreads": spread_codec.decode}
_ENCODERS: dict[str, Callable[[TickBatch], bytes]] = {"spreads": spread_codec.encode}


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


def source_topic(venue: str, views: Sequence[str]) -> str:
    """The topic that a rule over ``views`` reads."""
    view = derived_view(views)
    return TOPICS[view](venue) if view else topics.ticks(venue)


def fields(views: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """Arrays of that topic's batches, as :data:`tickloom.codec.EVENT_FIELDS`."""
    view = derived_view(views)
    return _FIELDS[view] if view else EVENT_FIELDS


def decoder(views: Sequence[str]) -> Callable[[bytes, SymbolTable | None], TickBatch]:
    """What decodes a record of that topic."""
    view = derived_view(views)
    return _DECODERS[view] if view else codec.decode


def encoder(views: Sequence[str]) -> Callable[[TickBatch], bytes]:
    """What encodes a record of that topic."""
    view = derived_view(views)
    return _ENCODERS[view] if view else codec.encode


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
