"""The order state machine against FIX's matrices, and fills as facts."""

from __future__ import annotations

import base64
import hashlib
import itertools

import pytest

from execution.orders import OrderRecord, client_order_id, fill, transition
from tickloom.errors import OrderStateError
from tickloom.events import OrderState
from tickloom.prices import NANOS

# Transcribed from the order state change matrices of FIX 4.4 (Volume 4, Appendix D) for the states we
# have; the last row and column, UNKNOWN, are ours. Columns in the order of the rows.
MATRIX = """
pending_new       . x x x x x . x . x x x
new               . . x x x x x x x x x x
partially_filled  . . x x x x x x x . x x
filled            . . . . . . . . . . . .
done_for_day      . . . . . . . . . . . .
pending_cancel    . x x x x x . x x . x x
pending_replace   . x x x x x x x x . x x
cancelled         . . . . . . . . . . . .
replaced          . . . . . . . . . . . .
rejected          . . . . . . . . . . . .
expired           . . . . . . . . . . . .
unknown           x x x x x x x x x x x .
"""
ROWS = [line.split() for line in MATRIX.strip().splitlines()]
STATES = [OrderState(row[0]) for row in ROWS]
ALLOWED = {
    (OrderState(row[0]), STATES[column]) for row in ROWS for column, mark in enumerate(row[1:]) if mark == "x"
}


def order(state: OrderState = OrderState.NEW, filled: int = 0) -> OrderRecord:
    return OrderRecord(
        *(
            "ID",
            "signal",
            0,
            "rule",
            "XNAS",
            "ALFA",
            "buy",
            100 * NANOS,
            10 * NANOS,
            "day",
            state,
            1_000,
            1_000,
        ),
        filled_quantity=filled * NANOS,
        filled_value=filled * NANOS * 10 * NANOS,
    )


@pytest.mark.parametrize(("before", "after"), list(itertools.product(OrderState, OrderState)))
def test_every_pair_of_states(before: OrderState, after: OrderState) -> None:
    """A step that the matrices know is taken and counted; every other one raises and changes nothing."""
    start = order(before)
    if (before, after) in ALLOWED:
        reached = transition(start, after, 2_000, "because")
        assert (reached.state, reached.revision, reached.ts, reached.reason) == (after, 1, 2_000, "because")
    else:
        with pytest.raises(OrderStateError, match=f"is {before} and cannot become {after}"):
            transition(start, after, 2_000)
        assert start == order(before)


def test_matrix_names_every_state() -> None:
    """No state was forgotten in the transcription."""
    assert set(STATES) == set(OrderState)


def test_times_of_an_order_rise_even_if_the_clock_steps_back() -> None:
    """Two revisions never carry the same time: stored facts are told apart by it."""
    assert transition(order(), OrderState.PENDING_CANCEL, 500).ts == 1_001


def test_fills_up_to_the_quantity() -> None:
    """60 at 10.00 and 40 at 11.00 fill an order of 100 at an average of 10.40."""
    part, alert = fill(order(), 60 * NANOS, 10 * NANOS, 2_000)
    assert (part.state, part.leaves, alert) == (OrderState.PARTIALLY_FILLED, 40 * NANOS, "")
    full, alert = fill(part, 40 * NANOS, 11 * NANOS, 3_000)
    assert (full.state, full.leaves, alert) == (OrderState.FILLED, 0, "")
    assert full.average_price == 10_400_000_000


@pytest.mark.parametrize("state", [OrderState.PENDING_CANCEL, OrderState.PENDING_REPLACE])
def test_fill_while_a_request_is_pending(state: OrderState) -> None:
    """A partial fill leaves a pending cancel or replace pending; the last one fills the order."""
    part, _ = fill(order(state), 60 * NANOS, 10 * NANOS, 2_000)
    assert part.state is state
    full, _ = fill(part, 40 * NANOS, 10 * NANOS, 3_000)
    assert full.state is OrderState.FILLED


@pytest.mark.parametrize("state", [OrderState.CANCELLED, OrderState.EXPIRED, OrderState.REJECTED])
def test_fill_behind_the_end_is_booked_with_an_alert(state: OrderState) -> None:
    """What the venue traded counts even on a finished order: its state stays, somebody is told."""
    late, alert = fill(order(state), 10 * NANOS, 10 * NANOS, 2_000)
    assert (late.state, late.filled_quantity) == (state, 10 * NANOS)
    assert str(state) in alert


def test_overfill_is_booked_with_an_alert() -> None:
    """120 filled of 100 is 120 in the position, no leaves, and an alert."""
    over, alert = fill(order(OrderState.PARTIALLY_FILLED, 90), 30 * NANOS, 10 * NANOS, 2_000)
    assert (over.state, over.filled_quantity, over.leaves) == (OrderState.FILLED, 120 * NANOS, 0)
    assert "overfill: 120 filled of 100" in alert


@pytest.mark.parametrize(("quantity", "price"), [(0, 1), (-1, 1), (1, 0), (1, -1)])
def test_no_fill_at_all(quantity: int, price: int) -> None:
    """A fill of nothing, or at no price, is refused."""
    with pytest.raises(OrderStateError):
        fill(order(), quantity, price, 2_000)


def test_unknown_order_holds_its_whole_exposure() -> None:
    """As long as nobody knows, all of it may still be filled."""
    assert order(OrderState.UNKNOWN).leaves == 100 * NANOS


def test_client_order_id_is_the_hash_of_signal_and_leg() -> None:
    """20 characters of base32 of SHA-256, computed here from the same words."""
    expected = base64.b32encode(hashlib.sha256(b"abc|1").digest()).decode()[:20]
    assert client_order_id("abc", 1) == expected
    assert len(expected) == 20
    assert client_order_id("abc", 0) != expected
