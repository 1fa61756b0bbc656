"""SQL expressions in (parsed by sqlglot), typed trees out; what cannot be done as Flink does it is refused.

Types follow Flink 2.3: a number with an exponent is DOUBLE, one with a point DECIMAL, one without BIGINT
(Flink's INT and BIGINT are one here); BIGINT / BIGINT truncates; NULL is three-valued throughout.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from streaming.compiled.tree import NUMERIC, Aggregate, Call, Kind, Literal, Navigation, Node
from tickloom.errors import RuleError

#: (qualifier or "", column name, line) to what it stands for.
Resolve = Callable[[str, str, int], Node]

_COMPARISONS: dict[type[exp.Expression], str] = {
    exp.EQ: "eq",
    exp.NEQ: "ne",
    exp.LT: "lt",
    exp.LTE: "le",
    exp.GT: "gt",
    exp.GTE: "ge",
}
_ARITHMETIC: dict[type[exp.Expression], str] = {
    exp.Add: "add",
    exp.Sub: "sub",
    exp.Mul: "mul",
    exp.Div: "div",
    exp.Mod: "mod",
}
#: Functions of one DOUBLE.
_REAL: dict[type[exp.Expression], str] = {
    exp.Sqrt: "sqrt",
    exp.Exp: "exp",
    exp.Ln: "ln",
    exp.Sin: "sin",
    exp.Cos: "cos",
    exp.Tan: "tan",
}
_AGGREGATES: dict[type[exp.Expression], str] = {
    exp.Count: "count",
    exp.Sum: "sum",
    exp.Avg: "avg",
    exp.Min: "min",
    exp.Max: "max",
    exp.Stddev: "stddev_samp",
    exp.StddevSamp: "stddev_samp",
    exp.StddevPop: "stddev_pop",
    exp.Variance: "var_samp",
    exp.VariancePop: "var_pop",
}
_UNIT_MS = {"MILLISECOND": 1, "SECOND": 1_000, "MINUTE": 60_000, "HOUR": 3_600_000, "DAY": 86_400_000}
INTERVAL_MS = "INTERVAL_MS"
_TRUE = Literal(Kind.BOOLEAN, True)


class Reader:
    """Turns the SQL of one rule into trees.

    Parameters
    ----------
    path : str
        For messages.
    first_line : int
        Line of the file on which the parsed text begins.
    """

    def __init__(self, path: str, first_line: int = 1) -> None:
        self.path = path
        self.line = first_line

    def parse(self, text: str, line: int) -> Any:
        """The syntax tree of one expression."""
        self.line = line
        try:
            select = sqlglot.parse_one(f"SELECT {text}")
        except SqlglotError as error:
            raise RuleError(self.path, line, f"{text!r} is not understood: {error}", "mend it") from None
        found: Any = select.expressions[0]
        return found.unalias() if len(select.expressions) == 1 else select

    def refuse(self, reason: str, fix: str = "") -> RuleError:
        return RuleError(
            self.path,
            self.line,
            f"the compiled engine does not take {reason}",
            fix or "run it with --engine flink",
        )

    def boolean(self, node: Any, resolve: Resolve) -> Node:
        """A condition.

        Raises
        ------
        RuleError
            It is not understood, or no condition.
        """
        found = self.read(node, resolve)
        if found.kind not in (Kind.BOOLEAN, Kind.NULL):
            raise RuleError(
                self.path, self.line, f"{node.sql()} is no condition", "compare it with something"
            )
        return found

    def read(self, node: Any, resolve: Resolve) -> Node:
        """Any expression."""
        for handlers, make in (
            (_COMPARISONS, self._comparison),
            (_ARITHMETIC, self._arithmetic),
            (_AGGREGATES, self._aggregate),
        ):
            name = handlers.get(type(node))
            if name is not None:
                return make(name, node, resolve)
        name = _REAL.get(type(node))
        if name is not None:
            return self._call(Kind.DOUBLE, name, self._number(node.this, resolve))
        handler = _HANDLERS.get(type(node))
        if handler is None:
            raise self.refuse(f"{node.sql()}")
        return handler(self, node, resolve)

    def _call(self, kind: Kind, name: str, *arguments: Node) -> Node:
        return Call(kind, name, arguments)

    def _number(self, node: Any, resolve: Resolve) -> Node:
        found = self.read(node, resolve)
        if found.kind not in (*NUMERIC, Kind.NULL):
            raise RuleError(self.path, self.line, f"{node.sql()} is no number", "compute with numbers")
        return found

    # -- leaves

    def _literal(self, node: Any, resolve: Resolve) -> Node:
        text = str(node.this)
        if node.args.get("is_string"):
            return Literal(Kind.STRING, text)
        if "e" in text.lower():
            return Literal(Kind.DOUBLE, float(text))
        return Literal(Kind.DECIMAL, float(text)) if "." in text else Literal(Kind.BIGINT, int(text))

    def _column(self, node: Any, resolve: Resolve) -> Node:
        table = node.args.get("table")
        return resolve(table.name if table is not None else "", node.name.lower(), self.line)

    def _navigate(self, node: Any, resolve: Resolve) -> Node:
        """LAST and FIRST: of a column, or of an expression, whose columns they are pushed down to."""
        shift = node.args.get("expression")
        offset = 0
        if shift is not None:
            if not isinstance(shift, exp.Literal) or not str(shift.this).isdigit():
                raise RuleError(self.path, self.line, f"the offset {shift.sql()}", "write a whole number")
            offset = int(str(shift.this))
        last = isinstance(node, exp.Last)
        inner = self.read(node.this, resolve)
        return self._shift(inner, last, offset, node)

    def _shift(self, tree: Node, last: bool, offset: int, node: Any) -> Node:
        if isinstance(tree, Navigation):
            if tree.offset or not tree.last:
                raise self.refuse(f"FIRST or LAST of FIRST or LAST: {node.sql()}")
            return Navigation(tree.kind, tree.variable, last, offset, tree.column)
        if isinstance(tree, Call):
            shifted = tuple(self._shift(one, last, offset, node) for one in tree.arguments)
            return Call(tree.kind, tree.name, shifted)
        if isinstance(tree, Aggregate):
            raise self.refuse(f"FIRST or LAST of an aggregate: {node.sql()}")
        return tree

    def _interval(self, node: Any, resolve: Resolve) -> Node:
        unit = str(node.args.get("unit") or "").upper().rstrip("S")
        amount = str(getattr(node.this, "this", ""))
        if unit not in _UNIT_MS or not amount.isdigit():
            raise self.refuse(
                f"{node.sql()}", "write INTERVAL '10' SECOND, or use a parameter of type interval"
            )
        return Literal(Kind.INTERVAL, int(amount) * _UNIT_MS[unit])

    def _anonymous(self, node: Any, resolve: Resolve) -> Node:
        name = str(node.this).upper()
        if name == INTERVAL_MS:
            return Literal(Kind.INTERVAL, int(str(node.expressions[0].this)))
        raise self.refuse(f"the function {name}")

    # -- operators

    def _comparison(self, name: str, node: Any, resolve: Resolve) -> Node:
        return self.compare(name, self.read(node.left, resolve), self.read(node.right, resolve), node)

    def compare(self, name: str, left: Node, right: Node, node: Any) -> Node:
        """``left name right``, if the two can be compared."""
        kinds = {left.kind, right.kind} - {Kind.NULL}
        if not kinds:
            return Literal(Kind.BOOLEAN, None)
        # a whole number against a constant: doubles of this size compare as the decimals do
        constant = any(isinstance(one, Literal) for one in (left, right))
        alike = (
            len(kinds) == 1
            or kinds <= {Kind.DOUBLE, Kind.BIGINT}
            or kinds == {Kind.DOUBLE, Kind.DECIMAL}
            or (kinds == {Kind.BIGINT, Kind.DECIMAL} and constant)
        )
        if not alike:
            shown = " and ".join(sorted(kind.value for kind in kinds))
            raise self.refuse(
                f"a comparison of {shown}: {node.sql()}", "write the number with an exponent: 0.5E0"
            )
        if kinds == {Kind.STRING} and name not in ("eq", "ne"):
            raise self.refuse(f"the order of texts: {node.sql()}")
        return self._call(Kind.BOOLEAN, name, left, right)

    def _arithmetic(self, name: str, node: Any, resolve: Resolve) -> Node:
        left, right = self.read(node.left, resolve), self.read(node.right, resolve)
        kinds = {left.kind, right.kind}
        if Kind.TIME in kinds or Kind.INTERVAL in kinds:
            return self._time_arithmetic(name, left, right, node)
        if not kinds <= {*NUMERIC, Kind.NULL}:
            raise RuleError(
                self.path, self.line, f"{node.sql()} computes with no numbers", "compare texts only"
            )
        if Kind.NULL in kinds:
            return Literal(Kind.NULL, None)
        if Kind.DOUBLE in kinds:
            if name == "mod":
                raise self.refuse(f"the remainder of doubles: {node.sql()}")
            return self._call(Kind.DOUBLE, name, left, right)
        if Kind.DECIMAL in kinds:
            raise self.refuse(
                f"exact decimal arithmetic: {node.sql()}", "write the number with an exponent: 0.5E0"
            )
        return self._call(Kind.BIGINT, name, left, right)

    def _time_arithmetic(self, name: str, left: Node, right: Node, node: Any) -> Node:
        if name in ("add", "sub") and right.kind is Kind.INTERVAL and left.kind in (Kind.TIME, Kind.INTERVAL):
            return self._call(left.kind, name, left, right)
        if name == "add" and left.kind is Kind.INTERVAL and right.kind is Kind.TIME:
            return self._call(Kind.TIME, name, right, left)
        raise self.refuse(f"{node.sql()}", "add an interval to a time, or take it away")

    def _negate(self, node: Any, resolve: Resolve) -> Node:
        inner = self._number(node.this, resolve)
        if isinstance(inner, Literal) and inner.value is not None:
            return Literal(inner.kind, -inner.value)  # type: ignore[operator]  # a number: checked above
        return self._call(inner.kind, "neg", inner)

    def _connect(self, node: Any, resolve: Resolve) -> Node:
        name = "and" if isinstance(node, exp.And) else "or"
        return self._call(
            Kind.BOOLEAN, name, self.boolean(node.left, resolve), self.boolean(node.right, resolve)
        )

    def _not(self, node: Any, resolve: Resolve) -> Node:
        return self._call(Kind.BOOLEAN, "not", self.boolean(node.this, resolve))

    def _is(self, node: Any, resolve: Resolve) -> Node:
        right = node.args["expression"]
        if isinstance(right, exp.Null):
            return self._call(Kind.BOOLEAN, "isnull", self.read(node.this, resolve))
        if isinstance(right, exp.Boolean):
            inner = self.boolean(node.this, resolve)
            return self._call(Kind.BOOLEAN, "istrue" if right.this else "isfalse", inner)
        raise self.refuse(node.sql())

    def _distinct_from(self, node: Any, resolve: Resolve) -> Node:
        left, right = self.read(node.left, resolve), self.read(node.right, resolve)
        same = self._call(
            Kind.BOOLEAN,
            "or",
            self._call(Kind.BOOLEAN, "istrue", self.compare("eq", left, right, node)),
            self._call(
                Kind.BOOLEAN,
                "and",
                self._call(Kind.BOOLEAN, "isnull", left),
                self._call(Kind.BOOLEAN, "isnull", right),
            ),
        )
        return same if isinstance(node, exp.NullSafeEQ) else self._call(Kind.BOOLEAN, "not", same)

    def _between(self, node: Any, resolve: Resolve) -> Node:
        if node.args.get("symmetric"):
            raise self.refuse(node.sql())
        value = self.read(node.this, resolve)
        low, high = self.read(node.args["low"], resolve), self.read(node.args["high"], resolve)
        return self._call(
            Kind.BOOLEAN, "and", self.compare("ge", value, low, node), self.compare("le", value, high, node)
        )

    def _in(self, node: Any, resolve: Resolve) -> Node:
        if not node.expressions:
            raise self.refuse(f"a subquery: {node.sql()}")
        value = self.read(node.this, resolve)
        found: Node | None = None
        for choice in node.expressions:
            equal = self.compare("eq", value, self.read(choice, resolve), node)
            found = equal if found is None else self._call(Kind.BOOLEAN, "or", found, equal)
        assert found is not None
        return found

    def _case(self, node: Any, resolve: Resolve) -> Node:
        operand = self.read(node.this, resolve) if node.this is not None else None
        parts: list[Node] = []
        for branch in node.args["ifs"]:
            if operand is None:
                parts.append(self.boolean(branch.this, resolve))
            else:
                parts.append(self.compare("eq", operand, self.read(branch.this, resolve), node))
            parts.append(self.read(branch.args["true"], resolve))
        default = node.args.get("default")
        parts.append(self.read(default, resolve) if default is not None else Literal(Kind.NULL, None))
        return self._choice(parts, node)

    def _if(self, node: Any, resolve: Resolve) -> Node:
        false = node.args.get("false")
        parts = [self.boolean(node.this, resolve), self.read(node.args["true"], resolve)]
        parts.append(self.read(false, resolve) if false is not None else Literal(Kind.NULL, None))
        return self._choice(parts, node)

    def _choice(self, parts: list[Node], node: Any) -> Node:
        kind = self.common_kind([*parts[1::2], parts[-1]], node)
        return self._call(kind, "case", *parts)

    def common_kind(self, nodes: list[Node], node: Any) -> Kind:
        """The type that values of all these have together."""
        kinds = {one.kind for one in nodes} - {Kind.NULL}
        if len(kinds) <= 1:
            return kinds.pop() if kinds else Kind.NULL
        if kinds <= set(NUMERIC) and Kind.DOUBLE in kinds:
            return Kind.DOUBLE
        if kinds == {Kind.BIGINT, Kind.DECIMAL}:
            return Kind.DECIMAL
        shown = " and ".join(sorted(kind.value for kind in kinds))
        raise RuleError(self.path, self.line, f"{node.sql()} is {shown} at once", "give all of them one type")

    # -- functions

    def _abs(self, node: Any, resolve: Resolve) -> Node:
        inner = self._number(node.this, resolve)
        return self._call(inner.kind, "abs", inner)

    def _sign(self, node: Any, resolve: Resolve) -> Node:
        inner = self._number(node.this, resolve)
        return self._call(inner.kind, "sign", inner)

    def _round(self, node: Any, resolve: Resolve) -> Node:
        inner = self._number(node.this, resolve)
        decimals = node.args.get("decimals")
        digits = 0
        if decimals is not None:
            text = decimals.sql()
            if not text.removeprefix("-").isdigit() or not -15 <= int(text) <= 15:
                raise self.refuse(node.sql(), "round to a whole number of digits, -15 to 15")
            digits = int(text)
        if inner.kind is Kind.BIGINT and digits >= 0:
            return inner
        if inner.kind is Kind.BIGINT:
            raise self.refuse(node.sql(), "cast it to DOUBLE")
        return self._call(Kind.DOUBLE, "round", inner, Literal(Kind.BIGINT, digits))

    def _floor(self, node: Any, resolve: Resolve) -> Node:
        inner = self._number(node.this, resolve)
        if node.args.get("decimals") is not None or node.args.get("to") is not None:
            raise self.refuse(node.sql())
        if inner.kind is Kind.BIGINT:
            return inner
        return self._call(Kind.DOUBLE, "floor" if isinstance(node, exp.Floor) else "ceil", inner)

    def _power(self, node: Any, resolve: Resolve) -> Node:
        return self._call(
            Kind.DOUBLE, "power", self._number(node.this, resolve), self._number(node.expression, resolve)
        )

    def _log(self, node: Any, resolve: Resolve) -> Node:
        first, second = node.this, node.args.get("expression")
        if second is None:
            return self._call(Kind.DOUBLE, "ln", self._number(first, resolve))
        if isinstance(first, exp.Literal) and str(first.this) in ("2", "10"):
            return self._call(Kind.DOUBLE, f"log{first.this}", self._number(second, resolve))
        raise self.refuse(node.sql(), "use LN, LOG2 or LOG10")

    def _extreme(self, node: Any, resolve: Resolve) -> Node:
        nodes = [self._number(one, resolve) for one in (node.this, *node.expressions)]
        kind = self.common_kind(nodes, node)
        return self._call(kind, "greatest" if isinstance(node, exp.Greatest) else "least", *nodes)

    def _coalesce(self, node: Any, resolve: Resolve) -> Node:
        nodes = [self.read(one, resolve) for one in (node.this, *node.expressions)]
        return self._call(self.common_kind(nodes, node), "coalesce", *nodes)

    def _nullif(self, node: Any, resolve: Resolve) -> Node:
        value, other = self.read(node.this, resolve), self.read(node.expression, resolve)
        return self._call(
            value.kind, "case", self.compare("eq", value, other, node), Literal(Kind.NULL, None), value
        )

    def _cast(self, node: Any, resolve: Resolve) -> Node:
        wanted = node.args["to"].sql().upper()
        inner = self.read(node.this, resolve)
        if wanted in ("DOUBLE", "DOUBLE PRECISION") and inner.kind in NUMERIC:
            return self._call(Kind.DOUBLE, "double", inner)
        if wanted == "BIGINT" and inner.kind in (Kind.DOUBLE, Kind.BIGINT):
            return inner if inner.kind is Kind.BIGINT else self._call(Kind.BIGINT, "whole", inner)
        raise self.refuse(f"{node.sql()}", "cast numbers to DOUBLE")

    def _aggregate(self, name: str, node: Any, resolve: Resolve) -> Node:
        if isinstance(node.this, exp.Star):
            raise self.refuse("COUNT(*)", "count a column of one variable: COUNT(A.seq)")
        if isinstance(node.this, exp.Distinct):
            raise self.refuse(node.sql())
        inner = self.read(node.this, resolve)
        variables: set[str] = set()
        argument = self._over_rows(inner, variables, node)
        if len(variables) != 1:
            raise RuleError(
                self.path, self.line, f"{node.sql()} is not over one variable", "write SUM(A.size)"
            )
        if name != "count" and inner.kind not in NUMERIC:
            raise self.refuse(f"{node.sql()}")
        if name.startswith(("stddev", "var")) and inner.kind is Kind.BIGINT:
            raise self.refuse(f"{node.sql()} of whole numbers, which Flink cuts to one", "cast it to DOUBLE")
        kind = inner.kind if name in ("sum", "min", "max", "avg") else Kind.DOUBLE
        if inner.kind is Kind.DECIMAL and name != "count":
            raise self.refuse(f"an exact decimal: {node.sql()}", "write the number with an exponent: 0.5E0")
        return Aggregate(Kind.BIGINT if name == "count" else kind, name, variables.pop(), argument)

    def _over_rows(self, tree: Node, variables: set[str], node: Any) -> Node:
        if isinstance(tree, Navigation):
            if tree.offset or not tree.last:
                raise self.refuse(f"FIRST or LAST in an aggregate: {node.sql()}")
            variables.add(tree.variable)
            return tree.column
        if isinstance(tree, Aggregate):
            raise self.refuse(f"an aggregate of an aggregate: {node.sql()}")
        if isinstance(tree, Call):
            return Call(
                tree.kind, tree.name, tuple(self._over_rows(one, variables, node) for one in tree.arguments)
            )
        return tree


def _through(reader: Reader, node: Any, resolve: Resolve) -> Node:
    return reader.read(node.this, resolve)


_HANDLERS: dict[type[exp.Expression], Callable[[Reader, Any, Resolve], Node]] = {
    exp.Paren: _through,
    exp.Alias: _through,
    exp.Literal: Reader._literal,
    exp.Boolean: lambda reader, node, resolve: Literal(Kind.BOOLEAN, bool(node.this)),
    exp.Null: lambda reader, node, resolve: Literal(Kind.NULL, None),
    exp.Column: Reader._column,
    exp.Last: Reader._navigate,
    exp.First: Reader._navigate,
    exp.Interval: Reader._interval,
    exp.Anonymous: Reader._anonymous,
    exp.Neg: Reader._negate,
    exp.And: Reader._connect,
    exp.Or: Reader._connect,
    exp.Not: Reader._not,
    exp.Is: Reader._is,
    exp.NullSafeNEQ: Reader._distinct_from,
    exp.NullSafeEQ: Reader._distinct_from,
    exp.Between: Reader._between,
    exp.In: Reader._in,
    exp.Case: Reader._case,
    exp.If: Reader._if,
    exp.Abs: Reader._abs,
    exp.Sign: Reader._sign,
    exp.Round: Reader._round,
    exp.Floor: Reader._floor,
    exp.Ceil: Reader._floor,
    exp.Pow: Reader._power,
    exp.Log: Reader._log,
    exp.Greatest: Reader._extreme,
    exp.Least: Reader._extreme,
    exp.Coalesce: Reader._coalesce,
    exp.Nullif: Reader._nullif,
    exp.Cast: Reader._cast,
}
