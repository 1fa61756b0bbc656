"""The pre-trade gate: an order intent and the book's state in, a verdict out. Changes nothing.

The checks are one compiled call (:mod:`execution.risk.kernel`); here names become row numbers before it,
and numbers become a sentence after it, if the order is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from execution.risk import kernel
from execution.risk.arithmetic import UNLIMITED
from execution.risk.checks import SPECS, Check, Unit
from execution.risk.layout import CHECKS
from execution.risk.verdict import Refusal, Verdict, show

if TYPE_CHECKING:
    from execution.market import MarketView
    from execution.risk.book import RiskBook
    from execution.sizing import OrderIntent


class RiskGate:
    """All checks over one :class:`RiskBook`. Not thread-safe, as the book."""

    def __init__(self, book: RiskBook) -> None:
        self.book = book
        self._out = np.zeros((3, CHECKS, 3), np.int64)

    def check(
        self,
        intent: OrderIntent,
        now_ns: int,
        ts_signal: int,
        ts_event: int,
        ts_repeat: int = 0,
        known: bool = False,
        connected: bool = True,
        part: bool = False,
    ) -> Verdict:
        """The verdict over ``intent``; limit_price 0 is a market order.

        Parameters
        ----------
        now_ns, ts_signal, ts_event : int
            Wall clock, and when the signal fired and matched: ns.
        ts_repeat : int
            Event time of the last order of the same rule, instrument and side; 0: none.
        known : bool
            The client order id was used before.
        connected : bool
            There is a session with the venue.
        part : bool
            It is a part of an order that was looked at as a whole, or takes the place of one: that it looks
            like another order says nothing.
        """
        book, out = self.book, self._out
        book.mark()
        code = kernel.check(
            *(book.part_arrays if part else book.arrays), out,
            book.strategies.get(intent.rule, 1),
            book.index.get((intent.venue, intent.symbol), book.count - 1),
            1 if intent.side == "buy" else -1, intent.quantity, intent.limit_price,
            now_ns, ts_signal, ts_event, ts_repeat, known, connected,
            intent.unwinding,
        )  # fmt: skip
        limits = book.limits_file
        return Verdict(code, out.tobytes(), limits.revision, limits.digest)

    def refusal(
        self, verdict: Verdict, intent: OrderIntent, view: MarketView | None = None
    ) -> Refusal | None:
        """Why, in words; None if it passed. ``view``: why data is not trusted, or trading is halted."""
        check, level = verdict.check, verdict.level
        if check is None or level is None:
            return None
        value, limit = verdict.number(check, level)
        instrument = f"{intent.venue} {intent.symbol}"
        scope = ("firm", intent.rule, instrument)[level]
        name = ("", intent.rule, instrument)[level]
        words = _words(check, self.book.why.get((check, level, name), ""), intent, view, self.book)
        if words is not None:
            return Refusal(check, words[1], words[0], scope)
        return Refusal(check, _limit_text(check, limit), _value_text(check, value, intent), scope)


def pair_leg(other: OrderIntent, refusal: Refusal) -> Refusal:
    """Why a leg does not leave whose other leg was refused."""
    return Refusal(Check.PAIR_LEG, "both legs or none", f"{other.symbol} refused by {refusal.check}", "pair")


def _words(
    check: Check, why: str, intent: OrderIntent, view: MarketView | None, book: RiskBook
) -> tuple[str, str] | None:
    """(value, limit) of a check that is no figure."""
    known = intent.rule in book.limits_file.rules
    table = {
        Check.ORDER_ENTRY: ("live order entry is off", "execution.enabled"),
        Check.KILL_SWITCH: (f"halted: {why}", "not halted"),
        Check.REDUCE_ONLY: (f"would not reduce a position: {why}", "reducing orders only"),
        Check.DUPLICATE: (f"order {intent.order_id} exists", "once"),
        Check.RULE: ("the rule is switched off", "enabled = true")
        if known
        else ("the limits file has no entry", f"[rules.{intent.rule}]"),
        Check.INSTRUMENT: ("unknown instrument", "strategies/instruments.toml"),
        Check.RESTRICTED: ("restricted instrument", "restricted = false"),
        Check.MARKET_DATA: (
            "no quote seen" if view is None else "one side missing, or crossed",
            "a quote with both sides",
        ),
        Check.TRUST: (view.untrusted if view else "", "trusted market data"),
        Check.HALT: (view.halted if view else "", "trading"),
        Check.VENUE_SESSION: ("no session with the venue", "logged on"),
        Check.SELF_TRADE: ("would meet an order of our own", "no self-trade"),
    }
    return table.get(check)


_UNITS = {spec.check: spec.unit for spec in SPECS}
_ABOUT = {spec.check: spec.about for spec in SPECS}
_WORST = (Check.POSITION, Check.POSITION_NOTIONAL)


def _value_text(check: Check, value: int, intent: OrderIntent) -> str:
    if check is Check.LOT:
        return show(Unit.QUANTITY, intent.quantity)
    if check is Check.DAILY_LOSS:
        return f"lost {show(Unit.MONEY, value)} today"
    if check is Check.REPEAT:
        return show(Unit.TIME, -value)
    if check is Check.SHORT_SALE:
        return f"short at {show(Unit.PRICE, intent.limit_price)}"
    shown = show(_UNITS[check], value)
    if check in _WORST:
        return f"worst case {shown} {'long' if intent.side == 'buy' else 'short'}"
    if _UNITS[check] is Unit.TIME or check in (Check.ORDER_QUANTITY, Check.ORDER_NOTIONAL):
        return shown
    return f"{shown} {_ABOUT[check]}"


def _limit_text(check: Check, limit: int) -> str:
    if limit == UNLIMITED:
        return "none"
    if check is Check.LOT:
        return "whole lots, at least one"
    if check is Check.REPEAT:
        return f"{show(Unit.TIME, -limit)} apart"
    if check is Check.SHORT_SALE:
        return "above the national best bid"
    return show(_UNITS[check], limit)
