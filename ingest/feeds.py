"""Which decoder reads which venue's captures, and what makes captures of its files.

A session's directory name says the rest.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from ingest.decoder import Decoder
from tickloom.clock import NS_PER_MS
from tickloom.errors import SettingsError
from tickloom.instruments import Registry
from tickloom.settings import (
    BinanceSettings,
    BybitSettings,
    CoinbaseSettings,
    FileFeedSettings,
    IexSettings,
    IngestSettings,
    ItchSettings,
    KrakenSettings,
    Mdp3Settings,
    OkxSettings,
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a file gave.

    path: the capture's directory; messages: those that came without a number and were given one; foreign:
    frames that are no UDP over IPv4; damage: why the file could not be read to its end, empty if it could.
    """

    path: Path
    session: str
    messages: int
    packets: int
    foreign: int
    damage: str = ""


@dataclass(frozen=True, slots=True)
class Feed:
    """A feed that is decoded here.

    decoder: module and class; settings: with the lateness and the size of segments; files: module and
    function that turns a file into a capture, empty where no file of the feed is read.
    """

    decoder: str
    settings: type[IngestSettings] | type[FileFeedSettings]
    files: str = ""


#: Feed of a venue, as the registry of instruments has it, to what reads it. Modules are imported when they
#: are asked for: an ingester of one feed does not load the kernels of all.
FEEDS = {
    "itch": Feed("ingest.itch.decoder:ItchDecoder", ItchSettings, "ingest.itch.files:load_file"),
    "iex": Feed("ingest.iex.decoder:IexDecoder", IexSettings, "ingest.iex.files:load_file"),
    "mdp3": Feed("ingest.sbe.mdp3.decoder:Mdp3Decoder", Mdp3Settings, "ingest.sbe.mdp3.files:load_file"),
    "binance": Feed("ingest.websocket.binance.decoder:BinanceDecoder", BinanceSettings),
    "kraken": Feed("ingest.websocket.kraken.decoder:KrakenDecoder", KrakenSettings),
    "okx": Feed("ingest.websocket.okx.decoder:OkxDecoder", OkxSettings),
    "coinbase": Feed("ingest.websocket.coinbase.decoder:CoinbaseDecoder", CoinbaseSettings),
    "bybit": Feed("ingest.websocket.bybit.decoder:BybitDecoder", BybitSettings),
}
#: Feeds whose venues stream their own snapshots.
STREAM_FEEDS = ("kraken", "okx", "coinbase", "bybit")


def session_date(session: str) -> date:
    """The day in a session's name, ``YYYYMMDD`` or ``YYYYMMDD.NAME``.

    Raises
    ------
    SettingsError
        The name does not begin with a date.
    """
    text = session[:8]
    try:
        if len(text) != 8 or not text.isdigit():
            raise ValueError(text)
        return date(int(text[:4]), int(text[4:6]), int(text[6:8]))
    except ValueError:
        raise SettingsError(
            f"session {session!r} does not begin with a date such as 20261121; name it after its day"
        ) from None


def decoder_for(venue: str, session: str, registry: Registry | None = None) -> Decoder:
    """A fresh decoder for a session of ``venue``, as the feed in the registry of instruments has it.

    Raises
    ------
    SettingsError
        The registry does not know the venue, or nobody here decodes its feed.
    """
    registry = registry or Registry.load()
    feed = _feed(venue, registry)
    make: Callable[..., Decoder] = _named(feed.decoder)
    lateness_ns = feed.settings.load().lateness_ms * NS_PER_MS
    return make(venue, session, registry=registry, lateness_ns=lateness_ns)


def load_file(
    source: Path, data_dir: Path, venue: str, day: date, registry: Registry | None = None
) -> Loaded:
    """Turn a file of ``venue``'s feed into a capture.

    Raises
    ------
    SettingsError
        The registry does not know the venue, or its feed has no files.
    DecodeError, CaptureError
        As the feed's own loader does.
    """
    registry = registry or Registry.load()
    feed = _feed(venue, registry)
    if not feed.files:
        names = ", ".join(name for name, one in FEEDS.items() if one.files)
        name = registry.venues[venue].feed
        raise SettingsError(f"venue {venue}: no files of feed {name!r} are read; those of {names} are")
    load: Callable[..., Loaded] = _named(feed.files)
    return load(source, data_dir, venue, day, registry, feed.settings.load().capture_segment_mb)


def sessions(data_dir: Path, venue: str) -> list[str]:
    """Names of the sessions that were captured, in order."""
    root = data_dir / "capture" / venue
    return sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []


def _feed(venue: str, registry: Registry) -> Feed:
    found = registry.venues.get(venue)
    if found is None:
        known = ", ".join(sorted(registry.venues))
        raise SettingsError(f"venue {venue!r} is not in strategies/instruments.toml; known are {known}")
    if found.feed not in FEEDS:
        raise SettingsError(
            f"venue {venue}: no decoder for feed {found.feed!r}; known are {', '.join(FEEDS)}"
        )
    return FEEDS[found.feed]


def _named(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)
