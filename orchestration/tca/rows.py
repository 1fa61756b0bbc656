"""Costs of a day in, rows of QuestDB's tables out. Pure. Doubles from here on."""

from __future__ import annotations

from orchestration.tca.terms import COMPONENTS, DayCosts, FillCost, OrderCost
from storage.costs import EXECUTIONS, ORDERS, CostRow
from tickloom.prices import NANOS

_VALUE = NANOS * NANOS


def rows_of(costs: DayCosts) -> dict[str, list[CostRow]]:
    """Table to rows."""
    return {
        ORDERS: [_order_row(one, costs.currency) for one in costs.orders],
        EXECUTIONS: [_fill_row(one, fill) for one in costs.orders for fill in one.fills],
    }


def _order_row(one: OrderCost, currency: str) -> CostRow:
    parent, cost = one.parent, one.shortfall
    filled = parent.filled
    columns: dict[str, float | str | bool | None] = {
        "order_id": parent.order_id,
        "signal_id": parent.signal_id,
        "quantity": parent.quantity / NANOS,
        "filled_quantity": filled / NANOS,
        "average_price": parent.filled_value / filled / NANOS if filled else None,
        "decision_mid": one.decision.mid / NANOS,
        "arrival_mid": one.arrival.mid / NANOS,
        "end_mid": one.end.mid / NANOS,
        "vwap": _price(one.vwap),
        "day_vwap": _price(one.day_vwap),
        "close": _price(one.close),
        "notional": one.notional / _VALUE,
        "shortfall": cost.total / _VALUE,
        "interval_volume": one.interval_volume / NANOS,
        "impact_bps": one.impact_bps,
        "model_bps": one.model_bps,
    }
    columns |= {name: getattr(cost, name) / _VALUE for name in COMPONENTS}
    symbols = {
        "rule": parent.rule,
        "venue": parent.venue,
        "symbol": parent.symbol,
        "side": parent.side,
        "state": parent.state,
        "currency": currency,
    }
    return CostRow(symbols, columns, {"ts_signal": parent.ts_signal, "ts_end": one.end_ns}, one.sent_ns)


def _fill_row(one: OrderCost, cost: FillCost) -> CostRow:
    parent, fill = one.parent, cost.fill
    columns: dict[str, float | str | bool | None] = {
        "execution_id": fill.execution_id,
        "parent_id": parent.order_id,
        "price": fill.price / NANOS,
        "quantity": fill.quantity / NANOS,
        "fee": fill.fee / NANOS,
        "bid_price": cost.touch.bid / NANOS,
        "ask_price": cost.touch.ask / NANOS,
        "arrival_mid": one.arrival.mid / NANOS,
        "effective_bps": cost.effective_bps,
        "quoted_bps": cost.quoted_bps,
        "capture": cost.capture,
        "realised_bps": cost.realised_bps,
        "early": cost.early,
    }
    columns |= {f"markout_{horizon}s_bps": value for horizon, value in cost.markouts_bps.items()}
    symbols = {
        "rule": parent.rule,
        "venue": parent.venue,
        "destination": fill.destination,
        "symbol": parent.symbol,
        "side": parent.side,
        "liquidity": fill.liquidity,
    }
    return CostRow(symbols, columns, {}, fill.ts)


def _price(nanos: int | None) -> float | None:
    return None if nanos is None else nanos / NANOS
