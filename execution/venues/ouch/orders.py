"""What a venue's OUCH stream says of our orders, as reports. Pure.

OUCH names an order by a UserRefNum and repeats our ClOrdID only when it is accepted, rejected or
replaced. This keeps the map of the two, and the state of each order, out of the stream alone: read from
its first message on, it is the same in every process. So nothing about UserRefNums is stored here, and a
restart forgets nothing that the venue knows.

A ClOrdID has 14 characters: the first 14 of the order id (70 bits of the hash that it is). The whole
id comes from whoever has the orders, see :meth:`OuchOrders.expect`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from execution.orders import TERMINAL
from execution.ouch import messages as ouch
from execution.ouch import values
from execution.venues import Report, ReportType
from tickloom.errors import ExecutionError
from tickloom.events import OrderState
from tickloom.prices import NANOS, format_nanos

_SIDES = {"B": "buy", "S": "sell", "T": "sell", "E": "sell"}
_ADDED = frozenset("AJkN78")  # liquidity flags of who rested


@dataclass(slots=True)
class _Known:
    """An order as the stream tells it. quantities in shares."""

    client_order_id: str
    user_ref: int
    symbol: str
    side: str
    quantity: int
    price: int
    state: OrderState
    reference: int = 0
    filled: int = 0
    busted: int = 0
    text: str = ""

    @property
    def live(self) -> bool:
        return self.state not in TERMINAL


def shares_of(quantity: int) -> int:
    """Whole shares, as OUCH counts them.

    Raises
    ------
    ValueError
        Not whole, or outside of what OUCH takes.
    """
    shares, rest = divmod(quantity, NANOS)
    if rest or not 0 < shares < values.QUANTITY_END:
        raise ValueError(
            f"{format_nanos(quantity)} is no OUCH quantity: whole shares, above 0, "
            f"below {values.QUANTITY_END}"
        )
    return shares


class OuchOrders:
    """One account at one venue, one session of the venue's stream.

    Parameters
    ----------
    midnight_ns : int
        Of the session's day in the venue's time zone, ns since the epoch: timestamps count from it.
    """

    def __init__(self, venue: str, midnight_ns: int) -> None:
        self._venue, self._midnight_ns = venue, midnight_ns
        self._by_ref: dict[int, _Known] = {}
        self._by_id: dict[str, _Known] = {}
        self._whole: dict[str, str] = {}
        self._told: dict[str, tuple[str, str]] = {}
        self._executions: dict[int, tuple[int, int]] = {}  # match number to UserRefNum and quantity
        self.next_ref = 1

    # --- identities ----------------------------------------------------------------------------

    def expect(self, order_ids: Iterable[str]) -> None:
        """Order ids whose first 14 characters may come back.

        Raises
        ------
        ExecutionError
            Two that begin alike: the venue could not tell them apart.
        """
        for order_id in order_ids:
            short = order_id[: values.CLIENT_ORDER_ID_LENGTH]
            known = self._whole.setdefault(short, order_id)
            if known != order_id:
                raise ExecutionError(
                    f"orders {known} and {order_id} begin with the same 14 characters, which is all that "
                    f"{self._venue} is told of an order; give one another id"
                )

    def sends(self, order_id: str, symbol: str, side: str) -> None:
        """An order goes out: a rejection says neither symbol nor side."""
        self.expect((order_id,))
        self._told[order_id[: values.CLIENT_ORDER_ID_LENGTH]] = (symbol, side)

    def knows(self, order_id: str) -> bool:
        """Whether the stream has named it."""
        return order_id[: values.CLIENT_ORDER_ID_LENGTH] in self._by_id

    def take_ref(self) -> int:
        """A UserRefNum that has not been used: they rise strictly for an account and day."""
        ref, self.next_ref = self.next_ref, self.next_ref + 1
        return ref

    def user_ref(self, order_id: str) -> int | None:
        """Of an order that the venue has accepted; the last of its replacements."""
        known = self._by_id.get(order_id[: values.CLIENT_ORDER_ID_LENGTH])
        return known.user_ref if known is not None else None

    def live(self, order_id: str) -> bool:
        known = self._by_id.get(order_id[: values.CLIENT_ORDER_ID_LENGTH])
        return known is not None and known.live

    def status(self, order_id: str, symbol: str, side: str, kind: ReportType, text: str) -> Report:
        """What the stream has said so far of an order; that there is none, if it has said nothing."""
        known = self._by_id.get(order_id[: values.CLIENT_ORDER_ID_LENGTH])
        if known is None:
            return Report(
                report_type=kind,
                order_id=order_id,
                venue=self._venue,
                symbol=symbol,
                side=side,
                state=OrderState.REJECTED,
                filled_quantity=0,
                text="unknown order",
                unknown_order=True,
            )
        return self._report(known, kind, 0, 0, text=text)

    # --- the stream ----------------------------------------------------------------------------

    def take(self, message: ouch.Outbound, sequence: int) -> Report | None:
        """The next message of the stream; None: it is no report on an order."""
        match message:
            case ouch.Accepted():
                return self._accepted(message, sequence)
            case ouch.Replaced():
                return self._replaced(message, sequence)
            case ouch.Rejected():
                return self._rejected(message, sequence)
            case ouch.AccountQueryResponse():
                self.next_ref = max(self.next_ref, message.next_user_ref_num)
                return None
            case ouch.SystemEvent():
                return None
            case ouch.MassCancelResponse():
                self._used(message.user_ref_num)
                return None
            case ouch.DisableOrderEntryResponse() | ouch.EnableOrderEntryResponse():
                self._used(message.user_ref_num)
                return None
        known = self._by_ref.get(message.user_ref_num)
        return self._change(known, message, sequence) if known is not None else None

    def _change(self, known: _Known, message: ouch.Outbound, sequence: int) -> Report | None:
        match message:
            case ouch.Executed():
                return self._executed(known, message, sequence)
            case ouch.Canceled():
                text = values.CANCEL_REASONS.get(message.reason, message.reason)
                return self._canceled(known, message.quantity, message.reason, text, message, sequence)
            case ouch.AiqCanceled():
                text = values.CANCEL_REASONS["Q"]
                return self._canceled(known, message.decrement_shares, "Q", text, message, sequence)
            case ouch.Modified():
                taken_off = known.quantity - known.filled - known.busted - message.quantity
                known.quantity -= taken_off
                return self._reduced(known, taken_off, message.timestamp, sequence, "modified")
            case ouch.BrokenTrade() | ouch.TradeCorrection():
                return self._amended(known, message, sequence)
            case ouch.CancelRejected():
                return self._report(
                    known, ReportType.CANCEL_REJECTED, message.timestamp, sequence, text="cannot be cancelled"
                )
            case _:
                return None  # pending cancels, priority and restatement: nothing has changed for us

    def _accepted(self, message: ouch.Accepted, sequence: int) -> Report:
        known = self._new(
            message.client_order_id, message.user_ref_num, message.symbol, message.side,
            message.quantity, message.price,
        )  # fmt: skip
        known.reference = message.order_reference_number
        if message.order_state == "D":
            known.state, known.text = OrderState.CANCELLED, "cancelled on entry"
            return self._report(
                known, ReportType.CANCELLED, message.timestamp, sequence, text="cancelled on entry"
            )
        return self._report(known, ReportType.NEW, message.timestamp, sequence)

    def _replaced(self, message: ouch.Replaced, sequence: int) -> Report:
        old = self._by_ref.get(message.original_user_ref_num)
        known = self._new(
            message.client_order_id, message.user_ref_num, message.symbol, message.side,
            message.quantity, message.price,
        )  # fmt: skip
        known.reference = message.order_reference_number
        original = ""
        if old is not None:
            known.filled, known.busted = old.filled, old.busted
            known.quantity += old.filled + old.busted
            if known.filled:
                known.state = OrderState.PARTIALLY_FILLED
            old.state, original = OrderState.REPLACED, self._order_id(old)
        if message.order_state == "D":
            known.state = OrderState.CANCELLED
        return Report(
            report_type=ReportType.REPLACED,
            **self._head(known, message.timestamp, sequence),
            original_order_id=original,
            quantity=known.quantity * NANOS,
            price=known.price,
        )

    def _rejected(self, message: ouch.Rejected, sequence: int) -> Report | None:
        """Of an order; of a replacement, it leaves what it was to replace as it is."""
        text = values.REJECT_REASONS.get(message.reason, f"reason {message.reason}")
        symbol, side = self._told.get(message.client_order_id, ("", ""))
        known = self._new(message.client_order_id, message.user_ref_num, symbol, "", 0, 0)
        known.side = side
        known.state, known.text = OrderState.REJECTED, text
        return self._report(known, ReportType.REJECTED, message.timestamp, sequence, text=text)

    def _executed(self, known: _Known, message: ouch.Executed, sequence: int) -> Report:
        known.filled += message.quantity
        whole = known.filled + known.busted >= known.quantity
        if known.live:
            known.state = OrderState.FILLED if whole else OrderState.PARTIALLY_FILLED
        self._executions[message.match_number] = (known.user_ref, message.quantity)
        return Report(
            report_type=ReportType.TRADE,
            **self._head(known, message.timestamp, sequence),
            execution_id=f"{self._venue}-E{message.match_number}",
            last_quantity=message.quantity * NANOS,
            last_price=values.nanos_of_price(message.price),
            liquidity="added" if message.liquidity_flag in _ADDED else "removed",
        )

    def _canceled(
        self,
        known: _Known,
        quantity: int,
        reason: str,
        text: str,
        message: ouch.Canceled | ouch.AiqCanceled,
        sequence: int,
    ) -> Report:
        if known.quantity - quantity > known.filled + known.busted:
            known.quantity -= quantity
            return self._reduced(known, quantity, message.timestamp, sequence, text)
        closed = reason == "E"
        known.state, known.text = (OrderState.EXPIRED if closed else OrderState.CANCELLED), text
        kind = ReportType.EXPIRED if closed else ReportType.CANCELLED
        return self._report(known, kind, message.timestamp, sequence, text=text)

    def _reduced(self, known: _Known, quantity: int, timestamp: int, sequence: int, text: str) -> Report:
        return Report(
            report_type=ReportType.REPLACED,
            **self._head(known, timestamp, sequence),
            original_order_id=self._order_id(known),
            last_quantity=quantity * NANOS,
            quantity=known.quantity * NANOS,
            price=known.price,
            text=text,
        )

    def _amended(
        self, known: _Known, message: ouch.BrokenTrade | ouch.TradeCorrection, sequence: int
    ) -> Report | None:
        _, before = self._executions.get(message.match_number, (0, 0))
        corrected = isinstance(message, ouch.TradeCorrection)
        quantity = message.quantity if isinstance(message, ouch.TradeCorrection) else 0
        price = message.price if isinstance(message, ouch.TradeCorrection) else 0
        self._executions[message.match_number] = (known.user_ref, quantity)
        known.filled += quantity - before
        known.busted += before - quantity
        return Report(
            report_type=ReportType.TRADE_CORRECTED if corrected else ReportType.TRADE_CANCELLED,
            **self._head(known, message.timestamp, sequence),
            execution_id=f"{self._venue}-E{message.match_number}",
            last_quantity=quantity * NANOS,
            last_price=values.nanos_of_price(price),
        )

    # --- inside --------------------------------------------------------------------------------

    def _new(self, short: str, ref: int, symbol: str, side: str, quantity: int, price: int) -> _Known:
        known = _Known(
            client_order_id=short,
            user_ref=ref,
            symbol=symbol,
            side=_SIDES.get(side, ""),
            quantity=quantity,
            price=0 if price == values.MARKET_PRICE else values.nanos_of_price(price),
            state=OrderState.NEW,
        )
        self._by_ref[ref] = self._by_id[short] = known
        self._used(ref)
        return known

    def _used(self, ref: int) -> None:
        self.next_ref = max(self.next_ref, ref + 1)

    def _order_id(self, known: _Known) -> str:
        return self._whole.get(known.client_order_id, known.client_order_id)

    def _head(self, known: _Known, timestamp: int, sequence: int) -> dict[str, Any]:
        return {
            "order_id": self._order_id(known),
            "venue": self._venue,
            "symbol": known.symbol,
            "side": known.side,
            "state": known.state,
            "filled_quantity": known.filled * NANOS,
            "venue_order_id": f"{self._venue}-{known.reference}" if known.reference else "",
            "ts": self._midnight_ns + timestamp if timestamp else 0,
            "report_seq": sequence,
        }

    def _report(
        self, known: _Known, kind: ReportType, timestamp: int, sequence: int, text: str = ""
    ) -> Report:
        return Report(report_type=kind, **self._head(known, timestamp, sequence), text=text or known.text)
