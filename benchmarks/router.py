"""Decisions per second of the smart order router, and their 99th percentile, books and record included.

python -m benchmarks.router [runs]

A parent order of 4,000 shares meets three lit destinations with five levels a side and a dark pool; every
second one has been pinged already, so that half of the decisions weigh a ping and half sweep. Books change
between decisions. The baseline does a part of the same over the same books in plain Python: each level as a
dictionary with decimals, sorted by price and fee and allocated; books, options and slices are written down
with the standard library's json. No pool, no fill probability, latency, memory, trust or leg risk.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time
from collections.abc import Callable
from decimal import Decimal

import numpy as np

from execution.destinations import Destination, Destinations
from execution.orders import OrderRecord
from execution.router.books import BookView
from execution.router.settings import load
from execution.router.smart import SmartRouter
from tickloom.clock import NS_PER_MS
from tickloom.events import OrderState
from tickloom.instruments import Registry
from tickloom.prices import NANOS
from tickloom.records import replace

DECISIONS = 5_000
BOOKS = 512
LEVELS = 5
NOW = 1_800_000_000 * NANOS
CENT, MILL = NANOS // 100, NANOS // 1_000
PLACES = Destinations(
    {
        one.name: one
        for one in (
            Destination("XNAS", "XNAS", "a", "lit", "XNAS", -2 * MILL, 3 * MILL, NS_PER_MS // 2),
            Destination("BATS", "XNAS", "b", "lit", "BATS", 2 * MILL, -MILL, NS_PER_MS),
            Destination("EDGX", "XNAS", "c", "lit", "EDGX", 0, MILL, NS_PER_MS),
            Destination("DARK", "XNAS", "d", "dark", "XNAS", MILL, MILL, 2 * NS_PER_MS),
        )
    }
)

Books = dict[str, BookView]
Decide = Callable[[OrderRecord, list[OrderRecord], Books, int], bytes]


def world() -> tuple[list[Books], list[tuple[OrderRecord, list[OrderRecord]]]]:
    """Books to choose from, and parents with their children: none, or a ping that came back empty."""
    rng = np.random.default_rng(7)
    books = []
    for _ in range(BOOKS):
        mid = 15_000 + int(rng.integers(-20, 20))
        found: Books = {}
        for name in ("XNAS", "BATS", "EDGX"):
            half = int(rng.integers(1, 3))
            sizes = rng.integers(1, 10, (2, LEVELS)) * 100
            sides = (
                tuple(
                    ((mid + sign * (half + level)) * CENT, int(sizes[row, level]) * NANOS)
                    for level in range(LEVELS)
                )
                for row, sign in ((0, -1), (1, 1))
            )
            found[name] = BookView(*sides, NOW, NOW, NOW)
        books.append(found)
    order = OrderRecord(
        *("P", "S", 0, "rule", "XNAS", "ALFA", "buy", 4_000 * NANOS, 151 * NANOS, "ioc"),
        *(OrderState.NEW, NOW, NOW),
    )
    ping = replace(
        order,
        order_id="C",
        parent_id="P",
        destination="DARK",
        order_type="midpoint",
        state=OrderState.CANCELLED,
    )
    return books, [(order, []), (order, [ping])]


def router() -> Decide:
    """The router, with a clock far enough apart that nothing is remembered of the decision before."""
    seen: Books = {}
    smart = SmartRouter(load(), PLACES, Registry.load(), lambda where, _: seen.get(where.book))

    def decide(order: OrderRecord, children: list[OrderRecord], books: Books, now_ns: int) -> bytes:
        seen.update(books)
        decision = smart.decide(order, children, now_ns)
        return decision.record if decision is not None and decision.slices else b""

    return decide


def plain() -> Decide:
    """Python's way, and a part of it."""
    exact = Decimal(1_000_000_000)

    def decide(order: OrderRecord, children: list[OrderRecord], books: Books, now_ns: int) -> bytes:
        levels, seen = [], []
        limit = Decimal(order.limit_price) / exact
        for one in PLACES.of(order.venue):
            book, fee = books[one.book], Decimal(one.taker_fee) / exact
            far = [(Decimal(price) / exact, Decimal(size) / exact) for price, size in book.far(order.side)]
            near = [(Decimal(price) / exact, Decimal(size) / exact) for price, size in book.near(order.side)]
            age_ms = (now_ns - book.ts_recv) // NS_PER_MS
            seen.append({"place": one.name, "far": far, "near": near[:1], "age_ms": age_ms, "taker_fee": fee})
            for price, size in far:
                if not one.dark and price <= limit:
                    levels.append({"place": one.name, "price": price, "cost": price + fee, "size": size})
        levels.sort(key=lambda level: (level["cost"], level["place"]))
        left, slices = Decimal(order.quantity) / exact, {}
        for level in levels:
            if not left:
                break
            taken = min(left, level["size"])
            left -= taken
            known = slices.get(level["place"], {"quantity": Decimal(0)})
            slices[level["place"]] = {"quantity": known["quantity"] + taken, "price": level["price"]}
        options = list({level["place"]: level for level in reversed(levels)}.values())
        kept = {"ts": now_ns, "books": seen, "options": options, "slices": slices}
        return json.dumps(kept, default=str).encode()

    return decide


def measure(make: Callable[[], Decide], count: int) -> tuple[float, float, float]:
    """(decisions/s, 99th percentile in us, CPU seconds); every one must hand something out. Each run has a
    router of its own, as its clock begins anew."""
    decide = make()
    books, orders = world()
    took = np.empty(count, np.int64)
    handed = 0
    clock = time.perf_counter_ns
    gc.collect()
    cpu = time.process_time()
    for number in range(count):
        now_ns = NOW + number * 2_000 * NS_PER_MS
        fresh = {
            name: replace(one, ts_recv=now_ns, feed_ts=now_ns) for name, one in books[number % BOOKS].items()
        }
        order, children = orders[number % 2]
        began = clock()
        handed += bool(decide(order, children, fresh, now_ns))
        took[number] = clock() - began
    cpu = time.process_time() - cpu
    if handed != count:
        raise SystemExit(f"{count - handed} of {count} decisions handed nothing out: nothing was measured")
    return count / (took.sum() / 1e9), float(np.percentile(took, 99)) / 1e3, cpu


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    measure(router, 500)
    rates, tails, ratios, tail_ratios, cpu_s = [], [], [], [], 0.0
    for _ in range(runs):  # in turns, so that both see the machine as it is
        rate, tail, spent = measure(router, DECISIONS)
        other_rate, other_tail, _ = measure(plain, DECISIONS)
        rates.append(rate)
        tails.append(tail)
        ratios.append(rate / other_rate)
        tail_ratios.append(other_tail / tail)
        cpu_s += spent
    about = {
        "cpu_s": round(cpu_s, 3),
        "runs": runs,
        "baseline": "decimals by price and fee, kept as JSON, in plain Python",
    }
    for metric, value, unit, ratio in (
        ("execution.router.rate", round(statistics.median(rates)), "decisions/s", statistics.median(ratios)),
        ("execution.router.p99_us", round(statistics.median(tails), 1), "us", statistics.median(tail_ratios)),
    ):
        print(json.dumps({"metric": metric, "value": value, "unit": unit, **about, "ratio": round(ratio, 2)}))


if __name__ == "__main__":
    main()
