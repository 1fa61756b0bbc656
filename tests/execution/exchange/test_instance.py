"""A whole exchange without Kafka: the file of its venues, its ports, faults on demand."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from execution.exchange.control import arguments_of, ask
from execution.exchange.instance import Instance, InstanceSettings
from execution.exchange.matching import MatchingEngine
from execution.exchange.profile import DARK, FeeTable, LatencyModel
from execution.exchange.record import ExchangeRecord
from execution.exchange.server import ExchangeServer
from execution.venues import Report, ReportType
from execution.venues.ouch.gateway import OuchGateway
from execution.venues.simulated import protocol
from tests.execution.rig import standing_market
from tests.execution.venues.ouch.world import CLOCK, REGISTRY, WAIT_S, Agent, order
from tickloom.clock import NS_PER_MS
from tickloom.errors import ServiceError, SettingsError
from tickloom.events import OrderState
from tickloom.prices import NANOS
from tickloom.stack import opened

VENUES = """
control_port = 0
drop_copy_port = 0

[venues.XNAS]
fees = { maker = "-0.0020", taker = "0.0030" }
latency = { base_ms = 2, jitter_ms = 0.5 }
ports = { ouch = 0, feed = 9, rerequest = 0 }

[venues.XTWO]
feed = "XNAS"
displayed_share = 0.5
widen_ticks = 1
impact = { temporary = 1.0, daily_volume = "5000000" }
ports = { ouch = 0 }

[venues.DARK]
feed = "XNAS"
kind = "dark"
dark = { probability = 0.3, share = 0.5, life_ms = 500 }
ports = { ouch = 0 }
"""


def settings_of(tmp_path: Path, text: str) -> InstanceSettings:
    path = tmp_path / "venues.toml"
    path.write_text(text)
    return InstanceSettings.load(path)


def test_file_of_venues(tmp_path: Path) -> None:
    """Kinds, fees, latency and impact are as written; all three follow one feed."""
    settings = settings_of(tmp_path, VENUES)
    assert settings.feeds() == ("XNAS",)
    lit, dark = settings.profiles["XNAS"], settings.profiles["DARK"]
    assert lit.fees == FeeTable(maker=-2_000_000, taker=3_000_000)
    assert lit.latency == LatencyModel(2 * NS_PER_MS, NS_PER_MS // 2)
    assert settings.profiles["XTWO"].impact.daily_volume == 5_000_000 * NANOS
    assert (dark.kind, dark.dark.life_ms) == (DARK, 500)


def test_the_shipped_file_on_free_ports() -> None:
    """Every port that it opens becomes a free one; where a feed is sent to stays."""
    settings = InstanceSettings.load(Path("strategies/exchanges/nyc.toml"))
    assert settings.quoted == ("XTWO", "XTHR")
    moved = settings.any_port()
    assert {port for numbers in moved.ports.values() for port in numbers.values()} == {0}
    assert (moved.control_port, moved.drop_copy_port, moved.metrics_port, moved.port) == (0, 0, 0, None)
    assert moved.profiles == settings.profiles
    fed = InstanceSettings(ports={"XNAS": {"feed": 26520, "rerequest": 26521}}).any_port()
    assert fed.ports == {"XNAS": {"feed": 26520, "rerequest": 0}}


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("[venues.X]\ncolour = 1", "'colour' is no setting of VenueProfile"),
        ("[venues.X]\nkind = 'grey'", "neither lit nor dark"),
        ("[venues.X]\nfees = { maker = 'x' }", "no decimal number"),
        ("[venues.X]\nlatency = { base_ms = -1 }", "latency is below 0"),
        ("[venues.X]\ndisplayed_share = 0.0", "displayed_share"),
        ("[venues.X]\nself_trade = 'shrug'", "self_trade"),
        ("[venues.X]\nports = { telex = 1 }", "telex is no port"),
        ("control_port = 70000\n[venues.X]", "control_port"),
        ("metrics_port = true\n[venues.X]", "metrics_port"),
        ("fix_clients = 'ME'\n[venues.X]", "list of CompIDs"),
        ("[venues.X]\nquotes = 1", "quotes is true or false"),
        ("[venues.X]\nfeed = 'XNAS'\nkind = 'dark'\nquotes = true", "a dark one has none"),
        ("[venue.X]", "unknown: venue"),
        ("", "no [venues.NAME]"),
        ("[venues", "not TOML"),
    ],
)
def test_malformed_file_is_refused_whole(tmp_path: Path, text: str, finding: str) -> None:
    """With what is wrong, and where."""
    with pytest.raises(SettingsError) as found:
        settings_of(tmp_path, text)
    assert finding in str(found.value)


class World:
    """The three venues of the file, started."""

    def __init__(self, tmp_path: Path) -> None:
        self.settings = settings_of(tmp_path, VENUES)
        self.record = ExchangeRecord(tmp_path / "exchange.db")
        engine = MatchingEngine(REGISTRY, [], 0, self.settings.profiles)
        self.server = ExchangeServer(engine, self.record, CLOCK)
        self.instance = Instance(self.settings, self.server, self.record, REGISTRY, CLOCK)
        for _, batch in standing_market(REGISTRY, 2):
            engine.apply(batch.block, 0)
        self.server.go_live()
        self.gateways: list[OuchGateway] = []

    async def __aenter__(self) -> World:
        await self.instance.start("127.0.0.1")
        return self

    async def __aexit__(self, *_: object) -> None:
        for gateway in self.gateways:
            await gateway.close()
        await self.server.close()
        await self.instance.close()
        self.record.close()

    async def connect(self, venue: str, agent: Agent, username: str = "TLOOM") -> OuchGateway:
        port = self.instance.opened[f"{venue} ouch"]
        dark = venue == "DARK"
        gateway = OuchGateway("127.0.0.1", port, venue, agent.events(), username, midpoint=dark)
        await gateway.start()
        assert await gateway.wait_connected(WAIT_S)
        self.gateways.append(gateway)
        return gateway

    async def do(self, command: str, **arguments: Any) -> dict[str, Any]:
        port = self.instance.opened["control"]
        return await ask("127.0.0.1", port, {"command": command, **arguments})


def test_three_venues_of_one_feed(tmp_path: Path) -> None:
    """At the first offer of XNAS, a tick worse on XTWO, and two accounts at the mid in the dark."""

    async def run() -> None:
        async with World(tmp_path) as world:
            agents = {name: Agent() for name in ("XNAS", "XTWO", "DARK", "OTHER")}
            for number, venue in enumerate(("XNAS", "XTWO", "DARK")):
                gateway = await world.connect(venue, agents[venue])
                gateway.send(order(f"{number}", time_in_force="day"))
                await agents[venue].until(lambda venue=venue: bool(agents[venue].reports))  # type: ignore[misc]
            contra = await world.connect("DARK", agents["OTHER"], "OTHER")
            contra.send(order("D", price=152_300_000_000, side="sell"))
            prices = {}
            for name, agent in agents.items():
                await agent.until(lambda agent=agent: len(agent.reports) == 2)  # type: ignore[misc]
                prices[name] = agent.reports[1].last_price
            assert prices == {
                "XNAS": 152_410_000_000,
                "XTWO": 152_430_000_000,  # a tick wider, and less than a tick of impact
                "DARK": 152_400_000_000,
                "OTHER": 152_400_000_000,
            }
            fees = dict(_fees(world))
            assert fees["0"] == 10 * 3_000_000

    asyncio.run(run())


def _fees(world: World) -> list[tuple[str, int]]:
    found = []
    for line in world.record.reports_after("ouch:XNAS:TLOOM", 0):
        report = protocol.decode(line)
        assert isinstance(report, Report)
        if report.report_type is ReportType.TRADE:
            found.append((report.order_id, report.fee))
    return found


def test_faults_on_demand(tmp_path: Path) -> None:
    """Each through the control port, seen by a client."""

    async def run() -> None:
        async with World(tmp_path) as world:
            agent = Agent()
            gateway = await world.connect("XNAS", agent)
            await world.do("halt", venue="XNAS", symbol="ALFA")
            gateway.send(order("A"))
            await agent.until(lambda: len(agent.reports) == 1)
            assert agent.reports[0].text == "halted"
            await world.do("resume", venue="XNAS", symbol="ALFA")
            await world.do("reject", venue="XNAS")
            gateway.send(order("B"))
            gateway.send(order("C"))
            await agent.until(lambda: len(agent.reports) == 4)
            assert [report.state for report in agent.reports[1:]] == [
                OrderState.REJECTED,
                OrderState.NEW,
                OrderState.FILLED,
            ]
            await world.do("bust", execution_id=agent.reports[-1].execution_id)
            await agent.until(lambda: agent.reports[-1].report_type is ReportType.TRADE_CANCELLED)
            gateway.send(order("D", price=100 * NANOS, time_in_force="day"))
            await agent.until(lambda: len(agent.reports) == 6)
            assert (await world.do("status"))["open"] == 1
            await world.do("cancel", order_id="D")
            await agent.until(lambda: len(agent.reports) == 7)
            await world.do("slow", delay_ms=1, for_s=60)
            await world.do("silence", for_s=0.2)
            gateway.send(order("E"))
            await agent.until(lambda: len(agent.reports) == 9)
            assert (await world.do("drop"))["dropped"] == 1
            await agent.until(lambda: len(agent.lost) == 1)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("command", "finding"),
    [
        ({"command": "explode"}, "Invalid value 'explode'"),
        ({"command": "halt", "venue": "XNAS"}, "missing required field `symbol`"),
        ({"command": "drop", "cleint": "X"}, "unknown field `cleint`"),
        ({"command": "bust", "execution_id": "XNAS-E9"}, "nothing was done"),
        ({"command": "correct", "execution_id": "X", "quantity": "1e3", "price": "1"}, "no decimal number"),
    ],
)
def test_what_cannot_be_done_says_so(tmp_path: Path, command: dict[str, Any], finding: str) -> None:
    """A misspelt command or argument changes nothing."""

    async def run() -> None:
        async with World(tmp_path) as world:
            with pytest.raises(ServiceError) as found:
                await world.do(**command)
            assert finding in str(found.value)

    asyncio.run(run())


def test_nobody_at_the_control_port() -> None:
    """An error that says what to do."""
    with pytest.raises(ServiceError, match="is it running"):
        asyncio.run(ask("127.0.0.1", 1, {"command": "status"}))


def test_commands_from_texts() -> None:
    """The command line has texts: numbers become numbers, and what is wrong is said."""
    assert arguments_of("slow", {"delay_ms": "20", "for_s": "1.5"}) == {
        "command": "slow",
        "delay_ms": 20,
        "for_s": 1.5,
        "venue": "",
    }
    for command, given in (("slow", {"delay_ms": "x", "for_s": "1"}), ("explode", {}), ("halt", {})):
        with pytest.raises(SettingsError, match=command):
            arguments_of(command, given)


@pytest.mark.parametrize("named", [False, True])
def test_command_line(tmp_path: Path, named: bool) -> None:
    """``tickloom fault`` halts an instrument of a running exchange, found by its port or by its name."""

    async def run() -> None:
        async with World(tmp_path) as world:
            port = str(world.instance.opened["control"])
            opened.write(tmp_path, "nyc", world.instance.opened)
            which = ["--exchange", "nyc"] if named else ["--port", port]
            words = ["fault", "halt", "venue=XNAS", "symbol=ALFA", *which]
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tickloom", *words),
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, "TICKLOOM_STACK_DATA_DIR": str(tmp_path)},
            )
            out, _ = await process.communicate()
            assert (process.returncode, out) == (0, b'{"ok": true}\n')
            assert "on demand" in world.server.engine.markets.stopped("XNAS", "ALFA")

    asyncio.run(run())
