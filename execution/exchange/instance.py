"""One running exchange: its venues and ports from a TOML file, opened and closed together.

The file has a table ``[venues.NAME]`` for each venue (:mod:`execution.exchange.profile`), in it
``ports = { ouch = 26510, feed = 26520, rerequest = 26521 }`` where it is to speak, and at the top
``control_port``, ``drop_copy_port`` and ``password`` of SoupBinTCP logins. What is not named is not
opened; 0 takes a free port. All bind to the exchange's host.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from execution.exchange.control import ControlPort
from execution.exchange.drop_copy import DropCopy
from execution.exchange.itch import PRICE_UNIT
from execution.exchange.market import Markets
from execution.exchange.market_data import FeedWriter
from execution.exchange.mold_publisher import MoldPublisher
from execution.exchange.orders import Outcome
from execution.exchange.ouch_port import OuchPort
from execution.exchange.profile import VenueProfile, parse
from execution.exchange.record import ExchangeRecord
from execution.exchange.server import ExchangeServer
from tickloom.clock import Clock
from tickloom.errors import SettingsError
from tickloom.instruments import Registry
from tickloom.prices import NANOS

_PORTS = ("ouch", "feed", "rerequest")
_TIMEZONE = "America/New_York"  # of a venue whose feed the registry does not know

_log = structlog.get_logger("exchange")


@dataclass(frozen=True, slots=True)
class InstanceSettings:
    """What the file says. ports: venue to the names and numbers of its ports."""

    profiles: dict[str, VenueProfile] = field(default_factory=dict)
    ports: dict[str, dict[str, int]] = field(default_factory=dict)
    control_port: int | None = None
    drop_copy_port: int | None = None
    password: str = ""

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
        try:
            tables = tomllib.loads(path.read_text())
        except OSError as error:
            raise SettingsError(f"{path}: {error.strerror}; say which file has the venues") from None
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"{path}: not TOML: {error}. Mend that line.") from None
        venues: dict[str, dict[str, Any]] = tables.pop("venues", {})
        unknown = set(tables) - {"control_port", "drop_copy_port", "password"}
        if unknown or not venues:
            what = f"unknown: {', '.join(sorted(unknown))}" if unknown else "no [venues.NAME]"
            raise SettingsError(f"{path}: {what}; it has venues, control_port, drop_copy_port and password")
        ports = {name: entry.pop("ports", {}) for name, entry in venues.items()}
        for name, numbers in ports.items():
            wrong = [key for key, value in numbers.items() if key not in _PORTS or not _is_port(value)]
            if wrong:
                raise SettingsError(
                    f"{path}: venue {name}: {wrong[0]} is no port; it has {', '.join(_PORTS)}"
                )
        for key in ("control_port", "drop_copy_port"):
            if key in tables and not _is_port(tables[key]):
                raise SettingsError(f"{path}: {key} is no port number; give one from 0 to 65535")
        return cls(parse(str(path), venues), ports, **tables)


def _is_port(value: Any) -> bool:
    return isinstance(value, int) and 0 <= value <= 65_535


class Instance:
    """The ports of a running exchange, besides that of its own protocol.

    Attributes
    ----------
    opened : dict of str to int
        What listens where: "control", "drop_copy", and "ouch" and "rerequest" behind the venue's name.
    """

    def __init__(
        self,
        settings: InstanceSettings,
        server: ExchangeServer,
        record: ExchangeRecord,
        registry: Registry,
        clock: Clock,
    ) -> None:
        self._settings, self._server, self._clock = settings, server, clock
        self._record, self._registry = record, registry
        # from the first outcome on, whether somebody listens or not: the stream is part of the record
        self._drop_copy = DropCopy(server, record, clock, settings.password)
        self._control = ControlPort(server, clock)
        self._ouch = {
            venue: OuchPort(server, record, clock, venue, self._timezone(venue), settings.password)
            for venue in settings.profiles
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
            if "ouch" in ports:
                self.opened[f"{venue} ouch"] = await self._ouch[venue].start(host, ports["ouch"])
            if "feed" in ports:
                await self._start_feed(host, venue, ports)
        if self._feeds:
            self._server.engine.markets.take_changed()
            self._server.watch(self._publish)
        if settings.drop_copy_port is not None:
            self.opened["drop_copy"] = await self._drop_copy.start(host, settings.drop_copy_port)
        if settings.control_port is not None:
            self.opened["control"] = await self._control.start(host, settings.control_port)
        _log.info("ports_open", **{name.replace(" ", "_"): port for name, port in self.opened.items()})

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

    async def close(self) -> None:
        """The OUCH ports are closed with the server's other ports."""
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
