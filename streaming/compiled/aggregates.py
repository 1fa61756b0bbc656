"""Aggregates as source: their parts with one more row, and their value from the parts. Pure text."""

from __future__ import annotations

from streaming.compiled.emit import Value
from streaming.compiled.tree import Aggregate, Kind


def finish(node: Aggregate, count: str, parts: dict[str, str]) -> Value:
    """What an aggregate is, given the number of its values that are not NULL and its other parts."""
    if node.function == "count":
        return Value(count)
    null = f"({count} == 0)"
    if node.function == "avg":
        if node.kind is Kind.BIGINT:
            return Value(f"whole_div({parts['sum']}, max({count}, 1))", null)
        return Value(f"({parts['sum']} / {count})", null)
    if node.function.startswith(("stddev", "var")):
        less = "1" if node.function.endswith("_samp") else "0"
        spread = f"({parts['squares']} - {parts['sum']} * {parts['sum']} / {count})"
        variance = f"({spread} / max({count} - {less}, 1))"
        root = node.function.startswith("stddev")
        return Value(f"java_sqrt({variance})" if root else variance, f"({count} <= {less})")
    return Value(parts[node.function], null)


def accumulate(part: str, stored: dict[str, str], argument: Value, blank: bool) -> str:
    """A part of an aggregate with one more row."""
    if part not in stored:
        return "0"
    old, new = stored[part], argument.source
    if part == "cnt":
        grown = f"{old} + 1"
        return f"({old} if {argument.null} else {grown})" if argument.null else f"({grown})"
    if part == "sum":
        # not 0.0 plus the first: -0.0 stays what it is, and one divided by it is minus infinity
        grown = new if blank else f"({new} if {stored['cnt']} == 0 else {old} + {new})"
    elif part == "squares":
        grown = f"float({new}) * {new}" if blank else f"{old} + float({new}) * {new}"
    else:
        operator = "<" if part == "min" else ">"
        grown = new if blank else f"({new} if {stored['cnt']} == 0 or {new} {operator} {old} else {old})"
    return f"({old} if {argument.null} else {grown})" if argument.null else f"({grown})"
