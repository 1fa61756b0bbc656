"""One running exchange: its venues and ports from a TOML file, opened and closed together.

The file has a table ``[venues.NAME]`` for each venue (:mod:`execution.exchange.profile`), in it
``ports = { fix = 26530, ouch = 26510, feed = 26520, rerequest = 26521 }`` where it is to speak and
``quotes = true`` if its best bid and offer go to ``ticks.NAME``; at the top ``port`` (of the exchange's own
protocol), ``control_port``, ``drop_copy_port``, ``metrics_port``, ``password`` of logins, and
``fix_clients``, the CompIDs of who may log on to the FIX ports. What is not named is not opened; 0 takes a
free port, the same one again after a restart (:mod:`tickloom.stack.opened`). All bind to the exchange's
host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import structlog

from execution.exchange.control import ControlPort
from execution.exchange.drop_copy import DropCopy
from execution.exchange.fix_port import FixPort
from execution.exchange.itch import PRICE_UNIT
from execution.exchange.market import Markets
from execution.exchange.market_data import FeedWriter
from execution.exchange.mold_publisher import MoldPublisher
from execution.exchange.orders import Outcome
from execution.exchange.ouch_port import OuchPort
from execution.exchange.profile import DARK, VenueProfile, parse
from execution.exchange.quote_publisher import QuotePublisher
from execution.exchange.record import ExchangeRecord
from execution.exchange.server import ExchangeServer
from tickloom.clock import Clock
from tickloom.errors import SettingsError
from tickloom.instruments import Registry
from tickloom.prices import NANOS
from tickloom.records import replace
from tickloom.toml_file import read_tables

_PORTS = ("fix", "ouch", "feed", "rerequest")
_OWN_PORTS = ("port", "control_port", "drop_copy_port", "metrics_port")
_KEYS = (*_OWN_PORTS, "password", "fix_clients")
FIX_CLIENTS = ("TICKLOOM",)
_TIMEZONE = "America/New_York"  # of a venue whose feed the registry does not know

_log = structlog.get_logger("exchange")


@dataclass(frozen=True, slots=True)
class InstanceSettings:
    """What the file says. ports: venue to the names and numbers of its ports. quoted: venues whose best bid
    and offer are published."""

    profiles: dict[str, VenueProfile] = field(default_factory=dict)
    ports: dict[str, dict[str, int]] = field(default_factory=dict)
    port: int | None = None
    control_port: int | None = None
    drop_copy_port: int | None = None
    metrics_port: int | None = None
    password: str = ""
    fix_clients: tuple[str, ...] = FIX_CLIENTS
    quoted: tuple[str, ...] = ()

    def feeds(self) -> tuple[str, ...]:
        """The feeds that its venues follow."""
        return tuple(dict.fromkeys(profile.source for profile in self.profiles.values()))

    @classmethod
    def load(cls, path: Path) -> InstanceSettings:
        """Read the file.

        Raises
        ------
        SettingsError
            Naming what is wrong. Nothing is taken from such a file.
        """
        tables = read_tables(path, "Say which file has the venues.")
        venues: dict[str, dict[str, Any]] = tables.pop("venues", {})
        unknown = set(tables) - set(_KEYS)
        if unknown or not venues:
            what = f"unknown: {', '.join(sorted(unknown))}" if unknown else "no [venues.NAME]"
            raise SettingsError(f"{path}: {what}; it has venues, {', '.join(_KEYS)}")
        ports = {name: entry.pop("ports", {}) for name, entry in venues.items()}
        for name, numbers in ports.items():
            wrong = [key for key, value in numbers.items() if key not in _PORTS or not _is_port(value)]
            if wrong:
                raise SettingsError(
                    f"{path}: venue {name}: {wrong[0]} is no port; it has {', '.join(_PORTS)}"
                )
        for key in _OWN_PORTS:
            if key in tables and not _is_port(tables[key]):
                raise SettingsError(f"{path}: {key} is no port number; give one from 0 to 65535")
        clients = tables.pop("fix_clients", list(FIX_CLIENTS))
        if not isinstance(clients, list) or not all(isinstance(name, str) and name for name in clients):
            raise SettingsError(f"{path}: fix_clients is a list of CompIDs")
        quotes = {name: entry.pop("quotes", False) for name, entry in venues.items()}
        profiles = parse(str(path), venues)
        for name, on in quotes.items():
            if not isinstance(on, bool) or (on and profiles[name].kind == DARK):
                raise SettingsError(f"{path}: venue {name}: quotes is true or false, and a dark one has none")
        quoted = tuple(name for name, on in quotes.items() if on)
        return cls(profiles, ports, fix_clients=tuple(clients), quoted=quoted, **tables)

    def any_port(self) -> InstanceSettings:
        """The same on free ports, where it opens any."""
        free = {
            venue: {key: number if key == "feed" else 0 for key, number in numbers.items()}
            for venue, numbers in self.ports.items()  # a feed's is where it sends to
        }
        return replace(
            self,
            ports=free,
            port=None if self.port is None else 0,
            control_port=None if self.control_port is None else 0,
            drop_copy_port=None if self.drop_copy_port is None else 0,
            metrics_port=None if self.metrics_port is None else 0,
        )


def _is_port(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 65_535


class _Door(Protocol):
    """Something that listens."""

    async def start(self, host: str, port: int) -> int: ...


class Instance:
    """The ports of a running exchange, besides that of its own protocol, and what it publishes.

    Parameters
    ----------
    quotes : QuotePublisher, optional
        Tells the best bids and offers of its quoted venues.
    again : callable
        (name, port) of what is to be opened to the port that it shall have.

    Attributes
    ----------
    opened : dict of str to int
        What listens where: "control", "drop_copy", and "fix", "ouch" and "rerequest" behind the venue's name.
    """

    def __init__(
        self,
        settings: InstanceSettings,
        server: ExchangeServer,
        record: ExchangeRecord,
        registry: Registry,
        clock: Clock,
        quotes: QuotePublisher | None = None,
        again: Callable[[str, int], int] = lambda name, port: port,
    ) -> None:
        self._quotes, self._again = quotes, again
        self._settings, self._server, self._clock = settings, server, clock
        self._record, self._registry = record, registry
        # from the first outcome on, whether somebody listens or not: the stream is part of the record
        self._drop_copy = DropCopy(server, record, clock, settings.password)
        self._control = ControlPort(server, clock)
        self._ouch = {
            venue: OuchPort(server, record, clock, venue, self._timezone(venue), settings.password)
            for venue in settings.profiles
        }
        self._fix = {
            venue: FixPort(server, record, clock, venue, settings.fix_clients, settings.password)
            for venue, ports in settings.ports.items()
            if "fix" in ports
        }
        self._feeds: dict[str, tuple[FeedWriter, MoldPublisher]] = {}
        self.opened: dict[str, int] = {}

    async def start(self, host: str) -> None:
        """Open what the file names; to be called when the exchange is live.

        Raises
        ------
        SetupError
            A port is taken.
        """
        settings = self._settings
        for venue, ports in settings.ports.items():
            protocols: tuple[tuple[str, Mapping[str, _Door]], ...] = (
                ("fix", self._fix),
                ("ouch", self._ouch),
            )
            for protocol, doors in protocols:
                if protocol in ports:
                    await self._open(doors[venue], f"{venue} {protocol}", host, ports[protocol])
            if "feed" in ports:
                await self._start_feed(host, venue, ports)
        if self._feeds or self._quotes is not None:
            self._server.engine.markets.take_changed()
            self._server.watch(self._publish)
        if self._quotes is not None:
            self._quotes.start()
        if settings.drop_copy_port is not None:
            await self._open(self._drop_copy, "drop_copy", host, settings.drop_copy_port)
        if settings.control_port is not None:
            await self._open(self._control, "control", host, settings.control_port)
        _log.info("ports_open", **{name.replace(" ", "_"): port for name, port in self.opened.items()})

    async def _open(self, door: _Door, name: str, host: str, port: int) -> None:
        self.opened[name] = await door.start(host, self._again(name, port))

    async def _start_feed(self, host: str, venue: str, ports: dict[str, int]) -> None:
        markets = self._server.engine.markets
        symbols = [symbol for symbol in markets.symbols(venue) if _itch_can_say(markets, venue, symbol)]
        writer = FeedWriter(markets, venue, symbols, self._timezone(venue))
        publisher = MoldPublisher(host, ports["feed"], host, ports.get("rerequest", 0))
        self.opened[f"{venue} rerequest"] = await publisher.start()
        markets.trade_watchers.append(writer.on_feed_trade)
        self._feeds[venue] = (writer, publisher)
        publisher.publish(writer.begin(markets.time(venue, self._clock.now_ns())))

    def _publish(self, outcome: Outcome, streamed: list[tuple[str, bytes]]) -> None:
        changed = self._server.engine.markets.take_changed()
        for venue, (writer, publisher) in self._feeds.items():
            symbols = [symbol for name, symbol in changed if name == venue]
            ts = self._server.engine.markets.time(venue, self._clock.now_ns())
            publisher.publish(writer.step(outcome, symbols, ts))
        if self._quotes is not None:
            self._quotes.on_changed(outcome, changed)

    async def close(self) -> None:
        """The order entry ports are closed by the server."""
        if self._quotes is not None:
            await self._quotes.close()
        await self._control.close()
        await self._drop_copy.close()
        for _, publisher in self._feeds.values():
            await publisher.close()

    def _timezone(self, venue: str) -> str:
        found = self._registry.venues.get(self._server.engine.markets.profile(venue).source)
        return found.timezone if found is not None else _TIMEZONE


def _itch_can_say(markets: Markets, venue: str, symbol: str) -> bool:
    """Whole shares, four decimals, eight characters."""
    instrument = markets.instrument(venue, symbol)
    return (
        instrument is not None
        and instrument.lot % NANOS == 0
        and instrument.tick % PRICE_UNIT == 0
        and len(symbol) <= 8
    )
