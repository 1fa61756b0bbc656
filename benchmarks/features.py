"""Spreads of pairs: quotes/s of 300 pairs over 200 stocks on one core.

    python -m benchmarks features

``features.spreads.rate`` is the whole program that runs in the job: a Kafka record of ticks is decoded,
put in order with those of the other partitions, spreads are computed, encoded by shard. Batches of 1,000
events, as an ingester writes them under load. ``features.spreads.live.rate`` is the same with batches of
25, which is 50,000 quotes/s over four partitions every 2 ms. ``features.spreads.history.rate`` is the
kernel and its ordering alone, block in, block out, as over history. The baseline of each is the same work
as one would write it first, in the same run over fewer quotes: dictionaries and floats in a loop, fastavro
around them for the first two.
"""

from __future__ import annotations

import io
import json
import math
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime

import fastavro
import numpy as np

from strategies.features.spread_program import SpreadProgram
from strategies.features.spreads import Spreads
from strategies.pairs.frozen import PairCalibration, PairSet
from tickloom import codec, spread_codec, topics
from tickloom.clock import NS_PER_MS, NS_PER_S
from tickloom.codec import TickBatch
from tickloom.events import QUOTE_DTYPE, EventBlock, SymbolTable

STOCKS, PAIRS, PARTITIONS = 200, 300, 4
QUOTES = 400_000
QUOTES_PER_S = 50_000  # of event time
RUNS = 5
BASELINE_QUOTES = 40_000
START_NS = 1_732_199_400_000_000_000


def pair_set() -> PairSet:
    """300 pairs of 200 stocks, each stock in at least one."""
    rng = np.random.default_rng(3)
    names = stocks()
    ends = {(number, number + STOCKS // 2) for number in range(STOCKS // 2)}
    while len(ends) < PAIRS:
        leg_a, leg_b = sorted(rng.choice(STOCKS, 2, replace=False).tolist())
        ends.add((leg_a, leg_b))
    pairs = tuple(
        PairCalibration(f"{names[a]}~{names[b]}", names[a], names[b], float(rng.uniform(0.5, 2)), 10.0, 0.2)
        for a, b in sorted(ends)
    )
    return PairSet("XNAS", pairs, 10_000, 60_000, datetime(2024, 1, 1, tzinfo=UTC))


def stocks() -> list[str]:
    return [f"S{number:03}" for number in range(STOCKS)]


def quotes() -> EventBlock:
    """Random walks, quoted at ``QUOTES_PER_S``, some stocks much more often than others."""
    rng = np.random.default_rng(5)
    records = np.zeros(QUOTES, dtype=QUOTE_DTYPE)
    weight = 1 / np.arange(5, STOCKS + 5)
    symbol = rng.choice(STOCKS, QUOTES, p=weight / weight.sum())
    symbol[:STOCKS] = np.arange(STOCKS)
    records["symbol"] = symbol + 1
    records["ts_event"] = START_NS + np.sort(rng.integers(0, QUOTES * NS_PER_S // QUOTES_PER_S, QUOTES))
    records["ts_recv"] = records["ts_event"] + 50_000
    records["seq"] = np.arange(1, QUOTES + 1)
    walk = np.cumsum(rng.integers(-1, 2, QUOTES)) % 500
    records["bid_price"] = (5_000 + 10 * symbol + walk) * 10_000_000
    records["ask_price"] = records["bid_price"] + 10_000_000
    records["bid_size"], records["ask_size"] = 100 * NS_PER_S, 200 * NS_PER_S
    return EventBlock("XNAS", "20241121", SymbolTable(stocks()), quotes=records)


def records_of(block: EventBlock, events_max: int) -> list[bytes]:
    """Kafka records in the order of their writing: each partition's share of so many events at a time."""
    shard_of = np.array([topics.shard(name, PARTITIONS) for name in block.symbols.names])
    found = []
    step = events_max * PARTITIONS
    for start in range(0, QUOTES, step):
        piece = block.quotes[start : start + step]
        watermark = int(piece["ts_event"][-1])
        shards = shard_of[piece["symbol"]]
        for shard in range(PARTITIONS):
            own = piece[shards == shard]
            first, last = (int(own["seq"][0]), int(own["seq"][-1])) if len(own) else (0, 0)
            part = EventBlock(block.venue, block.session, block.symbols, quotes=own)
            found.append(codec.encode(TickBatch(shard, first, last, watermark, part)))
    return found


def run_program(pairs: PairSet, raws: list[bytes]) -> int:
    program = SpreadProgram(pairs, PARTITIONS)
    return sum(len(program.process(raw)) for raw in raws)


def run_history(pairs: PairSet, block: EventBlock) -> int:
    spreads = Spreads(pairs)
    written = 0
    for start in range(0, QUOTES, 50_000):
        part = EventBlock(
            block.venue, block.session, block.symbols, quotes=block.quotes[start : start + 50_000]
        )
        spreads.push(part)
        written += sum(len(one.spreads) for one in spreads.advance(int(part.quotes["ts_event"][-1])))
    return written


class Plain:
    """Dictionaries and floats, quote by quote. Nothing is put in order: the quotes must be."""

    def __init__(self, pairs: PairSet) -> None:
        self.pairs = pairs
        self.of_leg: dict[str, list[PairCalibration]] = {}
        for pair in pairs.pairs:
            self.of_leg.setdefault(pair.leg_a, []).append(pair)
            self.of_leg.setdefault(pair.leg_b, []).append(pair)
        self.mids: dict[str, tuple[int, float]] = {}
        self.stats: dict[str, tuple[float, float, float, int, float]] = {}

    def quote(
        self, leg: str, ts: int, mid: float
    ) -> list[tuple[str, float, float, float, float, float, int]]:
        """Spreads of the leg's pairs: symbol, spread, z, rolling z, mids, age."""
        self.mids[leg] = (ts, mid)
        out = []
        for pair in self.of_leg.get(leg, ()):
            a, b = self.mids.get(pair.leg_a), self.mids.get(pair.leg_b)
            if a is None or b is None or ts - min(a[0], b[0]) > self.pairs.stale_ms * NS_PER_MS:
                continue
            spread = a[1] - pair.hedge_ratio * b[1]
            mean, squares, weight, since, stood = self.stats.get(pair.symbol, (0.0, 0.0, 0.0, ts, spread))
            keep = 2.0 ** (-(ts - since) / NS_PER_MS / self.pairs.rolling_half_life_ms)
            weight = keep * weight + 1 - keep
            rolling = math.nan
            if weight > 0:
                off = stood - mean
                mean += off * (1 - keep) / weight
                squares = keep * squares + (1 - keep) * off * (stood - mean)
                if weight >= 0.5 and squares > 0:
                    rolling = (spread - mean) / math.sqrt(squares / weight)
            self.stats[pair.symbol] = (mean, squares, weight, ts, spread)
            z = (spread - pair.mean) / pair.deviation
            out.append((pair.symbol, spread, z, rolling, a[1], b[1], ts - min(a[0], b[0])))
        return out


def plain_history(pairs: PairSet, block: EventBlock) -> int:
    rows = block.quotes[:BASELINE_QUOTES][["ts_event", "symbol", "bid_price", "ask_price"]].tolist()
    names, plain = block.symbols.names, Plain(pairs)
    return sum(len(plain.quote(names[at], ts, (bid + ask) / 2e9)) for ts, at, bid, ask in rows)


def plain_program(pairs: PairSet, raws: list[bytes], quotes_max: int) -> int:
    """Records in and out by fastavro; how many quotes were in them."""
    plain, version, done = Plain(pairs), pairs.version, 0
    for raw in raws:
        batch = fastavro.schemaless_reader(io.BytesIO(raw), codec.SCHEMA)
        by_shard: dict[int, list[dict[str, object]]] = {shard: [] for shard in range(PARTITIONS)}
        for quote in batch["quotes"]:
            mid = (quote["bid_price"] + quote["ask_price"]) / 2
            for symbol, spread, z, rolling, mid_a, mid_b, age in plain.quote(
                quote["symbol"], quote["ts_event"], mid
            ):
                event = {name: quote[name] for name in ("ts_event", "ts_recv", "seq")}
                event |= {"symbol": symbol, "spread": spread, "z": z, "z_rolling": rolling}
                event |= {"mid_a": mid_a, "mid_b": mid_b, "age_ns": age, "calibration": version, "state": 0}
                by_shard[topics.shard(symbol, PARTITIONS)].append(event)
        head = {name: batch[name] for name, _ in codec.HEADER_FIELDS}
        for shard, events in by_shard.items():
            out = io.BytesIO()
            record = {**head, "shard": shard, "spreads": events}
            fastavro.schemaless_writer(out, spread_codec.SCHEMA, record)
        done += len(batch["quotes"])
        if done >= quotes_max:
            break
    return done


def measure(run: Callable[[], int], count: int, runs: int = RUNS) -> tuple[float, float]:
    """Median rate in quotes/s and CPU seconds of a run, the first of which only warms."""
    run()
    rates, cpu = [], []
    for _ in range(runs):
        wall, used = time.perf_counter(), time.process_time()
        run()
        rates.append(count / (time.perf_counter() - wall))
        cpu.append(time.process_time() - used)
    return statistics.median(rates), statistics.median(cpu)


def main() -> None:
    """Print one JSON line a metric."""
    pairs, block = pair_set(), quotes()
    large, small = records_of(block, 1_000), records_of(block, 25)
    looped = "plain Python with dictionaries"
    cases: list[tuple[str, Callable[[], int], str, Callable[[], int]]] = [
        (
            "features.spreads.rate",
            lambda: run_program(pairs, large),
            f"{looped} and fastavro",
            lambda: plain_program(pairs, large, BASELINE_QUOTES),
        ),
        (
            "features.spreads.live.rate",
            lambda: run_program(pairs, small),
            f"{looped} and fastavro",
            lambda: plain_program(pairs, small, BASELINE_QUOTES),
        ),
        (
            "features.spreads.history.rate",
            lambda: run_history(pairs, block),
            looped,
            lambda: plain_history(pairs, block),
        ),
    ]
    per_quote = round(run_history(pairs, block) / QUOTES, 2)
    for metric, run, name, plain in cases:
        base, _ = measure(plain, BASELINE_QUOTES, runs=3)
        rate, cpu = measure(run, QUOTES)
        line = {
            "metric": metric,
            "value": round(rate),
            "unit": "quotes/s",
            "cpu_s": round(cpu, 3),
            "runs": RUNS,
            "quotes": QUOTES,
            "pairs": PAIRS,
            "stocks": STOCKS,
            "spreads_per_quote": per_quote,
            "baseline": f"{name}: {round(base):,} quotes/s",
            "ratio": round(rate / base, 1),
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
