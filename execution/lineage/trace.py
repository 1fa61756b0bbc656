"""An order's id in, its lineage out: reads the journal, asks the sources, and says what it could not find."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from execution.lineage.lines import (
    decision_line,
    fill_line,
    history_of,
    order_line,
    position_line,
    signal_line,
    verdict_line,
)
from execution.lineage.model import (
    SCHEMA_VERSION,
    Action,
    Decision,
    FillLine,
    Lineage,
    Missing,
    OrderLine,
    PacketLine,
    PositionLine,
    RuleLine,
    SignalLine,
    Ticks,
)
from execution.lineage.records import Records, Row
from execution.lineage.sources import Sources, Unavailable
from execution.lineage.steps import steps_of
from tickloom.clock import NS_PER_S
from tickloom.instruments import Registry

#: How a slice of a breach plan names itself where others have a signal (``execution.unwinder``).
UNWINDING = "unwind|"
ACTIONS_BACK_NS = 600 * NS_PER_S  # a plan's stages take minutes
ACTIONS_MAX = 12
PACKETS_MAX = 12  # the ends of the match first; a match over minutes has thousands
_TABLES = ("trades", "quotes")


def trace(records: Records, asked: str, registry: Registry, sources: Sources) -> Lineage:
    """Everything that led to an order, and what it led to.

    Parameters
    ----------
    asked : str
        Client order id or its beginning, a venue's order id, or an execution id.

    Raises
    ------
    JournalError
        The journal knows no such order, or cannot be read.
    """
    row = records.order(records.find(asked))
    parent = records.order(row["parent_id"]) if row["parent_id"] else None
    top = parent or row
    children = records.children(top["order_id"])
    signal = _signal(records, row["signal_id"])
    missing: list[Missing] = []
    rule = _rule(signal, sources, missing)
    ticks = _ticks(signal, rule, registry, sources, missing)
    packets = _packets(signal, ticks, sources, missing)
    verdict, parent_verdict = records.verdict(row["order_id"]), None
    if verdict is None:
        missing.append(Missing("risk verdict", _no_verdict(row)))
    if parent is not None:
        parent_verdict = records.verdict(parent["order_id"])
    order, history = order_line(row), history_of(records.history(row["order_id"]))
    own = (
        [row["order_id"]] if parent is not None or not children else [child["order_id"] for child in children]
    )
    executions = [fill_line(one) for one in records.executions(own)]
    return Lineage(
        schema_version=SCHEMA_VERSION,
        asked=asked,
        order=order,
        history=history,
        parent=order_line(parent) if parent else None,
        children=[order_line(child) for child in children],
        legs=_legs(records, row, top),
        routes=_routes(records, top, children, missing),
        verdict=verdict_line(verdict) if verdict else None,
        parent_verdict=verdict_line(parent_verdict) if parent_verdict else None,
        signal=signal,
        actions=_actions(records, row),
        rule=rule,
        ticks=ticks,
        packets=packets,
        executions=executions,
        steps=steps_of(signal, ticks, verdict["ts"] if verdict else 0, order, history, executions),
        position=_position(records, row, executions),
        missing=missing,
    )


def _signal(records: Records, signal_id: str) -> SignalLine | None:
    row = records.signal(signal_id)
    return signal_line(row) if row else None


def _no_verdict(row: Row) -> str:
    if not row["sent"]:
        return "the gate was not asked: another leg of the signal was refused before"
    return "the journal is of a version that did not keep verdicts"


def _legs(records: Records, row: Row, top: Row) -> list[OrderLine]:
    found = records.of_signal(row["signal_id"])
    return [order_line(one) for one in found if one["order_id"] not in (row["order_id"], top["order_id"])]


def _routes(records: Records, top: Row, children: Sequence[Row], missing: list[Missing]) -> list[Decision]:
    found = [decision_line(one) for one in records.routes(top["order_id"])]
    if children and not found:
        missing.append(Missing("router decisions", "the journal has none for this parent order"))
    return found


def _actions(records: Records, row: Row) -> list[Action]:
    """Of a slice of a breach plan: what its plan did up to it, and the slice itself."""
    if not str(row["signal_id"]).startswith(UNWINDING):
        return []
    ts = int(row["ts_created"])
    found = [
        one for one in records.actions(ts - ACTIONS_BACK_NS, ts) if one["action"].startswith("unwinding")
    ]
    return [Action(one["ts"], one["action"], one["who"], one["why"]) for one in found[-ACTIONS_MAX:]]


def _rule(signal: SignalLine | None, sources: Sources, missing: list[Missing]) -> RuleLine | None:
    if signal is None:
        return None
    why = "nobody was asked for it"
    for source in sources.rules:
        try:
            return source.rule(signal.rule, signal.version, signal.ts_signal)
        except Unavailable as error:
            why = str(error)
    missing.append(Missing("rule text", why))
    return None


def _symbols(signal: SignalLine, registry: Registry) -> list[str]:
    """Whose events a signal was matched on: its instrument's, or those of both legs of its pair."""
    pair = registry.pairs.get((signal.venue, signal.symbol))
    if pair is not None:
        return [pair.leg_a, pair.leg_b]
    return signal.symbol.split("~") if "~" in signal.symbol else [signal.symbol]


def _ticks(
    signal: SignalLine | None,
    rule: RuleLine | None,
    registry: Registry,
    sources: Sources,
    missing: list[Missing],
) -> Ticks | None:
    if signal is None or not signal.last_seq:
        return None
    symbols = _symbols(signal, registry)
    if len(symbols) > 1:  # a spread is computed from its legs' quotes, and has their seq
        tables: tuple[str, ...] = ("quotes", "spreads")
        symbols = [*symbols, signal.symbol]
    else:
        tables = tuple(rule.reads) if rule and rule.reads else _TABLES
    why = "nobody was asked for them"
    for source in sources.ticks:
        try:
            return source.ticks(signal.venue, symbols, tables, signal.first_seq, signal.last_seq)
        except Unavailable as error:
            why = str(error)
    missing.append(Missing("matched ticks", why))
    return None


def _packets(
    signal: SignalLine | None, ticks: Ticks | None, sources: Sources, missing: list[Missing]
) -> list[PacketLine]:
    if signal is None or not signal.last_seq:
        return []
    wanted = dict.fromkeys((signal.first_seq, signal.last_seq))
    session = ""
    if ticks is not None:
        session = next((row.session for row in ticks.rows if row.session), "")
        wanted |= dict.fromkeys(row.seq for row in ticks.rows)
    why = "nobody was asked for them"
    for source in sources.packets:
        try:
            return source.packets(signal.venue, session, list(wanted)[:PACKETS_MAX])
        except Unavailable as error:
            why = str(error)
    missing.append(Missing("captured packets", why))
    return []


def _position(records: Records, row: Row, executions: Sequence[FillLine]) -> PositionLine | None:
    if not executions:
        return None
    ids = {(one.destination, one.execution_id) for one in executions}
    return position_line(records.executions_of(row["venue"], row["symbol"]), ids)


def encode(lineage: Lineage) -> bytes:
    """As JSON, indented."""
    return msgspec.json.format(msgspec.json.encode(lineage), indent=1)
