"""The client's end of the simulated exchange's protocol: one TCP session, kept up for ever.

After a loss it connects again, with a delay that doubles up to a cap and is jittered. Each logon says
which report was the last to be durable here, so the exchange sends what was missed before anything else.
Its reports are numbered without a hole: one that is missing ends the session, and comes with the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import random

import structlog

from execution import metrics
from execution.exchange.requests import CancelRequest, NewOrder, OrderType, ReplaceOrder, StatusRequest
from execution.orders import OrderRecord
from execution.venues import GatewayEvents, Report
from execution.venues.simulated import protocol
from execution.venues.simulated.protocol import (
    LINE_BYTES_MAX,
    Heartbeat,
    Logon,
    Logout,
    Message,
    MessageReject,
)
from tickloom.errors import DecodeError

CLIENT = "TICKLOOM"
CONNECT_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 1.0
BACKOFF_S_MIN = 0.1
BACKOFF_S_MAX = 5.0
HEARTBEAT_S = 5.0
SILENCE_S_MAX = 15.0
READ_BYTES = 65_536
GATHER_S = 0.002  # after a read, so that what comes in it is durable in one transaction, not in one each

_log = structlog.get_logger("gateway")


class SimulatedGateway:
    """A session with the simulated exchange; see :class:`execution.venues.Gateway`."""

    def __init__(
        self,
        host: str,
        port: int,
        venues: tuple[str, ...],
        events: GatewayEvents,
        name: str = "simulated",
    ) -> None:
        self.name, self.venues = name, venues
        self._host, self._port, self._events = host, port, events
        self._writer: asyncio.StreamWriter | None = None
        self._up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._seen = 0  # report_seq of the last report of this session
        self.failure: BaseException | None = None

    @property
    def connected(self) -> bool:
        return self._up.is_set()

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="gateway")

    async def wait_connected(self, timeout_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._up.wait()
        return self.connected

    async def close(self) -> None:
        self._closing = True
        self._write(Logout())
        if self._writer is not None:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self._writer.drain()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def send(self, *orders: OrderRecord) -> None:
        self._write(*(_new_order(order) for order in orders))

    def cancel(self, order: OrderRecord) -> None:
        self._write(CancelRequest(order.order_id, order.sent_to, order.symbol, order.side))

    def replace(self, order: OrderRecord, original: OrderRecord) -> None:
        self._write(
            ReplaceOrder(
                original_order_id=original.order_id,
                order_id=order.order_id,
                venue=order.sent_to,
                symbol=order.symbol,
                side=order.side,
                quantity=order.quantity,
                price=order.limit_price,
            )
        )

    def status(self, order: OrderRecord) -> None:
        self._write(StatusRequest(order.order_id, order.sent_to, order.symbol, order.side))

    def _write(self, *messages: Message) -> None:
        """Hand lines to the connection; without one they are dropped, and on_lost has told or will tell."""
        if self._writer is not None and self.connected:
            self._writer.write(b"".join([protocol.encode(message) for message in messages]))

    async def _run(self) -> None:
        backoff_s = BACKOFF_S_MIN
        while True:
            try:
                await self._connect()
                backoff_s = BACKOFF_S_MIN
                await self._read()
            except (TimeoutError, OSError, DecodeError, ValueError) as error:
                why = str(error) or type(error).__name__
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # the engine could not record: the agent must stop
                self.failure = error
                raise
            finally:
                self._drop()
            if self._closing:
                return
            self._events.on_lost(f"session with the exchange lost: {why}")
            delay_s = backoff_s * (0.5 + random.random() / 2)
            _log.warning("session_lost", why=why, retry_in_s=round(delay_s, 2))
            await asyncio.sleep(delay_s)
            backoff_s = min(2 * backoff_s, BACKOFF_S_MAX)

    async def _connect(self) -> None:
        # asyncio.timeout, not wait_for: that one loses a cancellation which meets the result (Python 3.11)
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            self._reader, self._writer = await asyncio.open_connection(
                self._host, self._port, limit=LINE_BYTES_MAX
            )
            self._writer.write(
                protocol.encode(
                    Logon(CLIENT, *self._events.last_report(), self._events.epoch, self._events.agent)
                )
            )
            line = await self._reader.readline()
        if not line:
            raise ConnectionError("closed by the exchange at logon")
        answer = protocol.decode(line)
        if isinstance(answer, Logout) and answer.fenced and self._events.on_fenced is not None:
            self._closing = True
            self._events.on_fenced(answer.text)
        if not isinstance(answer, Logon):
            raise DecodeError("simulated", f"logon answered with {answer}")
        self._seen = answer.last_report_seq
        self._up.set()
        metrics.CONNECTED.labels(self.name).set(1)
        self._events.on_session(answer.session)
        _log.info("session_up", session=answer.session, after=answer.last_report_seq)

    async def _read(self) -> None:
        beat, rest = asyncio.create_task(self._beat()), b""
        try:
            while True:
                async with asyncio.timeout(SILENCE_S_MAX):
                    data = await self._reader.read(READ_BYTES)
                if not data:
                    raise ConnectionError("closed by the exchange")
                *lines, rest = (rest + data).split(b"\n")
                if len(rest) > LINE_BYTES_MAX:
                    raise DecodeError("simulated", f"a line of more than {LINE_BYTES_MAX} bytes")
                self._take([protocol.decode(line) for line in lines])
                await asyncio.sleep(GATHER_S)
        finally:
            beat.cancel()

    def _take(self, messages: list[Message]) -> None:
        """What came at once: its reports together, before anything else it says."""
        reports, hole = self._in_order([message for message in messages if isinstance(message, Report)])
        if len(reports) > 1 and self._events.on_reports is not None:
            self._events.on_reports(reports)
        else:
            for report in reports:
                self._events.on_report(report)
        if hole:
            raise DecodeError("simulated", hole)
        for message in messages:
            if isinstance(message, Logout):
                raise ConnectionError(f"logged out: {message.text}")
            if isinstance(message, MessageReject):
                _log.error("message_rejected", text=message.text)

    def _in_order(self, reports: list[Report]) -> tuple[list[Report], str]:
        """The reports before the first hole in their numbers, and which are missing there."""
        for index, report in enumerate(reports):
            if report.report_seq > self._seen + 1:
                missing = f"reports {self._seen + 1} to {report.report_seq - 1} are missing"
                return reports[:index], f"{missing}; they are asked for with the next logon"
            self._seen = max(self._seen, report.report_seq)
        return reports, ""

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            self._write(Heartbeat())

    def _drop(self) -> None:
        self._up.clear()
        metrics.CONNECTED.labels(self.name).set(0)
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _new_order(order: OrderRecord) -> NewOrder:
    return NewOrder(
        order_id=order.order_id,
        venue=order.sent_to,
        symbol=order.symbol,
        side=order.side,
        quantity=order.quantity,
        price=0 if order.order_type == OrderType.MARKET else order.limit_price,
        time_in_force=order.time_in_force,
        order_type=OrderType(order.order_type),
        min_quantity=order.min_quantity,
        post_only=order.post_only,
    )
