"""Orders to a venue over FIX, its reports back; one session, kept up for ever.

What the venue reported while we were away comes by FIX's own recovery: its logon has a MsgSeqNum above
the one we expect, we ask for what is between, and get it with PossDupFlag, in order, before anything
newer. The number we expect moves on only when the engine has made a report durable, so there is no
report that counts as received and was not booked. ``report_seq`` is the report's MsgSeqNum, the
session's name is that of the numbering; the engine drops what it has by both.

An order is never sent again by that recovery, in our direction: it would be traded late, past the gate.
We skip over it; the engine asks for its state and, where it never arrived, sends it through the gate again.
What asks and cancels right behind a logon is sent again, since it may cross with the venue's own recovery.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import structlog

from execution import metrics
from execution.fix import tags
from execution.fix.codec import Message
from execution.fix.configuration import Rejected, SessionConfiguration
from execution.fix.connection import Connection, Initiator
from execution.fix.order_codec import decode, encode
from execution.fix.orders import (
    BusinessMessageReject,
    ExecutionReport,
    FromClient,
    OrderCancelReject,
    OrderMassStatusRequest,
    OrderStatusRequest,
)
from execution.fix.session import Session
from execution.fix.store import SqliteStore
from execution.orders import OrderRecord, client_order_id
from execution.venues import GatewayEvents
from execution.venues.fix import reports
from tickloom.clock import Clock
from tickloom.errors import FieldError, SettingsError
from tickloom.records import replace

APP_TYPES = frozenset({"8", "9", "j"})
REPEATED = frozenset({b"F", b"H", b"AF"})  # what may be sent again: it trades nothing
ORDERS_MAX = 100_000  # whose instrument is remembered, for cancel rejects; the oldest are forgotten

_log = structlog.get_logger("gateway")


class FixGateway:
    """A session with a FIX venue; see :class:`execution.venues.Gateway`.

    Parameters
    ----------
    configuration : SessionConfiguration
        ``initiator`` and ``app_types`` are set here, whatever it says.
    venues : tuple of str
        What it stands for; the first is meant where a report names none.
    store_path : Path
        The SQLite file with the session's numbers; losing it needs a reset by both sides.

    Raises
    ------
    SettingsError
        reset_on_logon: what was reported while we were away would be lost.
    """

    def __init__(
        self,
        configuration: SessionConfiguration,
        host: str,
        port: int,
        venues: tuple[str, ...],
        store_path: Path,
        events: GatewayEvents,
        clock: Clock,
        name: str = "fix",
    ) -> None:
        if configuration.reset_on_logon:
            raise SettingsError(
                f"{configuration.name}: reset_on_logon would lose reports; agree on a daily reset instead"
            )
        self.name, self.venues = name, venues
        self._events, self._clock = events, clock
        configuration = replace(configuration, initiator=True, app_types=APP_TYPES)
        self._store = SqliteStore(store_path, configuration.name)
        self._asked_from = 0  # MsgSeqNum of the first message behind the logon
        self._session = Session(configuration, self._store, may_resend=self._may_resend)
        self._connection = Connection(self._session, self, clock)
        self._initiator = Initiator(self._connection, host, port)
        self._up = asyncio.Event()
        self._instruments: dict[str, tuple[str, str, str]] = {}

    @property
    def connected(self) -> bool:
        return self._up.is_set()

    @property
    def failure(self) -> BaseException | None:
        """What the engine could not record; the agent must stop."""
        return self._connection.failure

    async def start(self) -> None:
        await self._initiator.start()

    async def wait_connected(self, timeout_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._up.wait()
        return self.connected

    async def close(self) -> None:
        await self._initiator.close()
        self._store.close()

    # --- out -------------------------------------------------------------------------------------------

    def send(self, *orders: OrderRecord) -> None:
        for order in orders:
            self._send(order, reports.new_order)

    def cancel(self, order: OrderRecord) -> None:
        self._send(order, reports.cancel_request)

    def replace(self, order: OrderRecord, original: OrderRecord) -> None:
        self._remember(original)
        self._send(order, reports.replace_request)

    def status(self, order: OrderRecord) -> None:
        self._send(order, reports.status_request)

    def _send(self, order: OrderRecord, message_of: Callable[[OrderRecord], FromClient]) -> None:
        """Number, store and write it; without a session it is dropped, and on_lost has told or will tell."""
        self._remember(order)
        if self.connected:
            self._connection.send(*encode(message_of(order), self._session.configuration.begin_string))

    def _remember(self, order: OrderRecord) -> None:
        self._instruments[order.order_id] = (order.sent_to, order.symbol, order.side)
        if len(self._instruments) > ORDERS_MAX:
            del self._instruments[next(iter(self._instruments))]

    def _may_resend(self, message: Message) -> bool:
        """A question or a cancel of this connection, that crossed with the venue's request for what it missed
        before: the answer to that would skip it too, and nobody would ever answer it."""
        return message.msg_type in REPEATED and message.seq_num >= self._asked_from

    # --- in: what the connection calls -------------------------------------------------------------------

    def on_logged_on(self, connection: Connection, epoch: str) -> None:
        session = f"{connection.name}#{epoch}"
        self._asked_from = self._store.next_out
        known, _ = self._events.last_report()
        self._up.set()
        metrics.CONNECTED.labels(self.name).set(1)
        if known and known != session and self._session.configuration.begin_string != "FIX.4.2":
            # numbers began anew: what was reported before and not received cannot be asked for again
            request = OrderMassStatusRequest(client_order_id(f"{session}|mass status", 0))
            self._connection.send(*encode(request))
        self._events.on_session(session)

    def on_lost(self, connection: Connection, reason: str) -> None:
        self._up.clear()
        metrics.CONNECTED.labels(self.name).set(0)
        self._events.on_lost(f"session {connection.name} lost: {reason}")

    def on_rejected(self, connection: Connection, rejected: Rejected) -> None:
        self._refused(rejected.ref_seq_num, f"rejected as malformed: {rejected.text}", 0)

    def on_message(self, connection: Connection, message: Message) -> None:
        """A report; durable when the engine returns.

        Raises
        ------
        FieldError
            It says what has no meaning here. It is answered so, and an alert: nothing is booked.
        """
        try:
            self._on_message(message)
        except FieldError as error:
            metrics.ALERTS.labels("gateway").inc()
            _log.error("report_not_booked", error=str(error), message=repr(message))
            raise

    def _on_message(self, message: Message) -> None:
        said = decode(message)
        if isinstance(said, ExecutionReport):
            if reports.is_answer(said) and message.flag(tags.POSS_DUP_FLAG):
                return  # an answer from an earlier connection says nothing about now
            if reports.is_duplicate(said):
                self._ask_for(said)
                return
            self._events.on_report(reports.of_execution(said, self.venues[0], message.seq_num))
        elif isinstance(said, OrderCancelReject):
            order = self._instruments.get(said.orig_cl_ord_id, (self.venues[0], "", ""))
            self._events.on_report(reports.of_cancel_reject(said, order, self._clock.now_ns()))
        elif isinstance(said, BusinessMessageReject):
            text = f"business reject {said.reason}: {said.text}"
            self._refused(said.ref_seq_num, text, message.seq_num)

    def _ask_for(self, said: ExecutionReport) -> None:
        """The venue has an order of that ClOrdID: what became of that is the answer."""
        _log.error("duplicate_order", order=said.cl_ord_id, text=said.text)
        request = OrderStatusRequest(
            *(said.cl_ord_id, said.symbol, said.side),
            request_id=client_order_id(f"{said.cl_ord_id}|duplicate", 0),
            venue=said.venue,
        )
        self._connection.send(*encode(request, self._session.configuration.begin_string))

    def _refused(self, ref_seq_num: int, text: str, seq_num: int) -> None:
        """The venue could not use what we sent under ``ref_seq_num``."""
        for _, raw in self._store.sent(ref_seq_num, ref_seq_num):
            sent = self._session.codec.parse(raw)
            _log.error("refused", text=text, message=repr(sent))
            if sent.msg_type == b"D":
                order = decode(sent)
                assert not isinstance(order, ExecutionReport | OrderCancelReject | BusinessMessageReject)
                report = reports.of_refusal(order, text, seq_num, self._clock.now_ns())
                if report is not None:
                    self._events.on_report(report)
