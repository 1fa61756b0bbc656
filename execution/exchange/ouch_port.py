"""The order entry port that speaks OUCH 5.0 over SoupBinTCP, for one venue of the exchange.

A client is a SoupBinTCP user; all that the venue says to it is one numbered stream of the record. Of the
requests, what OUCH says is ignored in silence is: a UserRefNum that is not above all before it, a cancel
or a replacement of what is not live. So a client may send again whatever it is not sure of.
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import structlog

from execution.exchange import ouch_words as words
from execution.exchange.orders import Outcome
from execution.exchange.ports import ClientSession, Request
from execution.exchange.profile import DARK
from execution.exchange.record import ExchangeRecord
from execution.exchange.requests import CancelRequest, ReplaceOrder, StatusRequest
from execution.exchange.server import ExchangeServer
from execution.exchange.soup_server import SoupBinServer, SoupSession
from execution.ouch import messages as ouch
from execution.ouch import values
from execution.ouch.codec import decode_inbound, encode
from execution.venues import Report
from tickloom.clock import NS_PER_S, Clock
from tickloom.errors import DecodeError
from tickloom.prices import NANOS

_log = structlog.get_logger("exchange")


class OuchPort:
    """See the module.

    Parameters
    ----------
    venue : str
        Whose orders these are.
    timezone : str
        Of the venue: timestamps count from its midnight.
    """

    def __init__(
        self,
        server: ExchangeServer,
        record: ExchangeRecord,
        clock: Clock,
        venue: str,
        timezone: str = "America/New_York",
        password: str = "",
    ) -> None:
        self._server, self._record, self._clock, self._venue = server, record, clock, venue
        self._zone = ZoneInfo(timezone)
        self.prefix = f"ouch:{venue}:"
        self._dark = server.engine.markets.profile(venue).kind == DARK
        self._last_ref: dict[str, int] = {}
        self._order_ids: dict[tuple[str, int], str] = {}
        self._taken: set[str] = set()
        self._modified: set[str] = set()  # whose reduction was asked for by a Modify
        self._disabled: set[str] = set()
        for order in server.engine.orders.values():
            if order.client.startswith(self.prefix):
                self._know(order.client, order.user_ref, order.order_id)
        self._soup = SoupBinServer(
            f"OUCH port of {venue}",
            record,
            clock,
            client_of=lambda user: self.prefix + user,
            stream_of=lambda user: self.prefix + user,
            on_message=self._on_message,
            password=password,
            silent_until_ns=server.silent_until_ns,
            on_answer=self._on_answer,
        )
        server.add_port(self)

    async def start(self, host: str, port: int) -> int:
        """Listen; see :meth:`SoupBinServer.start`."""
        return await self._soup.start(host, port)

    async def close(self) -> None:
        await self._soup.close()

    def sessions(self) -> list[ClientSession]:
        return list(self._soup.sessions())

    # --- reports -------------------------------------------------------------------------------

    def streamed(self, client: str, report: Report) -> list[tuple[str, bytes]]:
        """The report as the next message of the client's stream."""
        orders = self._server.engine.orders
        order = orders[report.order_id]
        ts = self._since_midnight(report.ts)
        original = orders.get(report.original_order_id)
        if original is not None and original is not order:
            self._know(client, order.user_ref, order.order_id)
        if original is order and order.order_id in self._modified:
            self._modified.discard(order.order_id)
            return [(client, encode(words.modified(report, order, ts)))]
        original_ref = original.user_ref if original is not None else 0
        message = words.message_of(report, order, original_ref, self._dark, ts)
        return [(client, encode(message))]

    def publish(self, client: str, report: Report, streamed: list[tuple[str, bytes]]) -> None:
        for stream, payload in streamed:
            if stream == client:
                self._soup.send(stream, payload)

    def _say(self, client: str, message: ouch.Outbound) -> None:
        """Something that is no report: into the stream, durable, and out."""
        payload = encode(message)
        self._server.settle(Outcome(), [(client, payload)])
        self._soup.send(client, payload)

    def _on_answer(self, session: SoupSession, request: Request, report: Report) -> None:
        """What is no report. OUCH knows a refusal of a replacement; other refusals are silence."""
        if isinstance(request, StatusRequest):
            following = self._last_ref.get(session.client, 0) + 1
            ts = self._since_midnight(self._clock.now_ns())
            self._say(session.client, ouch.AccountQueryResponse(ts, following))
        if isinstance(request, ReplaceOrder) and not report.unknown_order:
            if report.text.startswith("too late"):
                return
            reason = words.reject_reason(report.text)
            if reason == words.OTHER:
                reason = words.REPLACE_NOT_ALLOWED
            ts = self._since_midnight(self._clock.now_ns())
            self._say(session.client, ouch.Rejected(ts, request.user_ref, reason, request.client_order_id))

    # --- requests ------------------------------------------------------------------------------

    def _on_message(self, session: SoupSession, payload: bytes) -> None:
        try:
            message = decode_inbound(payload)
        except DecodeError as error:
            # OUCH has no answer to it; a client that sends nonsense is not to be trusted with orders
            _log.warning("malformed_message", client=session.client, error=str(error))
            session.cut()
            return
        match message:
            case ouch.EnterOrder():
                self._enter(session, message)
            case ouch.ReplaceOrder():
                self._replace(session, message)
            case ouch.CancelOrder():
                self._reduce(session, message.user_ref_num, message.quantity)
            case ouch.ModifyOrder():
                self._modified.add(self._order_ids.get((session.client, message.user_ref_num), ""))
                self._reduce(session, message.user_ref_num, message.quantity)
            case ouch.MassCancel():
                self._mass_cancel(session, message)
            case ouch.DisableOrderEntry() | ouch.EnableOrderEntry():
                self._permit(session, message)
            case ouch.AccountQuery():
                # in its turn: what was sent before it has its answer first
                self._server.arrive(session, StatusRequest("", self._venue, "", ""))

    def _enter(self, session: SoupSession, message: ouch.EnterOrder) -> None:
        if not self._use(session.client, message.user_ref_num):
            return
        order_id = self._order_id(session.client, message.client_order_id, message.user_ref_num)
        kind = self._server.engine.markets.profile(self._venue).kind
        found = words.order_of(message, self._venue, kind, order_id)
        if session.client in self._disabled:
            found = 0x0C
        elif not self._fits(message.symbol):
            found = words.INVALID_SYMBOL
        if isinstance(found, int):
            ts = self._since_midnight(self._clock.now_ns())
            self._say(session.client, ouch.Rejected(ts, message.user_ref_num, found, message.client_order_id))
            return
        self._know(session.client, message.user_ref_num, order_id)
        self._server.arrive(session, found)

    def _replace(self, session: SoupSession, message: ouch.ReplaceOrder) -> None:
        old_id = self._order_ids.get((session.client, message.original_user_ref_num))
        old = self._server.engine.orders.get(old_id or "")
        if old is None or not old.leaves or not self._use(session.client, message.user_ref_num):
            return
        unlimited = message.price == values.MARKET_PRICE
        request = ReplaceOrder(
            original_order_id=old.order_id,
            order_id=self._order_id(session.client, message.client_order_id, message.user_ref_num),
            venue=old.venue,
            symbol=old.symbol,
            side=old.side,
            quantity=message.quantity * NANOS,
            price=0 if unlimited else values.nanos_of_price(message.price),
            user_ref=message.user_ref_num,
            client_order_id=message.client_order_id,
        )
        self._server.arrive(session, request)

    def _reduce(self, session: SoupSession, user_ref: int, quantity: int) -> None:
        order_id = self._order_ids.get((session.client, user_ref))
        order = self._server.engine.orders.get(order_id or "")
        if order is None or not order.leaves:
            # of an order that is still on its way, after its latency
            if order_id is not None and order is None:
                self._server.arrive(session, CancelRequest(order_id, self._venue, "", "", quantity * NANOS))
            return
        self._server.arrive(
            session,
            CancelRequest(order.order_id, order.venue, order.symbol, order.side, quantity * NANOS),
        )

    def _mass_cancel(self, session: SoupSession, message: ouch.MassCancel) -> None:
        if not self._use(session.client, message.user_ref_num):
            return
        ts = self._since_midnight(self._clock.now_ns())
        self._say(
            session.client,
            ouch.MassCancelResponse(ts, message.user_ref_num, message.firm, message.symbol),
        )
        side = words.SIDES.get(str(ouch.option(message, "side") or ""), "")
        for order in list(self._server.engine.orders.values()):
            asked = message.symbol in ("", order.symbol) and side in ("", order.side)
            if asked and order.client == session.client and order.leaves:
                request = CancelRequest(order.order_id, order.venue, order.symbol, order.side)
                self._server.arrive(session, request)

    def _permit(self, session: SoupSession, message: ouch.DisableOrderEntry | ouch.EnableOrderEntry) -> None:
        if not self._use(session.client, message.user_ref_num):
            return
        ts = self._since_midnight(self._clock.now_ns())
        if isinstance(message, ouch.DisableOrderEntry):
            self._disabled.add(session.client)
            answer: ouch.Outbound = ouch.DisableOrderEntryResponse(ts, message.user_ref_num, message.firm)
        else:
            self._disabled.discard(session.client)
            answer = ouch.EnableOrderEntryResponse(ts, message.user_ref_num, message.firm)
        self._say(session.client, answer)

    # --- identities ----------------------------------------------------------------------------

    def _use(self, client: str, user_ref: int) -> bool:
        """Whether the number is a new one; it is used up then."""
        if user_ref <= self._last_ref.get(client, 0):
            return False
        self._last_ref[client] = user_ref
        return True

    def _know(self, client: str, user_ref: int, order_id: str) -> None:
        self._order_ids[(client, user_ref)] = order_id
        self._taken.add(order_id)
        self._last_ref[client] = max(user_ref, self._last_ref.get(client, 0))

    def _order_id(self, client: str, client_order_id: str, user_ref: int) -> str:
        """The exchange's name of the order: the client's own, unless that is blank or has been used."""
        used = client_order_id in self._taken or client_order_id in self._server.engine.orders
        if client_order_id and not used:
            return client_order_id
        return f"{client_order_id or client}#{user_ref}"

    def _fits(self, symbol: str) -> bool:
        """Whether OUCH's whole shares and four decimals can say all that the instrument's can."""
        instrument = self._server.engine.markets.instrument(self._venue, symbol)
        if instrument is None:
            return False
        half_tick = instrument.tick if not self._dark else instrument.tick // 2
        return instrument.lot % NANOS == 0 and half_tick % values.PRICE_UNIT == 0

    def _since_midnight(self, ts: int) -> int:
        seconds, rest = divmod(ts, NS_PER_S)
        local = datetime.fromtimestamp(seconds, self._zone)
        return ((local.hour * 60 + local.minute) * 60 + local.second) * NS_PER_S + rest
