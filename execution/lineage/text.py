"""A lineage in, a page for a person out: what happened to the order, and why, from the top down. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from execution.lineage.decision_text import decision_lines
from execution.lineage.layout import columns, section
from execution.lineage.model import (
    FillLine,
    Lineage,
    OrderLine,
    PacketLine,
    RuleLine,
    Ticks,
    VerdictLine,
)
from tickloom.clock import NS_PER_MS, NS_PER_S, NS_PER_US

#: States that an order's last reason is about; it keeps the reason when it is filled after all.
_REASONED = frozenset({"rejected", "cancelled", "pending_cancel", "expired", "unknown", "done_for_day"})
ABOUT_COLUMNS = 110
COMPUTED_DIGITS = 9
HEX_BYTES_A_LINE = 16
HEX_LINES_MAX = 6  # of a message; an ITCH message has at most 50 bytes, a websocket's is shown as text
REPORTS_MAX = 40  # children, executions: what is beyond is in the JSON


def render(lineage: Lineage, everything: bool = False) -> str:
    """The page. ``everything``: checks that passed, the rule's whole text, every packet."""
    parts: list[Iterable[str]] = [_order(lineage)]
    if lineage.missing:
        rows = [(one.what, one.why) for one in lineage.missing]
        parts.append(section("Not known", columns(rows)))
    parts += [
        section("Steps", _steps(lineage)),
        section("Executions", _fills(lineage.executions)),
        section("Position", _position(lineage)),
        section("Parent and children", _family(lineage)),
        section("Router", _routes(lineage, everything)),
        section("Risk", _verdict(lineage.verdict, everything)),
        section("Breach plan", ((f"{_clock(one.ts)}  {one.action}: {one.why}") for one in lineage.actions)),
        section("Signal", _signal(lineage)),
        section("Rule", _rule(lineage.rule, everything)),
        section("Matched ticks", _ticks(lineage.ticks)),
        section("Packets", _packets(lineage.packets, everything)),
    ]
    return "\n".join(line for part in parts for line in part) + "\n"


def _order(lineage: Lineage) -> Iterator[str]:
    order = lineage.order
    kind = "Parent order" if lineage.children and lineage.parent is None else "Order"
    why = f" ({order.reason})" if order.reason and order.state in _REASONED else ""
    yield f"{kind} {order.order_id}: {order.state}{why}"
    yield f"  {_what(order)}"
    yield f"  {order.filled_quantity} of {order.quantity} filled{_at(order)}; rule {order.rule}"
    if order.venue_order_id:
        yield f"  the venue calls it {order.venue_order_id}"
    for leg in lineage.legs:
        yield f"  beside it, leg {leg.leg}: {leg.order_id}, {_what(leg)}, {leg.state}"


def _what(order: OrderLine) -> str:
    price = "market" if order.order_type == "market" else order.limit_price
    where = order.destination if order.destination == order.venue else f"{order.destination} ({order.venue})"
    kind = f"{order.order_type}, {order.time_in_force}"
    return f"{order.side} {order.quantity} {order.symbol} at {price} ({kind}), {where}"


def _at(order: OrderLine) -> str:
    return f" at {order.average_price} on average" if order.filled_quantity != "0" else ""


def _steps(lineage: Lineage) -> Iterator[str]:
    rows = []
    for step in lineage.steps:
        after = "" if step.after_ns is None else f"+{_span(step.after_ns)}"
        rows.append((_clock(step.ts), step.clock, after, step.name, step.text))
    yield from columns(rows, right=(2,))
    if any(step.clock == "venue" for step in lineage.steps):
        yield "(each + is since the step before it on the same clock; the two are not compared)"
    matched = [step.ts for step in lineage.steps if step.clock == "venue" and step.name == "match"]
    traded = [step.ts for step in lineage.steps if step.clock == "venue" and step.name == "execution"]
    if matched and traded and min(traded) < matched[0]:
        early = _span(matched[0] - min(traded))
        yield f"attention: the venue traded {early} before the match by its own clock: its market data lags"


def _fills(fills: Sequence[FillLine]) -> Iterator[str]:
    rows = [
        (
            _clock(one.ts_recv),
            one.execution_id,
            one.destination,
            one.quantity,
            f"at {one.price}",
            one.liquidity,
            f"fee {one.fee}" if one.fee != "0" else "",
            one.changed,
        )
        for one in fills[:REPORTS_MAX]
    ]
    yield from columns(rows, right=(3,))
    if len(fills) > REPORTS_MAX:
        yield f"and {len(fills) - REPORTS_MAX} more"


def _position(lineage: Lineage) -> Iterator[str]:
    held = lineage.position
    if held is not None:
        yield (
            f"{held.venue} {held.symbol}: {held.before} before, {held.after} after, average price "
            f"{held.average_price}, realised so far {held.realised}"
        )


def _family(lineage: Lineage) -> Iterator[str]:
    if lineage.parent is not None:
        yield f"parent {lineage.parent.order_id}: {_what(lineage.parent)}, {lineage.parent.state}"
    rows = []
    for child in lineage.children[:REPORTS_MAX]:
        mark = "*" if child.order_id == lineage.order.order_id else ""
        filled = f"{child.filled_quantity} of {child.quantity}"
        price = f"at {child.limit_price}"
        kind = f"{child.order_type}, {child.time_in_force}"
        rows.append((mark, child.order_id, child.destination, filled, price, kind, child.state, child.reason))
    yield from columns(rows, right=(3,))


def _routes(lineage: Lineage, everything: bool) -> Iterator[str]:
    """All decisions over a parent; of a child, those that made it or took it back."""
    own = lineage.order.order_id
    shown = [
        one
        for one in lineage.routes
        if everything or lineage.parent is None or own in {*one.cancel, *(made.order_id for made in one.made)}
    ]
    for one in shown:
        end = " (the last: nothing more is tried)" if one.done else ""
        yield f"decision {one.number}, {_clock(one.ts)}{f': {one.why}' if one.why else ''}{end}"
        yield from (f"  {line}" for line in decision_lines(one.record, everything))
        for made in one.made:
            mark = " (this order)" if made.order_id == own else ""
            refused = f", refused: {made.refused}" if made.refused else ""
            yield f"  made {made.order_id}{mark}{refused}"
        for order_id in one.cancel:
            yield f"  took back {order_id}{' (this order)' if order_id == own else ''}"
    if len(lineage.routes) > len(shown):
        yield f"and {len(lineage.routes) - len(shown)} more decisions over its parent (--all)"


def _verdict(verdict: VerdictLine | None, everything: bool) -> Iterator[str]:
    if verdict is None:
        return
    outcome = f"refused by {' of the '.join(verdict.refused)}" if verdict.refused else "passed"
    limits = f"limits revision {verdict.limits_revision}, digest {verdict.limits_digest}"
    yield f"{outcome}, {len(verdict.checks)} checks; {limits}; {_clock(verdict.ts)}"
    rows = []
    for one in verdict.checks:
        if everything or not one.passed or one.unit != "switch":
            rows.append((one.check, one.level, "ok" if one.passed else "REFUSED", one.shown))
    yield from columns(rows)
    hidden = len(verdict.checks) - len(rows)
    if hidden:
        yield f"and {hidden} switches, all passed (--all)"


def _signal(lineage: Lineage) -> Iterator[str]:
    signal = lineage.signal
    if signal is None:
        return
    yield f"{signal.signal_id}"
    yield (
        f"{signal.rule} v{signal.version}: {signal.side} {signal.symbol} on {signal.venue}, strength "
        f"{signal.strength:.6g}, reference {signal.ref_price:.9g}"
    )
    yield f"rows seq {signal.first_seq} to {signal.last_seq}; event time {_clock(signal.ts_event)}"
    yield f"{signal.verdict} by the agent {_clock(signal.ts)}{f': {signal.reason}' if signal.reason else ''}"


def _rule(rule: RuleLine | None, everything: bool) -> Iterator[str]:
    if rule is None:
        return
    kept = "as submitted" if rule.source == "submitted" else "from its file as it is NOW"
    engine = f", on {rule.engine} (job {rule.job_id})" if rule.engine else ""
    yield f"{rule.name} v{rule.version}, {kept}, text {rule.text_hash}{engine}"
    yield from textwrap.wrap(rule.about, ABOUT_COLUMNS)
    for name, values in rule.parameters.items():
        if values:
            listed = ", ".join(f"{key}={value}" for key, value in values.items())
            yield f"parameters{f' of {name}' if name else ''}: {listed}"
    if rule.overrides:
        yield "overridden: " + ", ".join(f"{key}={value}" for key, value in rule.overrides.items())
    lines = rule.text.strip().splitlines()
    if everything:
        yield from (f"| {line}" for line in lines)
    else:
        yield f"({len(lines)} lines of text: --all)"


def _ticks(ticks: Ticks | None) -> Iterator[str]:
    if ticks is None:
        return
    counted = ", ".join(f"{count:,} {table}" for table, count in ticks.counts.items())
    yield f"{counted} between the first and the last row, from {ticks.source}; the ends:"
    rows = []
    for one in ticks.rows:
        mark = {"first": "first", "last": "last"}.get(one.part, "")
        values = " ".join(f"{name}={_short(value)}" for name, value in one.values.items() if value)
        rows.append((mark, _clock(one.ts_event), one.table, one.symbol, str(one.seq), values))
    yield from columns(rows)


def _short(value: str) -> str:
    """A computed double in nine digits; whatever else as it is."""
    if "." not in value or len(value) <= COMPUTED_DIGITS + 2:
        return value
    try:
        return f"{float(value):.{COMPUTED_DIGITS}g}"
    except ValueError:
        return value


def _packets(packets: Sequence[PacketLine], everything: bool) -> Iterator[str]:
    shown = packets if everything else packets[:2]
    for one in shown:
        yield (
            f"seq {one.seq}: {one.protocol}, message {one.source_seq}, {one.message_type}; received "
            f"{_clock(one.ts_recv)}"
        )
        yield (
            f"  {one.segment}, record {one.record} at byte {one.offset}, {one.payload_bytes} bytes; the "
            f"message at byte {one.message_offset} of it:"
        )
        raw = bytes.fromhex(one.message)
        yield from (f"  {line}" for line in _hex_lines(raw))
        if one.fields:
            yield "  " + ", ".join(f"{name} {value}" for name, value in one.fields.items() if name != "text")
    if len(packets) > len(shown):
        yield f"and {len(packets) - len(shown)} more (--all)"


def _hex_lines(raw: bytes) -> Iterator[str]:
    """Offset, bytes in hexadecimal, and as ASCII."""
    for number, start in enumerate(range(0, len(raw), HEX_BYTES_A_LINE)):
        if number == HEX_LINES_MAX:
            yield f"... {len(raw) - start} more bytes"
            return
        part = raw[start : start + HEX_BYTES_A_LINE]
        letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        yield f"{start:04x}  {part.hex(' '):<{HEX_BYTES_A_LINE * 3 - 1}}  {letters}"


def _clock(ts: int) -> str:
    """Date and time with microseconds, UTC."""
    when = datetime.fromtimestamp(ts // NS_PER_S, UTC)
    return f"{when:%Y-%m-%d %H:%M:%S}.{ts % NS_PER_S // NS_PER_US:06d}"


def _span(ns: int) -> str:
    """A duration in the unit that suits it."""
    if ns < NS_PER_MS:
        return f"{ns / NS_PER_US:.0f} us"
    if ns < NS_PER_S:
        return f"{ns / NS_PER_MS:.1f} ms"
    return f"{ns / NS_PER_S:,.3f} s"
