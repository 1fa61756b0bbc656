"""Implementation shortfall, exactly: whole numbers in, whole numbers out. Pure.

After A. F. Perold, "The implementation shortfall: paper versus reality", Journal of Portfolio Management 14
(1988), and its split into delay, trading and opportunity of R. Kissell, "The expanded implementation
shortfall", Journal of Trading 1 (2006). With side s, quantity X, fills (q, p) of which x in all, mids at the
decision (d), the sending (0), each fill (f) and the end (n):

    delay        s X (m0 - md)
    market       s sum q (mf - m0)
    spread       s sum q (p - mf)
    opportunity  s (X - x) (mn - m0)
    fees         sum of fees

Their sum is what the paper portfolio (all of X at the decision's mid) gained over the real one by the end:
s (sum q p + (X - x) mn - X md) + fees. It is so to the unit, overfills included, because nothing is rounded.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestration.tca.terms import Parent, Shortfall
from tickloom.prices import NANOS


def shortfall(parent: Parent, decision: int, arrival: int, end: int, at_fills: Sequence[int]) -> Shortfall:
    """The components of a parent's shortfall.

    Parameters
    ----------
    decision, arrival, end : int
        Mids, nanos.
    at_fills : sequence of int
        The mid at each fill, nanos.
    """
    sign, left = parent.sign, parent.quantity - parent.filled
    fills = list(zip(parent.fills, at_fills, strict=True))
    return Shortfall(
        delay=sign * parent.quantity * (arrival - decision),
        market=sign * sum(fill.quantity * (mid - arrival) for fill, mid in fills),
        spread=sign * sum(fill.quantity * (fill.price - mid) for fill, mid in fills),
        opportunity=sign * left * (end - arrival),
        fees=sum(fill.fee for fill in parent.fills) * NANOS,
    )


def paper_less_real(parent: Parent, decision: int, end: int) -> int:
    """The same total without its parts, for comparison."""
    left = parent.quantity - parent.filled
    paid = parent.filled_value + left * end - parent.quantity * decision
    return parent.sign * paid + sum(fill.fee for fill in parent.fills) * NANOS
