"""What is generated: rules out of the whole accepted grammar, and tapes on which they match.

Values are few, small and binary fractions (prices in quarters, whole sizes), so that conditions hold
often, comparisons meet their boundary, and sums are exact whatever the order of the additions.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from tests.differential.cases import (
    VIEW_COLUMNS,
    Branch,
    QuoteCase,
    RuleCase,
    TapeCase,
    TradeCase,
    Variable,
)
from tests.differential.conditions import Scope, comparison, condition, number, safe_number, text_choice
from tests.differential.expressions import (
    BIGINT,
    BOOLEAN,
    DOUBLE,
    STRING,
    Aggregate,
    Call,
    Column,
    Expression,
    Literal,
    Navigation,
)

SYMBOLS = ("AA", "BB", "CC", "DD")
PRICES = tuple(9.0 + quarter / 4 for quarter in range(7))
SIZES = (1.0, 2.0, 3.0, 4.0, 5.0)
STEPS_MS = (0.0, 0.0, 0.0, 0.4, 1.0, 1.0, 2.0, 5.0, 20.0, 500.0, 5_000.0)
WITHIN_MS = (1, 2, 3, 5, 7, 20, 25, 500, 1_000, 5_000, 10_000, 60_000)
EVENTS_MAX = 60
VARIABLE_NAMES = ("A", "B", "C", "D", "E")
KEYS = ("kind", "direction")  # columns that cannot be NULL: to partition and order by
LENGTHS = (1, 2, 2, 3, 3, 3, 4, 4, 5)  # of a pattern; the likely ones more often


# -- tapes


@st.composite
def tapes(draw: st.DrawFn, events_max: int = EVENTS_MAX) -> TapeCase:
    """0 to 60 events of 1 to 4 symbols: ties, steps back within a few ms, quotes without a side."""
    symbols = SYMBOLS[: draw(st.integers(1, 4))]
    kinds = draw(st.sampled_from((("trade",), ("quote",), ("trade", "quote"), ("trade", "trade", "quote"))))
    disorder = draw(st.booleans())
    random = draw(st.randoms(use_true_random=False, note_method_calls=False))
    length = draw(st.integers(0, events_max))
    at_ms, events = 0.0, []
    for _ in range(length):
        at_ms += random.choice(STEPS_MS)
        shown = max(0.0, at_ms - random.choice((0.0, 0.0, 0.0, 1.0, 3.0))) if disorder else at_ms
        symbol = random.choice(symbols)
        if random.choice(kinds) == "trade":
            side = random.choice(("buy", "sell", "buy", "sell", "none"))
            kind = random.choice(("regular",) * 6 + ("hidden", "cross", "broken"))
            events.append(TradeCase(symbol, shown, random.choice(PRICES), random.choice(SIZES), side, kind))
        else:
            bid = None if random.random() < 0.15 else random.choice(PRICES)
            ask = None if random.random() < 0.15 else random.choice(PRICES)
            events.append(QuoteCase(symbol, shown, bid, ask, random.choice(SIZES), random.choice(SIZES)))
    return TapeCase(tuple(events))


@dataclass(frozen=True, slots=True)
class Group:
    """Tapes that Flink reads in one job, each with symbols of its own.

    watermarks_ms: behind each of the batches into which every tape is cut; the end of the input
    comes behind the last one. An event behind a watermark that has passed is late.
    view: where events may be late, the only view that rules over the group read, else "". The views of a
    Flink job come on channels of their own, and the watermark is the lowest of them: which late events of
    one are seen before the other's watermark comes is chance there.
    """

    tapes: tuple[TapeCase, ...]
    watermarks_ms: tuple[int, ...]
    view: str = ""


@st.composite
def groups(draw: st.DrawFn, tapes_of_group: int) -> Group:
    """Tapes, in a third of the cases cut into batches with watermarks that make some events late."""
    drawn = tuple(draw(tapes()) for _ in range(tapes_of_group))
    if draw(st.integers(0, 2)):
        return Group(drawn, (0,))
    spans = sorted(draw(st.lists(st.integers(0, 40_000), min_size=1, max_size=6)))
    return Group(drawn, tuple(spans), draw(st.sampled_from(("trades", "trades", "quotes"))))


# -- rules


@st.composite
def rule_cases(draw: st.DrawFn, lengths: tuple[int, ...] = LENGTHS, only_view: str = "") -> RuleCase:
    """A rule that the linter lets through; with one of these numbers of variables, over that view only."""
    view = only_view or draw(st.sampled_from(("trades", "trades", "quotes")))
    branches = draw(_branches(view, unions=not only_view))
    columns = dict(VIEW_COLUMNS[view])
    if branches:
        columns = {name: tree.kind for name, tree in branches[0].columns}
    own = draw(_parameters())
    names = VARIABLE_NAMES[: draw(st.sampled_from(lengths))]
    looked_up = {name: kind for name, kind in columns.items() if name not in KEYS}
    scope = Scope(looked_up, names, {name: (kind, default) for name, kind, default in own})
    variables = draw(_variables(scope))
    within = draw(st.sampled_from(WITHIN_MS))
    bounded = all(one.count_max is not None for one in variables)
    within_ms = None if bounded and draw(st.booleans()) else within
    measures, outputs, where = draw(_results(scope, variables, columns))
    case = RuleCase(
        view,
        branches,
        draw(_partition(columns)),
        ("seq", "kind") if len(branches) > 1 else ("seq",),
        variables,
        within_ms,
        draw(_skip(variables)),
        measures,
        outputs,
        where,
        own,
        draw(condition(Scope(columns, (), {}), "", 1)) if branches and not draw(st.integers(0, 3)) else None,
    )
    return _with_used_parameters(case)


def _with_used_parameters(case: RuleCase) -> RuleCase:
    """The linter refuses a parameter that nothing uses."""
    body = case.text().partition("\n\n")[2]
    used = tuple(one for one in case.parameters if f":{one[0]}" in body)
    return RuleCase(**{name: getattr(case, name) for name in RuleCase.__slots__} | {"parameters": used})


@st.composite
def _parameters(draw: st.DrawFn) -> tuple[tuple[str, str, str], ...]:
    if draw(st.booleans()):
        return ()
    return (
        ("level", "double", str(draw(st.sampled_from(PRICES)))),
        ("lot", "int", str(draw(st.integers(1, 5)))),
        ("name", "string", draw(st.sampled_from(SYMBOLS))),
        ("gap", "interval", f"{draw(st.sampled_from(WITHIN_MS))}ms"),
    )


@st.composite
def _branches(draw: st.DrawFn, view: str, unions: bool) -> tuple[Branch, ...]:
    """No WITH, one SELECT, or a UNION ALL of several."""
    form = draw(st.sampled_from(("none", "none", "select", *(("union",) if unions else ()))))
    if form == "none":
        return ()
    if form == "select":
        return (draw(_select(view)),)
    other = draw(st.sampled_from(("trades", "quotes")))
    return (draw(_union_part(view, 0)), draw(_union_part(other, 1)))


@st.composite
def _select(draw: st.DrawFn, view: str) -> Branch:
    columns = VIEW_COLUMNS[view]
    scope = Scope(columns, (), {})
    items: list[tuple[str, Expression]] = [(name, Column(kind, name)) for name, kind in columns.items()]
    for number_of in range(draw(st.integers(0, 2))):
        items.append((f"x{number_of}", _nullable(DOUBLE, draw(safe_number(scope, "", DOUBLE)))))
    if view == "trades" and draw(st.booleans()):
        items.append(("direction", _direction("side")))
    where = draw(condition(scope, "", 1)) if draw(st.booleans()) else None
    return Branch(view, tuple(items), where)


def _nullable(kind: str, tree: Expression) -> Expression:
    """NULL by its type: else the linter refuses to look it up in a row that may not be there."""
    there = Call(BOOLEAN, "IS NOT NULL", (Column(BIGINT, "seq"),))
    return Call(kind, "CASE", (there, tree, Literal(kind, None, "NULL")))


def _direction(column: str) -> Expression:
    buy = Call(BOOLEAN, "=", (Column(STRING, column), Literal(STRING, "buy", "'buy'")))
    return Call(BIGINT, "CASE", (buy, Literal(BIGINT, 1, "1"), Literal(BIGINT, -1, "-1")))


@st.composite
def _union_part(draw: st.DrawFn, view: str, kind: int) -> Branch:
    """Both parts give price, size, kind and symbol, time and seq; the price may be NULL."""
    scope = Scope(VIEW_COLUMNS[view], (), {})
    if view == "trades":
        price, size = draw(st.sampled_from((("price", "size"),)))
    else:
        price, size = draw(st.sampled_from((("bid_price", "ask_size"), ("mid", "bid_size"))))
    where = draw(condition(scope, "", 1)) if draw(st.booleans()) else None
    return Branch(
        view,
        (
            ("symbol", Column(STRING, "symbol")),
            ("event_time", Column("time", "event_time")),
            ("seq", Column(BIGINT, "seq")),
            ("kind", Literal(BIGINT, kind, str(kind))),
            ("price", Column(DOUBLE, price)),
            ("size", Column(DOUBLE, size)),
        ),
        where,
    )


@st.composite
def _variables(draw: st.DrawFn, scope: Scope) -> tuple[Variable, ...]:
    found = []
    for index, name in enumerate(scope.variables):
        last = index == len(scope.variables) - 1
        low, high, quantifier = draw(_quantifier(last))
        if low == 0 and found and _greedy(found[-1]):
            low, high, quantifier = 1, 1, ""  # Flink has no optional variable behind a greedy one
        defined = draw(condition(scope, name, 2)) if draw(st.integers(0, 7)) else None
        if defined is not None and draw(st.integers(0, len(scope.variables))) > 1:
            # the longer a pattern, the easier its conditions: else it would never match
            defined = Call(BOOLEAN, "OR", (defined, draw(condition(scope, name, 1))))
        exact = low == high
        reluctant = (low, high) != (0, 1) and quantifier != "" and not draw(st.integers(0, 2))
        if defined is None and not exact and (low, high) != (0, 1):
            reluctant = True  # a greedy variable that takes every row leaves none for the next
        mark = "?" if reluctant else ""
        found.append(Variable(name, low, high, reluctant, quantifier + mark, defined))
    if all(one.condition is None for one in found):
        first = found[0]
        found[0] = Variable(
            first.name,
            first.count_min,
            first.count_max,
            first.reluctant,
            first.quantifier,
            draw(comparison(scope, first.name)),
        )
    return tuple(found)


def _greedy(one: Variable) -> bool:
    return not one.reluctant and one.count_min != one.count_max and (one.count_min, one.count_max) != (0, 1)


@st.composite
def _quantifier(draw: st.DrawFn, last: bool) -> tuple[int, int | None, str]:
    if last:
        count = draw(st.sampled_from((1, 1, 1, 1, 2, 3)))
        return (1, 1, "") if count == 1 and draw(st.booleans()) else (count, count, f"{{{count}}}")
    form = draw(st.sampled_from(("one", "one", "one", "*", "+", "?", "n", "n,", "n,m", "0,m")))
    if form == "one":
        return 1, 1, ""
    if form in "*+?":
        low, high = {"*": (0, None), "+": (1, None), "?": (0, 1)}[form]
        return low, high, form
    low = draw(st.integers(1, 3))
    if form == "n":
        return low, low, f"{{{low}}}"
    if form == "n,":
        return low, None, f"{{{low},}}"
    high = low + draw(st.integers(0, 3))
    if form == "0,m":
        return 0, high, f"{{0,{high}}}"
    return low, high, f"{{{low},{high}}}"


@st.composite
def _skip(draw: st.DrawFn, variables: tuple[Variable, ...]) -> tuple[str, str]:
    """SKIP TO a variable only where a row of it is sure, and sure not to be the match's first."""
    targets = [
        one.name
        for index, one in enumerate(variables)
        if one.count_min > 0 and any(before.count_min > 0 for before in variables[:index])
    ]
    mode = draw(st.sampled_from(("past", "past", "next", "next", "first", "last", "to")))
    if mode in ("past", "next") or not targets:
        return (mode if mode in ("past", "next") else "next"), ""
    return mode, draw(st.sampled_from(targets))


@st.composite
def _partition(draw: st.DrawFn, columns: dict[str, str]) -> tuple[str, ...]:
    second = [name for name in ("side", "direction", "kind") if name in columns]
    if second and not draw(st.integers(0, 5)):
        return "symbol", draw(st.sampled_from(second))
    return ("symbol",)


Results = tuple[tuple[tuple[str, Expression], ...], tuple[tuple[str, Expression], ...], Expression | None]


@st.composite
def _results(
    draw: st.DrawFn, scope: Scope, variables: tuple[Variable, ...], columns: dict[str, str]
) -> Results:
    """Measures, outputs and the WHERE behind the match. No output is NULL: the sink refuses it."""
    firsts = [
        Navigation(BIGINT, one.name, Column(BIGINT, "seq"), last=False, bare=False) for one in variables
    ]
    sure = next(index for index, one in enumerate(variables) if one.count_min > 0)
    first: Expression = firsts[sure]
    if sure:
        first = Call(BIGINT, "COALESCE", tuple(firsts[: sure + 1]))
    last = Navigation(BIGINT, variables[-1].name, Column(BIGINT, "seq"))
    measures: list[tuple[str, Expression]] = [("first_seq", first), ("last_seq", last)]
    for name in ("m0", "m1"):
        measures.append((name, draw(number(scope, variables[-1].name, DOUBLE, measure=True))))
    counted = draw(st.sampled_from(scope.variables))
    measures.append(("m2", Aggregate(BIGINT, "COUNT", counted, Column(BIGINT, "seq"))))
    m0, m1, m2 = Column(DOUBLE, "m0"), Column(DOUBLE, "m1"), Column(BIGINT, "m2")
    missing = Literal(DOUBLE, -999.0, "-999E0")
    strength = draw(
        st.sampled_from(
            (
                Call(DOUBLE, "COALESCE", (m0, missing)),
                Call(DOUBLE, "COALESCE", (Call(DOUBLE, "+", (m0, m2)), missing)),
                Call(DOUBLE, "COALESCE", (Call(DOUBLE, "ABS", (Call(DOUBLE, "-", (m0, m1)),)), missing)),
            )
        )
    )
    buy, sell = Literal(STRING, "buy", "'buy'"), Literal(STRING, "sell", "'sell'")
    positive = Call(BOOLEAN, ">", (m0, Literal(BIGINT, 0, "0")))
    side = draw(st.sampled_from((buy, Call(STRING, "CASE", (positive, buy, sell)))))
    if "side" in columns and draw(st.booleans()):
        variable = draw(st.sampled_from(scope.variables))
        measures.append(("m3", Navigation(STRING, variable, Column(STRING, "side"))))
        side = Call(STRING, "CASE OF", (Column(STRING, "m3"), buy, sell, buy))
    where = None
    if not draw(st.integers(0, 4)):
        bound = draw(st.integers(0, 3))
        where = Call(BOOLEAN, ">=", (m2, Literal(BIGINT, bound, str(bound))))
    outputs = (("side", side), ("strength", strength), ("ref_price", Call(DOUBLE, "COALESCE", (m1, missing))))
    return tuple(measures), outputs, where


__all__ = ["Group", "groups", "rule_cases", "tapes", "text_choice"]
