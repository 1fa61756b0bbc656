"""A router's decision record in, lines for a person out: what it saw, what it weighed, what it chose. Pure.

The record is read as plain JSON (its schema is ``execution.router.record.DecisionRecord``), so that one of
another version is still shown, with what is known of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from execution.lineage.layout import columns

OPTIONS_SHOWN = 6
JSON_LINES_MAX = 30


def decision_lines(record: Any, everything: bool) -> Iterator[str]:
    """The decision; ``everything``: all levels and options."""
    if not isinstance(record, dict) or "action" not in record:
        yield from _plain(record, everything)
        return
    yield f"{record['action']}: {record.get('why', '')}".rstrip(": ")
    stand = f"{record.get('side', '')} {record.get('quantity', '')}, filled {record.get('filled', '')}"
    limit, mid = record.get("limit", ""), record.get("mid", "")
    yield f"{stand}, free {record.get('free', '')}, limit {limit}{f', mid {mid}' if mid else ''}"
    if record.get("unhedged"):
        yield f"without a hedge: {record['unhedged']}"
    books = [book for book in record.get("books", []) if isinstance(book, dict)]
    yield from columns([_book(book) for book in books], right=(1, 3))
    options = [one for one in record.get("options", []) if isinstance(one, dict)]
    shown = options if everything else options[:OPTIONS_SHOWN]
    yield from columns([_option(one) for one in shown])
    if len(options) > len(shown):
        yield f"and {len(options) - len(shown)} more options (--all)"
    for one in record.get("slices", []):
        kind = f"{one.get('order_type', '')}, {one.get('time_in_force', '')}"
        size = f"{one.get('quantity', '')} at {one.get('limit_price', '')}"
        yield f"chosen: {size} to {one.get('destination', '')} ({kind}): {one.get('why', '')}"


def _book(book: dict[str, Any]) -> tuple[str, ...]:
    far, near = _level(book.get("far")), _level(book.get("near"))
    if book.get("out"):
        return (book.get("destination", ""), far, "", near, "", f"left out: {book['out']}")
    age = f"{book['age_ms']} ms old" if book.get("age_ms", -1) >= 0 else ""
    fees = f"fee {book.get('taker_fee', '0')} taken, {book.get('maker_fee', '0')} added"
    expected = [f"{name} {book[name]:.4g}" for name in ("fill", "hidden", "post") if book.get(name)]
    return (book.get("destination", ""), far, "against", near, age, ", ".join([fees, *expected]))


def _level(levels: Any) -> str:
    """The best one, as size at price."""
    return f"{levels[0][1]} at {levels[0][0]}" if levels else "nothing"


def _option(one: dict[str, Any]) -> tuple[str, ...]:
    size = f"{one.get('quantity', '')} at {one.get('price', '')}".strip()
    probability = f"probability {one.get('probability', 1.0):.2f}"
    gain = f"gain {one['gain']} a share" if one.get("gain") else ""
    head = (f"option: {one.get('action', '')}", one.get("destination", ""), size)
    return (*head, f"cost {one.get('cost', '')} a share", probability, gain)


def _plain(record: Any, everything: bool) -> Iterator[str]:
    lines: Sequence[str] = json.dumps(record, indent=1).splitlines() if record else []
    limit = len(lines) if everything else JSON_LINES_MAX
    yield from lines[:limit]
    if len(lines) > limit:
        yield f"... {len(lines) - limit} more lines (--all)"
