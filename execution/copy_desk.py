"""The agent's drop copies: listeners on the exchanges' streams, and what they tell, to the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

from execution import metrics
from execution.copies import Copies
from execution.destinations import FIX, SIMULATED, Connectivity, GatewaySettings
from execution.engine import OrderEngine
from execution.gateways import OUCH_USER, OrderIds
from execution.ouch.values import CLIENT_ORDER_ID_LENGTH
from execution.venues import Report
from execution.venues.simulated.drop_copy import DropCopyListener
from execution.venues.simulated.gateway import CLIENT
from tickloom.clock import NS_PER_MS, Clock
from tickloom.errors import DestinationsError
from tickloom.events import Execution, OrderState
from tickloom.records import replace
from tickloom.stack import opened

_log = structlog.get_logger("drop_copy")


class CopyDesk:
    """Of all exchanges whose drop copy the destinations file wants.

    Parameters
    ----------
    on_report : callable
        (report, gateway): to the engine, and its orders on their way.
    """

    def __init__(
        self,
        connectivity: Connectivity,
        engine: OrderEngine,
        on_report: Callable[[Report, str], None],
        order_ids: OrderIds,
        data_dir: Path,
        wait_ms: int,
        clock: Clock,
    ) -> None:
        self._connectivity, self._engine, self._on_report = connectivity, engine, on_report
        self._order_ids, self._clock = order_ids, clock
        self._streams: list[_Stream] = []
        for exchange, gateway in _wanted(connectivity.gateways):
            listener_of = self._listener(exchange, gateway, data_dir)
            copies = Copies(wait_ms * NS_PER_MS, self._booked, self._unknown)
            self._streams.append(_Stream(f"drop-copy:{exchange}", copies, listener_of))

    async def start(self) -> None:
        """Begin to connect; the journal says from where."""
        for stream in self._streams:
            last = self._engine.journal.last_report(stream.name)
            stream.listener = stream.make(last, self._taker(stream))
            await stream.listener.start()

    async def close(self) -> None:
        for stream in self._streams:
            if stream.listener is not None:
                await stream.listener.close()

    @property
    def failure(self) -> BaseException | None:
        found = (stream.listener.failure for stream in self._streams if stream.listener is not None)
        return next((failure for failure in found if failure is not None), None)

    def turn(self) -> None:
        """Book what the orders' own sessions have not told in time; to be called some times a second."""
        for stream in self._streams:
            found = stream.copies.due(self._clock.monotonic_ns())
            for text in found.alerts:
                metrics.ALERTS.labels("drop_copy").inc()
                _log.error("alert", text=text)
            journal = self._engine.journal
            if found.alerts:
                with journal.transaction():
                    for text in found.alerts:
                        journal.alert(self._clock.now_ns(), "drop_copy", text)
            for report in found.book:
                self._on_report(report, self._connectivity.gateway_of(report.venue))
            if stream.listener is not None and found.sequence > stream.durable:
                stream.durable = found.sequence
                with journal.transaction():
                    journal.set_last_report(stream.name, stream.listener.stream, found.sequence)

    def _taker(self, stream: _Stream) -> Callable[[str, Report, int], None]:
        ours = self._clients()

        def take(client: str, report: Report, sequence: int) -> None:
            if client not in ours:
                stream.copies.skip(sequence)
                return
            whole = self._whole_id(report)
            stream.copies.take(replace(report, order_id=whole), sequence, self._clock.monotonic_ns())

        return take

    def _clients(self) -> set[str]:
        """What the exchanges call us."""
        found = set()
        for name, gateway in self._connectivity.gateways.items():
            for destination in self._connectivity.carried_by(name):
                if gateway.kind == SIMULATED:
                    found.add(CLIENT)
                elif gateway.kind == FIX:
                    found.add(f"fix:{destination}:{gateway.sender}")
                else:
                    found.add(f"ouch:{destination}:{gateway.login()[0] or OUCH_USER}")
        return found

    def _whole_id(self, report: Report) -> str:
        """Our id of an order of which the venue knows the first 14 characters, perhaps."""
        short = report.order_id
        if len(short) != CLIENT_ORDER_ID_LENGTH or short in self._engine.open:
            return short
        known: Iterable[str] = self._order_ids(report.venue)
        return next((one for one in known if one.startswith(short)), short)

    def _booked(self, destination: str, execution_id: str) -> Execution | None:
        found = self._engine.journal.execution(destination, execution_id)
        return found[1] if found is not None else None

    def _unknown(self, order_id: str) -> bool:
        order = self._engine.open.get(order_id)
        return order is not None and order.state is OrderState.UNKNOWN

    def _listener(self, exchange: str, gateway: GatewaySettings, data_dir: Path) -> _MakeListener:
        ports = opened.read(data_dir, exchange)
        if not ports.get("drop_copy"):
            raise DestinationsError(
                f"exchange {exchange!r} has no drop copy open; write drop_copy_port in its file of venues"
            )

        def make(last: tuple[str, int], take: Callable[[str, Report, int], None]) -> DropCopyListener:
            name, password = f"drop-copy:{exchange}", gateway.login()[1]
            return DropCopyListener(
                *(name, gateway.host, ports["drop_copy"], password, last, take, self._clock)
            )

        return make


_MakeListener = Callable[[tuple[str, int], Callable[[str, Report, int], None]], DropCopyListener]


class _Stream:
    """One exchange's; ``durable``: the number up to which the journal knows that it is done with."""

    def __init__(self, name: str, copies: Copies, make: _MakeListener) -> None:
        self.name, self.copies, self.make = name, copies, make
        self.listener: DropCopyListener | None = None
        self.durable = 0


def _wanted(gateways: dict[str, GatewaySettings]) -> list[tuple[str, GatewaySettings]]:
    """The exchanges whose drop copy is to be heard, each once, with a gateway that wants it."""
    found: dict[str, GatewaySettings] = {}
    for gateway in gateways.values():
        if gateway.drop_copy:
            found.setdefault(gateway.exchange, gateway)
    return list(found.items())
