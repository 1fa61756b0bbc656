"""A router's decision for a person, of what the router itself wrote."""

from __future__ import annotations

import json

from execution.lineage.decision_text import decision_lines
from tests.execution.router.market import Routed
from tests.execution.router.world import parent, settings


def test_what_the_router_wrote_is_shown() -> None:
    """Each destination's book, each option, each slice."""
    routed = Routed(7, settings(post={"wait_ms": 300}))
    order = parent("buy", 900, routed.exchange.mid + 8, order_id="A", time_in_force="day")
    routed.work(order, 40)
    slices = 0
    for raw in routed.decisions:
        record = json.loads(raw)
        lines = list(decision_lines(record, everything=True))
        assert lines[0].startswith(record["action"])
        for book in record.get("books", []):
            price, size = book["far"][0]
            assert any(
                line.startswith(book["destination"]) and f"{size} at {price}" in line for line in lines
            )
        for one in record.get("slices", []):
            assert any(line.startswith("chosen:") and one["destination"] in line for line in lines)
        assert len([line for line in lines if line.startswith("option:")]) == len(record.get("options", []))
        slices += len(record.get("slices", []))
    assert slices


def test_what_is_no_such_record_is_shown_as_it_is() -> None:
    """Of another version, or nothing at all."""
    assert list(decision_lines({"new": [1]}, everything=True)) == ["{", ' "new": [', "  1", " ]", "}"]
    assert list(decision_lines("text", everything=False)) == ['"text"']
    assert list(decision_lines({}, everything=False)) == []
    assert next(decision_lines({"action": "stop"}, everything=False)) == "stop"
    long = list(decision_lines(list(range(100)), everything=False))
    assert long[-1] == "... 72 more lines (--all)"
