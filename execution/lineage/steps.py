"""The way of an order in time: each step with the clock that it was read from. Pure.

Times of two clocks are never subtracted from each other: a venue's clock may be seconds off, and a replayed
session is of another day. What can be told as a latency is between steps of our own clock, and between steps
of the venue's.
"""

from __future__ import annotations

from collections.abc import Sequence

from execution.lineage.model import Change, ClockName, FillLine, OrderLine, SignalLine, Step, Ticks

_ACKNOWLEDGED = ("new", "partially_filled", "filled")


def steps_of(
    signal: SignalLine | None,
    ticks: Ticks | None,
    decided_ns: int,
    order: OrderLine,
    history: Sequence[Change],
    executions: Sequence[FillLine],
) -> list[Step]:
    """Steps of the venue's clock, then of ours, each in order of time.

    Parameters
    ----------
    decided_ns : int
        When the gate measured the order; 0: not known.
    """
    venue: list[tuple[str, int, str]] = []
    own: list[tuple[str, int, str]] = []
    last = next((row for row in ticks.rows if row.part == "last"), None) if ticks else None
    if last is not None:
        venue.append(("event", last.ts_event, f"the last matched row, seq {last.seq} of {last.symbol}"))
        own.append(("received", last.ts_recv, f"seq {last.seq} came off the wire"))
    if signal is not None:
        venue.append(("match", signal.ts_event, "event time of the match"))
        own.append(("signal", signal.ts_signal, f"rule {signal.rule} fired (in whole ms)"))
        own.append(("journaled", signal.ts, f"the agent has the signal: {signal.verdict}"))
    if decided_ns and (signal is None or decided_ns != signal.ts):
        own.append(("verdict", decided_ns, "the gate measured the order"))
    for number, change in enumerate(history):
        filled = f", {change.filled_quantity} filled" if change.filled_quantity != "0" else ""
        name = _name(number, change, history)
        before = history[number - 1].reason if number else ""
        why = f": {change.reason}" if change.reason != before else ""  # an order keeps its last reason
        own.append((name, change.ts, f"{change.state}{filled}{why}"))
    for fill in executions:
        text = f"{fill.quantity} at {fill.price} on {fill.destination} ({fill.execution_id})"
        venue.append(("execution", fill.ts, text))
    return [*_with_latency(venue, "venue"), *_with_latency(own, "own")]


def _name(number: int, change: Change, history: Sequence[Change]) -> str:
    if number == 0:
        return "sent" if change.state == "pending_new" else "decided"
    seen = any(before.state in _ACKNOWLEDGED for before in history[:number])
    return "acknowledged" if change.state in _ACKNOWLEDGED and not seen else "state"


def _with_latency(found: Sequence[tuple[str, int, str]], clock: ClockName) -> list[Step]:
    ordered = sorted(found, key=lambda step: step[1])  # stable: what is at the same time stays in its order
    return [
        Step(name, ts, clock, ts - ordered[number - 1][1] if number else None, text)
        for number, (name, ts, text) in enumerate(ordered)
    ]
