"""Rules written in Python: the text is a rule file, means what its hand-written twin means, or is refused."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from streaming import rules, sqltext
from streaming.authoring import cases, linter
from streaming.authoring.terms import value
from streaming.builder import (
    Condition,
    RuleBuilder,
    Value,
    case,
    coalesce,
    interval,
    parameter,
    rule,
    view,
)
from streaming.live import jobs
from streaming.rules import Rule
from streaming.tape import Tape
from tickloom.errors import BuilderError, RuleError
from tickloom.events import Signal
from tickloom.settings import FlinkSettings, KafkaSettings

trades = view("trades")
A, B, C = trades.variables("A", "B", "C")


def begun(about: str = "for a test") -> RuleBuilder:
    """A rule that lacks a pattern only."""
    start = rule("probe", trades, version="1", venue="XNAS", about=about)
    return start.signal(side="buy", strength=B.price - A.price, ref_price=B.price)


def pair() -> RuleBuilder:
    """A complete one: a trade that is dearer than the one before."""
    return begun().begin(A).next(B).where(B.price > A.price)


@pytest.fixture
def signals_of(tmp_path: Path) -> Callable[[RuleBuilder, Tape], list[Signal]]:
    """``signals_of(builder, tape)``: of the built rule, by the compiled engine."""

    def run(builder: RuleBuilder, tape: Tape) -> list[Signal]:
        return cases.compiled(written(builder, tmp_path), tape.block())

    return run


def written(builder: RuleBuilder, directory: Path) -> Rule:
    path = directory / f"{builder.name}.sql"
    path.write_text(builder.sql())
    return rules.load(path)


def built_burst() -> RuleBuilder:
    """strategies/rules/trade_burst.sql, in Python."""
    regular = trades.where((trades.side != "none") & (trades.condition == "regular"))
    aggressive = regular.with_columns(direction=case((trades.side == "buy", 1), otherwise=-1))
    head, run, tail = aggressive.variables("HEAD", "RUN", "TAIL")
    count = parameter("trades", 6, "trades in the run, at least")
    least = parameter("move_bps", 8.0, "basis points from the first to the last trade, at least")
    move = round((tail.price / head.price - 1) * 10_000 * head.direction, 6)
    return (
        rule("trade_burst", aggressive, version="1", venue="XNAS", about="Somebody sweeps the book.")
        .begin(head)
        .next(run)
        .where(run.direction == head.direction)
        .zero_or_more()
        .reluctant()
        .next(tail)
        .where((tail.direction == head.direction) & (run.count() + 2 >= count) & (move >= least))
        .within(interval("span", "1s", "from the first to the last trade, exclusive"))
        .skip_past_last()
        .signal(side=case((head.direction > 0, "buy"), otherwise="sell"), strength=move, ref_price=tail.price)
    )


def test_built_rule_is_its_hand_written_twin(tmp_path: Path) -> None:
    """trade_burst from Python gives the very signals, ids included, of trade_burst.sql over its tapes."""
    by_hand = rules.find("trade_burst")
    built = written(built_burst(), tmp_path)
    shutil.copytree(cases.directory(by_hand), cases.directory(built))
    found = 0
    for case_of_hand, case_of_built in zip(cases.find(by_hand), cases.find(built), strict=True):
        assert cases.run(built, case_of_built).passed
        overrides = case_of_hand.expectation.overrides if case_of_hand.expectation else {}
        block = case_of_hand.tape.block
        signals = cases.compiled(rules.bind(by_hand, overrides), block)
        assert cases.compiled(rules.bind(built, overrides), block) == signals
        found += len(signals)
    assert found == 7


def test_flink_plans_a_built_rule(tmp_path: Path) -> None:
    """The planner takes the text as it takes one written by hand."""
    built = written(built_burst(), tmp_path)
    assert "Match(" in jobs.explain(built, FlinkSettings.load(), KafkaSettings.load())


GOLDEN = """\
-- rule: climb
-- version: 2
-- venue: XNAS
-- about: A run of dearer and dearer regular trades, and later one that takes half of it back. These are
--   many words, so that they go on in a second line.
-- parameter: who string - one symbol
-- parameter: least double 0.05 dollars of the run, at least
-- parameter: within interval 90s from the first row to the last, exclusive
-- set: one who=ALFA
-- set: two who=BRVO least=0.1

WITH source AS (
  SELECT
    symbol,
    event_time,
    seq,
    price,
    price * size AS turnover
  FROM trades
  WHERE `condition` = 'regular'
    AND symbol = :who
)
SELECT
  symbol,
  'sell' AS side,
  strength,
  ref_price,
  first_seq,
  last_seq
FROM source MATCH_RECOGNIZE (
  PARTITION BY symbol
  ORDER BY event_time, seq
  MEASURES
    A.seq AS first_seq,
    C.seq AS last_seq,
    SUM(B.turnover) AS strength,
    C.price AS ref_price
  ONE ROW PER MATCH
  AFTER MATCH SKIP TO LAST B
  PATTERN (A B{2,}? GAP1*? C) WITHIN :within
  DEFINE
    B AS B.price > COALESCE(LAST(B.price, 1), A.price)
      AND (FIRST(B.price) < 10.5E0 OR NOT B.price IS NULL),
    C AS C.price < (A.price + B.price) / 2
      AND B.price - A.price >= :least
)
"""


def test_text_is_as_written_by_hand() -> None:
    """The whole file, as it will be read in a review."""
    least = parameter("least", 0.05, "dollars of the run, at least")
    who = parameter("who", None, "one symbol", "string")
    regular = trades.where(trades.condition == "regular").where(trades.symbol == who)
    source = regular.with_columns(turnover=trades.price * trades["size"])
    a, b, c = source.variables("A", "B", "C")
    about = """A run of dearer and dearer regular trades, and later one that takes half of it back.
        These are many words, so that they go on in a second line."""
    built = (
        rule("climb", source, version="2", venue="XNAS", about=about)
        .begin(a)
        .next(b)
        .where(b.price > coalesce(b.last(1).price, a.price))
        .where((b.first.price < 10.5) | ~b.price.is_null())
        .times_or_more(2)
        .reluctant()
        .followed_by(c)
        .where((c.price < (a.price + b.price) / 2) & (b.price - a.price >= least))
        .within("90s")
        .skip_to_last(b)
        .signal(side="sell", strength=b.turnover.sum(), ref_price=c.price)
        .set("one", who="ALFA")
        .set("two", who="BRVO", least=0.1)
    )
    assert built.sql() == GOLDEN
    parsed = rules.parse(GOLDEN, Path("climb.sql"))
    assert parsed.about == " ".join(about.split())
    assert parsed.sets == {"one": {"who": "ALFA"}, "two": {"who": "BRVO", "least": "0.1"}}


def test_next_is_contiguous_and_followed_by_is_not(
    signals_of: Callable[[RuleBuilder, Tape], list[Signal]],
) -> None:
    """followed_by takes the first row that matches, whatever lies between; next takes the row behind only."""
    tape = Tape()
    seqs = [tape.trade("T", at, price, 1, "buy") for at, price in enumerate((10, 9, 9, 12, 13))]
    low = begun().begin(A).where(A.price == 10.0)
    relaxed = low.followed_by(B).where(B.price > 11).within("1s")
    assert [(one.first_seq, one.last_seq) for one in signals_of(relaxed, tape)] == [(seqs[0], seqs[3])]
    assert signals_of(low.next(B).where(B.price > 11), tape) == []
    short = low.followed_by(B).where(B.price > 11).within("3ms")  # the fourth row is 3 ms behind
    assert signals_of(short, tape) == []


def test_skip_strategies(signals_of: Callable[[RuleBuilder, Tape], list[Signal]]) -> None:
    """Matches share rows with skip_to_next, and none otherwise."""
    tape = Tape()
    for at in range(5):
        tape.trade("T", at, 10.0 + at, 1, "buy")
    counts = [len(signals_of(one, tape)) for one in (pair(), pair().skip_past_last(), pair().skip_to_next())]
    assert counts == [2, 2, 4]


REFUSALS: dict[str, tuple[Callable[[], object], str]] = {
    "and": (lambda: A.price > 1 and B.price > 1, "Write & for and"),
    "chained": (lambda: 1 < A.price < 2, "Write & for and"),
    "none": (lambda: A.price == None, r"for NULL write x.is_null\(\)"),  # noqa: E711
    "column": (lambda: A.prize, "trades has no column 'prize'; did you mean 'price'"),
    "view": (lambda: view("trade"), "there is no view 'trade'"),
    "text and number": (lambda: A.side + 1, "a text and a whole number"),
    "compared": (lambda: A.side == 1, "a text is not compared with a whole number"),
    "order of texts": (lambda: A.side < "sell", "texts have no order"),
    "whole division": (lambda: A.seq / 2, "whole numbers divide to a whole number"),
    "infinite": (lambda: A.price > math.inf, "'inf' is no value of type double"),
    "condition as value": (lambda: A.price + (B.price > 1), "is no value"),  # type: ignore[operator]
    "value as condition": (lambda: begun().begin(A).where(A.price), "no condition"),  # type: ignore[arg-type]
    "aggregate of two": (lambda: (A.price - B.price).sum(), "over one variable"),
    "aggregate of none": (lambda: trades.price.sum(), "over one variable"),
    "aggregate of first": (lambda: A.first.price.max(), "inside an aggregate"),
    "offset": (lambda: A.last(-1), "count rows from 0"),
    "variable name": (lambda: trades.variable("first"), "capital letters"),
    "reserved": (lambda: trades.variable("LAST"), "no word of SQL"),
    "pattern before": (lambda: trades.where(A.price > 1), "only the columns of trades"),
    "two begins": (lambda: begun().begin(A).begin(B), "second begin"),
    "no begin": (lambda: begun().next(A), "before begin"),
    "twice": (lambda: begun().begin(A).next(A), "twice in the pattern"),
    "later": (lambda: begun().begin(A).where(A.price < B.price), "B has no rows yet when A"),
    "other source": (lambda: begun().begin(view("quotes").variable("A")), "another source"),
    "quantified twice": (lambda: begun().begin(A).one_or_more().optional(), "a variable has one"),
    "no rows": (lambda: begun().begin(A).times(0), "no number of rows"),
    "backwards": (lambda: begun().begin(A).times(3, 2), "no number of rows"),
    "reluctant": (lambda: begun().begin(A).times(2).reluctant(), "nothing to choose"),
    "within": (lambda: begun().begin(A).within("5 seconds"), "is not an interval"),
    "within a number": (lambda: begun().begin(A).within(A.price), "takes an interval"),
    "any": (lambda: begun().begin(A).followed_by_any(B), "one match"),
    "not next": (lambda: begun().begin(A).not_next(B), "~condition"),
    "not followed by": (lambda: begun().begin(A).not_followed_by(B), "kind absence"),
    "until": (lambda: begun().begin(A).until(A.price > 1), "own condition"),
    "side": (lambda: begun().signal(side="long", strength=1, ref_price=1), "side 'long'"),
    "strength": (lambda: begun().signal(side="buy", strength=A.side, ref_price=1), "is a text"),
    "default": (lambda: parameter("rise", "10", "", "interval"), "is not an interval"),
    "untyped": (lambda: parameter("rise", None, ""), "write one of double"),
    "mixed case": (lambda: case((A.price > 1, 1), otherwise="x"), "a text and a whole number"),
    # found when the text is written
    "no pattern": (lambda: begun().sql(), "has no pattern"),
    "no signal": (
        lambda: rule("r", trades, version="1", venue="V", about="a").begin(A).sql(),
        "gives nothing",
    ),
    "no condition": (lambda: begun().begin(A).next(B).sql(), "every row matches"),
    "unmatched": (lambda: begun().begin(A).where(A.price > 1).sql(), "B is not in the pattern"),
    "unbounded": (lambda: begun().begin(A).followed_by(B).where(B.price > 1).sql(), "without WITHIN"),
    "optional reluctant": (
        lambda: begun().begin(A).next(C).optional().reluctant().next(B).where(B.price > 1).sql(),
        "no reluctant optional",
    ),
    "gap behind a greedy one": (
        lambda: begun().begin(A).one_or_more().followed_by(B).where(B.price > 1).within("1s").sql(),
        "make A reluctant",
    ),
    "optional last": (lambda: pair().optional().sql(), "never binds"),
    "optional first": (lambda: begun().begin(A).optional().next(B).where(B.price > 1).sql(), "first_seq="),
    "skip to first": (lambda: pair().skip_to_first(A).sql(), "first variable"),
    "bad name": (lambda: replace(pair(), name="Probe").sql(), "'Probe' is no name"),
    "no about": (lambda: begun("").begin(A).next(B).where(B.price > 1).sql(), "no 'about'"),
    "set": (lambda: pair().set("one", rise=1).sql(), "set one"),
    "blank default": (
        lambda: pair().where(B.side == parameter("who", "a b", "")).sql(),
        "does not fit a header",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_said_is_refused(name: str) -> None:
    """Each with a reason, where it is written if that can be."""
    make, message = REFUSALS[name]
    with pytest.raises(BuilderError, match=message):
        make()


def test_two_parameters_of_one_name() -> None:
    """The same declared twice is one; two different ones are an error."""
    first, second = parameter("rise", 1.0, "dollars"), parameter("rise", 2.0, "dollars")
    assert pair().where(B.price > first).where(A.price > first).sql().count("-- parameter") == 1
    with pytest.raises(BuilderError, match="two parameters 'rise'"):
        pair().where(B.price > first).where(A.price > second).sql()


Made = tuple[Value, float]
numbers = st.floats(-50, 50).map(lambda x: round(x, 3) + 0.0).map(lambda x: (value(x), x))


def _combine(inner: st.SearchStrategy[Made]) -> st.SearchStrategy[Made]:
    def apply(sign: str, left: Made, right: Made) -> Made:
        assume(sign != "/" or abs(right[1]) > 1e-6)
        operations: dict[str, Callable[..., object]] = {
            "+": lambda a, b: a + b,
            "-": lambda a, b: a - b,
            "*": lambda a, b: a * b,
            "/": lambda a, b: a / b,
            "negative": lambda a, b: -a,
        }
        return operations[sign](left[0], right[0]), operations[sign](left[1], right[1])  # type: ignore[return-value]

    signs = st.sampled_from(["+", "-", "*", "/", "negative"])
    return st.builds(apply, signs, inner, inner)


@settings(deadline=None)
@given(st.recursive(numbers, _combine, max_leaves=12))
def test_arithmetic_binds_as_in_python(made: Made) -> None:
    """The brackets in the SQL are where Python's are, to the last bit: a + (b + c) is not (a + b) + c."""
    term, expected = made
    assert eval(term.sql) == expected  # numbers and operators are the same in both languages


Made2 = tuple[Condition, bool]


def _connect(inner: st.SearchStrategy[Made2]) -> st.SearchStrategy[Made2]:
    def apply(word: str, left: Made2, right: Made2) -> Made2:
        if word == "not":
            return ~left[0], not left[1]
        if word == "and":
            return left[0] & right[0], left[1] and right[1]
        return left[0] | right[0], left[1] or right[1]

    return st.builds(apply, st.sampled_from(["and", "or", "not"]), inner, inner)


comparisons = st.builds(lambda a, b: (value(a) < b, a < b), st.integers(0, 2), st.integers(0, 2))


@settings(deadline=None)
@given(st.recursive(comparisons, _connect, max_leaves=10))
def test_conditions_bind_as_in_python(made: Made2) -> None:
    """Also with NOT, and when the ANDs are written a line each."""
    condition, expected = made
    for text in (condition.sql, " AND ".join(condition.parts)):
        in_python = text.replace("NOT", "not").replace("AND", "and").replace("OR", "or")
        assert eval(in_python) is expected


quantifiers: st.SearchStrategy[Callable[[RuleBuilder], RuleBuilder]] = st.one_of(
    st.just(lambda r: r),
    st.just(lambda r: r.optional()),
    st.just(lambda r: r.zero_or_more()),
    st.just(lambda r: r.one_or_more().reluctant()),
    st.integers(1, 5).map(lambda n: lambda r: r.times(n)),
    st.integers(1, 5).map(lambda n: lambda r: r.times_or_more(n).reluctant()),
    st.tuples(st.integers(0, 4), st.integers(0, 4)).map(lambda n: lambda r: r.times(n[0], n[0] + n[1] + 1)),
)


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), quantifiers), max_size=4))
def test_pattern_is_read_back(steps: list[tuple[bool, Callable[[RuleBuilder], RuleBuilder]]]) -> None:
    """The text has the pattern that was built: variables, counts, greed and order."""
    built = begun().begin(A)
    for number, (relaxed, quantify) in enumerate(steps):
        variable = trades.variable(f"V{number}")
        step = built.followed_by(variable) if relaxed else built.next(variable)
        built = quantify(step.where(variable.price > number))
    built = built.next(B).where(B.price > A.price).within("1h")
    try:
        text = built.sql()
    except BuilderError as error:  # Flink lacks some combinations, and the linter knows which
        assume("Flink" not in str(error))
        raise
    query = sqltext.parse(rules.parse(text, Path("probe.sql")).text, "probe.sql")
    assert [(one.variable, one.count_min, one.count_max, one.reluctant) for one in query.match.pattern] == [
        (one.name, one.count_min, one.count_max, one.reluctant) for one in built.elements
    ]


def test_linter_has_the_last_word() -> None:
    """What the linter refuses does not leave the builder, whatever the reason."""
    with pytest.raises(BuilderError) as caught:
        begun().begin(A).next(B).where(B.price > A.price).one_or_more().within("1s").sql()
    text = pair().within("1s").sql().replace("(A B)", "(A B+)")
    with pytest.raises(RuleError) as of_linter:
        linter.check(rules.parse(text, Path("probe.sql")))
    assert of_linter.value.reason in str(caught.value)


TYPED = """\
from streaming.builder import rule, view

trades = view("trades")
A, B = trades.variables("A", "B")
begun = rule("typed", trades, version="1", venue="V", about="a").begin(A)
begun.where((A.price > 1) & ~(A.last(1).price * 2 < B.price.avg()))
begun.where(A.price)
begun.next(B).wihtin("5s")
A.price & B.price
begun.signal(side="buy", strength=A.price > 1, ref_price=1)
"""


@pytest.mark.slow
def test_type_checker_sees_mistakes(tmp_path: Path) -> None:
    """mypy tells values from conditions and knows the steps: lines 7 to 10 are mistakes, no others."""
    from mypy import api

    path = tmp_path / "typed.py"
    path.write_text(TYPED)
    shown, problems, _ = api.run(["--strict", "--no-error-summary", "--hide-error-context", str(path)])
    assert problems == ""
    assert [int(line.split(":")[1]) for line in shown.splitlines() if ": error:" in line] == [7, 8, 9, 10]
