"""A day's journal and stored ticks in, what each parent order of it cost out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pyarrow as pa

from execution.exchange.profile import ImpactModel
from execution.lineage.records import Records
from orchestration.tca import impact, journal
from orchestration.tca.shortfall import shortfall
from orchestration.tca.tape import EventClock, Tape
from orchestration.tca.terms import (
    BPS,
    HORIZONS_S,
    REALISED_S,
    DayCosts,
    Fill,
    FillCost,
    OrderCost,
    Parent,
    Skipped,
    Touch,
)
from storage.reader import QuestDbReader
from tickloom.clock import NS_PER_DAY, NS_PER_S
from tickloom.events import QUOTE_DTYPE, TRADE_DTYPE, empty
from tickloom.instruments import Registry
from tickloom.rows import joined

#: Orders may be sent, and fills come, a while behind the last quote.
TAIL_NS = 3_600 * NS_PER_S
CLOCK_STEP = "10T"  # ms: far below what anything here is told to, and a day has a few million steps at most
VOLATILITY_BPS = 200.0  # a day, where neither a profile nor the caller says otherwise


@dataclass(frozen=True, slots=True)
class Models:
    """Impact models by destination. volatility_bps: by symbol, for destinations without a model."""

    by_destination: Mapping[str, ImpactModel] = field(default_factory=dict)
    volatility_bps: Mapping[str, float] = field(default_factory=dict)


def costs_of_day(
    records: Records, reader: QuestDbReader, registry: Registry, venue: str, day: str, models: Models
) -> DayCosts:
    """Costs of the parent orders of a venue's instruments, on a day (``YYYY-MM-DD``, UTC, event time).

    Raises
    ------
    JournalError, ServiceError, StorageError
        The journal or QuestDB cannot be read.
    """
    known = registry.venues.get(venue)
    result = DayCosts(day, venue, known.currency if known else "")
    from_ns = int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * NS_PER_S
    bounds = _bounds(reader, venue, from_ns)
    if bounds is None:
        return result
    last_ns, recv_from_ns, recv_to_ns = bounds
    clock = _clock(reader, venue, from_ns)
    by_symbol: dict[str, list[Parent]] = defaultdict(list)
    for parent in journal.parents(records, venue, recv_from_ns, recv_to_ns + TAIL_NS):
        by_symbol[parent.symbol].append(parent)
    for symbol, own in sorted(by_symbol.items()):  # one instrument at a time: a day of all is too much memory
        tape = _tape(reader, venue, symbol, from_ns, last_ns)
        volatility = models.volatility_bps.get(symbol, VOLATILITY_BPS)
        for parent in own:
            found = cost_of(parent, tape, (from_ns, last_ns), models.by_destination, volatility, clock)
            if isinstance(found, Skipped):
                result.skipped.append(found)
            else:
                result.orders.append(found)
    result.orders.sort(key=lambda one: (one.sent_ns, one.parent.order_id))
    return result


def _bounds(reader: QuestDbReader, venue: str, from_ns: int) -> tuple[int, int, int] | None:
    """(last event time, first and last receive time) of a venue's quotes of a day, ns; None without any."""
    sql = (
        "SELECT max(ts)::long, min(ts_recv)::long, max(ts_recv)::long FROM quotes "
        f"WHERE venue = %s AND ts >= {from_ns} AND ts < {from_ns + NS_PER_DAY}"
    )
    last, first_recv, last_recv = reader.fetch(sql, (venue,))[0]
    return None if last is None else (int(last), int(first_recv), int(last_recv))


def _clock(reader: QuestDbReader, venue: str, from_ns: int) -> EventClock:
    """The venue's clock to CLOCK_STEP, by its quotes: an instrument that is not quoted has no time of its
    own."""
    rows = reader.query(
        f"SELECT max(ts) AS event, max(ts_recv) AS received FROM quotes WHERE venue = %s AND ts >= {from_ns} "
        f"AND ts < {from_ns + NS_PER_DAY} SAMPLE BY {CLOCK_STEP}",
        (venue,),
    )
    events, received = (rows[name].cast(pa.int64()).to_numpy() for name in ("event", "received"))
    return EventClock(received, events)


def _tape(reader: QuestDbReader, venue: str, symbol: str, from_ns: int, last_ns: int) -> Tape:
    quotes, trades = [empty(QUOTE_DTYPE)], [empty(TRADE_DTYPE)]
    for block in reader.read_events(venue, from_ns, from_ns + NS_PER_DAY, symbols=[symbol]):
        quotes.append(block.quotes)
        trades.append(block.trades)
    return Tape(joined(quotes, QUOTE_DTYPE), joined(trades, TRADE_DTYPE), last_ns)


def cost_of(
    parent: Parent,
    tape: Tape,
    day: tuple[int, int],
    models: Mapping[str, ImpactModel],
    volatility_bps: float = VOLATILITY_BPS,
    clock: EventClock | None = None,
) -> OrderCost | Skipped:
    """One order's costs. ``day``: first and last event time, ns. ``clock``: the venue's; without one its time
    is that of the instrument's last quote.
    """
    arrival = tape.received_by(parent.ts_sent)
    if arrival is None:
        return _skipped(parent, "no two-sided quote of it had been received when it was sent")
    decision = tape.at(parent.ts_signal) if parent.ts_signal else arrival
    if decision is None:
        return _skipped(parent, "no two-sided quote at the time of its signal")
    end = _end(parent, tape)
    if end is None:
        return _skipped(parent, "no two-sided quote when it had ended")
    sent_ns = max(arrival.ts, clock.at(parent.ts_sent) if clock else 0)
    end_ns = end.ts
    if clock and parent.filled < parent.quantity and parent.ts_ended:
        end_ns = max(end_ns, clock.at(parent.ts_ended))
    fills = []
    for fill in parent.fills:
        touch = tape.at(fill.ts)
        if touch is None:
            return _skipped(parent, f"no two-sided quote at fill {fill.execution_id}")
        fills.append(fill_cost(parent, fill, touch, tape, sent_ns))
    moments = [sent_ns, end_ns, *(fill.ts for fill in parent.fills)]
    vwap, volume = tape.vwap(min(moments), max(moments))
    day_vwap, day_volume = tape.vwap(*day)
    usual = impact.usual(day_volume, volatility_bps)
    return OrderCost(
        parent=parent,
        decision=decision,
        arrival=arrival,
        end=end,
        sent_ns=sent_ns,
        end_ns=end_ns,
        shortfall=shortfall(parent, decision.mid, arrival.mid, end.mid, [one.touch.mid for one in fills]),
        vwap=vwap,
        day_vwap=day_vwap,
        close=tape.close,
        interval_volume=volume,
        impact_bps=impact.measured_bps(parent, arrival.mid, fills),
        model_bps=impact.of_order(fills, models, usual),
        fills=tuple(fills),
    )


def _end(parent: Parent, tape: Tape) -> Touch | None:
    """The market when the order had ended: at its last fill, or, with something left, when that was given
    up."""
    if parent.filled >= parent.quantity and parent.fills:
        return tape.at(max(fill.ts for fill in parent.fills))
    return tape.received_by(parent.ts_ended) if parent.ts_ended else tape.at(tape.last_ns)


def _skipped(parent: Parent, why: str) -> Skipped:
    return Skipped(parent.order_id, parent.symbol, why)


def fill_cost(parent: Parent, fill: Fill, touch: Touch, tape: Tape, sent_ns: int) -> FillCost:
    """One fill beside the market. ``sent_ns``: event time of the sending."""
    sign = parent.sign
    far = touch.ask if sign > 0 else touch.bid
    later = {horizon: tape.at(fill.ts + horizon * NS_PER_S) for horizon in HORIZONS_S}
    realised = later[REALISED_S]
    return FillCost(
        fill=fill,
        touch=touch,
        effective_bps=2 * sign * (fill.price - touch.mid) * BPS / touch.mid,
        quoted_bps=touch.spread * BPS / touch.mid,
        capture=sign * (far - fill.price) / touch.spread if touch.spread else None,
        realised_bps=2 * sign * (fill.price - realised.mid) * BPS / touch.mid if realised else None,
        markouts_bps={
            horizon: sign * (then.mid - fill.price) * BPS / fill.price if then else None
            for horizon, then in later.items()
        },
        early=fill.ts < sent_ns,
    )
