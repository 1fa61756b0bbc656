"""Parameters in, a whole session's order flow and the truth about it out. Pure: no clock, no socket.

What is modelled is described in :mod:`ingest.synthetic.parameters`, whose :func:`pair_parameters`
gives the calibrated pairs.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.synthetic import flow
from ingest.synthetic.orderbook import (
    ASK,
    BID,
    FLOW_DTYPE,
    N_OUT,
    NEXT_EVENT,
    NEXT_MATCH,
    NOW,
    Books,
    make_books,
)
from ingest.synthetic.parameters import (
    MESSAGES_PER_S,
    OPEN_NS,
    MarketParameters,
    PairParameters,
    pair_parameters,
)
from ingest.synthetic.paths import STEP_NS, Plan, make_plan
from tickloom.clock import NS_PER_MS, NS_PER_S
from tickloom.prices import NANOS

__all__ = ["MarketParameters", "Session", "SessionTruth", "make_session", "pair_parameters"]

_MESSAGES_PER_EVENT = 1.22  # measured at intensity 1: some events are clusters of messages
_PREOPEN_NS = 2 * NS_PER_S  # system hours start so long before the opening
_HALF_SPREAD_TICKS = (0.55, 1.3)  # cheap to dear stocks
_PAIR_ACTIVITY = 1.8  # a leg of a pair is so many times as active as another stock


@dataclass(slots=True)
class SessionTruth:
    """What the generator knows that it sent; tests hold the whole pipeline to it.

    Attributes
    ----------
    messages : dict
        ITCH message type to count; their sum is the last sequence number.
    trades, quotes, book_deltas : dict
        Per symbol. Trades: E, C that are printable, P and Q. Quotes: messages after which best price or
        size of a side differ. Book deltas: levels whose size a message changed.
    statuses : dict
        Trading actions (H) per symbol; system events (S) under the empty name.
    best : dict
        Symbol to the final [bid price, bid shares, ask price, ask shares], prices in dollars.
    pair_excursions : dict
        Pair to the number of times the spread of the mids left mean +- 2.5 deviations.
    bursts : list
        Planned sweeps: symbol, side of the aggressor, orders, first_ts and last_ts (ns, UTC).
    """

    seed: int
    duration_s: float
    intensity: float
    session_date: str
    messages: dict[str, int]
    trades: dict[str, int]
    quotes: dict[str, int]
    book_deltas: dict[str, int]
    statuses: dict[str, int]
    best: dict[str, list[float]]
    pair_excursions: dict[str, int]
    bursts: list[dict[str, Any]]
    paused: str
    first_ts: int
    last_ts: int
    synthetic: bool = True
    coins: dict[str, Any] = field(default_factory=dict)

    @property
    def messages_total(self) -> int:
        return sum(self.messages.values())

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> SessionTruth:
        """Read what :meth:`save` wrote."""
        return cls(**json.loads(path.read_text()))


@dataclass(slots=True)
class Session:
    """Order flow of a session: structured array of FLOW_DTYPE in time order, and the truth about it."""

    parameters: MarketParameters
    flow: NDArray[np.void]
    truth: SessionTruth


def make_session(parameters: MarketParameters) -> Session:
    """Make a session; the same parameters give the same messages."""
    rng = np.random.default_rng([parameters.seed, 1])
    plan = make_plan(parameters, rng)
    books = make_books(parameters)
    half = _half_spreads(parameters)
    chunks = [_directory(parameters)]
    chunks.append(_fill_books(books, rng, plan, half))
    chunks.append(_opening(parameters, books, plan, rng))
    chunks += _trading(parameters, books, rng, plan, half)
    chunks.append(_closing(parameters, books))
    messages = np.concatenate(chunks)
    truth = _truth(parameters, plan, books, messages)
    return Session(parameters, messages, truth)


def _half_spreads(parameters: MarketParameters) -> NDArray[np.float64]:
    prices = np.array([item.reference / NANOS for item in parameters.stocks])
    low, high = _HALF_SPREAD_TICKS
    spreads: NDArray[np.float64] = low + (high - low) * np.clip(prices / 300.0, 0.0, 1.0)
    return spreads


def _weights(parameters: MarketParameters, rng: np.random.Generator) -> NDArray[np.float64]:
    """Cumulative shares of the stocks in the activity."""
    legs = {leg for pair in parameters.pairs for leg in (pair.leg_a, pair.leg_b)}
    raw = rng.uniform(0.5, 1.5, len(parameters.stocks))
    raw[[item.symbol in legs for item in parameters.stocks]] = _PAIR_ACTIVITY
    shares: NDArray[np.float64] = np.cumsum(raw / raw.sum())
    shares[-1] = 1.0
    return shares


def _messages(rows: list[dict[str, int]]) -> NDArray[np.void]:
    out = np.zeros(len(rows), dtype=FLOW_DTYPE)
    out["stock"] = -1
    for index, row in enumerate(rows):
        for name, value in row.items():
            out[name][index] = value
    return out


def _directory(parameters: MarketParameters) -> NDArray[np.void]:
    """Start of messages and of system hours; directory and trading action of each stock."""
    start = OPEN_NS - _PREOPEN_NS
    rows = [{"ts": start, "kind": ord("S"), "code": ord("O")}]
    rows.append({"ts": start + 1_000, "kind": ord("S"), "code": ord("S")})
    stocks = range(len(parameters.stocks))
    at = start + NS_PER_MS
    rows += [{"ts": at + 1_000 * s, "kind": ord("R"), "stock": s} for s in stocks]
    at += NS_PER_MS
    rows += [{"ts": at + 1_000 * s, "kind": ord("H"), "stock": s, "code": ord("T")} for s in stocks]
    return _messages(rows)


def _fill_books(
    books: Books, rng: np.random.Generator, plan: Plan, half: NDArray[np.float64]
) -> NDArray[np.void]:
    out = np.zeros(plan.fair.shape[1] * 100, dtype=FLOW_DTYPE)
    books.counters[NOW] = OPEN_NS - _PREOPEN_NS + 100 * NS_PER_MS
    flow.open_books(books, out, rng, plan.fair, half, 500_000)
    return out[: _taken(books)]


def _taken(books: Books) -> int:
    count = int(books.counters[N_OUT])
    books.counters[N_OUT] = 0
    return count


def _opening(
    parameters: MarketParameters, books: Books, plan: Plan, rng: np.random.Generator
) -> NDArray[np.void]:
    """Start of market hours, and a cross of each stock at a price between its best bid and ask."""
    rows = [{"ts": OPEN_NS, "kind": ord("S"), "code": ord("Q")}]
    for s in range(len(parameters.stocks)):
        level = int(books.stocks[s]["base"]) + int(books.best[s].sum()) // 2
        shares = 100 * int(rng.integers(5, 400))
        rows.append(
            {
                "ts": OPEN_NS + 10_000 * (s + 1),
                "kind": ord("Q"),
                "stock": s,
                "shares": shares,
                "price": level * int(books.stocks[s]["unit"]),
                "match": s + 1,
                "code": ord("O"),
            }
        )
        books.stocks["trades"][s] += 1
    books.counters[NEXT_MATCH] = len(parameters.stocks) + 1
    return _messages(rows)


def _trading(
    parameters: MarketParameters,
    books: Books,
    rng: np.random.Generator,
    plan: Plan,
    half: NDArray[np.float64],
) -> list[NDArray[np.void]]:
    rate = MESSAGES_PER_S * parameters.intensity / _MESSAGES_PER_EVENT
    room = min(int(MESSAGES_PER_S * parameters.intensity * parameters.duration_s * 1.1), 1_000_000)
    stocks = len(parameters.stocks)
    paused, impact = np.zeros(stocks, dtype=np.bool_), np.zeros((stocks, 3))
    impact[:, 2] = OPEN_NS
    books.counters[NEXT_EVENT] = OPEN_NS + NS_PER_MS
    books.counters[NOW] = OPEN_NS + NS_PER_MS
    until = OPEN_NS + round(parameters.duration_s * NS_PER_S)
    weights = _weights(parameters, rng)
    chunks, done = [], False
    while not done:
        out = np.zeros(room + 2 * flow.ROOM, dtype=FLOW_DTYPE)
        done = flow.run(
            books, out, rng, plan.fair, plan.events, half, weights, paused, impact, NS_PER_S / rate, until
        )
        chunks.append(out[: _taken(books)])
    return chunks


def _closing(parameters: MarketParameters, books: Books) -> NDArray[np.void]:
    """End of market hours, of system hours and of messages."""
    close = OPEN_NS + round(parameters.duration_s * NS_PER_S)
    first = max(close, int(books.counters[NOW]) + 1_000)
    step = 100 * NS_PER_MS
    return _messages(
        [
            {"ts": first + step * index, "kind": ord("S"), "code": ord(code)}
            for index, code in enumerate("MEC")
        ]
    )


def _truth(
    parameters: MarketParameters, plan: Plan, books: Books, messages: NDArray[np.void]
) -> SessionTruth:
    names = [item.symbol for item in parameters.stocks]
    kinds, counts = np.unique(messages["kind"], return_counts=True)
    actions = messages[messages["kind"] == ord("H")]["stock"]
    statuses = {name: int((actions == s).sum()) for s, name in enumerate(names)}
    statuses[""] = int((messages["kind"] == ord("S")).sum())
    midnight = parameters.midnight_ns
    return SessionTruth(
        seed=parameters.seed,
        duration_s=parameters.duration_s,
        intensity=parameters.intensity,
        session_date=parameters.session_date.isoformat(),
        messages={chr(kind): int(count) for kind, count in zip(kinds, counts, strict=True)},
        trades=dict(zip(names, books.stocks["trades"].tolist(), strict=True)),
        quotes=dict(zip(names, books.stocks["quotes"].tolist(), strict=True)),
        book_deltas=dict(zip(names, books.stocks["deltas"].tolist(), strict=True)),
        statuses=statuses,
        best={name: _best(books, s) for s, name in enumerate(names)},
        pair_excursions={pair.symbol: _excursions(parameters, plan, pair) for pair in parameters.pairs},
        bursts=[
            {
                "symbol": names[burst.stock],
                "side": "buy" if burst.side > 0 else "sell",
                "orders": burst.orders,
                "first_ts": midnight + burst.first_ts,
                "last_ts": midnight + burst.last_ts,
            }
            for burst in plan.bursts
        ],
        paused=names[plan.paused] if plan.paused >= 0 else "",
        first_ts=midnight + int(messages["ts"][0]),
        last_ts=midnight + int(messages["ts"][-1]),
    )


def _best(books: Books, s: int) -> list[float]:
    bid, ask = int(books.best[s, BID]), int(books.best[s, ASK])
    unit, base = int(books.stocks["unit"][s]), int(books.stocks["base"][s])
    return [
        (base + bid) * unit / 10_000,
        float(books.ladder["shares"][s, bid]),
        (base + ask) * unit / 10_000,
        float(books.ladder["shares"][s, ask]),
    ]


def _excursions(parameters: MarketParameters, plan: Plan, pair: PairParameters) -> int:
    """Times the fair spread leaves mean +- 2.5 deviations, once it was back within 1.5."""
    index = {item.symbol: s for s, item in enumerate(parameters.stocks)}
    leg_a, leg_b = index[pair.leg_a], index[pair.leg_b]
    tick = np.array([item.tick / NANOS for item in parameters.stocks])
    spread = plan.fair[:, leg_a] * tick[leg_a] - pair.hedge_ratio * plan.fair[:, leg_b] * tick[leg_b]
    scores = np.abs(spread - pair.mean) / pair.deviation
    count, outside = 0, False
    for score in scores[: round(parameters.duration_s * NS_PER_S) // STEP_NS].tolist():
        if not outside and score > 2.5:
            count, outside = count + 1, True
        elif score < 1.5:
            outside = False
    return count
