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

import structlog

from ingest.capture_target import OpenWriter, new_capture
from ingest.declared import Feed, declared
from ingest.decoder import Decoder
from tickloom.clock import NS_PER_MS
from tickloom.errors import DecodeError, SettingsError
from tickloom.instruments import Registry
from tickloom.settings import (
    BinanceSettings,
    BybitSettings,
    CoinbaseSettings,
    DbnSettings,
    IexSettings,
    IngestSettings,
    ItchSettings,
    KrakenSettings,
    Mdp3Settings,
    NewsSettings,
    OkxSettings,
)
from tickloom.settings.feeds import FeedSettings


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


#: Feed of a venue, as the registry of instruments has it, to what reads it. Modules are imported when they
#: are asked for: an ingester of one feed does not load the kernels of all.
FEEDS = {
    "itch": Feed("ingest.itch.decoder:ItchDecoder", ItchSettings, "ingest.itch.files:load_file"),
    "iex": Feed("ingest.iex.decoder:IexDecoder", IexSettings, "ingest.iex.files:load_file"),
    "mdp3": Feed("ingest.sbe.mdp3.decoder:Mdp3Decoder", Mdp3Settings, "ingest.sbe.mdp3.files:load_file"),
    "dbn": Feed("ingest.dbn.decoder:DbnDecoder", DbnSettings, "ingest.dbn.files:load_file"),
    "binance": Feed("ingest.websocket.binance.decoder:BinanceDecoder", BinanceSettings),
    "kraken": Feed("ingest.websocket.kraken.decoder:KrakenDecoder", KrakenSettings),
    "okx": Feed("ingest.websocket.okx.decoder:OkxDecoder", OkxSettings),
    "coinbase": Feed("ingest.websocket.coinbase.decoder:CoinbaseDecoder", CoinbaseSettings),
    "bybit": Feed("ingest.websocket.bybit.decoder:BybitDecoder", BybitSettings),
    **declared(),
    "news": Feed("ingest.news.decoder:NewsDecoder", NewsSettings),
}
#: A session whose name goes on like this behind its day was made of a file of Databento's, whatever the
#: venue's own feed is.
DBN_SESSION = "DBN."
log = structlog.get_logger("ingest.feeds")
_DBN_MAGIC = b"DBN"
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
    feed = FEEDS["dbn"] if is_dbn_session(session) else _feed(venue, registry)
    make: Callable[..., Decoder] = _named(feed.decoder)
    lateness_ns = feed.settings.load().lateness_ms * NS_PER_MS
    return make(venue, session, registry=registry, lateness_ns=lateness_ns)


def load_file(
    source: Path,
    data_dir: Path,
    venue: str,
    day: date | None = None,
    registry: Registry | None = None,
    open_writer: OpenWriter = new_capture,
) -> Loaded:
    """Turn a file of ``venue``'s feed, or of Databento's, into a capture.

    ``day``: the trading day; a file of Databento's tells it by itself. ``open_writer``: where its records
    go, if not into a new capture.

    Raises
    ------
    SettingsError
        The registry does not know the venue, its feed has no files, or they do not tell their day.
    DecodeError, CaptureError
        As the feed's own loader does.
    """
    registry = registry or Registry.load()
    feed = _feed(venue, registry)
    if is_dbn(source):
        feed = FEEDS["dbn"]
    if not feed.files:
        names = ", ".join(name for name, one in FEEDS.items() if one.files)
        name = registry.venues[venue].feed
        raise SettingsError(f"venue {venue}: no files of feed {name!r} are read; those of {names} are")
    if day is None and feed is not FEEDS["dbn"]:
        raise SettingsError(f"{source} does not tell its trading day; say it with --date YYYY-MM-DD")
    load: Callable[..., Loaded] = _named(feed.files)
    return load(source, data_dir, venue, day, registry, feed.settings.load().capture_segment_mb, open_writer)


def is_dbn_session(session: str) -> bool:
    """Whether a session was made of a file of Databento's."""
    return session[8:].startswith("." + DBN_SESSION)


def is_dbn(source: Path) -> bool:
    """Whether a file, compressed or not, is Databento's.

    Raises
    ------
    DecodeError
        It cannot be read.
    """
    from ingest.pcap import DAMAGE, open_plain

    try:
        with open_plain(source) as file:
            return file.read(len(_DBN_MAGIC)) == _DBN_MAGIC
    except OSError as error:
        raise DecodeError(
            "file", f"{source}: {error.strerror or error}; give a file that can be read"
        ) from None
    except DAMAGE:
        return False


def live_of(name: str) -> tuple[type[FeedSettings], Callable[..., None]]:
    """Settings of a feed that declares itself, and what captures it live.

    Raises
    ------
    SettingsError
        There is no such feed, or it has a command of its own.
    """
    feed = FEEDS.get(name)
    if feed is None or not feed.session or not issubclass(feed.settings, FeedSettings):
        known = ", ".join(one for one, each in FEEDS.items() if each.session) or "none"
        raise SettingsError(
            f"no feed {name!r} to run; known are {known}, and those with a command of their own "
            "(`tickloom ingest --help`)"
        )
    return feed.settings, _named(feed.session)


def check_venue(settings: IngestSettings, feed: str, venue: str, registry: Registry | None = None) -> None:
    """Before an ingester starts: its venue is registered, and as one of its feed.

    ITCH names its stocks by itself and is decoded without: a venue that is not registered is only told, as
    nothing but the ingester will read its capture. DBN is of any venue.

    Raises
    ------
    SettingsError
        It is not: nothing that it captured could be decoded.
    """
    registry = registry or Registry.load()
    found = registry.venues.get(venue)
    if found is None and feed == "itch":
        remedy = f"[venues.{venue}] in strategies/instruments.toml"
        log.warning("venue.not_registered", venue=venue, remedy=remedy)
    elif found is None or feed not in (found.feed, "dbn"):
        usable = (code for code, one in registry.venues.items() if feed in (one.feed, "dbn"))
        known = ", ".join(sorted(usable)) or "none"
        wrong = "not in strategies/instruments.toml" if found is None else f"of feed {found.feed!r} there"
        raise SettingsError(
            f"{settings.section}.venue = {venue!r} is {wrong}; of feed {feed!r} it has {known}. Set one of "
            f'those, or add [venues.{venue}] with feed = "{feed}" to strategies/instruments.toml'
        )


def sessions(data_dir: Path, venue: str) -> list[str]:
    """Names of the sessions that were captured, in order."""
    root = data_dir / "capture" / venue
    return sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []


def captured_session(data_dir: Path, venue: str, session: str = "") -> str:
    """Name of a session that was captured; empty: the venue's latest.

    Raises
    ------
    SettingsError
        It was not captured, or nothing of the venue was.
    """
    known = sessions(data_dir, venue)
    if session in known:
        return session
    if session:
        names = ", ".join(known) or "none"
        raise SettingsError(f"{data_dir} has no session {session!r} of {venue}; captured are {names}")
    if not known:
        root = data_dir / "capture"
        venues = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
        if venues:
            advice = f"there are sessions of {', '.join(venues)}. Name another --venue"
        else:
            advice = "nor anything else. Is stack.data_dir another one, or has no ingester run yet?"
        raise SettingsError(f"nothing of {venue} has been captured in {root}; {advice}")
    return known[-1]


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
