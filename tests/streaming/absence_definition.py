"""Silences by definition, slow and plain, written from docs/rules.md and not from the code."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tests.streaming.absence_rule import Amounts
from tickloom.clock import NS_PER_MS
from tickloom.events import CONDITION_TEXTS, STATUS_TEXTS, EventBlock, Signal
from tickloom.prices import NO_PRICE

#: What a signal says: symbol, event time in ms, first and last seq, side, strength, price.
Said = tuple[str, int, int, int, str, float, float]


@dataclass(frozen=True)
class Row:
    """A row that matters. role: "witness", "expected" or "unless". at_ms: whole milliseconds."""

    symbol: str
    at_ms: int
    seq: int
    role: str
    price: float = 0.0
    size: float = 0.0
    mid: float = 0.0


def rows_of(block: EventBlock) -> list[Row]:
    """Quotes are expected, regular trades are witnesses, halts end it; in the order of time."""

    def row(one: np.void, role: str, **values: float) -> Row:
        at_ms = int(one["ts_event"]) // NS_PER_MS
        return Row(block.symbols.names[one["symbol"]], at_ms, int(one["seq"]), role, **values)

    found = []
    for one in block.quotes:
        sides = one["bid_price"], one["ask_price"]
        known = NO_PRICE not in sides
        found.append(row(one, "expected", mid=(sides[0] / 1e9 + sides[1] / 1e9) / 2 if known else math.nan))
    for one in block.trades:
        if CONDITION_TEXTS[one["condition"]] == "regular":
            found.append(row(one, "witness", price=one["price"] / 1e9, size=one["size"] / 1e9))
    halts = [one for one in block.statuses if STATUS_TEXTS[one["status"]] == "halted"]
    found += [row(one, "unless") for one in halts]
    rank = {"witness": 0, "expected": 1, "unless": 2}
    return sorted(found, key=lambda one: (one.at_ms, one.seq, rank[one.role]))


def defined(block: EventBlock, amounts: Amounts) -> list[Said]:
    """Every silence that fires in a tape."""
    end_ms = max(int(records["ts_event"].max()) for records in block.kinds().values() if len(records))
    rows, found = rows_of(block), []
    for place, row in enumerate(rows):
        if row.role != "expected":
            continue
        behind = [one for one in rows[place + 1 :] if one.symbol == row.symbol]
        stop = next((i for i, one in enumerate(behind) if one.role != "witness"), len(behind))
        ends_ms = behind[stop].at_ms if stop < len(behind) else 10**18
        due_ms, seen = row.at_ms + amounts.silence_ms, behind[:stop]
        before = [one for one in seen if one.at_ms < due_ms]
        if ends_ms < due_ms:
            continue
        if len(before) >= amounts.least:
            fired = (due_ms, before)
        elif len(seen) >= amounts.least:
            fired = (seen[amounts.least - 1].at_ms, seen[: amounts.least])
        else:
            continue
        if fired[0] < row.at_ms + amounts.until_ms and fired[0] <= end_ms // NS_PER_MS:
            found.append(_said(row, *fired))
    return sorted(found)


def _said(row: Row, at_ms: int, witnesses: list[Row]) -> Said:
    """What BODY says of a silence; sums in the order of the rows, as doubles are not associative."""
    prices = [one.price for one in witnesses]
    total = average = 0.0
    for one in witnesses:
        total += one.price * one.size
        average += one.price
    strength = total + 1000 * min(prices) + 1e6 * max(prices) + 1e9 * len(prices) + prices[0]
    strength += average / len(prices)
    price = (-1.0 if math.isnan(row.mid) else row.mid) + prices[-1]
    side = "sell" if prices[-1] > 5 else "buy"
    return row.symbol, at_ms, row.seq, witnesses[-1].seq, side, strength, price


def said(signals: list[Signal]) -> list[Said]:
    return sorted(
        (s.symbol, s.ts_event // NS_PER_MS, s.first_seq, s.last_seq, s.side, s.strength, s.ref_price)
        for s in signals
    )
