"""Checks per second through the pre-trade gate, and their 99th percentile, with all checks on; how long value
at risk of 500 instruments takes; and signal-to-order latency at 1,000 and 200 signals/s
(``_signal_to_order``).

python -m benchmarks.execution [runs]

The book has 500 instruments and 8 rules, positions, open orders and a full covariance matrix; every check
has a limit at every level it may have one. Quotes come in between, so marks move too. The baseline does what
the gate did before there were kernels, and less of it: 13 checks of one level over frozen objects, in plain
Python, with P&L added up over the positions for each.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks import _signal_to_order
from execution.limits import parse
from execution.market import MarketView
from execution.orders import OrderRecord
from execution.risk import SPECS, Level, RiskBook, RiskGate
from execution.sizing import OrderIntent
from execution.valuation import RiskEngine
from tickloom.events import Execution, OrderState
from tickloom.instruments import Instrument, Registry, Venue
from tickloom.prices import NANOS

RETURNS = 500
INSTRUMENTS = 500
RULES = 8
INTENTS = 2_000
CHECKS = 200_000
QUOTE_EVERY = 10  # a quote for every so many checks
NOW = 1_800_000_000 * NANOS
CENT = NANOS // 100


def _limits_text() -> bytes:
    """All checks on, so wide that none refuses."""
    wide = {"_max": 10**9, "_bps": 10_000, "power": 4_000_000_000}
    tables: dict[str, dict[str, str]] = {"firm": {}, "instruments.default": {}}
    tables |= {f"rules.rule{number}": {"notional": '"1"', "repeat_ms_min": "1"} for number in range(RULES)}
    names = {Level.FIRM: "firm", Level.INSTRUMENT: "instruments.default"}
    for spec in SPECS:
        for level in spec.levels:
            ends = [value for end, value in wide.items() if spec.key.endswith(end)]
            if not ends:
                continue
            value = 1_000 if spec.key == "messages_max" else ends[0]
            value = 1_000_000 if "share" in spec.key else value
            for name in tables:
                if name == names.get(level) or (level is Level.STRATEGY and name.startswith("rules.")):
                    money = spec.unit.value in ("money", "quantity")
                    tables[name][spec.key] = f'"{value}"' if money else str(value)
    tables["instruments.default"] |= {"locate_required": "true", "located": '"1000000"'}
    lines = ["version = 1"]
    for name, entries in tables.items():
        lines += [f"[{name}]", *(f"{key} = {value}" for key, value in entries.items())]
    return "\n".join(lines).encode()


def _world() -> tuple[RiskBook, list[OrderIntent]]:
    rng = np.random.default_rng(7)
    names = [f"SYM{number}" for number in range(INSTRUMENTS)]
    venue = Venue("XNAS", "", "itch", "UTC", "USD")
    registry = Registry(
        {"XNAS": venue}, [Instrument("XNAS", name, name, "equity", CENT, NANOS, 0) for name in names]
    )
    book = RiskBook(registry, parse(_limits_text(), "limits", registry))
    for place, name in enumerate(names):
        mid = int(rng.integers(1_000, 50_000)) * CENT
        book.market.quote("XNAS", name, (mid - CENT, NANOS, mid + CENT, NANOS, NOW, NOW, place + 1), 0)
        book.market.trades("XNAS", name, np.array([NOW]), np.array([10**6 * NANOS]))
    book.market.touch("XNAS", 0, NOW, NOW, 0, False)
    book.mark()
    for place, name in enumerate(names):
        rule, side = f"rule{place % RULES}", "buy" if place % 2 else "sell"
        price = int(book.market.rows[place, 0])
        book.on_fill(rule, Execution("E", "O", "XNAS", name, side, price, 100 * NANOS, NOW, NOW))
        away = -50 * CENT if side == "buy" else 50 * CENT
        order = OrderRecord(
            *(f"O{place}", "s", 0, rule, "XNAS", name, side, 100 * NANOS, price + away, "day"),
            *(OrderState.NEW, NOW, NOW),
        )
        book.on_order(order)
        book.on_sent(order, NOW - 10**9 * (place % 2))
    factors = rng.normal(0, 0.01, (INSTRUMENTS, 10))
    book.set_risk(factors @ factors.T + np.diag(np.full(INSTRUMENTS, 1e-4)), np.ones(INSTRUMENTS, np.bool_))
    intents = []
    for number in range(INTENTS):
        place = int(rng.integers(INSTRUMENTS))
        side = "buy" if rng.integers(2) else "sell"
        price = int(book.market.rows[place, 2 if side == "buy" else 0])
        rule = f"rule{int(rng.integers(RULES))}"
        intents.append(
            OrderIntent(f"I{number}", "s", 0, rule, "XNAS", names[place], side, 50 * NANOS, price, "ioc")
        )
    return book, intents


Check = Callable[[OrderIntent], bool]


def kernel_gate() -> tuple[Check, Callable[[OrderIntent, int], None]]:
    """The gate, and the feed's part: a quote of the intent's instrument, which the next check marks."""
    book, _ = _world()
    gate, market = RiskGate(book), book.market

    def quote(intent: OrderIntent, number: int) -> None:
        row = market.rows[market.index[("XNAS", intent.symbol)]]
        seq = INSTRUMENTS + 1 + number
        market.quote("XNAS", intent.symbol, (int(row[0]), NANOS, int(row[2]), NANOS, NOW, NOW, seq), 0)

    return lambda intent: gate.check(intent, NOW, NOW, NOW).passed, quote


@dataclass(frozen=True, slots=True)
class _State:
    """What the gate was given for each intent."""

    now_ns: int
    view: MarketView
    position: int
    open_buy: int
    open_sell: int
    pnl_firm: int
    pnl_rule: int
    limits: dict[str, int]


def plain_gate() -> Check:
    """Python's way: gather what is known in frozen objects, then compare big integers one by one."""
    book, _ = _world()
    positions = {key: book.position(*key)[0] for key in book.keys}
    mids = {key: int(book.static[place, 4]) for key, place in book.index.items()}
    costs = {key: abs(quantity) * mids[key] // 2 for key, quantity in positions.items()}
    orders = [(one.i, one.buys, one.leaves) for one in book._orders.values()]
    limit = {"age": 10**9 * 1_000_000, "amount": 10**9 * NANOS, "money": 10**9 * NANOS * NANOS, "bps": 10_000}

    def check(intent: OrderIntent) -> bool:
        key = (intent.venue, intent.symbol)
        place = book.index[key]
        bid, ask = (int(value) for value in book.market.rows[place, [0, 2]])
        open_buy = sum(leaves for i, buys, leaves in orders if i == place and buys)
        open_sell = sum(leaves for i, buys, leaves in orders if i == place and not buys)
        pnl = sum(
            quantity * mids[name] // 2 - (costs[name] if quantity > 0 else -costs[name])
            for name, quantity in positions.items()
        )
        view = MarketView(bid, NANOS, ask, NANOS, NOW, NOW, 1, NOW, NOW, "", "")
        state = _State(NOW, view, positions[key], open_buy, open_sell, pnl, pnl, limit)
        both, quantity = view.bid_price + view.ask_price, intent.quantity
        worst = (
            state.position + state.open_buy if intent.side == "buy" else state.open_sell - state.position
        ) + quantity
        return (
            view.mid is not None
            and not view.untrusted
            and not view.halted
            and state.now_ns - view.ts_recv <= limit["age"]
            and state.now_ns - view.feed_ts <= limit["age"]
            and quantity % NANOS == 0
            and quantity <= limit["amount"]
            and quantity * intent.limit_price <= limit["money"]
            and abs(2 * intent.limit_price - both) * 10_000 <= limit["bps"] * both
            and worst <= limit["amount"]
            and worst * both <= 2 * limit["money"]
            and -state.pnl_rule <= limit["money"]
            and -state.pnl_firm <= limit["money"]
        )

    return check


def measure(
    check: Check, quote: Callable[[OrderIntent, int], None], intents: list[OrderIntent], count: int
) -> tuple[float, float, float]:
    """(checks/s, 99th percentile in us, CPU seconds); every one must pass. Quotes are not in the time,
    marking positions at them is."""
    took = np.empty(count, np.int64)
    passed = 0
    clock, size = time.perf_counter_ns, len(intents)
    gc.collect()
    cpu = time.process_time()
    for number in range(count):
        intent = intents[number % size]
        if number % QUOTE_EVERY == 0:
            quote(intent, number)
        began = clock()
        passed += check(intent)
        took[number] = clock() - began
    cpu = time.process_time() - cpu
    if passed != count:
        raise SystemExit(f"{count - passed} checks of {count} refused: nothing was measured")
    return count / (took.sum() / 1e9), float(np.percentile(took, 99)) / 1e3, cpu


def update_ms() -> tuple[float, float]:
    """ms of one update of value at risk by firm and eight rules, and of the same from the returns each time
    in numpy: the weighted covariance of all instruments, then a quadratic form and a quantile a level."""
    book, _ = _world()
    returns = np.random.default_rng(3).normal(0, 0.01, (RETURNS, INSTRUMENTS))
    engine = RiskEngine(book, returns)
    began = time.perf_counter()
    for _ in range(20):
        engine.update()
    ours = (time.perf_counter() - began) / 20
    values = [book.cells[k, :INSTRUMENTS, 0] * 1e-9 for k in range(1 + RULES)]
    began = time.perf_counter()
    weights = 0.94 ** np.arange(RETURNS)[::-1]
    covariance = (returns * (weights / weights.sum())[:, None]).T @ returns
    for one in values:
        np.sqrt(one @ covariance @ one)
        np.quantile(returns @ one, 0.01)
    return ours * 1e3, (time.perf_counter() - began) * 1e3


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    (ours, quote), theirs = kernel_gate(), plain_gate()
    intents = _world()[1]
    measure(ours, quote, intents, 2_000)
    rates, tails, ratios, tail_ratios, cpu_s = [], [], [], [], 0.0
    for _ in range(runs):  # in turns, so that both see the machine as it is
        rate, tail, spent = measure(ours, quote, intents, CHECKS)
        other_rate, other_tail, _ = measure(theirs, lambda *_: None, intents, CHECKS // 100)
        rates.append(rate)
        tails.append(tail)
        ratios.append(rate / other_rate)
        tail_ratios.append(other_tail / tail)
        cpu_s += spent
    about = {"cpu_s": round(cpu_s, 3), "runs": runs, "baseline": "checks in plain Python objects, 13 of them"}
    for metric, value, unit, ratio in (
        ("execution.gate.rate", round(statistics.median(rates)), "checks/s", statistics.median(ratios)),
        ("execution.gate.p99_us", round(statistics.median(tails), 2), "us", statistics.median(tail_ratios)),
    ):
        line = {"metric": metric, "value": value, "unit": unit, **about, "ratio": round(ratio, 2)}
        print(json.dumps(line), flush=True)
    updates = [update_ms() for _ in range(runs)]
    line = {
        "metric": "execution.risk.update_ms",
        "value": round(statistics.median(ours for ours, _ in updates), 2),
        "unit": "ms",
        "runs": runs,
        "baseline": "numpy, from the returns of all 500 instruments each time",
        "ratio": round(statistics.median(theirs / ours for ours, theirs in updates), 2),
    }
    print(json.dumps(line), flush=True)
    print("\n".join(_signal_to_order.lines()), flush=True)


if __name__ == "__main__":
    main()
