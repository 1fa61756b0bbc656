"""Column expressions with Python's operators in, typed pieces of SQL out: what ``streaming.builder`` writes.

A :class:`Value` is a number, a text or a time, a :class:`Condition` is true, false or unknown. Each knows
its SQL, and what does not fit together is refused where it is written, not where it runs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import NoReturn

from streaming.parameters import Parameter
from tickloom.errors import BuilderError, RuleError

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
#: Names of columns that SQL takes for something else.
_RESERVED = re.compile(
    "condition|value|year|month|day|hour|minute|second|start|end|order|open|close|row|rows|time|date|"
    "timestamp|position|sign|count|sum|min|max|avg|first|last|method|result"
)
_TEXT_MAX = 100


class Kind(Enum):
    """Type of a value: Flink's DOUBLE, BIGINT, STRING and TIMESTAMP_LTZ, and an interval."""

    DOUBLE = "a number"
    BIGINT = "a whole number"
    STRING = "a text"
    TIME = "a time"
    INTERVAL = "an interval"


NUMBERS = (Kind.DOUBLE, Kind.BIGINT)
_PARAMETER_TYPES = {
    "double": Kind.DOUBLE,
    "int": Kind.BIGINT,
    "string": Kind.STRING,
    "interval": Kind.INTERVAL,
}


class Rank(int, Enum):
    """How tightly an operator binds; what binds less than its surroundings is put into brackets."""

    OR = 1
    AND = 2
    NOT = 3
    COMPARISON = 4
    SUM = 5
    PRODUCT = 6
    SIGN = 7
    ATOM = 8


@dataclass(frozen=True, slots=True)
class Uses:
    """What an expression is made of.

    variables: of the pattern. columns: of the source. parameters: by name. nested: it has FIRST, LAST or
    an aggregate in it, around which no other may be put.
    """

    variables: frozenset[str] = frozenset()
    columns: frozenset[str] = frozenset()
    parameters: tuple[Parameter, ...] = ()
    nested: bool = False

    def __or__(self, other: Uses) -> Uses:
        parameters = dict.fromkeys((*self.parameters, *other.parameters))
        return Uses(
            self.variables | other.variables,
            self.columns | other.columns,
            tuple(parameters),
            self.nested or other.nested,
        )


class _Term:
    """SQL, how tightly it binds, and what it uses."""

    __slots__ = ("rank", "sql", "uses")
    __hash__ = object.__hash__

    def __init__(self, sql: str, rank: Rank, uses: Uses) -> None:
        self.sql, self.rank, self.uses = sql, rank, uses

    def within(self, rank: Rank) -> str:
        """Its SQL as an operand of an operator of ``rank``."""
        return self.sql if self.rank >= rank else f"({self.sql})"

    def __bool__(self) -> NoReturn:
        raise BuilderError(
            f"{self.sql}: Python asks whether this is true, which only rows can say. "
            "Write & for and, | for or, ~ for not, with brackets: (a > b) & (c > d)."
        )

    def __repr__(self) -> str:
        return f"<{self.sql}>"


class Condition(_Term):
    """True, false or unknown for a row: a comparison, or several with ``&``, ``|`` and ``~``.

    parts: SQL of those that are joined by AND, for a text with a line each.
    """

    __slots__ = ("parts",)
    __hash__ = object.__hash__

    def __init__(self, sql: str, rank: Rank, uses: Uses, parts: tuple[str, ...] = ()) -> None:
        super().__init__(sql, rank, uses)
        self.parts = parts or (self.within(Rank.AND),)

    def __and__(self, other: Condition) -> Condition:
        return self._join("AND", Rank.AND, other)

    def __or__(self, other: Condition) -> Condition:
        return self._join("OR", Rank.OR, other)

    def __invert__(self) -> Condition:
        return Condition(f"NOT {self.within(Rank.COMPARISON)}", Rank.NOT, self.uses)

    def _join(self, word: str, rank: Rank, other: Condition) -> Condition:
        if not isinstance(other, Condition):
            raise BuilderError(f"{self.sql} {word} {other!r}: compare it with something first")
        parts = (*self.parts, *other.parts) if rank is Rank.AND else ()
        sql = f"{self.within(rank)} {word} {other.within(rank)}"
        return Condition(sql, rank, self.uses | other.uses, parts)


class Value(_Term):
    """A number, a text, a time or an interval."""

    __slots__ = ("kind",)
    __hash__ = object.__hash__

    def __init__(self, sql: str, kind: Kind, uses: Uses | None = None, rank: Rank = Rank.ATOM) -> None:
        super().__init__(sql, rank, uses or Uses())
        self.kind = kind

    # -- arithmetic

    def __add__(self, other: Operand) -> Value:
        return self._compute("+", Rank.SUM, other)

    def __sub__(self, other: Operand) -> Value:
        return self._compute("-", Rank.SUM, other)

    def __mul__(self, other: Operand) -> Value:
        return self._compute("*", Rank.PRODUCT, other)

    def __truediv__(self, other: Operand) -> Value:
        return self._compute("/", Rank.PRODUCT, other)

    def __radd__(self, other: Operand) -> Value:
        return value(other) + self

    def __rsub__(self, other: Operand) -> Value:
        return value(other) - self

    def __rmul__(self, other: Operand) -> Value:
        return value(other) * self

    def __rtruediv__(self, other: Operand) -> Value:
        return value(other) / self

    def __neg__(self) -> Value:
        return Value(f"-{self.number('-').within(Rank.ATOM)}", self.kind, self.uses, Rank.SIGN)

    def __abs__(self) -> Value:
        return call("ABS", self)

    def __round__(self, digits: int = 0) -> Value:
        return Value(f"ROUND({self.number('round').sql}, {digits})", Kind.DOUBLE, self.uses)

    # -- comparison

    def __lt__(self, other: Operand) -> Condition:
        return self._compare("<", other)

    def __le__(self, other: Operand) -> Condition:
        return self._compare("<=", other)

    def __gt__(self, other: Operand) -> Condition:
        return self._compare(">", other)

    def __ge__(self, other: Operand) -> Condition:
        return self._compare(">=", other)

    def __eq__(self, other: object) -> Condition:  # type: ignore[override]  # the point of the builder
        return self._compare("=", other)

    def __ne__(self, other: object) -> Condition:  # type: ignore[override]
        return self._compare("<>", other)

    def is_null(self) -> Condition:
        """There is no such value, or no such row."""
        return Condition(f"{self.within(Rank.SUM)} IS NULL", Rank.COMPARISON, self.uses)

    def is_not_null(self) -> Condition:
        """There is one."""
        return Condition(f"{self.within(Rank.SUM)} IS NOT NULL", Rank.COMPARISON, self.uses)

    def between(self, low: Operand, high: Operand) -> Condition:
        """From ``low`` to ``high``, both included."""
        return (self >= low) & (self <= high)

    def is_in(self, *choices: Operand) -> Condition:
        """One of ``choices``."""
        if not choices:
            raise BuilderError(f"{self.sql} is in nothing; give at least one choice")
        found = [self == choice for choice in choices]
        uses = found[0].uses
        for one in found[1:]:
            uses = uses | one.uses
        listed = ", ".join(value(choice).sql for choice in choices)
        return Condition(f"{self.within(Rank.SUM)} IN ({listed})", Rank.COMPARISON, uses)

    # -- over the rows of a variable

    def sum(self) -> Value:
        """Of the rows that the variable took so far; NULL of none."""
        return self._aggregate("SUM")

    def avg(self) -> Value:
        """Mean of the rows that the variable took so far; of whole numbers the mean of them as doubles."""
        return self._aggregate("AVG")

    def min(self) -> Value:
        """Of the rows that the variable took so far; NULL of none."""
        return self._aggregate("MIN")

    def max(self) -> Value:
        """Of the rows that the variable took so far; NULL of none."""
        return self._aggregate("MAX")

    def stddev(self) -> Value:
        """Sample standard deviation of the rows that the variable took so far."""
        return self._aggregate("STDDEV_SAMP")

    def count(self) -> Value:
        """How many rows the variable took so far in which this is not NULL."""
        return self._aggregate("COUNT")

    def _aggregate(self, name: str) -> Value:
        if len(self.uses.variables) != 1:
            raise BuilderError(f"{name}({self.sql}): an aggregate is over one variable, as in A.size.sum()")
        if self.uses.nested:
            raise BuilderError(f"{name}({self.sql}): FIRST, LAST or an aggregate inside an aggregate")
        if name == "COUNT":
            return Value(f"COUNT({self.sql})", Kind.BIGINT, self.uses | Uses(nested=True))
        inner, kind = self.number(name), self.kind
        if name in ("AVG", "STDDEV_SAMP"):  # of whole numbers Flink would cut the result to one
            inner, kind = inner.as_double(), Kind.DOUBLE
        return Value(f"{name}({inner.sql})", kind, self.uses | Uses(nested=True))

    def as_double(self) -> Value:
        """A whole number as a double; a double as it is."""
        if self.kind is Kind.DOUBLE:
            return self
        return Value(f"CAST({self.number('as_double').sql} AS DOUBLE)", Kind.DOUBLE, self.uses)

    def number(self, purpose: str) -> Value:
        """Itself, if it is a number."""
        if self.kind not in NUMBERS:
            raise BuilderError(f"{purpose} of {self.sql}, which is {self.kind.value}; it takes a number")
        return self

    def _compute(self, sign: str, rank: Rank, other: Operand) -> Value:
        right = value(other)
        kinds = {self.kind, right.kind}
        shown = f"{self.sql} {sign} {right.sql}"
        if kinds <= set(NUMBERS):
            if sign == "/" and kinds == {Kind.BIGINT}:
                raise BuilderError(
                    f"{shown}: whole numbers divide to a whole number in SQL; write x.as_double() / y"
                )
            kind = Kind.DOUBLE if Kind.DOUBLE in kinds else Kind.BIGINT
        elif self.kind is Kind.TIME and right.kind is Kind.INTERVAL and sign in "+-":
            kind = Kind.TIME
        else:
            raise BuilderError(f"{shown}: {self.kind.value} and {right.kind.value}")
        # what binds as tightly needs brackets on the right: a + (b - c) is not a + b - c in doubles
        inner = right.within(Rank(rank + 1))
        return Value(f"{self.within(rank)} {sign} {inner}", kind, self.uses | right.uses, rank)

    def _compare(self, sign: str, other: object) -> Condition:
        right = value(other)
        alike = self.kind is right.kind or {self.kind, right.kind} <= set(NUMBERS)
        if not alike or self.kind is Kind.INTERVAL:
            raise BuilderError(
                f"{self.sql} {sign} {right.sql}: {self.kind.value} is not compared with {right.kind.value}"
            )
        if self.kind is Kind.STRING and sign not in ("=", "<>"):
            raise BuilderError(
                f"{self.sql} {sign} {right.sql}: texts have no order here; compare with == or !="
            )
        return Condition(
            f"{self.within(Rank.SUM)} {sign} {right.within(Rank.SUM)}",
            Rank.COMPARISON,
            self.uses | right.uses,
        )


Operand = Value | float | str


def value(operand: object) -> Value:
    """A Python number or text as a literal; a Value as it is.

    Raises
    ------
    BuilderError
        It is nothing of these, or a number that SQL does not have.
    """
    if isinstance(operand, Value):
        return operand
    if isinstance(operand, bool) or operand is None:
        raise BuilderError(f"{operand!r} is no value; for NULL write x.is_null()")
    if isinstance(operand, int):
        return Value(
            _literal("int", str(operand)), Kind.BIGINT, rank=Rank.ATOM if operand >= 0 else Rank.SIGN
        )
    if isinstance(operand, float):
        return Value(_literal("double", operand), Kind.DOUBLE, rank=Rank.ATOM if operand >= 0 else Rank.SIGN)
    if isinstance(operand, str):
        return Value(_literal("string", operand), Kind.STRING)
    raise BuilderError(
        f"{operand!r} is no value; write a column, a number, a text, a parameter or an interval"
    )


def _literal(kind: str, text: str | float) -> str:
    try:
        return Parameter("literal", kind, None, "", 0).literal(text, "")
    except RuleError:
        raise BuilderError(f"{str(text)[:_TEXT_MAX]!r} is no value of type {kind}") from None


def column(name: str, kind: Kind, variable: str = "") -> Value:
    """A column of the source, or of the rows of a variable."""
    quoted = name if _PLAIN.fullmatch(name) and not _RESERVED.fullmatch(name) else f"`{name}`"
    uses = Uses(frozenset([variable]) if variable else frozenset(), frozenset([name]))
    return Value(f"{variable}.{quoted}" if variable else quoted, kind, uses)


def parameter(name: str, default: float | str | None, about: str, kind: str = "") -> Value:
    """A parameter of the rule: ``:name`` in the SQL, and a line of its header.

    ``kind`` is needed where there is no default: double, int, string or interval.
    """
    if not kind:
        known = {float: "double", int: "int", str: "string"}
        kind = known.get(type(default), "")
    if kind not in _PARAMETER_TYPES:
        raise BuilderError(f"parameter {name}: kind {kind!r}; write one of {', '.join(_PARAMETER_TYPES)}")
    declared = Parameter(name, kind, None if default is None else str(default), about, 0)
    if default is not None:
        try:
            declared.canonical(default)
        except ValueError:
            raise BuilderError(f"{declared.refusal(default)}") from None
    return Value(f":{name}", _PARAMETER_TYPES[kind], Uses(parameters=(declared,)))


def interval(name: str, default: str | None, about: str) -> Value:
    """A parameter of type interval, such as ``interval("span", "500ms", "from first to last")``."""
    return parameter(name, default, about, "interval")


def call(name: str, operand: Value) -> Value:
    """A function that keeps the type of its one number."""
    return Value(f"{name}({operand.number(name).sql})", operand.kind, operand.uses)


def case(*branches: tuple[Condition, Operand], otherwise: Operand) -> Value:
    """The value of the first branch whose condition is true."""
    values = [value(one) for _, one in branches]
    last = value(otherwise)
    kinds = {one.kind for one in (*values, last)}
    if len(kinds) > 1 and not kinds <= set(NUMBERS):
        raise BuilderError(f"case: its values are {' and '.join(sorted(kind.value for kind in kinds))}")
    uses = last.uses
    parts = []
    for (condition, _), one in zip(branches, values, strict=True):
        parts.append(f"WHEN {condition.sql} THEN {one.sql}")
        uses = condition.uses | one.uses | uses
    kind = Kind.DOUBLE if len(kinds) > 1 else last.kind
    return Value(f"CASE {' '.join(parts)} ELSE {last.sql} END", kind, uses)


def coalesce(*operands: Operand) -> Value:
    """The first that is not NULL."""
    values = [value(one) for one in operands]
    if len({one.kind for one in values}) != 1:
        raise BuilderError("coalesce: its values are of several types")
    uses = values[0].uses
    for one in values[1:]:
        uses = uses | one.uses
    return Value(f"COALESCE({', '.join(one.sql for one in values)})", values[0].kind, uses)
