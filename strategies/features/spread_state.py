"""State of the spreads: arrays for the kernel, bytes for a checkpoint; bounded by the set of pairs."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from strategies.features import spread_kernel as kernel
from strategies.features.spread_kernel import MOVE_DTYPE
from strategies.pairs.frozen import PairSet
from tickloom.clock import NS_PER_MS
from tickloom.errors import CalibrationError
from tickloom.events import Records

_FORMAT = "spreads 1"  # what a snapshot begins with


class _Snapshot(msgspec.Struct, array_like=True):
    """A snapshot on the wire (MessagePack). Arrays are little-endian; legs and pairs go by name."""

    format: str
    venue: str
    passed_ns: int
    late_rows: int
    half_life_ms: int
    sessions: list[str]
    legs: list[str]
    pairs: list[tuple[str, float]]  # name and hedge ratio
    leg_mid: bytes
    leg_state: bytes
    venue_state: bytes
    pair_state: bytes
    pair_ms: bytes
    pending: bytes


class RunningState:
    """Last quote and standing of each leg, rolling statistics of each pair.

    Attributes
    ----------
    leg_index : dict
        Symbol of a leg to its index, in the order of their names.
    """

    def __init__(self, pair_set: PairSet) -> None:
        self._set = pair_set
        legs = sorted({leg for pair in pair_set.pairs for leg in (pair.leg_a, pair.leg_b)})
        self.leg_index = {name: index for index, name in enumerate(legs)}
        ends = [[self.leg_index[pair.leg_a], self.leg_index[pair.leg_b]] for pair in pair_set.pairs]
        self._pair_legs = np.array(ends, dtype=np.int32).reshape(-1, 2)
        self._calibration = np.array(
            [[pair.hedge_ratio, pair.mean, pair.deviation] for pair in pair_set.pairs], dtype=np.float64
        ).reshape(-1, 3)
        # compressed sparse rows: the pairs of each leg, in the order of the set
        of_leg: list[list[int]] = [[] for _ in legs]
        for pair, (leg_a, leg_b) in enumerate(ends):
            of_leg[leg_a].append(pair)
            of_leg[leg_b].append(pair)
        self._degree = np.array([len(pairs) for pairs in of_leg], dtype=np.int64)
        self._first_pair = np.concatenate([[0], np.cumsum(self._degree)]).astype(np.int32)
        self._pairs_of_leg = np.array([pair for pairs in of_leg for pair in pairs], dtype=np.int32)
        self._clear()

    def _clear(self) -> None:
        legs, pairs = len(self.leg_index), len(self._set.pairs)
        self._leg_mid = np.full(legs, np.nan)
        self._leg_state = np.full((legs, kernel.LEG_COLUMNS), -1, dtype=np.int64)
        self._leg_state[:, [kernel.LEG_HALTED, kernel.LEG_LOST]] = 0
        self._venue_state = np.array([-1, -1, 0], dtype=np.int64)
        self._pair_state = np.zeros((pairs, kernel.PAIR_COLUMNS))
        self._pair_state[:, kernel.LAST_SPREAD] = np.nan
        self._pair_ms = np.zeros(pairs, dtype=np.int64)

    def run(self, moves: Records) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Apply sorted moves (whole milliseconds); the spreads' integers and doubles, a row a field."""
        quotes = moves["leg"][moves["kind"] == kernel.QUOTE]
        capacity = int(self._degree[quotes].sum())
        longs = np.empty((kernel.OUT_LONGS, capacity), dtype=np.int64)
        doubles = np.empty((kernel.OUT_DOUBLES, capacity))
        written = kernel.spread_moves(
            moves,
            self._leg_mid,
            self._leg_state,
            self._venue_state,
            self._pair_state,
            self._pair_ms,
            self._pair_legs,
            self._calibration,
            self._first_pair,
            self._pairs_of_leg,
            self._set.stale_ms * NS_PER_MS,
            float(self._set.rolling_half_life_ms),
            longs,
            doubles,
        )
        return longs[:, :written], doubles[:, :written]

    def pack(self, pending: Records, sessions: list[str], passed_ns: int, late_rows: int) -> bytes:
        """Everything as bytes, with the moves that wait."""
        return msgspec.msgpack.encode(
            _Snapshot(
                format=_FORMAT,
                venue=self._set.venue,
                passed_ns=passed_ns,
                late_rows=late_rows,
                half_life_ms=self._set.rolling_half_life_ms,
                sessions=sessions,
                legs=list(self.leg_index),
                pairs=[(pair.symbol, pair.hedge_ratio) for pair in self._set.pairs],
                leg_mid=self._leg_mid.tobytes(),
                leg_state=self._leg_state.tobytes(),
                venue_state=self._venue_state.tobytes(),
                pair_state=self._pair_state.tobytes(),
                pair_ms=self._pair_ms.tobytes(),
                pending=pending.tobytes(),
            )
        )

    def unpack(self, raw: bytes) -> tuple[Records, list[str], int, int]:
        """Take over what a snapshot has of these legs and pairs: pending, sessions, passed_ns, late_rows.

        Raises
        ------
        CalibrationError
            It is no snapshot, or of another venue.
        """
        try:
            found = msgspec.msgpack.decode(raw, type=_Snapshot)
        except msgspec.DecodeError as error:
            raise CalibrationError(
                f"no snapshot of spreads ({error}); start the job without its state"
            ) from None
        if found.format != _FORMAT or found.venue != self._set.venue:
            raise CalibrationError(
                f"a snapshot of {found.format!r}, {found.venue}, where {_FORMAT!r}, {self._set.venue} was "
                "wanted; start the job without its state"
            )
        self._clear()
        self._venue_state[:] = np.frombuffer(found.venue_state, dtype=np.int64)
        mid = np.frombuffer(found.leg_mid)
        state = np.frombuffer(found.leg_state, dtype=np.int64).reshape(-1, kernel.LEG_COLUMNS)
        new_index = np.full(len(found.legs) + 1, -2, dtype=np.int32)  # the last: the venue, whose index is -1
        new_index[-1] = -1
        for at, name in enumerate(found.legs):
            if name in self.leg_index:
                new_index[at] = here = self.leg_index[name]
                self._leg_mid[here], self._leg_state[here] = mid[at], state[at]
        self._take_pairs(found)
        pending = np.frombuffer(found.pending, dtype=MOVE_DTYPE).copy()
        pending["leg"] = new_index[pending["leg"]]
        return pending[pending["leg"] != -2], found.sessions, found.passed_ns, found.late_rows

    def _take_pairs(self, found: _Snapshot) -> None:
        if found.half_life_ms != self._set.rolling_half_life_ms:
            return
        state = np.frombuffer(found.pair_state).reshape(-1, kernel.PAIR_COLUMNS)
        since_ms = np.frombuffer(found.pair_ms, dtype=np.int64)
        known: dict[Any, int] = {tuple(pair): at for at, pair in enumerate(found.pairs)}
        for here, pair in enumerate(self._set.pairs):
            at = known.get((pair.symbol, pair.hedge_ratio))
            if at is not None:
                self._pair_state[here], self._pair_ms[here] = state[at], since_ms[at]
