"""Which decoder reads which venue's captures, and what makes captures of its files.

A session's directory name says the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from ingest.decoder import Decoder
from tickloom.clock import NS_PER_MS
from tickloom.errors import SettingsError
from tickloom.instruments import Registry
from tickloom.settings import BinanceSettings, IexSettings, ItchSettings


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
    if feed == "itch":
        from ingest.itch.decoder import ItchDecoder

        lateness_ns = ItchSettings.load().lateness_ms * NS_PER_MS
        return ItchDecoder(venue, session, registry=registry, lateness_ns=lateness_ns)
    if feed == "binance":
        from ingest.websocket.binance.decoder import BinanceDecoder

        lateness_ns = BinanceSettings.load().lateness_ms * NS_PER_MS
        return BinanceDecoder(venue, session, registry=registry, lateness_ns=lateness_ns)
    if feed == "iex":
        from ingest.iex.decoder import IexDecoder

        lateness_ns = IexSettings.load().lateness_ms * NS_PER_MS
        return IexDecoder(venue, session, registry=registry, lateness_ns=lateness_ns)
    raise SettingsError(f"venue {venue}: no decoder for feed {feed!r}; known are itch, binance, iex")


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
    if feed == "itch":
        from ingest.itch.files import load_file as load_itch

        return load_itch(source, data_dir, venue, day, registry, ItchSettings.load().capture_segment_mb)
    if feed == "iex":
        from ingest.iex.files import load_file as load_iex

        return load_iex(source, data_dir, venue, day, registry, IexSettings.load().capture_segment_mb)
    raise SettingsError(f"venue {venue}: no files of feed {feed!r} are read; those of itch and iex are")


def sessions(data_dir: Path, venue: str) -> list[str]:
    """Names of the sessions that were captured, in order."""
    root = data_dir / "capture" / venue
    return sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []


def _feed(venue: str, registry: Registry) -> str:
    found = registry.venues.get(venue)
    if found is None:
        known = ", ".join(sorted(registry.venues))
        raise SettingsError(f"venue {venue!r} is not in strategies/instruments.toml; known are {known}")
    return found.feed
