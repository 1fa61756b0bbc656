"""SQL expressions as trees: written out as text for both engines, and evaluated here for the naive one.

The values are Python's, None is NULL, and what an operator does is what Flink 2.3 was seen to do (see
tests/streaming/authoring/test_traps.py). Nothing here is shared with the code under test: it is the second
opinion.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import reduce
from operator import add
from typing import Any

Value = float | int | str | bool | None
Row = Mapping[str, Value]

#: Types of values. An interval's value is its milliseconds, a time's the milliseconds since the epoch.
DOUBLE, BIGINT, STRING, BOOLEAN, TIME, INTERVAL = "double", "bigint", "string", "boolean", "time", "interval"


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant. text: as SQL writes it."""

    kind: str
    value: Value
    text: str


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the row at hand."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Navigation:
    """``A.x``, ``LAST(A.x + A.y, n)`` or ``FIRST(...)``. bare: without the word, which is LAST(.., 0)."""

    kind: str
    variable: str
    inner: Expression
    last: bool = True
    offset: int = 0
    bare: bool = True


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A function over one variable's rows so far."""

    kind: str
    function: str
    variable: str
    inner: Expression


@dataclass(frozen=True, slots=True)
class Call:
    """An operator or a function, by its name in :data:`OPERATORS`."""

    kind: str
    name: str
    arguments: tuple[Expression, ...]


Expression = Literal | Column | Navigation | Aggregate | Call

#: Rows of a variable so far, in order; the current one is there if the variable is being decided.
Rows = Callable[[str], Sequence[Row]]


def sql(tree: Expression, prefix: str = "") -> str:
    """The text. prefix: what to write before a column, such as ``A.``."""
    if isinstance(tree, Literal):
        return tree.text
    if isinstance(tree, Column):
        return f"{prefix}`{tree.name}`" if tree.name == "condition" else f"{prefix}{tree.name}"
    if isinstance(tree, Navigation):
        inner = sql(tree.inner, f"{tree.variable}.")
        if tree.bare:
            return inner
        offset = f", {tree.offset}" if tree.offset else ""
        return f"{'LAST' if tree.last else 'FIRST'}({inner}{offset})"
    if isinstance(tree, Aggregate):
        return f"{tree.function}({sql(tree.inner, f'{tree.variable}.')})"
    written, _ = OPERATORS[tree.name]
    return written([sql(argument, prefix) for argument in tree.arguments])


def evaluate(tree: Expression, rows: Rows, row: Row | None = None) -> Value:
    """The value. row: what a bare column is of; without one, only variables have columns."""
    if isinstance(tree, Literal):
        return tree.value
    if isinstance(tree, Column):
        return row[tree.name] if row is not None else None
    if isinstance(tree, Navigation):
        found = rows(tree.variable)
        place = len(found) - 1 - tree.offset if tree.last else tree.offset
        return evaluate(tree.inner, rows, found[place] if 0 <= place < len(found) else None)
    if isinstance(tree, Aggregate):
        values = [evaluate(tree.inner, rows, one) for one in rows(tree.variable)]
        return _aggregate(tree.function, tree.kind, [value for value in values if value is not None])
    _, compute = OPERATORS[tree.name]
    return compute(tree.kind, [evaluate(argument, rows, row) for argument in tree.arguments])


def children(tree: Expression) -> Iterator[Expression]:
    """What a tree is made of, itself not included."""
    if isinstance(tree, Call):
        yield from tree.arguments


def _aggregate(function: str, kind: str, values: list[Any]) -> Value:
    if function == "COUNT":
        return len(values)
    if not values:
        return None
    if function in ("MIN", "MAX"):
        return min(values) if function == "MIN" else max(values)  # type: ignore[no-any-return]
    if function == "SUM":
        return reduce(add, values)  # type: ignore[no-any-return]  # sum() makes 0.0 of -0.0
    if function == "AVG":
        total = reduce(add, values)
        return _truncated(total, len(values)) if kind == BIGINT else total / len(values)
    count, total = len(values), reduce(add, values, 0)
    squares = reduce(add, (value * value for value in values), 0)
    divisor = count if function == "STDDEV_POP" else count - 1
    return None if divisor == 0 else math.sqrt(max(squares - total * total / count, 0.0) / divisor)


def _truncated(left: int, right: int) -> int:
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


# -- operators: how each is written, and what it computes

Compute = Callable[[str, Sequence[Value]], Value]
Written = Callable[[Sequence[str]], str]


def _strict(function: Callable[..., Value]) -> Compute:
    """NULL if any argument is NULL."""
    return lambda kind, values: None if None in values else function(*values)


def _real(kind: str, values: Sequence[Any]) -> Sequence[Any]:
    return [float(value) for value in values] if kind == DOUBLE else values


def _arithmetic(function: Callable[[Any, Any], Any]) -> Compute:
    return lambda kind, values: None if None in values else function(*_real(kind, values))


def _divide(kind: str, values: Sequence[Any]) -> Value:
    if None in values:
        return None
    left, right = values
    if kind == BIGINT:
        return _truncated(left, right)
    left, right = float(left), float(right)
    if right:
        return left / right
    if not left or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


def _compared(function: Callable[[Any, Any], bool]) -> Compute:
    return lambda kind, values: None if None in values else function(*values)


def _and(kind: str, values: Sequence[Value]) -> Value:
    return False if False in values else (None if None in values else True)


def _or(kind: str, values: Sequence[Value]) -> Value:
    return True if True in values else (None if None in values else False)


def _in(kind: str, values: Sequence[Value]) -> Value:
    value, *choices = values
    return _or(kind, [None if value is None or one is None else value == one for one in choices])


def _not_in(kind: str, values: Sequence[Value]) -> Value:
    found = _in(kind, values)
    return None if found is None else not found


def _case(kind: str, values: Sequence[Any]) -> Value:
    *branches, default = values
    for condition, value in zip(branches[::2], branches[1::2], strict=True):
        if condition is True:
            return _cast(kind, value)
    return _cast(kind, default)


def _simple_case(kind: str, values: Sequence[Any]) -> Value:
    operand, *branches, default = values
    for choice, value in zip(branches[::2], branches[1::2], strict=True):
        if operand is not None and choice is not None and operand == choice:
            return _cast(kind, value)
    return _cast(kind, default)


def _cast(kind: str, value: Any) -> Value:
    return float(value) if kind == DOUBLE and value is not None else value


def _coalesce(kind: str, values: Sequence[Any]) -> Value:
    return _cast(kind, next((value for value in values if value is not None), None))


def _extreme(greatest: bool) -> Compute:
    def compute(kind: str, values: Sequence[Any]) -> Value:
        if None in values:
            return None
        numbers = _real(kind, values)
        found = numbers[0]
        for number in numbers[1:]:  # NaN is above everything, as java.lang.Double.compare has it
            above = math.isnan(number) or (not math.isnan(found) and number > found)
            found = number if above == greatest else found
        return found

    return compute


def _round(kind: str, values: Sequence[Any]) -> Value:
    value, digits = values
    if value is None:
        return None
    quantum = Decimal(1).scaleb(-digits)
    return float(Decimal(repr(float(value))).quantize(quantum, ROUND_HALF_UP))


def _logarithm(function: Callable[[float], float]) -> Compute:
    def compute(kind: str, values: Sequence[Any]) -> Value:
        (value,) = values
        if value is None:
            return None
        if value <= 0:
            return -math.inf if value == 0 else math.nan
        return function(value)

    return compute


def _root(kind: str, values: Sequence[Any]) -> Value:
    (value,) = values
    return None if value is None else (math.sqrt(value) if value >= 0 else math.nan)


def _sign(kind: str, values: Sequence[Any]) -> Value:
    (value,) = values
    return None if value is None else _cast(kind, (value > 0) - (value < 0))


def _infix(symbol: str) -> Written:
    return lambda texts: f"({texts[0]} {symbol} {texts[1]})"


def _function(name: str) -> Written:
    return lambda texts: f"{name}({', '.join(texts)})"


def _write_case(texts: Sequence[str]) -> str:
    *branches, default = texts
    shown = " ".join(f"WHEN {a} THEN {b}" for a, b in zip(branches[::2], branches[1::2], strict=True))
    return f"CASE {shown}{_else(default)} END"


def _write_simple_case(texts: Sequence[str]) -> str:
    operand, *branches, default = texts
    shown = " ".join(f"WHEN {a} THEN {b}" for a, b in zip(branches[::2], branches[1::2], strict=True))
    return f"CASE {operand} {shown}{_else(default)} END"


def _else(default: str) -> str:
    return "" if default == "NULL" else f" ELSE {default}"


OPERATORS: dict[str, tuple[Written, Compute]] = {
    "+": (_infix("+"), _arithmetic(lambda a, b: a + b)),
    "-": (_infix("-"), _arithmetic(lambda a, b: a - b)),
    "*": (_infix("*"), _arithmetic(lambda a, b: a * b)),
    "/": (_infix("/"), _divide),
    "MOD": (_function("MOD"), _strict(lambda a, b: int(math.fmod(a, b)))),
    "negate": (lambda texts: f"(-{texts[0]})", _strict(lambda a: -a)),
    "=": (_infix("="), _compared(lambda a, b: a == b)),
    "<>": (_infix("<>"), _compared(lambda a, b: a != b)),
    "<": (_infix("<"), _compared(lambda a, b: a < b)),
    "<=": (_infix("<="), _compared(lambda a, b: a <= b)),
    ">": (_infix(">"), _compared(lambda a, b: a > b)),
    ">=": (_infix(">="), _compared(lambda a, b: a >= b)),
    "AND": (_infix("AND"), _and),
    "OR": (_infix("OR"), _or),
    "NOT": (lambda texts: f"(NOT {texts[0]})", _strict(lambda a: not a)),
    "IS NULL": (lambda texts: f"({texts[0]} IS NULL)", lambda kind, values: values[0] is None),
    "IS NOT NULL": (lambda texts: f"({texts[0]} IS NOT NULL)", lambda kind, values: values[0] is not None),
    "IS TRUE": (lambda texts: f"({texts[0]} IS TRUE)", lambda kind, values: values[0] is True),
    "IS NOT TRUE": (lambda texts: f"({texts[0]} IS NOT TRUE)", lambda kind, values: values[0] is not True),
    "IS FALSE": (lambda texts: f"({texts[0]} IS FALSE)", lambda kind, values: values[0] is False),
    "IS DISTINCT FROM": (_infix("IS DISTINCT FROM"), lambda kind, values: values[0] != values[1]),
    "IS NOT DISTINCT FROM": (_infix("IS NOT DISTINCT FROM"), lambda kind, values: values[0] == values[1]),
    "BETWEEN": (
        lambda texts: f"({texts[0]} BETWEEN {texts[1]} AND {texts[2]})",
        lambda kind, values: _and(
            kind,
            [
                None if values[0] is None or values[1] is None else values[0] >= values[1],  # type: ignore[operator]
                None if values[0] is None or values[2] is None else values[0] <= values[2],  # type: ignore[operator]
            ],
        ),
    ),
    "IN": (lambda texts: f"({texts[0]} IN ({', '.join(texts[1:])}))", _in),
    "NOT IN": (lambda texts: f"({texts[0]} NOT IN ({', '.join(texts[1:])}))", _not_in),
    "CASE": (_write_case, _case),
    "CASE OF": (_write_simple_case, _simple_case),
    "COALESCE": (_function("COALESCE"), _coalesce),
    "NULLIF": (
        _function("NULLIF"),
        lambda kind, values: None if None not in values and values[0] == values[1] else values[0],
    ),
    "GREATEST": (_function("GREATEST"), _extreme(greatest=True)),
    "LEAST": (_function("LEAST"), _extreme(greatest=False)),
    "ABS": (_function("ABS"), _strict(abs)),
    "SIGN": (_function("SIGN"), _sign),
    "SQRT": (_function("SQRT"), _root),
    "LN": (_function("LN"), _logarithm(math.log)),
    "LOG2": (_function("LOG2"), _logarithm(math.log2)),
    "LOG10": (_function("LOG10"), _logarithm(math.log10)),
    "EXP": (_function("EXP"), _strict(lambda a: math.exp(a))),
    "POWER": (_function("POWER"), _strict(lambda a, b: float(a) ** float(b))),
    "FLOOR": (
        _function("FLOOR"),
        lambda kind, values: _cast(kind, None if values[0] is None else math.floor(values[0])),  # type: ignore[arg-type]
    ),
    "CEIL": (
        _function("CEIL"),
        lambda kind, values: _cast(kind, None if values[0] is None else math.ceil(values[0])),  # type: ignore[arg-type]
    ),
    "ROUND": (_function("ROUND"), _round),
    "CAST": (lambda texts: f"CAST({texts[0]} AS DOUBLE)", lambda kind, values: _cast(DOUBLE, values[0])),
}
