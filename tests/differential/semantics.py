"""Published cases of row pattern matching, told again as tapes of ours with the signals they must give.

From the integration tests of Flink's planner (MatchRecognizeITCase) and of Trino (TestRowPatternMatching,
TestAggregationsInRowPatternMatching), as far as rules of ours can say them: PREV is LAST of what was matched,
ALL ROWS PER MATCH is the first and last row, and a last variable is of a fixed length, so that a run is
followed by a row that ends it. Where Flink is not the standard, both readings are noted. Expected values
are the published ones, or worked out from them by hand.
"""

from __future__ import annotations

from dataclasses import dataclass

from streaming.tape import Tape

MINUTE = "WITHIN INTERVAL '1' MINUTE"
PAST, NEXT = "SKIP PAST LAST ROW", "SKIP TO NEXT ROW"


@dataclass(frozen=True, slots=True)
class Row:
    """A trade; or a quote whose bid is ``price`` and may be missing."""

    price: float | None
    size: float = 1.0
    side: str = "buy"
    at_ms: float | None = None  # default: a millisecond after the row before


@dataclass(frozen=True, slots=True)
class Semantic:
    """A rule, a tape and the signals.

    Attributes
    ----------
    expected : tuple
        First row, last row (from 1, in the order of seq) and strength of each signal.
    first : str
        The measure first_seq.
    last : str
        The last variable.
    """

    rows: tuple[Row, ...]
    pattern: str
    define: str
    expected: tuple[tuple[int, int, float], ...]
    last: str
    strength: str = "1"
    first: str = "FIRST(A.seq)"
    after: str = PAST
    view: str = "trades"
    partition: str = "symbol"

    def text(self, name: str) -> str:
        """The rule file."""
        price = "price" if self.view == "trades" else "ask_price"
        return f"""\
-- rule: {name}
-- version: 1
-- venue: XNAS
-- about: a published case

SELECT symbol, 'buy' AS side, COALESCE(strength, -1E0) AS strength, COALESCE(price, 0E0) AS ref_price,
  first_seq, last_seq
FROM {self.view} MATCH_RECOGNIZE (
  PARTITION BY {self.partition}
  ORDER BY event_time, seq
  MEASURES {self.first} AS first_seq, LAST({self.last}.seq) AS last_seq, {self.last}.{price} AS price,
    CAST({self.strength} AS DOUBLE) AS strength
  ONE ROW PER MATCH
  AFTER MATCH {self.after}
  PATTERN {self.pattern}
  DEFINE {self.define}
)
"""

    def tape(self, tape: Tape, symbol: str) -> list[int]:
        """Append the rows to ``tape``; returns their seqs."""
        at_ms, seqs = 0.0, []
        for row in self.rows:
            at_ms = at_ms + 1 if row.at_ms is None else row.at_ms
            if self.view == "trades":
                assert row.price is not None
                seqs.append(tape.trade(symbol, at_ms, row.price, row.size, row.side))
            else:
                ask = float("nan") if row.price is None else row.price
                seqs.append(tape.quote(symbol, at_ms, 1.0, ask, row.size))
        return seqs


def prices(
    *values: float | None, sizes: tuple[float, ...] = (), sides: tuple[str, ...] = ()
) -> tuple[Row, ...]:
    """Rows a millisecond apart."""
    return tuple(
        Row(value, sizes[index] if sizes else 1.0, sides[index] if sides else "buy")
        for index, value in enumerate(values)
    )


def names(text: str) -> tuple[Row, ...]:
    """Rows that differ in their size: a is 1, b is 2, ..."""
    return tuple(Row(10.0, ord(letter) - ord("a") + 1) for letter in text)


FALLS = "B.price < COALESCE(LAST(B.price, 1), A.price)"
RISES = "C.price > COALESCE(LAST(C.price, 1), B.price)"
ABC = "A AS A.size = 1, B AS B.size = 2, C AS C.size = 3"
TICKER = prices(19, 17, 13, 20, 20, 26, 20, 25, sizes=(1, 2, 3, 4, 5, 6, 7, 8))
DOWN = "DOWN AS DOWN.price < LAST(DOWN.price, 1) OR LAST(DOWN.price, 1) IS NULL"
FOUR = (90.0, 80.0, 70.0, 70.0)
VALLEYS = prices(90, 80, 70, 80, 70, 80)
AGGREGATED = prices(1, 2, 1, 1, 4, 2, 2, 1, 4, 4, 2, 2, sizes=(0.8, 0.8, 0.8, 0.8, 0.1, 1.5, *(0.8,) * 6))
AGGREGATES = (
    "A AS SUM(A.price) < 6, B AS SUM(B.price * B.size) < SUM(A.price) AND SUM(B.price * B.size) > 0.2 "
    "AND SUM(B.price) >= 1 AND AVG(B.price) >= 1"
)
NULLS = tuple(
    Row(value, size)
    for value, size in zip(
        (10, 10, None, None, 3, 3, 3, 3, 2), (1.0, 26.0, 2.0, 3.0, 4.0, 3.0, 3.0, 3.0, 3.0), strict=True
    )
)
ENDED = prices(90, 80, 70, 70, 100)  # Trino's four rows, and one that ends a run
SMALL = "B AS B.price <= 80, Z AS Z.price = 100"


def _quantified(quantifier: str, *expected: tuple[int, int, float]) -> Semantic:
    """Rows 2 to 4 of Trino's quantifier tests are B, then comes Z."""
    return Semantic(
        ENDED,
        f"(B{quantifier} Z) {MINUTE}",
        SMALL,
        expected,
        "Z",
        "COUNT(B.seq)",
        "COALESCE(FIRST(B.seq), FIRST(Z.seq))",
    )


def _skipping(after: str, *expected: tuple[int, int, float]) -> Semantic:
    """Trino's testAfterMatchSkip, whose D never matches."""
    return Semantic(
        VALLEYS,
        f"(A B+ C) {MINUTE}",
        f"B AS {FALLS}, C AS C.price > B.price",
        expected,
        "C",
        "COUNT(B.seq)",
        after=after,
    )


FLINK = {
    "a b c, only where they touch": Semantic(names("azbcdabch"), "(A B C)", ABC, ((6, 8, 1),), "C"),
    "conditions and measures on NULL": Semantic(
        tuple(Row(None, row.size) for row in names("abcdzabcz")),
        "(A B C)",
        "A AS A.bid_size = 1 AND A.ask_price IS NULL, B AS B.bid_size = 2 AND LAST(A.ask_price) IS NULL, "
        "C AS C.bid_size = 3",
        ((1, 3, -1), (6, 8, -1)),
        "C",
        "LAST(B.ask_price)",
        view="quotes",
    ),
    "two keys": Semantic(
        prices(10, 10, 10, 10, 10, 10, sizes=(1, 1, 2, 2, 3, 3), sides=("buy", "sell") * 3),
        "(A B C)",
        "A AS A.size = 1, B AS B.size = 2 AND LAST(A.side, 2) IS NULL, "
        "C AS C.size = 3 AND LAST(A.side) = A.side",
        ((1, 5, 2), (2, 6, 2)),
        "C",
        "LAST(B.size)",
        partition="symbol, side",
    ),
    "event time decides, then seq": Semantic(
        # in the order of seq: a b c whose times are b a c; c b a in one millisecond; a b c in order
        (
            Row(10, 1, at_ms=2),
            Row(10, 2, at_ms=1),
            Row(10, 3, at_ms=3),
            Row(10, 2, at_ms=4),
            Row(10, 1, at_ms=4),
            Row(10, 3, at_ms=5),
            Row(10, 1, at_ms=9),
            Row(10, 2, at_ms=9),
            Row(10, 3, at_ms=11),
        ),
        "(A B C)",
        ABC,
        ((7, 9, 1),),
        "C",
    ),
    "offsets: falling at least twice, then below the top": Semantic(
        TICKER,
        f"(DOWN{{2,}} UP) {MINUTE}",
        f"{DOWN}, UP AS UP.price < FIRST(DOWN.price)",
        ((6, 8, 33),),
        "UP",
        "FIRST(DOWN.price + DOWN.size + 1)",
        "FIRST(DOWN.seq)",
    ),
    "offsets: the end of the same": Semantic(
        TICKER,
        f"(DOWN{{2,}} UP) {MINUTE}",
        f"{DOWN}, UP AS UP.price < FIRST(DOWN.price)",
        ((6, 8, 33),),
        "UP",
        "UP.price + UP.size",
        "FIRST(DOWN.seq)",
    ),
    "offsets from both ends": Semantic(
        prices(20, 19, 18, 17, 16, 15, 14, 20, sizes=(1, 2, 3, 4, 5, 6, 7, 8)),
        f"(DOWN{{2,}} UP) {MINUTE}",
        f"{DOWN}, UP AS UP.price = FIRST(DOWN.price) AND UP.price > FIRST(DOWN.price, 3) "
        "AND UP.price = LAST(DOWN.price, 6)",
        ((1, 8, 3_456),),
        "UP",
        "FIRST(DOWN.size, 2) * 1000 + LAST(DOWN.size, 3) * 100 + FIRST(DOWN.size, 4) * 10 "
        "+ LAST(DOWN.size, 1)",
        "FIRST(DOWN.seq)",
    ),
    "an offset behind the end is NULL": Semantic(
        prices(19, 17, 13, 20),
        f"(DOWN{{2,}} UP) {MINUTE}",
        f"{DOWN}, UP AS UP.price > LAST(DOWN.price)",
        ((1, 4, -1),),
        "UP",
        "FIRST(DOWN.price, 5)",
        "FIRST(DOWN.seq)",
    ),
    "aggregates: of A": Semantic(
        AGGREGATED, f"(A+ B+ C D? E) {MINUTE}", AGGREGATES, ((1, 8, 5), (9, 12, 4)), "E", "SUM(A.price)"
    ),
    "aggregates: rows of D, which has none": Semantic(
        AGGREGATED, f"(A+ B+ C D? E) {MINUTE}", AGGREGATES, ((1, 8, 0), (9, 12, 0)), "E", "COUNT(D.price)"
    ),
    "aggregates: sum over no row": Semantic(
        AGGREGATED, f"(A+ B+ C D? E) {MINUTE}", AGGREGATES, ((1, 8, -1), (9, 12, -1)), "E", "SUM(D.price)"
    ),
    "aggregates: of B": Semantic(
        AGGREGATED, f"(A+ B+ C D? E) {MINUTE}", AGGREGATES, ((1, 8, 3), (9, 12, 4)), "E", "AVG(B.price)"
    ),
    "aggregates: of an expression": Semantic(
        AGGREGATED,
        f"(A+ B+ C D? E) {MINUTE}",
        AGGREGATES,
        ((1, 8, 3.4), (9, 12, 3.2)),
        "E",
        "SUM(B.price * B.size)",
    ),
    "aggregates: a sum of minus zeros is one": Semantic(
        prices(10, 10, 11),
        "(A{2} B)",
        "A AS A.price = 10, B AS B.price = 11",
        ((1, 3, -1),),
        "B",
        "CASE WHEN 1E0 / SUM(-(A.price - A.price)) < 0 THEN -1E0 ELSE 1E0 END",
    ),
    "aggregates: so is their average": Semantic(
        prices(10, 10, 11),
        "(A{2} B)",
        "A AS A.price = 10, B AS B.price = 11",
        ((1, 3, -1),),
        "B",
        "CASE WHEN 1E0 / AVG(-(A.price - A.price)) < 0 THEN -1E0 ELSE 1E0 END",
    ),
    "aggregates pass over NULL: the sum": Semantic(
        NULLS,
        f"(A+ C) {MINUTE}",
        "A AS SUM(A.ask_price) < 30, C AS C.bid_size = 3",
        ((1, 8, 29),),
        "C",
        "SUM(A.ask_price)",
        view="quotes",
    ),
    "aggregates pass over NULL: the counts": Semantic(
        NULLS,
        f"(A+ C) {MINUTE}",
        "A AS SUM(A.ask_price) < 30, C AS C.bid_size = 3",
        ((1, 8, 75),),
        "C",
        "COUNT(A.seq) * 10 + COUNT(A.ask_price)",
        view="quotes",
    ),
}

TRINO = {
    "a fall and a rise, ended by what rises no more": Semantic(
        prices(90, 80, 70, 80, 90, 50, 40, 60),
        f"(A B+ C+ X) {MINUTE}",
        f"B AS {FALLS}, C AS {RISES}, X AS X.price <= C.price",
        ((1, 6, 22),),
        "X",
        "COUNT(B.seq) * 10 + COUNT(C.seq)",
    ),
    "a fall and its first rise": Semantic(
        prices(90, 80, 70, 80, 90, 50, 40, 60),
        f"(A B+ C) {MINUTE}",
        f"B AS {FALLS}, C AS C.price > B.price",
        ((1, 4, 2), (5, 8, 2)),
        "C",
        "COUNT(B.seq)",
    ),
    "one after the other": Semantic(
        prices(*FOUR), "(A B C)", "B AS B.price < A.price, C AS C.price = B.price", ((2, 4, 1),), "C"
    ),
    "{1}": Semantic(
        prices(*FOUR), "(B{1})", "B AS B.price <= 80", ((2, 2, 1), (3, 3, 1), (4, 4, 1)), "B", first="B.seq"
    ),
    "{1}?": Semantic(
        prices(*FOUR), "(B{1}?)", "B AS B.price <= 80", ((2, 2, 1), (3, 3, 1), (4, 4, 1)), "B", first="B.seq"
    ),
    "{1,1}": Semantic(
        prices(*FOUR), "(B{1,1})", "B AS B.price <= 80", ((2, 2, 1), (3, 3, 1), (4, 4, 1)), "B", first="B.seq"
    ),
    "{2}": Semantic(prices(*FOUR), "(B{2})", "B AS B.price <= 80", ((2, 3, 1),), "B", first="FIRST(B.seq)"),
    "{2}?": Semantic(prices(*FOUR), "(B{2}?)", "B AS B.price <= 80", ((2, 3, 1),), "B", first="FIRST(B.seq)"),
    "{5}": Semantic(prices(*FOUR), "(B{5})", "B AS B.price <= 80", (), "B", first="FIRST(B.seq)"),
    "*": _quantified("*", (2, 5, 3)),
    "*?": _quantified("*?", (2, 5, 3)),
    "+": _quantified("+", (2, 5, 3)),
    "+?": _quantified("+?", (2, 5, 3)),
    "?": _quantified("?", (4, 5, 1)),
    "{1,}": _quantified("{1,}", (2, 5, 3)),
    "{2,}": _quantified("{2,}", (2, 5, 3)),
    "{2,}?": _quantified("{2,}?", (2, 5, 3)),
    "{5,}": _quantified("{5,}"),
    "{5,}?": _quantified("{5,}?"),
    "{0,1}": _quantified("{0,1}", (4, 5, 1)),
    "{0,2}": _quantified("{0,2}", (3, 5, 2)),
    "{0,2}?": _quantified("{0,2}?", (3, 5, 2)),
    "{0,5}": _quantified("{0,5}", (2, 5, 3)),
    "{1,2}": _quantified("{1,2}", (3, 5, 2)),
    "{1,5}?": _quantified("{1,5}?", (2, 5, 3)),
    "{5,7}": _quantified("{5,7}"),
    "reluctant behind what may be missing: a first row is taken, and cannot end the variable": Semantic(
        *(names("abbcbcc"), f"(A* B+? C) {MINUTE}", ABC, ((1, 4, 1), (5, 6, 1)), "C"),
        first="COALESCE(FIRST(A.seq), FIRST(B.seq))",
    ),
    "reluctant ends with the first that will do": Semantic(
        prices(*FOUR),
        f"(B+? Z) {MINUTE}",
        "B AS B.price <= 80, Z AS Z.price < 75",
        ((2, 3, 1),),
        "Z",
        "COUNT(B.seq)",
        "FIRST(B.seq)",
    ),
    # the standard goes back, and gives rows 2 to 4 with two of B
    "greedy does not go back, on Flink": Semantic(
        prices(*FOUR),
        f"(B+ Z) {MINUTE}",
        "B AS B.price <= 80, Z AS Z.price < 75",
        (),
        "Z",
        "COUNT(B.seq)",
        "FIRST(B.seq)",
    ),
    "back reference": Semantic(prices(1, 1), "(A X)", "X AS X.price = A.price", ((1, 2, 1),), "X", "A.price"),
    "back references with offsets": Semantic(
        prices(1, 2, 3, 4, 5, 6),
        f"(A+ B+ X) {MINUTE}",
        "A AS A.price <= 3, B AS B.price <= 5, "
        "X AS X.price = LAST(A.price) + FIRST(A.price) + LAST(A.price, 1)",
        ((1, 6, 4),),
        "X",
        "LAST(B.price, 1)",
    ),
    "skip past the last row": _skipping(PAST, (1, 4, 2)),
    "skip to the next row": _skipping(NEXT, (1, 4, 2), (2, 4, 1), (4, 6, 1)),
    "skip to the first of the last variable": _skipping("SKIP TO FIRST C", (1, 4, 2), (4, 6, 1)),
    "skip to the last of a run": _skipping("SKIP TO LAST B", (1, 4, 2), (4, 6, 1)),
    "skip to a variable is to its last": _skipping("SKIP TO B", (1, 4, 2), (4, 6, 1)),
    "skip to the first of a run": _skipping("SKIP TO FIRST B", (1, 4, 2), (2, 4, 1), (4, 6, 1)),
    "overlapping matches of a fixed length": Semantic(
        prices(100, 100, 90, 80, 70, 100),
        "(A B{2})",
        f"B AS {FALLS}",
        ((2, 4, 80), (3, 5, 70)),
        "B",
        "LAST(B.price)",
        after=NEXT,
    ),
    "navigation: the first": Semantic(
        prices(10, 20, 30), "(A{3})", "A AS TRUE", ((1, 3, 10),), "A", "FIRST(A.price)"
    ),
    "navigation: the second": Semantic(
        prices(10, 20, 30), "(A{3})", "A AS TRUE", ((1, 3, 20),), "A", "FIRST(A.price, 1)"
    ),
    "navigation: the last but two": Semantic(
        prices(10, 20, 30), "(A{3})", "A AS TRUE", ((1, 3, 10),), "A", "LAST(A.price, 2)"
    ),
    "navigation: beyond": Semantic(
        prices(10, 20, 30), "(A{3})", "A AS TRUE", ((1, 3, -1),), "A", "LAST(A.price, 3)"
    ),
    "a running sum has the current row": Semantic(
        prices(1, 2, 3, 4, 100),
        f"(A+ Z) {MINUTE}",
        "A AS SUM(A.price) <= 6",
        ((1, 4, 6),),
        "Z",
        "SUM(A.price)",
    ),
    "a running average has the current row": Semantic(
        prices(1, 2, 3, 4, 5, 6),
        f"(A+ Z) {MINUTE}",
        "A AS AVG(A.price) < 2.5",
        ((1, 4, 2),),
        "Z",
        "AVG(A.price)",
    ),
    "extremes so far": Semantic(
        prices(3, 1, 2, 5, 4, 9, 1),
        f"(A+ Z) {MINUTE}",
        "A AS MAX(A.price) - MIN(A.price) < 5, Z AS TRUE",
        ((1, 6, 51),),
        "Z",
        "MAX(A.price) * 10 + MIN(A.price)",
    ),
}
