"""Absences by their definition: slow, plain Python, written from docs/rules.md and not from the code."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tickloom.clock import NS_PER_MS
from tickloom.events import CONDITION_TEXTS, STATUS_TEXTS, EventBlock

EXPECTED, WITNESS, BREAK = "expected", "witness", "break"


@dataclass(frozen=True)
class Row:
    """A row that matters. at_ms: event time in whole milliseconds. mid: NaN stands for NULL."""

    symbol: str
    at_ms: int
    seq: int
    role: str
    price: float = 0.0
    size: float = 0.0
    mid: float = 0.0


@dataclass(frozen=True)
class Fired:
    """A silence that fired: the expected row that began it, and every witness until it fired."""

    symbol: str
    at_ms: int
    expected: Row
    witnesses: tuple[Row, ...]


def rows(block: EventBlock) -> list[Row]:
    """Quotes are expected, regular trades are witnesses, halts break."""
    names = block.symbols.names
    found = []
    for one in block.quotes:
        bid, ask = one["bid_price"] / 1e9, one["ask_price"] / 1e9
        known = one["bid_price"] > -(2**62) and one["ask_price"] > -(2**62)
        mid = (bid + ask) / 2 if known else float("nan")
        found.append(_row(one, names, EXPECTED, mid=mid))
    for one in block.trades:
        if CONDITION_TEXTS[one["condition"]] == "regular":
            found.append(_row(one, names, WITNESS, price=one["price"] / 1e9, size=one["size"] / 1e9))
    for one in block.statuses:
        if STATUS_TEXTS[one["status"]] == "halted":
            found.append(_row(one, names, BREAK))
    return found


def _row(one: np.void, names: list[str], role: str, **values: float) -> Row:
    at_ms, seq = int(one["ts_event"]) // NS_PER_MS, int(one["seq"])
    return Row(names[one["symbol"]], at_ms, seq, role, **values)


def fired(given: list[Row], silence_ms: int, least: int, until_ms: int, end_ms: int) -> list[Fired]:
    """Every silence that fires in rows that end at ``end_ms``."""
    rank = {WITNESS: 0, EXPECTED: 1, BREAK: 2}  # of rows with one time and seq
    found = []
    for symbol in {row.symbol for row in given}:
        own = sorted(
            (row for row in given if row.symbol == symbol),
            key=lambda row: (row.at_ms, row.seq, rank[row.role]),
        )
        for place, row in enumerate(own):
            if row.role == EXPECTED:
                behind = own[place + 1 :]
                stop = next((i for i, one in enumerate(behind) if one.role != WITNESS), len(behind))
                ends_ms = behind[stop].at_ms if stop < len(behind) else 10**18
                one = _fired(row, behind[:stop], ends_ms, silence_ms, least, until_ms)
                if one is not None and one.at_ms <= end_ms:
                    found.append(one)
    return found


def _fired(
    row: Row, seen: list[Row], ends_ms: int, silence_ms: int, least: int, until_ms: int
) -> Fired | None:
    due_ms = row.at_ms + silence_ms
    if ends_ms < due_ms:
        return None
    before = [one for one in seen if one.at_ms < due_ms]
    if len(before) >= least:
        return Fired(row.symbol, due_ms, row, tuple(before))
    if len(seen) >= least and seen[least - 1].at_ms < row.at_ms + until_ms:
        return Fired(row.symbol, seen[least - 1].at_ms, row, tuple(seen[:least]))
    return None
