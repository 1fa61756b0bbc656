"""Orders find the gateway of their destination; what gateways say comes with their names."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from execution import destinations, gateways
from execution.destinations import Connectivity
from execution.gateways import Gateways, GatewaysEvents
from execution.orders import OrderRecord
from execution.venues.fix.gateway import FixGateway
from execution.venues.ouch.gateway import OuchGateway
from execution.venues.simulated.gateway import SimulatedGateway
from tests.execution.venues.ouch.world import order
from tickloom.clock import SystemClock
from tickloom.errors import DestinationsError
from tickloom.records import replace
from tickloom.settings import ExchangeSettings
from tickloom.stack import opened

PORTS = {"XNAS fix": 1001, "XTWO ouch": 1002, "XTHR fix": 1003, "DARK ouch": 1004, "drop_copy": 1005}
SHIPPED = Path("strategies/destinations.toml")


def silent() -> GatewaysEvents:
    return GatewaysEvents(lambda *_: None, lambda *_: None, lambda *_: None, lambda _: ("", 0))


def shipped() -> Connectivity:
    return destinations.load(SHIPPED, ("XNAS", "BINANCE"))


class Member:
    """A gateway that only notes."""

    def __init__(self, name: str, connected: bool = True) -> None:
        self.name, self.venues, self.connected = name, (), connected
        self.told: list[tuple[str, str]] = []

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def wait_connected(self, timeout_s: float) -> bool:
        return self.connected

    def send(self, *orders: OrderRecord) -> None:
        self.told += [("send", order.order_id) for order in orders]

    def cancel(self, order: OrderRecord) -> None:
        self.told.append(("cancel", order.order_id))

    def status(self, order: OrderRecord) -> None:
        self.told.append(("status", order.order_id))

    def replace(self, order: OrderRecord, original: OrderRecord) -> None:
        self.told.append(("replace", order.order_id))


def members(**connected: bool) -> dict[str, Member]:
    return {name: Member(name, connected.get(name.replace("-", "_"), True)) for name in shipped().gateways}


def test_each_order_goes_by_its_destination() -> None:
    """One without goes to its market's own."""
    made = members()
    all_of_them = Gateways(shipped(), dict(made))
    all_of_them.send(replace(order("A"), destination="XTWO"))
    all_of_them.cancel(replace(order("B"), destination="DARK"))
    all_of_them.status(order("C"))
    all_of_them.replace(replace(order("D"), destination="XTHR"), order("E"))
    assert {name: member.told for name, member in made.items() if member.told} == {
        "nyc-xtwo": [("send", "A")],
        "nyc-dark": [("cancel", "B")],
        "nyc-xnas": [("status", "C")],
        "nyc-xthr": [("replace", "D")],
    }
    with pytest.raises(DestinationsError, match=r"destinations.XLON"):
        all_of_them.send(replace(order("F"), destination="XLON"))


def test_a_market_is_reached_by_any_of_its_destinations() -> None:
    """A destination by its own session only, also where it has the market's name."""
    made = Gateways(shipped(), dict(members(nyc_xnas=False, exchange=False)))
    assert made.trades("XNAS")
    assert not made.reachable("XNAS")
    assert made.reachable("XTWO")
    assert not made.trades("BINANCE")
    assert not made.reachable("XLON")
    assert asyncio.run(made.wait_market("XNAS", 0.0))
    assert not asyncio.run(made.wait_market("BINANCE", 0.05))
    assert not asyncio.run(made.wait_connected(0.0))


def test_gateways_are_made_as_the_file_says(tmp_path: Path) -> None:
    """Kinds and names are the file's; where an exchange listens it says itself."""
    opened.write(tmp_path, "nyc", PORTS)
    opened.write(tmp_path, "exchange", {"port": 1000})

    async def run() -> Gateways:
        return gateways.make(shipped(), silent(), tmp_path, lambda _: (), SystemClock())

    made = asyncio.run(run())
    kinds = {name: (type(member), member.venues) for name, member in made.members.items()}
    assert kinds == {
        "nyc-xnas": (FixGateway, ("XNAS",)),
        "nyc-xtwo": (OuchGateway, ("XTWO",)),
        "nyc-xthr": (FixGateway, ("XTHR",)),
        "nyc-dark": (OuchGateway, ("DARK",)),
        "exchange": (SimulatedGateway, ("BINANCE",)),
    }
    assert [member.name for member in made.members.values()] == list(made.members)
    carried = {name: shipped().destinations.by_name[one] for name, (_, (one,)) in kinds.items()}
    for name, one in carried.items():
        settings = shipped().gateways[name]
        host, port = gateways.address(name, settings, [one], tmp_path)
        assert (host, port) == ("127.0.0.1", PORTS.get(f"{one.name} {settings.kind}", 1000))


def test_an_exchange_that_has_no_such_port_is_named(tmp_path: Path) -> None:
    """Or that never started with this data directory."""
    opened.write(tmp_path, "nyc", {key: port for key, port in PORTS.items() if key != "XTHR fix"})
    opened.write(tmp_path, "exchange", {"port": 1000})
    with pytest.raises(DestinationsError, match="no 'XTHR fix' open"):
        gateways.make(shipped(), silent(), tmp_path, lambda _: (), SystemClock())
    with pytest.raises(DestinationsError, match="has not said where it listens"):
        gateways.make(shipped(), silent(), tmp_path / "other", lambda _: (), SystemClock())


def test_plain_is_one_session_for_all_markets(tmp_path: Path) -> None:
    """As before there was a file."""
    connectivity = destinations.plain(("XNAS", "BINANCE"), ExchangeSettings(port=4711))

    async def run() -> Gateways:
        return gateways.make(connectivity, silent(), tmp_path, lambda _: (), SystemClock())

    made = asyncio.run(run())
    assert list(made.members) == ["simulated"]
    assert made.members["simulated"].venues == ("XNAS", "BINANCE")
    assert (made.gateway_of("BINANCE"), made.gateway_of("XTWO")) == ("simulated", "")
