"""Two coins in Binance's format: combined-stream lines and the REST snapshot, on the stocks' clock.

What is modelled: a random walk per coin with a common factor and, every 20 s or so, a burst that drives
the price 6 to 12 basis points within half a second, trade upon trade; a touch one tick wide most of the
time; some 1,600 levels a coin, dense near the touch and thin far away. Formats: Binance "WebSocket Streams"
(spot), sections Trade Streams, Individual Symbol Book Ticker Streams, Diff. Depth Stream (100 ms), and
"Order book" of the REST API. Depth updates chain (``U`` is the ``u`` before plus 1); a ``bookTicker`` that
has the ``u`` of a depth update shows that book's best. All of it is synthetic.
"""

from __future__ import annotations

import gzip
import heapq
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.synthetic import coin_flow
from ingest.synthetic.coin_flow import (
    ASK,
    BID,
    N_OUT,
    NEXT_EVENT,
    NEXT_FLUSH,
    ROW_BEST,
    ROW_DTYPE,
    ROW_LEVEL,
    ROW_TRADE,
    STATE_SLOTS,
    TRADE_ID,
    UPDATE_ID,
)
from ingest.synthetic.parameters import MarketParameters
from ingest.websocket.replay import VenueLine
from tickloom.clock import NS_PER_MS, NS_PER_S
from tickloom.instruments import Instrument
from tickloom.prices import NANOS

VENUE = "BINANCE"
EVENTS_PER_S = 110.0  # of one coin at intensity 1: about 80 lines
PREOPEN_NS = 2 * NS_PER_S  # coins trade all day: they begin when the stocks' pre-opening does
SNAPSHOT_AFTER_NS = 351 * NS_PER_MS  # between two depth updates, as in life

_STEP_NS = 20 * NS_PER_MS
_FLUSH_NS = 100 * NS_PER_MS
_FACTOR_VOLATILITY, _OWN_VOLATILITY = 0.7e-4, 0.5e-4  # relative, per square root of a second
_BURST_PERIOD_S, _BURST_S = 20.0, 0.5
_SPAN = 0.05  # of the ladder each side, as a part of the price; fair values stay within half of it
_TOLERANCE = 0.4e-4  # of the price: how far the fair value runs before the book follows
_SCALE = 0.8e-4  # of the price: distance of the typical level
_LEVEL_VALUE = 12_000.0  # mean value of a level, in the quote currency
_SNAPSHOT_LEVELS = 5_000
_LATENCY_NS = 1_500_000  # from event to receipt, where a line is recorded


@dataclass(frozen=True, slots=True)
class CoinTruth:
    """What was sent of one coin: lines by stream, and the best bid and ask at the end, as decimal text."""

    depth: int
    book_ticker: int
    trade: int
    best: tuple[str, str, str, str]
    last_update_id: int


class SyntheticLines:
    """A ``LineSource`` (:mod:`ingest.websocket.replay`) of seeded Binance-format lines.

    Parameters
    ----------
    parameters : MarketParameters
        Seed, duration, session date and intensity are the stocks' ones.

    Attributes
    ----------
    venue : str
    truth : dict of str to CoinTruth
        By canonical symbol.
    """

    def __init__(self, parameters: MarketParameters) -> None:
        self.venue = VENUE
        self.truth: dict[str, CoinTruth] = {}
        self._lines: dict[str, list[VenueLine]] = {}
        coins = parameters.registry.of_venue(VENUE)
        factor = np.random.default_rng([parameters.seed, 2]).standard_normal(_steps(parameters))
        for coin in coins:
            rng = np.random.default_rng([parameters.seed, 2, zlib.crc32(coin.symbol.encode())])
            lines, self.truth[coin.symbol] = _Coin(coin, parameters, rng, factor).make()
            self._lines[coin.venue_symbol] = lines

    @property
    def symbols(self) -> list[str]:
        """The venue's names of the coins."""
        return sorted(self._lines)

    def lines(self) -> Iterator[VenueLine]:
        """All lines of all coins by receive time, a snapshot of each coin among the first."""
        streams = [lines for _, lines in sorted(self._lines.items())]
        return heapq.merge(*streams, key=lambda line: line.recv_ns)

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def write(self, directory: Path) -> list[Path]:
        """Write ``spot_<coin>_<YYYYMMDD>.gz`` files of ``<receive ns> <json>`` lines; returns their paths."""
        directory.mkdir(parents=True, exist_ok=True)
        paths = []
        for symbol, lines in sorted(self._lines.items()):
            day = datetime.fromtimestamp(lines[0].recv_ns // NS_PER_S, UTC)
            path = directory / f"spot_{symbol.lower()}_{day:%Y%m%d}.gz"
            text = b"".join(b"%d %b\n" % (line.recv_ns, line.payload) for line in lines)
            path.write_bytes(gzip.compress(text, compresslevel=1, mtime=0))
            paths.append(path)
        return paths


def _steps(parameters: MarketParameters) -> int:
    return int(parameters.duration_s * NS_PER_S + PREOPEN_NS) // _STEP_NS + 2


def _fair_values(
    reference: float, parameters: MarketParameters, rng: np.random.Generator, factor: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Fair values of a coin in its quote currency, one each 20 ms."""
    steps, step_s = len(factor), _STEP_NS / NS_PER_S
    moves = (_FACTOR_VOLATILITY * factor + _OWN_VOLATILITY * rng.standard_normal(steps)) * np.sqrt(step_s)
    length_s = steps * step_s
    count = max(1, round(parameters.duration_s / _BURST_PERIOD_S))
    starts_s = PREOPEN_NS / NS_PER_S + (np.arange(count) + rng.uniform(0.2, 0.8, count)) / count * (
        length_s - PREOPEN_NS / NS_PER_S
    )
    sides = np.resize([-1.0, 1.0], count)
    width = max(1, int(min(_BURST_S, parameters.duration_s / 20) / step_s))
    for start_s, side in zip(starts_s, sides, strict=True):
        first = int(start_s / step_s)
        moves[first : first + width] += side * rng.uniform(6e-4, 12e-4) / width
    walk: NDArray[np.float64] = reference * (1.0 + np.clip(np.cumsum(moves), -_SPAN / 2, _SPAN / 2))
    return walk


class _Coin:
    """Makes the lines of one coin: runs the compiled book and writes its rows as JSON."""

    def __init__(
        self,
        coin: Instrument,
        parameters: MarketParameters,
        rng: np.random.Generator,
        factor: NDArray[np.float64],
    ) -> None:
        self._name = coin.venue_symbol
        self._prefix = '{"stream":"' + coin.venue_symbol.lower() + "@"
        self._cents = coin.tick * 100 // NANOS  # of a tick: prices have two decimals that count
        self._lot_e8 = coin.lot // 10
        self._rng = rng
        self._rate = EVENTS_PER_S * parameters.intensity
        self._start, self._end = parameters.open_ns - PREOPEN_NS, parameters.close_ns
        reference = coin.reference / NANOS
        tick = coin.tick / NANOS
        self._fair = _fair_values(reference, parameters, rng, factor) / tick
        half = int(reference / tick * _SPAN)
        self._base = int(reference / tick) - half
        self._sizes = np.zeros(2 * half + 1, dtype=np.int64)
        self._state = np.zeros(STATE_SLOTS, dtype=np.int64)
        self._tolerance, self._scale = reference / tick * _TOLERANCE, reference / tick * _SCALE
        self._lots = _LEVEL_VALUE / reference / (coin.lot / NANOS)
        self._lines: list[VenueLine] = []
        self._changed: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self._previous = 0
        self._counts = {"depth": 0, "book_ticker": 0, "trade": 0}

    def make(self) -> tuple[list[VenueLine], CoinTruth]:
        state = self._state
        state[UPDATE_ID] = self._previous = int(self._rng.integers(10**10, 9 * 10**10))
        state[TRADE_ID] = int(self._rng.integers(10**9, 9 * 10**9))
        state[NEXT_EVENT] = self._start + NS_PER_MS
        state[NEXT_FLUSH] = self._start + _FLUSH_NS + int(self._rng.integers(0, _FLUSH_NS))
        room = np.zeros(coin_flow.ROOM + 65_536, dtype=ROW_DTYPE)
        coin_flow.fill(
            state, self._sizes, room, self._rng, int(self._fair[0]) - self._base, self._scale, self._lots
        )
        taken_at = self._start + SNAPSHOT_AFTER_NS
        self._run(room, min(taken_at, self._end))
        self._add(taken_at, self._snapshot(), snapshot=True)
        self._run(room, self._end)
        state[NEXT_FLUSH] = self._end  # what changed since the last depth update
        self._run(room, self._end)
        best = (*self._level(int(state[BID])), *self._level(int(state[ASK])))
        return self._lines, CoinTruth(**self._counts, best=best, last_update_id=int(state[UPDATE_ID]))

    def _run(self, room: NDArray[np.void], until: int) -> None:
        done = False
        while not done:
            self._state[N_OUT] = 0
            done = coin_flow.run(
                self._state, self._sizes, room, self._rng, self._fair, self._base, self._start, _STEP_NS,
                self._tolerance, self._scale, self._lots, NS_PER_S / self._rate, _FLUSH_NS, until,
            )  # fmt: skip
            self._write(room[: self._state[N_OUT]].tolist())

    def _write(self, rows: list[tuple[int, int, int, int, int, int]]) -> None:
        rest = iter(rows)
        for ts, kind, number, level, size, side in rest:
            if kind == ROW_LEVEL:
                self._changed[side][level] = size
            elif kind == ROW_BEST:
                _, _, _, ask, ask_size, _ = next(rest)
                self._ticker(ts, number, (level, size), (ask, ask_size))
            elif kind == ROW_TRADE:
                self._trade(ts, number, level, size, side)
            else:
                self._depth(ts, number)

    def _ticker(self, ts: int, number: int, bid: tuple[int, int], ask: tuple[int, int]) -> None:
        self._counts["book_ticker"] += 1
        self._add(
            ts,
            f'{self._prefix}bookTicker","data":{{"u":{number},"s":"{self._name}",'
            f'"b":"{self._price(bid[0])}","B":"{self._size(bid[1])}",'
            f'"a":"{self._price(ask[0])}","A":"{self._size(ask[1])}"}}}}',
        )

    def _trade(self, ts: int, number: int, level: int, size: int, side: int) -> None:
        self._counts["trade"] += 1
        ms = ts // NS_PER_MS
        self._add(
            ts,
            f'{self._prefix}trade","data":{{"e":"trade","E":{ms + (ts // 1_000) % 2},"s":"{self._name}",'
            f'"t":{number},"p":"{self._price(level)}","q":"{self._size(size)}","T":{ms},'
            f'"m":{"true" if side == 0 else "false"},"M":true}}}}',
        )

    def _depth(self, ts: int, number: int) -> None:
        """Everything that changed since the update before: level and new total, best levels first."""
        bids, asks = self._changed
        if not bids and not asks:
            return
        self._counts["depth"] += 1
        self._add(
            ts,
            f'{self._prefix}depth@100ms","data":{{"e":"depthUpdate","E":{ts // NS_PER_MS},"s":"{self._name}",'
            f'"U":{self._previous + 1},"u":{number},'
            f'"b":{self._levels(sorted(bids.items(), reverse=True))},'
            f'"a":{self._levels(sorted(asks.items()))}}}}}',
        )
        self._previous = number
        bids.clear()
        asks.clear()

    def _snapshot(self) -> str:
        """The REST answer: the book as it is now."""
        bid, ask = int(self._state[BID]), int(self._state[ASK])
        filled = np.flatnonzero(self._sizes)
        bids = filled[filled <= bid][::-1][:_SNAPSHOT_LEVELS].tolist()
        asks = filled[filled >= ask][:_SNAPSHOT_LEVELS].tolist()
        sides = [self._levels([(level, int(self._sizes[level])) for level in side]) for side in (bids, asks)]
        return f'{{"lastUpdateId":{self._state[UPDATE_ID]},"bids":{sides[0]},"asks":{sides[1]}}}'

    def _add(self, ts: int, text: str, snapshot: bool = False) -> None:
        line = VenueLine(ts + _LATENCY_NS, text.encode(), self._name if snapshot else "")
        self._lines.append(line)

    def _levels(self, levels: list[tuple[int, int]]) -> str:
        return "[" + ",".join(f'["{self._price(at)}","{self._size(size)}"]' for at, size in levels) + "]"

    def _level(self, level: int) -> tuple[str, str]:
        return self._price(level), self._size(int(self._sizes[level]))

    def _price(self, level: int) -> str:
        cents = (self._base + level) * self._cents
        return f"{cents // 100}.{cents % 100:02d}000000"

    def _size(self, lots: int) -> str:
        value = lots * self._lot_e8
        return f"{value // 100_000_000}.{value % 100_000_000:08d}"


def coin_truth(lines: SyntheticLines) -> dict[str, Any]:
    """The coins' part of the session's truth, as JSON takes it."""
    return {
        symbol: {
            "depth": truth.depth,
            "book_ticker": truth.book_ticker,
            "trade": truth.trade,
            "best": list(truth.best),
            "last_update_id": truth.last_update_id,
        }
        for symbol, truth in lines.truth.items()
    }
