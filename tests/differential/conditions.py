"""Random expressions and conditions of a pattern, typed, and of the grammar that both engines take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hypothesis import strategies as st

from tests.differential.expressions import (
    BIGINT,
    BOOLEAN,
    DOUBLE,
    INTERVAL,
    STRING,
    TIME,
    Aggregate,
    Call,
    Column,
    Expression,
    Literal,
    Navigation,
)

TEXTS = {
    "side": ("buy", "sell", "none"),
    "condition": ("regular", "hidden", "cross", "broken"),
    "symbol": ("AA", "BB", "CC", "AA.1", "BB.2", "CC.3"),
}
_AGGREGATES = ("SUM", "AVG", "MIN", "MAX", "STDDEV", "STDDEV_SAMP", "STDDEV_POP")
_COMPARISONS = ("=", "<>", "<", "<=", ">", ">=", "<", ">")


@dataclass(frozen=True, slots=True)
class Scope:
    """What an expression may name.

    Attributes
    ----------
    columns : mapping
        Column of a row to its type.
    variables : tuple of str
        Of the pattern; none where columns are named by themselves, before the pattern.
    parameters : mapping
        Name to type and default.
    """

    columns: Mapping[str, str]
    variables: tuple[str, ...]
    parameters: Mapping[str, tuple[str, str]]

    def of(self, kind: str) -> list[str]:
        """Columns of a type."""
        return [name for name, one in self.columns.items() if one == kind]

    def seen(self, own: str) -> tuple[str, ...]:
        """Variables that may have rows while ``own`` is decided."""
        return self.variables[: self.variables.index(own) + 1]


def whole(value: int) -> Literal:
    """A whole number."""
    return Literal(BIGINT, value, str(value))


def real(value: float) -> Literal:
    """A DOUBLE: with an exponent, for without one it is a DECIMAL."""
    return Literal(DOUBLE, value, f"{value!r}E0")


@st.composite
def constant(draw: st.DrawFn, scope: Scope) -> Expression:
    """A number of the size of prices, sizes and their differences."""
    level = scope.parameters.get("level")
    lot = scope.parameters.get("lot")
    form = draw(st.sampled_from(("price", "size", "small", "decimal", "parameter")))
    if form == "parameter" and level is not None and lot is not None:
        if draw(st.booleans()):
            return Literal(DOUBLE, float(level[1]), ":level")
        return Literal(BIGINT, int(lot[1]), ":lot")
    if form == "price":
        return real(9.0 + draw(st.integers(0, 6)) / 4)
    if form == "small":
        return real(draw(st.sampled_from((-1.0, -0.5, 0.0, 0.25, 0.5, 1.0))))
    if form == "decimal":
        value = draw(st.sampled_from((0.25, 0.5, 1.5, 9.5, 9.75)))
        return Literal(DOUBLE, value, str(value))  # beside a DOUBLE it is one
    return whole(draw(st.integers(1, 5)))


@st.composite
def leaf(draw: st.DrawFn, scope: Scope, own: str, kind: str) -> Expression:
    """A number out of a row: a column, of the row at hand or of a variable's rows."""
    column: Expression = Column(kind, draw(st.sampled_from(scope.of(kind))))
    if not scope.variables:
        return column
    form = draw(st.sampled_from(("own", "own", "other", "other", "last", "first", "aggregate")))
    variable = own if form == "own" else draw(st.sampled_from(scope.seen(own)))
    if form in ("own", "other"):
        return Navigation(kind, variable, column)
    if draw(st.integers(0, 3)) == 0 and kind == DOUBLE:
        second = Column(kind, draw(st.sampled_from(scope.of(kind))))
        column = Call(kind, draw(st.sampled_from(("+", "-", "*"))), (column, second))
    if form == "aggregate":
        return draw(_aggregate(kind, variable, column))
    offset = draw(st.sampled_from((0, 0, 1, 1, 2, 3)))
    return Navigation(kind, variable, column, last=form == "last", offset=offset, bare=False)


@st.composite
def _aggregate(draw: st.DrawFn, kind: str, variable: str, column: Expression) -> Expression:
    if kind == BIGINT:  # STDDEV of whole numbers is a whole number to Flink: the linter refuses it
        return Aggregate(kind, draw(st.sampled_from(("COUNT", "MIN", "MAX"))), variable, column)
    return Aggregate(kind, draw(st.sampled_from(_AGGREGATES)), variable, column)


@st.composite
def counted(draw: st.DrawFn, scope: Scope, own: str) -> Expression:
    """Rows of a variable in which a column is not NULL, or half of them, or a part of another count."""
    column = Column("", draw(st.sampled_from([*scope.of(DOUBLE), "seq"])))
    count = Aggregate(BIGINT, "COUNT", draw(st.sampled_from(scope.seen(own))), column)
    if draw(st.integers(0, 3)):
        return count
    name = draw(st.sampled_from(("/", "MOD", "*", "-")))
    return Call(BIGINT, name, (count, whole(draw(st.integers(2, 3)))))


@st.composite
def safe_number(draw: st.DrawFn, scope: Scope, own: str, kind: str) -> Expression:
    """A number that is never NaN or infinite."""
    first = draw(leaf(scope, own, kind))
    form = draw(st.sampled_from(("plain", "plain", "two", "constant", "half", "abs", "coalesce", "case")))
    if form == "plain":
        return first
    if form == "two":
        second = draw(leaf(scope, own, kind))
        if scope.variables and not draw(st.integers(0, 3)):
            second = draw(counted(scope, own))  # a whole number beside a DOUBLE
        return Call(kind, draw(st.sampled_from(("+", "-", "*"))), (first, second))
    if form == "constant":
        return Call(kind, draw(st.sampled_from(("+", "-"))), (first, draw(_constant_of(scope, kind))))
    if form == "half":
        return Call(kind, "/", (first, whole(2)))
    if form == "abs":
        name = draw(st.sampled_from(("ABS", "SIGN", "negate")))
        return Call(kind, name, (Call(kind, "-", (first, draw(leaf(scope, own, kind)))),))
    if form == "coalesce":
        return Call(kind, "COALESCE", (first, draw(_constant_of(scope, kind))))
    tested = draw(comparison(scope, own))
    default = draw(st.sampled_from((draw(_constant_of(scope, kind)), Literal(kind, None, "NULL"))))
    return Call(kind, "CASE", (tested, first, default))


def _constant_of(scope: Scope, kind: str) -> st.SearchStrategy[Expression]:
    if kind == DOUBLE:
        return st.sampled_from([real(value) for value in (-1.0, 0.0, 0.25, 0.5, 1.0, 2.5)])
    return st.integers(-2, 3).map(whole)


@st.composite
def number(draw: st.DrawFn, scope: Scope, own: str, kind: str, measure: bool = False) -> Expression:
    """A number, which may be NULL, NaN or infinite."""
    inner = draw(safe_number(scope, own, kind))
    if kind == BIGINT:
        return inner
    form = draw(
        st.sampled_from(("plain",) * 6 + ("divide", "function", "round", "floor", "extreme", "nullif"))
    )
    if form == "plain":
        return inner
    other = draw(leaf(scope, own, kind))
    if form == "divide":
        return Call(kind, "/", (inner, other))
    if form == "function":
        name = draw(st.sampled_from(("SQRT", "LN", "LOG2", "LOG10", "EXP", "POWER", "CAST")))
        if name == "EXP":
            return Call(kind, name, (Call(kind, "-", (other, draw(leaf(scope, own, kind)))),))
        if name == "POWER":
            return Call(kind, name, (other, whole(2)))
        return Call(kind, name, (inner,))
    if form == "round":
        thirds = Call(kind, "/", (inner, draw(st.sampled_from((whole(8), whole(3))))))
        return Call(kind, "ROUND", (thirds, whole(draw(st.integers(0, 4)))))
    if form == "floor":
        return Call(kind, draw(st.sampled_from(("FLOOR", "CEIL"))), (inner,))
    if form == "extreme":
        return Call(kind, draw(st.sampled_from(("GREATEST", "LEAST"))), (inner, other))
    return Call(kind, "NULLIF", (inner, other))


@st.composite
def comparison(draw: st.DrawFn, scope: Scope, own: str) -> Expression:
    """Two numbers compared."""
    name = draw(st.sampled_from(_COMPARISONS))
    form = draw(st.sampled_from(("leaves", "leaves", "constant", "constant", "whole", "count")))
    if form == "whole" and scope.variables:
        return draw(_whole_comparison(scope, own))
    if form == "count" and scope.variables:
        return Call(BOOLEAN, name, (draw(counted(scope, own)), whole(draw(st.integers(0, 4)))))
    left = draw(leaf(scope, own, DOUBLE))
    right = draw(leaf(scope, own, DOUBLE)) if form == "leaves" else draw(constant(scope))
    return Call(BOOLEAN, name, (left, right))


@st.composite
def _whole_comparison(draw: st.DrawFn, scope: Scope, own: str) -> Expression:
    """Whole numbers: messages between two rows, halves and remainders of them."""
    seq = Column(BIGINT, "seq")
    between = Call(
        BIGINT,
        "-",
        (Navigation(BIGINT, own, seq), Navigation(BIGINT, draw(st.sampled_from(scope.seen(own))), seq)),
    )
    form = draw(st.sampled_from(("plain", "half", "mod", "small")))
    left: Expression = between
    if form == "half":
        left = Call(BIGINT, "/", (between, whole(2)))
    elif form == "mod":
        left = Call(BIGINT, "MOD", (between, whole(draw(st.integers(2, 3)))))
    elif form == "small":
        small = [name for name in ("kind", "direction") if scope.columns.get(name) == BIGINT]
        if small:
            left = Navigation(BIGINT, own, Column(BIGINT, draw(st.sampled_from(small))))
    return Call(BOOLEAN, draw(st.sampled_from(_COMPARISONS)), (left, whole(draw(st.integers(0, 4)))))


@st.composite
def text_choice(draw: st.DrawFn, scope: Scope, own: str) -> Expression:
    """Equality of texts: with a constant, of two rows, or one of several."""
    column = draw(st.sampled_from(scope.of(STRING)))
    tree: Expression = Column(STRING, column)
    if scope.variables:
        variable = draw(st.sampled_from((own, own, *scope.seen(own))))
        tree = Navigation(STRING, variable, tree)
    texts = TEXTS[column]
    form = draw(st.sampled_from(("constant", "constant", "in", "two", "parameter")))
    if form == "in":
        chosen = draw(st.lists(st.sampled_from(texts), min_size=1, max_size=3, unique=True))
        name = draw(st.sampled_from(("IN", "NOT IN")))
        return Call(BOOLEAN, name, (tree, *(Literal(STRING, one, f"'{one}'") for one in chosen)))
    name = draw(st.sampled_from(("=", "=", "<>", "IS DISTINCT FROM")))
    if form == "two" and scope.variables:
        other = Navigation(STRING, draw(st.sampled_from(scope.seen(own))), Column(STRING, column))
        return Call(BOOLEAN, name, (tree, other))
    if form == "parameter" and "name" in scope.parameters and column == "symbol":
        return Call(BOOLEAN, name, (tree, Literal(STRING, scope.parameters["name"][1], ":name")))
    text = draw(st.sampled_from(texts))
    return Call(BOOLEAN, name, (tree, Literal(STRING, text, f"'{text}'")))


@st.composite
def _time_choice(draw: st.DrawFn, scope: Scope, own: str) -> Expression:
    """Event times compared, one of them moved by an interval."""
    left = Navigation(TIME, own, Column(TIME, "event_time"))
    right = Navigation(TIME, draw(st.sampled_from(scope.seen(own))), Column(TIME, "event_time"))
    if "gap" in scope.parameters and draw(st.booleans()):
        shift = Literal(INTERVAL, int(scope.parameters["gap"][1].removesuffix("ms")), ":gap")
    else:
        seconds = draw(st.integers(1, 5))
        shift = Literal(INTERVAL, seconds * 1_000, f"INTERVAL '{seconds}' SECOND")
    moved = Call(TIME, "+", (right, shift))
    return Call(BOOLEAN, draw(st.sampled_from(("<", "<=", ">", ">="))), (left, moved))


@st.composite
def condition(draw: st.DrawFn, scope: Scope, own: str, depth: int) -> Expression:
    """A condition, of up to ``depth`` levels of AND, OR and NOT."""
    if depth and draw(st.integers(0, 2)) == 0:
        left = draw(condition(scope, own, depth - 1))
        name = draw(st.sampled_from(("AND", "OR", "NOT", "IS TRUE", "IS NOT TRUE", "IS FALSE")))
        if name in ("AND", "OR"):
            return Call(BOOLEAN, name, (left, draw(condition(scope, own, depth - 1))))
        return Call(BOOLEAN, name, (left,))
    forms = ["compare"] * 5 + ["number", "number", "between", "null", "in", "case", "distinct"]
    if scope.of(STRING):
        forms += ["text", "text"]
    if scope.variables:
        forms += ["time", "true"]
    return draw(_condition_of(scope, own, draw(st.sampled_from(forms))))


@st.composite
def _condition_of(draw: st.DrawFn, scope: Scope, own: str, form: str) -> Expression:
    if form == "text":
        return draw(text_choice(scope, own))
    if form == "time":
        return draw(_time_choice(scope, own))
    if form == "true":
        return Call(BOOLEAN, "OR", (Literal(BOOLEAN, True, "TRUE"), draw(comparison(scope, own))))
    if form == "number":
        name = draw(st.sampled_from(("<", "<=", ">", ">=")))
        left = draw(number(scope, own, DOUBLE))
        return Call(BOOLEAN, name, (left, draw(st.one_of(constant(scope), leaf(scope, own, DOUBLE)))))
    first = draw(leaf(scope, own, DOUBLE))
    if form == "between":
        return Call(BOOLEAN, "BETWEEN", (first, draw(constant(scope)), draw(leaf(scope, own, DOUBLE))))
    if form == "null":
        return Call(BOOLEAN, draw(st.sampled_from(("IS NULL", "IS NOT NULL"))), (first,))
    if form == "in":
        choices = tuple(draw(constant(scope)) for _ in range(draw(st.integers(1, 3))))
        if not draw(st.integers(0, 4)):
            choices = (*choices, Literal(DOUBLE, None, "NULL"))
        return Call(BOOLEAN, draw(st.sampled_from(("IN", "NOT IN"))), (first, *choices))
    if form == "distinct":
        name = draw(st.sampled_from(("IS DISTINCT FROM", "IS NOT DISTINCT FROM")))
        return Call(BOOLEAN, name, (first, draw(leaf(scope, own, DOUBLE))))
    if form == "case":
        value = Call(DOUBLE, "CASE", (draw(comparison(scope, own)), first, draw(leaf(scope, own, DOUBLE))))
        return Call(BOOLEAN, draw(st.sampled_from(("<", ">="))), (value, draw(constant(scope))))
    return draw(comparison(scope, own))
