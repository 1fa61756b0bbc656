"""Our end of an OUCH 5.0 session over SoupBinTCP, kept up for ever; see :class:`execution.venues.Gateway`.

What it knows of the venue's orders it has from the venue's numbered stream (:mod:`.orders`). At each
connection it first asks where the stream ends (a login with sequence 0), then logs in for what it has not
read: all of it in a new process, else what it missed. Reports behind the last one that is durable here
are handed on; what is before serves the map of UserRefNums only. An Account Query then tells the next
UserRefNum. Its answer is behind everything that came before in both directions, so from then on an order
that the stream has not named never reached the venue: that is how the status of an order is resolved,
for which OUCH has no message.

``report_seq`` is the number in the SoupBinTCP stream. Messages that are no reports have numbers too.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from zoneinfo import ZoneInfo

import structlog

from execution import metrics
from execution.orders import OrderRecord
from execution.ouch import messages as ouch
from execution.ouch import values
from execution.ouch.codec import decode_outbound, encode
from execution.venues import GatewayEvents, Report, ReportType
from execution.venues.ouch.orders import OuchOrders, shares_of
from tickloom.clock import NS_PER_S, Clock, SystemClock
from tickloom.errors import DecodeError, ExecutionError, PriceRangeError
from tickloom.events import OrderState
from tickloom.prices import NANOS
from tickloom.records import replace
from tickloom.soupbin.session import ClientSession, Down, Message, Up

CONNECT_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 1.0
BACKOFF_S_MIN = 0.1
BACKOFF_S_MAX = 5.0
TIMER_S = 0.1
READ_BYTES = 65_536

_log = structlog.get_logger("gateway")


class OuchGateway:
    """A session with one venue.

    Parameters
    ----------
    username, password : str
        SoupBinTCP's; at most 6 and 10 characters.
    order_ids : callable
        Ids of our orders at the venue that it may name: a new process must put whole ids to the 14
        characters that the venue has.
    midpoint : bool
        Every order is a peg to the midpoint with a limit: for a dark pool whose callers do not say so.
    midnight_ns : callable, optional
        Midnight of the session's day in the venue's time zone, ns since the epoch; by default of today.
    fees : (int, int)
        Maker's and taker's, nanos of currency a share: OUCH does not say what an execution cost.
    """

    def __init__(
        self,
        host: str,
        port: int,
        venue: str,
        events: GatewayEvents,
        username: str = "TLOOM",
        password: str = "",
        order_ids: Callable[[], Iterable[str]] = tuple,
        midpoint: bool = False,
        timezone: str = "America/New_York",
        midnight_ns: Callable[[], int] | None = None,
        clock: Clock | None = None,
        name: str = "",
        fees: tuple[int, int] = (0, 0),
    ) -> None:
        self.name = name or f"ouch:{venue}"
        self.venues: tuple[str, ...] = (venue,)
        self._host, self._port, self._venue, self._events = host, port, venue, events
        self._username, self._password, self._order_ids = username, password, order_ids
        self._maker_fee, self._taker_fee = fees
        self._midpoint, self._zone = midpoint, ZoneInfo(timezone)
        self._clock = clock or SystemClock()
        self._midnight_ns = midnight_ns or self._todays_midnight_ns
        self._stream, self._next = "", 1  # the venue's session, and the next number that we want
        self._orders = OuchOrders(venue, 0)
        self._soup: ClientSession | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._up = asyncio.Event()
        self._sent: dict[str, int] = {}  # on this connection, by order id: UserRefNum
        self._queries: deque[OrderRecord | None] = deque()  # None: that of the login
        self._waiting: list[Callable[[], None]] = []  # what was asked for before we had caught up
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self.failure: BaseException | None = None

    @property
    def connected(self) -> bool:
        """True while there is a session, and all that the venue had said before has been read."""
        return self._up.is_set()

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=self.name)

    async def wait_connected(self, timeout_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._up.wait()
        return self.connected

    async def close(self) -> None:
        self._closing = True
        if self._soup is not None and self._writer is not None:
            self._soup.log_out(self._clock.monotonic_ns())
            self._flush()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self._writer.drain()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    # --- what the engine asks for ----------------------------------------------------------------

    def send(self, *orders: OrderRecord) -> None:
        for order in orders:
            self._when_caught_up(partial(self._enter, order))

    def cancel(self, order: OrderRecord) -> None:
        self._when_caught_up(lambda: self._cancel(order))

    def status(self, order: OrderRecord) -> None:
        self._when_caught_up(lambda: self._status(order))

    def replace(self, order: OrderRecord, original: OrderRecord) -> None:
        """``order`` in the place of ``original``; its quantity is that of the whole chain."""
        self._when_caught_up(lambda: self._replace(order, original))

    def _when_caught_up(self, act: Callable[[], None]) -> None:
        """Without a connection it is dropped, and on_lost has told or will tell."""
        if self.connected:
            act()
        elif self._soup is not None:
            self._waiting.append(act)

    def _enter(self, order: OrderRecord) -> None:
        try:
            self._orders.sends(order.order_id, order.symbol, order.side)
            quantity, price = shares_of(order.quantity), _price_of(order)
            options = self._options(order, quantity)
        except (ValueError, PriceRangeError, ExecutionError) as error:
            self._refuse(order, str(error))
            return
        if self._orders.knows(order.order_id) or order.order_id in self._sent:
            self._answer(order, ReportType.STATUS, "duplicate ClOrdID: this is its state, nothing was sent")
            return
        ref = self._sent[order.order_id] = self._orders.take_ref()
        self._say(
            ouch.EnterOrder(
                user_ref_num=ref,
                side="B" if order.side == "buy" else "S",
                quantity=quantity,
                symbol=order.symbol,
                price=price,
                time_in_force="0" if order.time_in_force == "day" else "3",
                display="N" if self._pegged(order) else "Y",
                capacity="P",
                intermarket_sweep="N",
                cross_type="N",
                client_order_id=order.order_id[: values.CLIENT_ORDER_ID_LENGTH],
                appendage=options,
            )
        )

    def _pegged(self, order: OrderRecord) -> bool:
        return self._midpoint or order.order_type == "midpoint"

    def _options(self, order: OrderRecord, quantity: int) -> tuple[tuple[str, int | str], ...]:
        """What the fixed fields have no place for. Fill or kill is the whole as the least quantity."""
        options: list[tuple[str, int | str]] = []
        if order.time_in_force == "fok":
            options.append(("min_qty", quantity))
        elif order.min_quantity:
            options.append(("min_qty", shares_of(order.min_quantity)))
        if order.post_only:
            options.append(("post_only", "P"))
        if self._pegged(order):
            options.append(("price_type", "M"))
        return tuple(options)

    def _replace(self, order: OrderRecord, original: OrderRecord) -> None:
        old = self._orders.user_ref(original.order_id)
        if old is None or not self._orders.live(original.order_id):
            self._answer(original, ReportType.CANCEL_REJECTED, "too late to replace")
            return
        try:
            self._orders.sends(order.order_id, order.symbol, order.side)
            quantity, price = shares_of(order.quantity), values.price_of(order.limit_price)
        except (ValueError, PriceRangeError, ExecutionError) as error:
            self._refuse(order, str(error))
            return
        ref = self._sent[order.order_id] = self._orders.take_ref()
        self._say(
            ouch.ReplaceOrder(
                original_user_ref_num=old,
                user_ref_num=ref,
                quantity=quantity,
                price=price,
                time_in_force="0" if order.time_in_force == "day" else "3",
                display="N" if self._pegged(original) else "Y",
                intermarket_sweep="N",
                client_order_id=order.order_id[: values.CLIENT_ORDER_ID_LENGTH],
            )
        )

    def _cancel(self, order: OrderRecord) -> None:
        self._orders.expect((order.order_id,))
        ref = self._orders.user_ref(order.order_id)
        if ref is not None and not self._orders.live(order.order_id):
            self._answer(order, ReportType.CANCEL_REJECTED, "too late to cancel")
            return
        ref = ref or self._sent.get(order.order_id)
        if ref is None:
            self._answer(order, ReportType.CANCEL_REJECTED, "")
            return
        self._say(ouch.CancelOrder(ref, 0))

    def _status(self, order: OrderRecord) -> None:
        self._orders.expect((order.order_id,))
        if self._orders.knows(order.order_id) or order.order_id not in self._sent:
            self._answer(order, ReportType.STATUS, "")
            return
        # it is on its way: what is asked behind it is answered behind it
        self._queries.append(order)
        self._say(ouch.AccountQuery())

    def _answer(self, order: OrderRecord, kind: ReportType, text: str) -> None:
        report = self._orders.status(order.order_id, order.symbol, order.side, kind, text)
        asyncio.get_running_loop().call_soon(self._deliver, report)

    def _refuse(self, order: OrderRecord, text: str) -> None:
        """What OUCH cannot say never leaves."""
        report = Report(
            report_type=ReportType.REJECTED,
            order_id=order.order_id,
            venue=self._venue,
            symbol=order.symbol,
            side=order.side,
            state=OrderState.REJECTED,
            filled_quantity=0,
            text=f"not sent: {text}",
        )
        asyncio.get_running_loop().call_soon(self._deliver, report)

    def _deliver(self, report: Report) -> None:
        try:
            self._events.on_report(report)
        except BaseException as error:  # the engine could not record: the agent must stop
            self.failure = error
            if self._task is not None:
                self._task.cancel()
            raise

    def _say(self, message: ouch.Inbound) -> None:
        if self._soup is not None:
            self._soup.send(encode(message), self._clock.monotonic_ns())
            self._flush()

    def _flush(self) -> None:
        if self._soup is not None and self._writer is not None:
            out = self._soup.take_output()
            if out:
                self._writer.write(out)

    # --- the connection --------------------------------------------------------------------------

    async def _run(self) -> None:
        backoff_s = BACKOFF_S_MIN
        while True:
            why = "closed by the venue"
            try:
                end = await self._find_end()
                reader = await self._log_in()
                backoff_s = BACKOFF_S_MIN
                why = await self._read(reader, end)
            except (TimeoutError, OSError, DecodeError) as error:
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
            self._events.on_lost(f"session with {self._venue} lost: {why}")
            delay_s = backoff_s * (0.5 + random.random() / 2)
            _log.warning("session_lost", gateway=self.name, why=why, retry_in_s=round(delay_s, 2))
            await asyncio.sleep(delay_s)
            backoff_s = min(2 * backoff_s, BACKOFF_S_MAX)

    async def _find_end(self) -> int:
        """The number of the stream's last message; a connection of its own, which also cuts an old one."""
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(self._host, self._port)
            try:
                now_ns = self._clock.monotonic_ns()
                soup = ClientSession(self._username, self._password, "", 0, now_ns)
                writer.write(soup.take_output())
                up = await _answered(soup, reader, self._clock)
                soup.log_out(now_ns)
                writer.write(soup.take_output())
                await writer.drain()
            finally:
                writer.close()
        if up.session != self._stream:
            _log.info("venue_session", gateway=self.name, session=up.session, messages=up.sequence - 1)
            self._stream, self._next = up.session, 1
            self._orders = OuchOrders(self._venue, self._midnight_ns())
            self._orders.expect(self._order_ids())
        return up.sequence - 1

    async def _log_in(self) -> asyncio.StreamReader:
        # asyncio.timeout, not wait_for: that one loses a cancellation which meets the result (Python 3.11)
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            reader, self._writer = await asyncio.open_connection(self._host, self._port)
        self._soup = ClientSession(
            self._username, self._password, self._stream, self._next, self._clock.monotonic_ns()
        )
        self._flush()
        return reader

    async def _read(self, reader: asyncio.StreamReader, end: int) -> str:
        """Until the session is over; why it is."""
        soup = self._soup
        assert soup is not None
        timer = asyncio.create_task(self._tick(soup, reader))
        try:
            while data := await reader.read(READ_BYTES):
                for event in soup.on_bytes(data, self._clock.monotonic_ns()):
                    if isinstance(event, Down):
                        return event.reason
                    if isinstance(event, Up):
                        self._queries.append(None)
                        self._events.on_session(self._stream)
                        self._say(ouch.AccountQuery())
                    elif event.sequence:
                        self._take(event, end)
                self._flush()
        finally:
            timer.cancel()
        return "closed by the venue"

    def _take(self, event: Message, end: int) -> None:
        """The next message of the stream: into the map, and to the engine where it is new to it."""
        message = decode_outbound(event.payload)
        report = self._orders.take(message, event.sequence)
        self._next = event.sequence + 1
        if report is not None:
            session, durable = self._events.last_report()
            if session != self._stream or event.sequence > durable:
                self._events.on_report(self._with_fee(report))
        elif isinstance(message, ouch.AccountQueryResponse) and event.sequence > end and self._queries:
            asked = self._queries.popleft()
            if asked is not None:
                self._sent.pop(asked.order_id, None)
                self._answer(asked, ReportType.STATUS, "")
            elif not self.connected:
                self._caught_up()

    def _with_fee(self, report: Report) -> Report:
        if report.report_type not in (ReportType.TRADE, ReportType.TRADE_CORRECTED):
            return report
        fee = self._maker_fee if report.liquidity == "added" else self._taker_fee
        return replace(report, fee=(2 * report.last_quantity * fee + NANOS) // (2 * NANOS))

    def _caught_up(self) -> None:
        self._up.set()
        metrics.CONNECTED.labels(self.name).set(1)
        _log.info("session_up", gateway=self.name, session=self._stream, after=self._next - 1)
        waiting, self._waiting = self._waiting, []
        for act in waiting:
            act()

    async def _tick(self, soup: ClientSession, reader: asyncio.StreamReader) -> None:
        while True:
            await asyncio.sleep(TIMER_S)
            down = soup.on_timer(self._clock.monotonic_ns())
            self._flush()
            if down:
                reader.set_exception(ConnectionError(str(down[0])))
                return

    def _drop(self) -> None:
        self._up.clear()
        metrics.CONNECTED.labels(self.name).set(0)
        self._sent.clear()
        self._queries.clear()
        self._waiting.clear()
        self._soup = None
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _todays_midnight_ns(self) -> int:
        now = datetime.fromtimestamp(self._clock.now_ns() // NS_PER_S, self._zone)
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        return int(midnight.timestamp()) * NS_PER_S


def _price_of(order: OrderRecord) -> int:
    return values.MARKET_PRICE if order.order_type == "market" else values.price_of(order.limit_price)


async def _answered(soup: ClientSession, reader: asyncio.StreamReader, clock: Clock) -> Up:
    """Until the login has its answer."""
    while data := await reader.read(READ_BYTES):
        for event in soup.on_bytes(data, clock.monotonic_ns()):
            if isinstance(event, Up):
                return event
            if isinstance(event, Down):
                raise ConnectionError(event.reason)
    raise ConnectionError("closed by the venue at login")
