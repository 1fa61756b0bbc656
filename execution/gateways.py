"""Orders by their destination to the gateway that leads there; what gateways say, with their names.

To the service all gateways together are one: it sends, cancels and asks, and each order finds its way. What
comes back is told with the name of the gateway, since numbers of reports and losses are of one session.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import structlog

from execution.destinations import FIX, SIMULATED, Connectivity, Destination, GatewaySettings
from execution.fix import tags
from execution.fix.configuration import SessionConfiguration
from execution.orders import OrderRecord
from execution.venues import Gateway, GatewayEvents, Report
from execution.venues.fix.gateway import FixGateway
from execution.venues.ouch.gateway import OuchGateway
from execution.venues.simulated.gateway import SimulatedGateway
from tickloom.clock import Clock
from tickloom.errors import DestinationsError
from tickloom.stack import opened

OUCH_USER = "TLOOM"  # of a SoupBinTCP login without a login_file; at most 6 characters
POLL_S = 0.02

_log = structlog.get_logger("gateway")

#: (destination) to the whole ids of our orders there: a protocol may cut them.
OrderIds = Callable[[str], Iterable[str]]


@dataclass(frozen=True, slots=True)
class GatewaysEvents:
    """What is called with what a gateway says, and its name behind it or, of a session, before it."""

    on_report: Callable[[Report, str], None]
    on_session: Callable[[str, str], None]
    on_lost: Callable[[str, str], None]
    last_report: Callable[[str], tuple[str, int]]
    on_reports: Callable[[list[Report], str], None] | None = None
    on_fenced: Callable[[str], None] | None = None
    epoch: int = 0
    agent: str = ""

    def of(self, gateway: str) -> GatewayEvents:
        """Those of one gateway."""
        together = self.on_reports
        return GatewayEvents(
            lambda report: self.on_report(report, gateway),
            lambda session: self.on_session(gateway, session),
            lambda why: self.on_lost(gateway, why),
            lambda: self.last_report(gateway),
            on_reports=(lambda reports: together(reports, gateway)) if together is not None else None,
            on_fenced=self.on_fenced,
            epoch=self.epoch,
            agent=self.agent,
        )


class Gateways:
    """All gateways of an agent; see :class:`execution.venues.Gateway` for what each method means.

    Parameters
    ----------
    members : dict of str to Gateway
        By name.
    """

    def __init__(self, connectivity: Connectivity, members: dict[str, Gateway]) -> None:
        self.connectivity, self.members = connectivity, members
        self.names = tuple(members)
        self._market_of = {one.name: one.market for one in connectivity.destinations.by_name.values()}
        self.markets = frozenset(self._market_of.values())

    def gateway_of(self, destination: str) -> str:
        """Name of the gateway that leads there; empty where none does."""
        return self.connectivity.gateway_of(destination)

    def reachable(self, destination: str) -> bool:
        """Whether there is a session with the destination now."""
        member = self.members.get(self.gateway_of(destination))
        return member is not None and member.connected

    def trades(self, market: str) -> bool:
        """Whether there is a session with any destination of a market; of a destination, with itself."""
        if market in self.markets:
            return any(self.reachable(name) for name, at in self._market_of.items() if at == market)
        return self.reachable(market)

    @property
    def connected(self) -> bool:
        """Whether there is any session: cancels and questions can leave."""
        return any(member.connected for member in self.members.values())

    @property
    def failure(self) -> BaseException | None:
        """What a gateway could not have recorded; the agent must stop."""
        found = (getattr(member, "failure", None) for member in self.members.values())
        return next((failure for failure in found if failure is not None), None)

    async def start(self) -> None:
        for member in self.members.values():
            await member.start()

    async def wait_connected(self, timeout_s: float) -> bool:
        """True as soon as all have a session, False if one had none in that time."""
        waits = [member.wait_connected(timeout_s) for member in self.members.values()]
        return all(await asyncio.gather(*waits))

    async def wait_market(self, market: str, timeout_s: float) -> bool:
        """True as soon as there is a session with any destination of a market."""
        end_s = asyncio.get_running_loop().time() + timeout_s
        while not self.trades(market) and asyncio.get_running_loop().time() < end_s:
            await asyncio.sleep(POLL_S)
        return self.trades(market)

    def send(self, *orders: OrderRecord) -> None:
        for member, part in itertools.groupby(orders, self._of):
            member.send(*part)

    def cancel(self, order: OrderRecord) -> None:
        self._of(order).cancel(order)

    def replace(self, order: OrderRecord, original: OrderRecord) -> None:
        self._of(order).replace(order, original)

    def status(self, order: OrderRecord) -> None:
        self._of(order).status(order)

    async def close(self) -> None:
        for member in self.members.values():
            await member.close()

    def _of(self, order: OrderRecord) -> Gateway:
        name = self.gateway_of(order.sent_to)
        if name not in self.members:
            raise DestinationsError(
                f"order {order.order_id} goes to {order.sent_to}, where no gateway leads; write "
                f"[destinations.{order.sent_to}] in execution.destinations_file and start the agent again"
            )
        return self.members[name]


def make(
    connectivity: Connectivity,
    events: GatewaysEvents,
    data_dir: Path,
    order_ids: OrderIds,
    clock: Clock,
) -> Gateways:
    """The gateways of a destinations file, not started yet.

    Raises
    ------
    DestinationsError
        A simulated exchange that one of them leads to has not said where it listens, or opened no such port.
    """
    members: dict[str, Gateway] = {}
    for name, settings in connectivity.gateways.items():
        carried = [connectivity.destinations.by_name[one] for one in connectivity.carried_by(name)]
        host, port = address(name, settings, carried, data_dir)
        if settings.kind == SIMULATED:
            venues = tuple(one.name for one in carried)
            members[name] = SimulatedGateway(host, port, venues, events.of(name), name)
        elif settings.kind == FIX:
            members[name] = _fix(name, settings, carried, (host, port), events.of(name), data_dir, clock)
        else:
            members[name] = _ouch(name, settings, carried[0], (host, port), events.of(name), order_ids, clock)
        _log.info("gateway", gateway=name, kind=settings.kind, address=f"{host}:{port}")
    return Gateways(connectivity, members)


def address(
    name: str, settings: GatewaySettings, carried: list[Destination], data_dir: Path
) -> tuple[str, int]:
    """Host and port of a gateway's other end.

    Raises
    ------
    DestinationsError
        As :func:`make`.
    """
    if not settings.exchange:
        return settings.host, settings.port
    ports = opened.read(data_dir, settings.exchange)
    key = "port" if settings.kind == SIMULATED else f"{carried[0].name} {settings.kind}"
    if not ports.get(key):
        raise DestinationsError(
            f"gateway {name}: exchange {settings.exchange!r} has no {key!r} open (it has "
            f"{', '.join(sorted(ports))}); name it in that exchange's file of venues"
        )
    return settings.host, ports[key]


def _fix(
    name: str,
    settings: GatewaySettings,
    carried: list[Destination],
    address: tuple[str, int],
    events: GatewayEvents,
    data_dir: Path,
    clock: Clock,
) -> FixGateway:
    user, password = settings.login()
    fields = ((tags.USERNAME, user), (tags.PASSWORD, password)) if user else ()
    configuration = SessionConfiguration(
        sender=settings.sender,
        target=settings.target,
        initiator=True,
        app_types=frozenset(),
        begin_string=settings.begin_string,
        heartbeat_s=settings.heartbeat_s,
        reset_utc=settings.reset_utc,
        logon_fields=fields,
    )
    venues = tuple(one.name for one in carried)
    store = data_dir / "execution" / "fix" / f"{name}.db"
    return FixGateway(configuration, *address, venues, store, events, clock, name)


def _ouch(
    name: str,
    settings: GatewaySettings,
    destination: Destination,
    address: tuple[str, int],
    events: GatewayEvents,
    order_ids: OrderIds,
    clock: Clock,
) -> OuchGateway:
    user, password = settings.login()
    return OuchGateway(
        *address,
        destination.name,
        events,
        username=user or OUCH_USER,
        password=password,
        order_ids=lambda: order_ids(destination.name),
        clock=clock,
        name=name,
        fees=(destination.maker_fee, destination.taker_fee),
    )
