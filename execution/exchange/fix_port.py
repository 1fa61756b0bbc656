"""The order entry port that speaks FIX 4.4, for one venue of the exchange.

A client is a CompID that the exchange knows; the session with it is named by BeginString and the CompIDs.
What the venue has to say becomes durable with what happened (a stream of the record) and is then numbered
and sent by the session, whose own store says how far it has come in that stream. So whatever instruction
a kill meets, each report gets one number, and a client that was away is sent what it missed by FIX's own
recovery. Answers to questions are of the moment, and in no stream.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog

from execution.exchange import fix_words as words
from execution.exchange.orders import VenueOrder
from execution.exchange.ports import ClientSession, Request
from execution.exchange.record import ExchangeRecord
from execution.exchange.requests import CancelRequest, NewOrder, ReplaceOrder, StatusRequest
from execution.exchange.server import ExchangeServer
from execution.fix import orders as fix
from execution.fix import tags as tag_of
from execution.fix.codec import Message
from execution.fix.configuration import Rejected, SessionConfiguration
from execution.fix.connection import Acceptor, Connection
from execution.fix.order_codec import decode, encode
from execution.fix.orders import (
    BusinessMessageReject,
    FromVenue,
    NewOrderSingle,
    OrderCancelReplaceRequest,
    OrderCancelRequest,
    OrderMassStatusRequest,
    OrderStatusRequest,
)
from execution.fix.session import Session
from execution.fix.store import SqliteStore
from execution.venues import Report, ReportType
from tickloom.clock import Clock

APP_TYPES = frozenset({"D", "F", "G", "H", "AF"})
BUSINESS_OTHER = 0  # BusinessRejectReason (380)

_log = structlog.get_logger("exchange")


@dataclass(slots=True, eq=False)
class _Login:
    """One logged-in connection; the exchange's :class:`~execution.exchange.ports.ClientSession`."""

    client: str
    line: _Line
    alive: bool = True
    pending: deque[tuple[int, Request]] = field(default_factory=deque)

    def cut(self) -> None:
        self.alive = False
        self.line.connection.cut()

    def answer(self, request: Request, report: Report) -> None:
        self.line.answer(request, report)

    def release(self) -> None:
        """The session's timer writes what was held back."""


class _Line:
    """One client: its FIX session, and the names of its orders."""

    def __init__(self, port: FixPort, comp_id: str, store: SqliteStore, clock: Clock) -> None:
        self.client, self._port, self.store = f"{port.prefix}{comp_id}", port, store
        self._session = Session(port.configuration(comp_id), store)
        self.connection = Connection(
            self._session, self, clock, may_write=lambda: port.may_speak(self.client)
        )
        self.login: _Login | None = None
        self.told = 0  # messages in the stream, also those that were not sent yet
        self._order_ids: dict[str, str] = {}  # ClOrdID to the exchange's own name of the order
        self._flushing = False
        self._cancels: dict[str, str] = {}  # order to ClOrdID of the last request to cancel it

    # --- what the connection calls ---------------------------------------------------------------

    def on_logged_on(self, connection: Connection, epoch: str) -> None:
        self.login = _Login(self.client, self)
        _log.info("session_up", client=self.client, epoch=epoch)

    def on_lost(self, connection: Connection, reason: str) -> None:
        if self.login is not None:
            self.login.alive, self.login = False, None
        _log.info("session_lost", client=self.client, reason=reason)

    def on_rejected(self, connection: Connection, rejected: Rejected) -> None:
        """The connection has logged it; a report that a client cannot read is in the record all the same."""

    def on_message(self, connection: Connection, message: Message) -> None:
        """A request.

        Raises
        ------
        FieldError
            A field is missing or unusable; answered with BusinessMessageReject.
        """
        said = decode(message)
        if self.login is None or not self.login.alive:
            return
        match said:
            case NewOrderSingle():
                self._enter(self.login, said, message)
            case OrderCancelRequest():
                order_id = self._name(said.orig_cl_ord_id)
                self._cancels[order_id] = said.cl_ord_id
                self._port.arrive(
                    self.login,
                    CancelRequest(
                        *(order_id, self._port.venue, said.symbol, words.SIDES.get(said.side, "")),
                        client_order_id=said.cl_ord_id,
                    ),
                )
            case OrderCancelReplaceRequest():
                self._replace(self.login, said)
            case OrderStatusRequest():
                self._port.arrive(self.login, self._status(said))
            case OrderMassStatusRequest():
                self._mass_status(self.login, said, message)

    # --- requests ----------------------------------------------------------------------------------

    def know(self, order: VenueOrder) -> None:
        """An order of this client's that the record holds."""
        self._order_ids[order.client_order_id or order.order_id] = order.order_id

    def _name(self, cl_ord_id: str) -> str:
        """The exchange's name of an order of this client; one that nobody has where there is none."""
        return self._order_ids.get(cl_ord_id, f"{self.client}?{cl_ord_id}")

    def _enter(self, login: _Login, said: NewOrderSingle, message: Message) -> None:
        if said.cl_ord_id in self._order_ids:
            if message.flag(tag_of.POSS_DUP_FLAG) or message.flag(tag_of.POSS_RESEND):
                # it may be the same order once more: its state is the answer (Volume 4, appendix D, F.1)
                request = OrderStatusRequest(said.cl_ord_id, said.symbol, said.side, venue=said.venue)
                self._port.arrive(login, self._status(request))
            else:
                self.say(words.refusal(said, "duplicate ClOrdID: nothing was done"))
            return
        order_id = self._port.new_order_id(self.client, said.cl_ord_id)
        order = words.order_of(said, self._port.venue, order_id)
        if isinstance(order, str):
            self.say(words.refusal(said, order))
            return
        self._order_ids[said.cl_ord_id] = order_id
        self._port.arrive(login, order)

    def _replace(self, login: _Login, said: OrderCancelReplaceRequest) -> None:
        original = self._name(said.orig_cl_ord_id)
        used = said.cl_ord_id in self._order_ids
        order_id = original if used else self._port.new_order_id(self.client, said.cl_ord_id)
        request = ReplaceOrder(
            original_order_id=original,
            order_id=order_id,
            venue=self._port.venue,
            symbol=said.symbol,
            side=words.SIDES.get(said.side, ""),
            quantity=said.quantity,
            price=said.price,
            client_order_id=said.cl_ord_id,
        )
        if not used:
            self._order_ids[said.cl_ord_id] = order_id
        self._port.arrive(login, request)

    def _status(self, said: OrderStatusRequest) -> StatusRequest:
        return StatusRequest(
            order_id=self._name(said.cl_ord_id),
            venue=self._port.venue,
            symbol=said.symbol,
            side=words.SIDES.get(said.side, ""),
            client_order_id=said.cl_ord_id,
            request_id=said.request_id,
        )

    def _mass_status(self, login: _Login, said: OrderMassStatusRequest, message: Message) -> None:
        orders = self._port.orders_of(self.client)
        if said.request_type != fix.ALL_ORDERS or not orders:
            text = "there are no orders" if said.request_type == fix.ALL_ORDERS else "ask for all (7)"
            self.say(BusinessMessageReject(message.seq_num, "AF", BUSINESS_OTHER, text))
            return
        for order in orders:
            own = order.client_order_id or order.order_id
            request = StatusRequest(
                *(order.order_id, order.venue, order.symbol, order.side, own),
                mass_request_id=said.request_id,
            )
            self._port.arrive(login, request)

    # --- what is said ------------------------------------------------------------------------------

    def say(self, message: FromVenue) -> None:
        self.connection.send(*encode(message))

    def tell(self, payload: bytes) -> None:
        """The next message of the stream; its number and how far we are become durable together."""
        kind, _, body = payload.partition(b"\x01")
        self.store.mark += 1
        self.connection.send(kind, body, flush=False)
        if not self._flushing:  # the acknowledgement and its fills leave in one write
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        if not self._flushing:  # closed meanwhile
            return
        self._flushing = False
        try:
            self.connection.flush()
        except BaseException as error:
            self._port.fail(error)
            raise

    def close(self) -> None:
        """Nothing is told any more. What was not is in the record."""
        self._flush()
        self.store.close()

    def words_of(self, report: Report, order: VenueOrder, average_price: int) -> bytes:
        """A report as a message of the stream, which is to be written now."""
        self.told += 1
        self.know(order)
        asked_by = self._cancels.pop(order.order_id, "") if report.report_type is ReportType.CANCELLED else ""
        exec_id = f"{report.venue}-R{self.told}"
        said = words.execution_report(report, order, exec_id, average_price, asked_by)
        if said.orig_cl_ord_id and report.report_type is ReportType.REPLACED:
            said = said._replace(orig_cl_ord_id=self._port.client_order_id(said.orig_cl_ord_id))
        kind, body = encode(said)
        return kind + b"\x01" + body

    def answer(self, request: Request, report: Report) -> None:
        """What only the asker is told."""
        if report.report_type is ReportType.CANCEL_REJECTED:
            assert isinstance(request, CancelRequest | ReplaceOrder)
            replacing = isinstance(request, ReplaceOrder)
            original = request.original_order_id if isinstance(request, ReplaceOrder) else request.order_id
            if report.unknown_order:
                self._order_ids.pop(request.client_order_id, None)
            self._cancels.pop(original, None)
            original = self._port.client_order_id(original).removeprefix(f"{self.client}?")
            self.say(words.cancel_reject(report, request.client_order_id, original, replacing))
        elif isinstance(request, StatusRequest):
            self._answer_status(request, report)
        elif isinstance(request, NewOrder):  # another client used the name within the latency
            self._order_ids.pop(request.client_order_id, None)
            text = "duplicate ClOrdID: nothing was done"
            side = fix.BUY if request.side == "buy" else fix.SELL
            said = NewOrderSingle(
                *(request.client_order_id, request.symbol, side, request.quantity, report.ts),
                venue=request.venue,
            )
            self.say(words.refusal(said, text))

    def _answer_status(self, request: StatusRequest, report: Report) -> None:
        order = self._port.order(request.order_id, self.client)
        if order is None:
            side = fix.SELL if request.side == "sell" else fix.BUY
            said = words.unknown_order(report, request.client_order_id, side)
        else:
            average = self._port.averages.after(report, order)
            said = words.execution_report(report, order, words.NO_EXECUTION, average)
        self.say(said._replace(request_id=request.request_id, mass_request_id=request.mass_request_id))


class FixPort:
    """See the module.

    Parameters
    ----------
    venue : str
        Whose orders these are, and SenderCompID of what we say.
    clients : iterable of str
        CompIDs of those who may log on.
    password : str
        That a logon must carry (554); empty: none is asked for.
    """

    def __init__(
        self,
        server: ExchangeServer,
        record: ExchangeRecord,
        clock: Clock,
        venue: str,
        clients: Iterable[str],
        password: str = "",
    ) -> None:
        self._server, self._record, self._clock, self.venue = server, record, clock, venue
        self._password = password
        self.prefix = f"fix:{venue}:"
        orders = [order for order in server.engine.orders.values() if order.venue == venue]
        self.averages = words.AveragePrices(orders, record.executions(venue))
        self._lines = {line.client: line for line in map(self._line, clients)}
        for order in orders:
            if order.client in self._lines:
                self._lines[order.client].know(order)
        self._acceptor = Acceptor([line.connection for line in self._lines.values()])
        server.add_port(self)

    def _line(self, comp_id: str) -> _Line:
        # a file each: one session's open transaction would lock the others of the same thread out
        path = self._record.path.with_name(f"{self._record.path.stem}.{self.venue}.{comp_id}.fix.db")
        # a client's numbers need not outlive a loss of power here, and a disk's time is no venue's latency
        store = SqliteStore(path, self.configuration(comp_id).name, synced=False)
        line = _Line(self, comp_id, store, self._clock)
        line.told = self._record.stream_end(line.client)
        return line

    def configuration(self, comp_id: str) -> SessionConfiguration:
        """The session with a client."""
        fields = ((tag_of.PASSWORD, self._password),) if self._password else ()
        return SessionConfiguration(self.venue, comp_id, False, APP_TYPES, logon_fields=fields)

    async def start(self, host: str, port: int) -> int:
        """Listen; the port (one that was free where ``port`` is 0).

        What was recorded and not numbered yet, since the process was killed between the two, is first.

        Raises
        ------
        SetupError
            The port is taken.
        """
        for line in self._lines.values():
            for payload in self._record.stream_after(line.client, line.store.mark):
                line.tell(payload)
        return await self._acceptor.start(host, port)

    async def close(self) -> None:
        """Log all clients out and stop listening."""
        await self._acceptor.close()
        for line in self._lines.values():
            line.close()

    def sessions(self) -> list[ClientSession]:
        return [line.login for line in self._lines.values() if line.login is not None]

    def streamed(self, client: str, report: Report) -> list[tuple[str, bytes]]:
        """The report as the next message of the client's stream."""
        order = self._server.engine.orders[report.order_id]
        average = self.averages.after(report, order)
        line = self._lines.get(client)
        return [(client, line.words_of(report, order, average))] if line is not None else []

    def publish(self, client: str, report: Report, streamed: list[tuple[str, bytes]]) -> None:
        for stream, payload in streamed:
            if stream == client:
                self._lines[client].tell(payload)

    # --- what the clients' lines ask ---------------------------------------------------------------

    def arrive(self, login: _Login, request: Request) -> None:
        self._server.arrive(login, request)

    def fail(self, error: BaseException) -> None:
        """Numbers could not be written: the exchange stops."""
        if not self._server.failed.done():
            self._server.failed.set_exception(error)

    def may_speak(self, client: str) -> bool:
        return self._clock.now_ns() >= self._server.silent_until_ns(client)

    def order(self, order_id: str, client: str) -> VenueOrder | None:
        """An order, if it is that client's."""
        found = self._server.engine.orders.get(order_id)
        return found if found is not None and found.client == client else None

    def orders_of(self, client: str) -> list[VenueOrder]:
        return [order for order in self._server.engine.orders.values() if order.client == client]

    def client_order_id(self, order_id: str) -> str:
        """ClOrdID of an order; of an unknown one what was said."""
        found = self._server.engine.orders.get(order_id)
        return (found.client_order_id or order_id) if found is not None else order_id

    def new_order_id(self, client: str, cl_ord_id: str) -> str:
        """The exchange's name of a new order: its ClOrdID, unless another client has used that."""
        if cl_ord_id not in self._server.engine.orders:
            return cl_ord_id
        return f"{cl_ord_id}@{client.removeprefix(self.prefix)}"
