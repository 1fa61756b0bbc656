"""Ingesters as services: those with a command of their own, and the feeds that declare themselves.

All but ITCH, which the synthetic sender feeds, hear or connect to the outside, so none of those runs unless
it is named (``stack.services``, or ``tickloom up NAME``).
"""

from __future__ import annotations

from tickloom import topics
from tickloom.settings import DbnSettings, ItchSettings, LineSettings, NewsSettings, WebsocketSettings
from tickloom.settings.feeds import LIVE, FeedSettings
from tickloom.stack.configuration import StackConfiguration
from tickloom.stack.ports import UDP_MARK
from tickloom.stack.service import Service, own_process

#: Settings of a live ingester: all have a venue.
LiveSettings = LineSettings | DbnSettings | WebsocketSettings | NewsSettings | FeedSettings

ITCH = "itch"
#: Those with a command and a section of their own, in the order in which they are shown.
NAMES = (ITCH, "iex", "mdp3", "dbn", "binance", "kraken", "okx", "coinbase", "bybit", "news")


def settings_of(configuration: StackConfiguration, name: str) -> LiveSettings:
    """Of an ingester of :data:`NAMES`, or of a declared feed.

    Raises
    ------
    SettingsError
        A declared feed's settings are refused.
    """
    if name in NAMES:
        found: LiveSettings = getattr(configuration, name)
        return found
    return configuration.feeds[name] if name in configuration.feeds else LIVE[name].load()


def topic_names(settings: LiveSettings) -> list[str]:
    """What an ingester with these settings writes to."""
    if isinstance(settings, NewsSettings):
        return [topics.NEWS, topics.trust(settings.venue)]
    return [maker(settings.venue) for maker in (topics.ticks, topics.book, topics.trust)]


def service(configuration: StackConfiguration, name: str, depends_on: tuple[str, ...]) -> Service:
    """The ingester ``name``, which is one of :data:`NAMES` or a declared feed.

    Raises
    ------
    SettingsError
        It has no metrics port.
    """
    settings = settings_of(configuration, name)
    return own_process(
        name,
        *(("ingest", name) if name in NAMES else ("ingest", "live", name)),
        section=settings.section,
        metrics_port=settings.metrics_port,
        depends_on=depends_on,
        ports=_ports(settings),
        address=_address(settings),
        # what the stack's own settings may lack: those of a feed that was named on the command line alone
        environment={} if name in NAMES else settings.environment(),
    )


def _ports(settings: LiveSettings) -> dict[str, int]:
    """What it listens on beside its metrics."""
    if isinstance(settings, LineSettings) and not _over_tcp(settings):
        return {f"{settings.section}.port {UDP_MARK}": settings.port}
    return {}


def _over_tcp(settings: LineSettings) -> bool:
    return isinstance(settings, ItchSettings) and settings.transport == "soupbintcp"


def _address(settings: LiveSettings) -> str:
    if isinstance(settings, ItchSettings) and _over_tcp(settings):
        return f"reads {settings.soup_address}"
    if isinstance(settings, LineSettings):
        return f"udp {settings.host}:{settings.port}"
    if isinstance(settings, DbnSettings):
        return f"reads {settings.dataset} of {settings.gateway or 'Databento'}"
    if isinstance(settings, WebsocketSettings):
        return f"reads {settings.websocket_url}"
    if isinstance(settings, NewsSettings):
        return f"reads the sources of {settings.sources_file}"
    return ""
