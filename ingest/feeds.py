"""Which decoder reads which venue's captures; a session's directory name says the rest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from ingest.decoder import Decoder
from tickloom.clock import NS_PER_MS
from tickloom.errors import SettingsError
from tickloom.instruments import Registry
from tickloom.settings import BinanceSettings, ItchSettings


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
    found = registry.venues.get(venue)
    if found is None:
        known = ", ".join(sorted(registry.venues))
        raise SettingsError(f"venue {venue!r} is not in strategies/instruments.toml; known are {known}")
    if found.feed == "itch":
        from ingest.itch.decoder import ItchDecoder

        lateness_ns = ItchSettings.load().lateness_ms * NS_PER_MS
        return ItchDecoder(venue, session, registry=registry, lateness_ns=lateness_ns)
    if found.feed == "binance":
        from ingest.websocket.binance.decoder import BinanceDecoder

        lateness_ns = BinanceSettings.load().lateness_ms * NS_PER_MS
        return BinanceDecoder(venue, session, registry=registry, lateness_ns=lateness_ns)
    raise SettingsError(f"venue {venue}: no decoder for feed {found.feed!r}; known are itch, binance")


def sessions(data_dir: Path, venue: str) -> list[str]:
    """Names of the sessions that were captured, in order."""
    root = data_dir / "capture" / venue
    return sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
