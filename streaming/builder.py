"""A rule written in Python in, the text of its rule file out.

    from streaming.builder import case, interval, parameter, rule, view

    trades = view("trades")
    A, B = trades.variables("A", "B")
    rise = parameter("rise", 0.1, "dollars from the first trade to the second, more than")
    span = interval("span", "2s", "from the first trade to the second, exclusive")
    jump = (
        rule("jump", trades, version="1", venue="XNAS", about="A trade is dearer than the one before.")
        .begin(A)
        .next(B).where(B.price > A.price + rise)
        .within(span)
        .skip_past_last()
        .signal(side="buy", strength=B.price - A.price, ref_price=B.price)
    )
    Path("strategies/rules/jump.sql").write_text(jump.sql())

The text is a rule file as one writes it by hand: look at it, keep it under version control, submit it. What
SQL or the linter would not take is refused here, with a BuilderError that says why.

``next`` is strict contiguity: the row right behind. ``followed_by`` lets any rows lie in between and takes
the first row that matches. It is written as a variable without a condition that takes as few rows as
possible, ``GAP1*?``, and so needs ``within``. Inside a quantifier rows are always contiguous.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

from streaming import rules
from streaming.authoring import linter, sources
from streaming.authoring.sources import Rows, Source, Variable, name_of, source_of, uses_of, view
from streaming.authoring.terms import (
    Condition,
    Kind,
    Operand,
    Uses,
    Value,
    case,
    coalesce,
    interval,
    parameter,
    value,
)
from streaming.parameters import Parameter
from tickloom.errors import BuilderError, RuleError

__all__ = [
    "Condition",
    "Rows",
    "RuleBuilder",
    "Source",
    "Value",
    "Variable",
    "case",
    "coalesce",
    "interval",
    "parameter",
    "rule",
    "view",
]

WIDTH = 105  # columns of the text


@dataclass(frozen=True, slots=True, eq=False)
class Element:
    """A variable in the pattern, and which rows it takes. count_max: None without a limit."""

    name: str
    condition: Condition | None = None
    count_min: int = 1
    count_max: int | None = 1
    reluctant: bool = False

    @property
    def text(self) -> str:
        """As PATTERN has it."""
        low, high = self.count_min, self.count_max
        counts = f"{{{low}}}" if low == high else f"{{{low},{'' if high is None else high}}}"
        short = {(1, 1): "", (0, 1): "?", (0, None): "*", (1, None): "+"}
        return f"{self.name}{short.get((low, high), counts)}{'?' if self.reluctant else ''}"


@dataclass(frozen=True, slots=True, eq=False)
class RuleBuilder:
    """A rule, step by step: every step gives a new one. :func:`rule` begins one; see the module."""

    name: str
    source: Source
    version: str
    venue: str
    about: str
    elements: tuple[Element, ...] = ()
    span: Value | None = None
    skip: str = "PAST LAST ROW"
    outputs: Mapping[str, Value] = field(default_factory=dict)
    sets: Mapping[str, Mapping[str, float | str]] = field(default_factory=dict)

    # -- the pattern

    def begin(self, variable: Variable) -> RuleBuilder:
        """The first variable."""
        if self.elements:
            raise BuilderError("a second begin(): go on with next() or followed_by()")
        return self._add(variable)

    def next(self, variable: Variable) -> RuleBuilder:
        """The row right behind, none in between."""
        self._last("next")
        return self._add(variable)

    def followed_by(self, variable: Variable) -> RuleBuilder:
        """The first row behind that matches, whatever lies in between. Needs :meth:`within`.

        Behind a variable that takes several rows, that one must be :meth:`reluctant`.
        """
        self._last("followed_by")
        gaps = sum(element.name.startswith("GAP") for element in self.elements)
        gap = Element(f"GAP{gaps + 1}", None, 0, None, reluctant=True)
        return replace(self, elements=(*self.elements, gap))._add(variable)

    def where(self, condition: Condition) -> RuleBuilder:
        """Which rows the last variable takes; where it is said more than once, all must be true."""
        element = self._last("where")
        if not isinstance(condition, Condition):
            raise BuilderError(f"where({condition!r}): no condition; compare it with something")
        later = condition.uses.variables - {one.name for one in self.elements}
        if later:
            raise BuilderError(
                f"{condition.sql}: {min(later)} has no rows yet when {element.name} is looked for"
            )
        joined = condition if element.condition is None else element.condition & condition
        return self._change(replace(element, condition=joined))

    def times(self, low: int, high: int | None = None) -> RuleBuilder:
        """The last variable takes ``low`` rows, or ``low`` to ``high``."""
        return self._quantify(low, low if high is None else high)

    def times_or_more(self, low: int) -> RuleBuilder:
        """The last variable takes at least ``low`` rows. Needs :meth:`within`."""
        return self._quantify(low, None)

    def one_or_more(self) -> RuleBuilder:
        """The last variable takes at least one row. Needs :meth:`within`."""
        return self._quantify(1, None)

    def zero_or_more(self) -> RuleBuilder:
        """The last variable takes any number of rows. Needs :meth:`within`."""
        return self._quantify(0, None)

    def optional(self) -> RuleBuilder:
        """The last variable takes a row or none."""
        return self._quantify(0, 1)

    def reluctant(self) -> RuleBuilder:
        """The last variable takes as few rows as will do; without this, as many."""
        element = self._last("reluctant")
        if element.count_min == element.count_max:
            raise BuilderError(f"{element.text} takes a fixed number of rows: there is nothing to choose")
        return self._change(replace(element, reluctant=True))

    def within(self, span: Value | str) -> RuleBuilder:
        """Time from the first row to the last, exclusive: an ``interval``, or a text such as ``"500ms"``.

        A text becomes a parameter named ``within``.
        """
        if isinstance(span, str):
            span = interval("within", span, "from the first row to the last, exclusive")
        if not isinstance(span, Value) or span.kind is not Kind.INTERVAL:
            raise BuilderError(f"within({span!r}): it takes an interval, such as '500ms'")
        return replace(self, span=span)

    def skip_past_last(self) -> RuleBuilder:
        """Matches share no row: go on behind the last one. So it is if nothing is said."""
        return replace(self, skip="PAST LAST ROW")

    def skip_to_next(self) -> RuleBuilder:
        """Matches may overlap: go on with the row behind the first one."""
        return replace(self, skip="TO NEXT ROW")

    def skip_to_first(self, variable: Variable) -> RuleBuilder:
        """Go on with the first row of a later variable."""
        return replace(self, skip=f"TO FIRST {name_of(variable)}")

    def skip_to_last(self, variable: Variable) -> RuleBuilder:
        """Go on with the last row of a later variable."""
        return replace(self, skip=f"TO LAST {name_of(variable)}")

    # -- what cannot be said

    def followed_by_any(self, variable: Variable) -> NoReturn:
        """Refused: a beginning has one match in MATCH_RECOGNIZE."""
        raise BuilderError("followed_by_any: a beginning has one match; followed_by takes the first row")

    def not_next(self, variable: Variable) -> NoReturn:
        """Refused: a pattern is made of rows that are there."""
        raise BuilderError("not_next: a pattern is made of rows; write next(X).where(~condition)")

    def not_followed_by(self, variable: Variable) -> NoReturn:
        """Refused: a pattern is made of rows that are there."""
        raise BuilderError(
            "not_followed_by: a pattern is made of rows, and this is about rows that never come. "
            "Write a rule of kind absence (docs/rules.md)."
        )

    def until(self, condition: Condition) -> NoReturn:
        """Refused: there is no such clause."""
        raise BuilderError("until: let the variable's own condition say which rows it takes")

    # -- what comes out

    def signal(
        self,
        *,
        side: str | Value,
        strength: Operand,
        ref_price: Operand,
        first_seq: Value | None = None,
        last_seq: Value | None = None,
    ) -> RuleBuilder:
        """Columns of a signal. side: buy, sell, or a ``case`` of them; first_seq, last_seq: of the pattern's
        first and last row, if they are not given."""
        if isinstance(side, str) and side not in ("buy", "sell"):
            raise BuilderError(f"side {side!r}: write 'buy', 'sell' or a case() of them")
        given = {"side": value(side), "strength": value(strength), "ref_price": value(ref_price)}
        given |= {n: one for n, one in (("first_seq", first_seq), ("last_seq", last_seq)) if one is not None}
        numbers = (Kind.DOUBLE, Kind.BIGINT)
        wanted = {"side": (Kind.STRING,), "strength": numbers, "ref_price": numbers}
        for name, one in given.items():
            if one.kind not in wanted.get(name, (Kind.BIGINT,)):
                raise BuilderError(f"{name}: {one.sql} is {one.kind.value}")
        return replace(self, outputs=given)

    def set(self, name: str, **values: float | str) -> RuleBuilder:
        """One more calibration: under a name, values of parameters."""
        return replace(self, sets={**self.sets, name: values})

    def sql(self) -> str:
        """The text of the rule file.

        Raises
        ------
        BuilderError
            Something is missing, or the linter refuses the rule.
        """
        text = "\n".join(_lines(self)) + "\n"
        try:
            written = rules.parse(text, Path(f"{self.name}.sql"))
            linter.check(written)
        except RuleError as error:
            raise BuilderError(f"rule {self.name}: {error.reason}. Fix: {error.fix}") from None
        return text

    def _add(self, variable: Variable) -> RuleBuilder:
        name = name_of(variable)
        if source_of(variable) is not self.source:
            raise BuilderError(f"variable {name} is of another source than the rule: a pattern reads one")
        if name in {element.name for element in self.elements}:
            raise BuilderError(f"variable {name} twice in the pattern: give the second another name")
        return replace(self, elements=(*self.elements, Element(name)))

    def _last(self, step: str) -> Element:
        if not self.elements:
            raise BuilderError(f"{step}() before begin(): begin with the first variable")
        return self.elements[-1]

    def _change(self, element: Element) -> RuleBuilder:
        return replace(self, elements=(*self.elements[:-1], element))

    def _quantify(self, low: int, high: int | None) -> RuleBuilder:
        element = self._last("a quantifier")
        if element.text != element.name:
            raise BuilderError(f"{element.text} has a quantifier already: a variable has one")
        if low < 0 or (high is not None and high < max(low, 1)):
            raise BuilderError(f"{element.name}: {low} to {high} rows is no number of rows")
        return self._change(replace(element, count_min=low, count_max=high))


def rule(name: str, source: Source, *, version: str, venue: str, about: str) -> RuleBuilder:
    """Begin a rule over ``source``. The rest is as in a rule file's header (``streaming.rules``)."""
    return RuleBuilder(name, source, version, venue, about)


def _lines(builder: RuleBuilder) -> Iterator[str]:
    """The file, line by line."""
    measures = _measures(builder)
    uses = Uses()
    for term in (*(one.condition for one in builder.elements), builder.span, *measures.values()):
        uses = uses | (term.uses if term is not None else Uses())
    yield from _header(builder, (uses_of(builder.source) | uses).parameters)
    query, name = sources.render(builder.source, uses.columns)
    yield from ("", *query)
    # a text that is the same in every row is not for the pattern to look at
    constant = {key: one for key, one in measures.items() if key == "side" and not one.uses.variables}
    outputs = {
        key: f"{constant[key].sql} AS {key}" if key in constant else key for key in rules.OUTPUT_COLUMNS
    }
    yield from ("SELECT", *sources.listed(list(outputs.values()), 2), f"FROM {name} MATCH_RECOGNIZE (")
    yield from ("  PARTITION BY symbol", "  ORDER BY event_time, seq", "  MEASURES")
    yield from sources.listed(
        [f"{one.sql} AS {key}" for key, one in measures.items() if key not in constant], 4
    )
    yield from ("  ONE ROW PER MATCH", f"  AFTER MATCH SKIP {builder.skip}")
    within = f" WITHIN {builder.span.sql}" if builder.span is not None else ""
    yield f"  PATTERN ({' '.join(element.text for element in builder.elements)}){within}"
    defined = [
        "\n".join(sources.joined(f"    {one.name} AS ", one.condition)).lstrip()
        for one in builder.elements
        if one.condition is not None
    ]
    yield from ("  DEFINE", *sources.listed(defined, 4), ")")


def _measures(builder: RuleBuilder) -> dict[str, Value]:
    """Expression of each output column but the symbol."""
    if not builder.elements:
        raise BuilderError(f"rule {builder.name} has no pattern: begin(A) ...")
    if not builder.outputs:
        raise BuilderError(
            f"rule {builder.name} gives nothing: signal(side=..., strength=..., ref_price=...)"
        )
    if all(one.condition is None for one in builder.elements):
        raise BuilderError(f"rule {builder.name}: every row matches; say which with where(...)")
    first, last = builder.elements[0], builder.elements[-1]
    if first.count_min == 0 and "first_seq" not in builder.outputs:
        raise BuilderError(f"{first.text} begins the pattern and may take no row: give signal(first_seq=...)")
    variables = {name: builder.source.variable(name) for name in (first.name, last.name)}
    begins = variables[first.name].first["seq"] if first.count_max != 1 else variables[first.name]["seq"]
    measures = {"first_seq": begins, "last_seq": variables[last.name]["seq"], **builder.outputs}
    unknown = {name for one in measures.values() for name in one.uses.variables}
    unknown -= {element.name for element in builder.elements}
    if unknown:
        raise BuilderError(f"signal(): {min(unknown)} is not in the pattern")
    return measures


def _header(builder: RuleBuilder, parameters: Sequence[Parameter]) -> Iterator[str]:
    yield from (f"-- rule: {builder.name}", f"-- version: {builder.version}", f"-- venue: {builder.venue}")
    yield from _wrapped(f"-- about: {' '.join(builder.about.split())}")
    names: dict[str, Parameter] = {}
    for one in parameters:
        if one.name in names:
            raise BuilderError(f"two parameters {one.name!r}: give one of them another name")
        names[one.name] = one
        if one.default is not None and (
            not one.default or one.default.split() != [one.default] or one.default == "-"
        ):
            raise BuilderError(f"parameter {one.name}: the default {one.default!r} does not fit a header")
        default = "-" if one.default is None else one.default
        yield from _wrapped(f"-- parameter: {one.name} {one.type} {default} {one.about}".rstrip())
    for name, values in builder.sets.items():
        yield " ".join([f"-- set: {name}", *(f"{key}={given}" for key, given in values.items())])


def _wrapped(line: str) -> list[str]:
    """A header entry over several lines."""
    options = {"break_long_words": False, "break_on_hyphens": False}
    return textwrap.wrap(line, WIDTH, subsequent_indent="--   ", **options)  # type: ignore[arg-type]
