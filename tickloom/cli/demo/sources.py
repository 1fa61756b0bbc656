"""What the demo plays: a synthetic session of two venues, or recorded Binance lines."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from tickloom.clock import NS_PER_S, SystemClock
from tickloom.errors import ServiceError, SetupError
from tickloom.instruments import Registry
from tickloom.settings import BinanceSettings, SyntheticSettings
from tickloom.stack import applications
from tickloom.stack.configuration import StackConfiguration
from tickloom.stack.ports import free_ports
from tickloom.stack.service import Service

EXCHANGE_FILE = Path("strategies/exchanges/nyc.toml")
DESTINATIONS_FILE = Path("strategies/destinations.toml")
MARGIN_S = 60.0  # that a session may last longer than its length by the clock


@dataclass(slots=True)
class Services:
    """Processes that are the source's own, in the order in which they start."""

    ingesters: list[Service] = field(default_factory=list)
    markets: list[Service] = field(default_factory=list)


class Source(Protocol):
    """A session to play. ``last_date``: the day in which it ends; ``seconds_max``: real seconds after which
    it must have ended; ``pair_venues``: of ``venues`` those whose pairs' spreads are computed."""

    label: str
    venues: tuple[str, ...]
    rules: tuple[str, ...]
    pair_venues: tuple[str, ...]
    session_date: str
    last_date: str
    seconds_max: float

    def overrides(self) -> dict[str, dict[str, Any]]:
        """Settings by section."""
        ...

    def finish(self, configuration: StackConfiguration) -> StackConfiguration:
        """Settings that follow from the ports."""
        ...

    def services(self, configuration: StackConfiguration) -> Services: ...

    def ingester_metrics_ports(self, configuration: StackConfiguration) -> list[int]: ...

    def submit_rules(self) -> None: ...


def _submit(*command: str) -> None:
    """In a process of its own: the Flink client brings a JVM with it."""
    done = subprocess.run(
        [sys.executable, "-m", "tickloom", *command, "--from", "earliest"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=dict(os.environ),
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise ServiceError(f"`tickloom {' '.join(command)}` failed: {said}")


def _player(name: str, *arguments: str, environment: dict[str, str] | None = None) -> Service:
    """A market: healthy as soon as it runs, and its end is no crash."""
    return Service(
        name=name,
        argv=(sys.executable, "-m", "tickloom", *arguments),
        health=lambda attempt: "",
        environment={"PYTHONUNBUFFERED": "1", **(environment or {})},
        restart=False,
    )


class Synthetic:
    """Stocks over MoldUDP64 and coins over a websocket, made from a seed."""

    venues: tuple[str, ...] = ("XNAS", "BINANCE")
    rules: tuple[str, ...] = ("pair_spread", "trade_burst", "quote_fade")
    pair_venues: tuple[str, ...] = ("XNAS",)

    def __init__(self, speed: float | None, duration_s: float | None) -> None:
        given = {"speed": speed, "duration_s": duration_s}
        self._settings = SyntheticSettings.load(**{k: v for k, v in given.items() if v is not None})
        today = datetime.fromtimestamp(SystemClock().now_ns() // NS_PER_S, UTC)
        self.session_date = self.last_date = today.strftime("%Y-%m-%d")
        self.seconds_max = self._settings.duration_s / self._settings.speed + MARGIN_S
        self.label = (
            f"synthetic session, seed {self._settings.seed}, {self._settings.duration_s:g} s of market time "
            f"at {self._settings.speed:g} times real time"
        )

    def overrides(self) -> dict[str, dict[str, Any]]:
        return {
            "synthetic": {"speed": self._settings.speed, "duration_s": self._settings.duration_s},
            "itch": {"session_date": self.session_date},
            "binance": {"session_date": self.session_date},
            # stocks trade at the venues of an exchange of their own, coins at the plain one
            "exchange": {"venues": ("BINANCE",), "instances": (EXCHANGE_FILE,)},
            "execution": {"destinations_file": DESTINATIONS_FILE},
        }

    def finish(self, configuration: StackConfiguration) -> StackConfiguration:
        synthetic = configuration.synthetic
        binance = configuration.binance.model_copy(
            update={
                "websocket_url": f"ws://127.0.0.1:{synthetic.websocket_port}",
                "rest_url": f"http://127.0.0.1:{synthetic.rest_port}",
            }
        )
        return dataclasses.replace(configuration, binance=binance)

    def services(self, configuration: StackConfiguration) -> Services:
        return Services(
            [applications.ingester(configuration, name) for name in ("itch", "binance")],
            [_player("market", "synthetic", "play")],
        )

    def ingester_metrics_ports(self, configuration: StackConfiguration) -> list[int]:
        return [configuration.itch.metrics_port, configuration.binance.metrics_port]

    def submit_rules(self) -> None:
        commands = [("rules", "submit", *self.rules)]
        commands += [("pairs", "submit", venue) for venue in self.pair_venues]
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda command: _submit(*command), commands))


_MARKETS: dict[str, Any] = {"BINANCE": "spot", "BINANCEF": "usdm"}


class Recorded:
    """Recorded Binance lines, each market through a websocket server and an ingester of its own."""

    rules: tuple[str, ...] = ()
    pair_venues: tuple[str, ...] = ()

    def __init__(self, directory: Path, speed: float) -> None:
        from ingest.websocket.replay import RecordedLines, recorded_venues

        self._directory = directory.absolute()
        self._speed = speed
        self.venues = tuple(recorded_venues(self._directory))
        if not self.venues:
            raise SetupError(f"{directory} has no recordings such as spot_btcusdt_20240808.gz")
        days = sorted(path.name[-11:-3] for path in self._directory.glob("*_????????.gz"))
        self.session_date, self.last_date = (f"{day[:4]}-{day[4:6]}-{day[6:]}" for day in (days[0], days[-1]))
        self._instruments = {
            venue: RecordedLines.of_directory(self._directory, venue).symbols for venue in self.venues
        }
        self.label = (
            f"recorded lines of {', '.join(self.venues)}, {days[0]} to {days[-1]}, {speed:g} x real time"
        )
        self.seconds_max = 3_600.0 / speed + 4 * MARGIN_S
        self._settings: dict[str, BinanceSettings] = {}

    def overrides(self) -> dict[str, dict[str, Any]]:
        return {
            "binance": {"session_date": self.session_date},
            "execution": {"venues": self.venues},
            "exchange": {"venues": self.venues},
        }

    def finish(self, configuration: StackConfiguration) -> StackConfiguration:
        registry = Registry.load()
        ports = free_ports(3 * len(self.venues))
        for venue in self.venues:
            metrics, websocket, rest = ports.pop(), ports.pop(), ports.pop()
            instruments = []
            for symbol in self._instruments[venue]:
                instrument = registry.by_venue_symbol(venue, symbol)
                if instrument is None:
                    raise SetupError(
                        f"{self._directory} has recordings of {symbol}, which is no instrument of {venue} in "
                        "strategies/instruments.toml; add it there, with its tick and lot"
                    )
                instruments.append(instrument.symbol)
            self._settings[venue] = configuration.binance.model_copy(
                update={
                    "venue": venue,
                    "market": _MARKETS[venue],
                    "instruments": tuple(instruments),
                    "websocket_url": f"ws://127.0.0.1:{websocket}",
                    "rest_url": f"http://127.0.0.1:{rest}",
                    "metrics_port": metrics,
                }
            )
        return configuration

    def services(self, configuration: StackConfiguration) -> Services:
        services = Services()
        for venue in self.venues:
            settings = self._settings[venue]
            own = applications.ingester(dataclasses.replace(configuration, binance=settings), "binance")
            environment = {**own.environment, **settings.environment()}
            services.ingesters.append(
                dataclasses.replace(own, name=f"binance-{venue.lower()}", environment=environment)
            )
            ports = [settings.websocket_url.rpartition(":")[2], settings.rest_url.rpartition(":")[2]]
            services.markets.append(
                _player(
                    *(f"market-{venue.lower()}", "replay", str(self._directory)),
                    *("--venue", venue, "--speed", f"{self._speed:g}"),
                    *("--websocket-port", ports[0], "--rest-port", ports[1]),
                )
            )
        return services

    def ingester_metrics_ports(self, configuration: StackConfiguration) -> list[int]:
        return [settings.metrics_port for settings in self._settings.values()]

    def submit_rules(self) -> None:
        """None of the shipped rules is about coins; what is stored can be asked and ruled over later."""
