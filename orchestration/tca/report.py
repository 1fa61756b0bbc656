"""A day's costs in, one HTML page out that needs nothing else: no script, no font, no server. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from orchestration.tca import charts, groups, impact
from orchestration.tca.groups import FillGroup, OrderGroup
from orchestration.tca.terms import COMPONENTS, HORIZONS_S, DayCosts, OrderCost
from tickloom.prices import NANOS, format_nanos

STYLE = Path(__file__).with_name("report.css")
WORST_MAX = 15
_VALUE = NANOS * NANOS
_MARKOUT = (
    "How far the mid went our way from the fill's price (markout). Below 0 the other side knew more. A line "
    "that ends early has no market any more to be compared with."
)
_EARLY = (
    "carry a time of the venue that is before their order was sent: its clock, or the market data that it "
    "trades on, is behind. The total is right all the same, but the line between market and spread is not."
)
_NOTES = (
    "Implementation shortfall (Perold 1988): against the mid when the rule fired, on the whole quantity; "
    "above 0 is a cost. Its parts add up exactly. Basis points are of the notional decided on; those of "
    "spreads and markouts of what was traded. The realised spread is that of five minutes. VWAP is the "
    "market's between sending and end, without our own trades. docs/costs.md has the formulas."
)
_ABOUT = {
    "delay": "from the signal to the sending",
    "market": "from the sending to the fill: the market's move and our impact",
    "spread": "from the mid at the fill to its price",
    "opportunity": "on what was not filled, until it was given up",
    "fees": "less rebates",
}


def render(costs: DayCosts, timezone: str = "UTC") -> str:
    """The page. ``timezone``: of the time of day."""
    title = f"Trading costs, {costs.venue}, {costs.day}"
    parts = [f"<h1>{escape(title)}</h1>"]
    if costs.orders:
        parts += _body(costs, timezone)
    else:
        parts.append("<p>No order of this day has costs.</p>")
    parts.append(_skipped(costs))
    parts.append(_notes())
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE.read_text()}</style></head>\n<body><main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main></body></html>\n"
    )


def _body(costs: DayCosts, timezone: str) -> list[str]:
    orders, currency = costs.orders, costs.currency
    everything = groups.order_group("all", orders)
    rules, destinations = groups.by_rule(orders), groups.by_destination(orders)
    times = groups.by_time(orders, timezone)
    return [
        _tiles(everything, orders, currency),
        _attention(destinations),
        "<h2>Where the cost came from</h2>",
        _legend(),
        charts.stacked_bars(_components([everything, *rules]), COMPONENTS, "bps"),
        "<h2>By rule</h2>",
        _order_table([*rules, everything], "rule", currency),
        "<h2>By destination</h2>",
        _fill_table(destinations, currency),
        "<h2>After the fill</h2>",
        f"<p>{_MARKOUT}</p>",
        charts.curves({one.name: _curve(one) for one in destinations}, "bps"),
        "<h2>By time of day</h2>",
        f"<p>Time of the sending, {escape(timezone)}.</p>",
        charts.stacked_bars(_components(times), COMPONENTS, "bps"),
        "<h2>Impact against the model</h2>",
        _impact(orders),
        "<h2>How the orders spread</h2>",
        charts.histogram([one.bps(one.shortfall.total) for one in orders], "bps"),
        "<h2>The dearest orders</h2>",
        _worst(orders, currency),
    ]


def _tiles(everything: OrderGroup, orders: Sequence[OrderCost], currency: str) -> str:
    cost = everything.bps(everything.shortfall)
    tiles = [
        ("orders", f"{everything.orders:,}"),
        ("decided on", f"{_money(everything.notional)} {currency}"),
        ("filled", f"{everything.fill_share:.1%}"),
        ("shortfall", f"{_money(everything.shortfall)} {currency}"),
        ("of the notional", f"{cost:+.2f} bps"),
        ("fees", f"{_money(everything.components['fees'])} {currency}"),
    ]
    cells = "".join(
        f'<div class="tile"><div class="figure">{escape(value)}</div><div>{escape(name)}</div></div>'
        for name, value in tiles
    )
    return f'<div class="tiles">{cells}</div>'


def _attention(destinations: Sequence[FillGroup]) -> str:
    early, fills = sum(one.early for one in destinations), sum(one.executions for one in destinations)
    if not early:
        return ""
    return f'<p class="attention">{early:,} of {fills:,} executions {_EARLY}</p>'


def _legend() -> str:
    entries = "".join(
        f'<li><span class="swatch b{index}"></span><b>{part}</b> {_ABOUT[part]}</li>'
        for index, part in enumerate(COMPONENTS)
    )
    return f'<ul class="legend">{entries}<li><span class="swatch bdot"></span><b>in all</b></li></ul>'


def _components(found: Sequence[OrderGroup]) -> dict[str, dict[str, float]]:
    return {
        f"{one.name} ({one.orders})": {part: one.bps(one.components[part]) for part in COMPONENTS}
        for one in found
    }


def _curve(one: FillGroup) -> dict[str, float | None]:
    return {_horizon(horizon): one.markouts_bps[horizon] for horizon in HORIZONS_S}


def _horizon(seconds: int) -> str:
    return f"{seconds} s" if seconds < 60 else f"{seconds // 60} min"


def _order_table(found: Sequence[OrderGroup], what: str, currency: str) -> str:
    head = [what, "orders", f"notional, {currency}", "filled", f"shortfall, {currency}", "bps"]
    head += [*COMPONENTS, "to VWAP", "to close", "impact", "model"]
    rows = [
        [
            one.name,
            f"{one.orders:,}",
            _money(one.notional),
            f"{one.fill_share:.1%}",
            _money(one.shortfall),
            _bps(one.bps(one.shortfall)),
            *(_bps(one.bps(one.components[part])) for part in COMPONENTS),
            *(_bps(value) for value in (one.vwap_bps, one.close_bps, one.impact_bps, one.model_bps)),
        ]
        for one in found
    ]
    return _table(head, rows, last_is_sum=True)


def _fill_table(found: Sequence[FillGroup], currency: str) -> str:
    head = ["destination", "executions", f"traded, {currency}", f"fees, {currency}", "added", "to arrival"]
    head += ["effective", "quoted", "realised", "captured", *(_horizon(horizon) for horizon in HORIZONS_S)]
    rows = [
        [
            one.name,
            f"{one.executions:,}",
            _money(one.notional),
            _money(one.fees),
            f"{one.added_share:.0%}",
            *(_bps(v) for v in (one.arrival_bps, one.effective_bps, one.quoted_bps, one.realised_bps)),
            "" if one.capture is None else f"{one.capture:.0%}",
            *(_bps(one.markouts_bps[horizon]) for horizon in HORIZONS_S),
        ]
        for one in found
    ]
    return _table(head, rows)


def _impact(orders: Sequence[OrderCost]) -> str:
    points = [
        (
            one.model_bps,
            one.impact_bps,
            f"{one.parent.order_id} {one.parent.symbol}: {one.impact_bps:.2f} bps, model {one.model_bps:.2f}",
        )
        for one in orders
        if one.model_bps is not None and one.impact_bps is not None
    ]
    if not points:
        return "<p>Nothing was filled.</p>"
    found = impact.fit([(model, measured) for model, measured, _ in points])
    text = (
        f"Measured impact is {found.coefficient:.2f} times the model's (standard error "
        f"{found.standard_error:.2f}, {found.orders} orders); 1 is as modelled."
        if found.coefficient == found.coefficient
        else "Too few orders to compare with the model."
    )
    picture = charts.scatter(points, found.coefficient, ("model, bps", "measured, bps"))
    return f"<p>{text}</p>{picture}"


def _worst(orders: Sequence[OrderCost], currency: str) -> str:
    dearest = sorted(orders, key=lambda one: -one.shortfall.total)[:WORST_MAX]
    head = [
        "order",
        "rule",
        "symbol",
        "side",
        "quantity",
        "filled",
        f"shortfall, {currency}",
        "bps",
        *COMPONENTS,
    ]
    rows = [
        [
            one.parent.order_id,
            one.parent.rule,
            one.parent.symbol,
            one.parent.side,
            format_nanos(one.parent.quantity),
            format_nanos(one.parent.filled),
            _money(one.shortfall.total / _VALUE),
            _bps(one.bps(one.shortfall.total)),
            *(_bps(one.bps(getattr(one.shortfall, part))) for part in COMPONENTS),
        ]
        for one in dearest
    ]
    hint = "<p><code>tickloom explain ORDER</code> says why one was made, and what became of it.</p>"
    return hint + _table(head, rows, texts=4)


def _skipped(costs: DayCosts) -> str:
    if not costs.skipped:
        return ""
    rows = [[one.order_id, one.symbol, one.why] for one in costs.skipped]
    return "<h2>Orders without costs</h2>" + _table(["order", "symbol", "why"], rows, texts=3)


def _notes() -> str:
    return f"<h2>How it is reckoned</h2><p>{_NOTES}</p>"


def _table(
    head: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1, last_is_sum: bool = False
) -> str:
    """``texts``: so many first columns are set to the left."""
    cells = "".join(
        f"<th{' class=left' if n < texts else ''}>{escape(name)}</th>" for n, name in enumerate(head)
    )
    body = []
    for place, row in enumerate(rows):
        style = " class=sum" if last_is_sum and place == len(rows) - 1 else ""
        line = "".join(
            f"<td{' class=left' if n < texts else ''}>{escape(text)}</td>" for n, text in enumerate(row)
        )
        body.append(f"<tr{style}>{line}</tr>")
    rows_text = "".join(body)
    table = f"<table><thead><tr>{cells}</tr></thead><tbody>{rows_text}</tbody></table>"
    return f'<div class="wide">{table}</div>'


def _money(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:,.2f}"


def _bps(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
