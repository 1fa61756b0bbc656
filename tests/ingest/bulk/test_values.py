"""Text and numbers of tables: exact, or a reason; the column at once and each value by itself agree."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as some

from ingest.bulk import values
from tickloom.errors import SettingsError
from tickloom.prices import NO_PRICE

DAY_NS = 1_795_132_800_000_000_000  # 2026-11-20T00:00:00Z


@given(some.lists(some.decimals(-4_000_000, 4_000_000, places=9), min_size=1))
def test_decimal_text_is_exact(numbers: list[Decimal]) -> None:
    """Nine places, as text and as Arrow's decimals: the same integer as decimal arithmetic gives."""
    expected = [int(number * 10**9) for number in numbers]
    for column in (pa.array([f"{number:f}" for number in numbers]), pa.array(numbers, pa.decimal128(30, 9))):
        found, bad = values.nanos(column)
        assert found.tolist() == expected
        assert not bad


@given(some.lists(some.integers(-(10**15), 10**15), min_size=1))
def test_doubles_are_the_decimal_that_they_are_nearest_to(nanos: list[int]) -> None:
    """A double that came of nine places or fewer is that number again; any other is refused."""
    found, bad = values.nanos(pa.array([value / 10**9 for value in nanos]))
    assert found.tolist() == nanos
    assert not bad
    _, bad = values.nanos(pa.array([1.0000000001, float("nan"), 1e300]))
    assert list(bad) == [0, 1, 2]


@pytest.mark.parametrize(
    ("text", "nanos", "reason"),
    [
        ("1.5", 1_500_000_000, ""),
        ("+1", 10**9, ""),
        ("-0.000000001", -1, ""),
        (" 2 ", 2 * 10**9, ""),
        ("1.0000000000", 10**9, ""),
        ("1.0000000001", 0, "more than nine decimals"),
        ("99999999999999999999", 0, "too large"),
        ("9007199.254740993", 0, "does not survive"),
        ("abc", 0, "no decimal"),
        ("", 0, "empty"),
    ],
)
def test_one_text(text: str, nanos: int, reason: str) -> None:
    """Alone, and among others that have to be read one by one."""
    for others in ([], ["abc"]):
        found, bad = values.nanos(pa.array([text, *others]))
        assert (reason in bad[0]) if reason else (0 not in bad and found[0] == nanos)


def test_sides_that_are_empty() -> None:
    """Of a quote: no price; of a trade: a reject. NULL as well as no text."""
    for column in (pa.array(["", "1"]), pa.array([None, "1"]), pa.array([None, 1.0]), pa.array([None, 1])):
        found, bad = values.nanos(column, optional=True)
        assert (found.tolist(), bad) == ([NO_PRICE, 10**9], {})
        assert values.nanos(column)[1] == {0: "is empty"}


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("1795132800", "auto", DAY_NS),
        ("1795132800001", "auto", DAY_NS + 1_000_000),
        ("1795132800000001", "auto", DAY_NS + 1_000),
        ("1795132800000000001", "auto", DAY_NS + 1),
        ("1795132800.000000001", "auto", DAY_NS + 1),
        ("1795132800000.5", "ms", DAY_NS + 500_000),
        ("1795132800000000001", "ns", DAY_NS + 1),
        ("2026-11-20", "auto", DAY_NS),
        ("2026-11-20 00:00:00.000000001", "auto", DAY_NS + 1),
        ("2026-11-20T00:00:00.5Z", "auto", DAY_NS + 500_000_000),
        ("2026-11-20T01:00:00+01:00", "auto", DAY_NS),
        ("-1", "auto", None),
        ("0", "auto", None),
        ("1795132800", "ns", 1_795_132_800),
        ("99999999999999999999", "auto", None),
        ("noon", "auto", None),
        ("", "auto", None),
        ("2101-01-01", "auto", None),
    ],
)
def test_times(text: str, unit: str, expected: int | None) -> None:
    """By size or in ISO 8601, to the nanosecond, alone and beside one that is none."""
    for others in ([], ["x"]):
        found, bad = values.Times(unit, "UTC").read(pa.array([text, *others]))
        assert (0 in bad) if expected is None else (0 not in bad and found[0] == expected)


def test_time_zone() -> None:
    """Times without one are in the zone that was said, across its change of clocks; stamps of Parquet too."""
    times = values.Times("auto", "America/New_York")
    column = pa.array(["2026-11-20 09:30:00", "2026-07-01 09:30:00"])
    found, _ = times.read(column)
    assert ((found - DAY_NS) // 3_600_000_000_000 % 24).tolist() == [14, 13]
    assert times.read(column.cast(pa.timestamp("us")))[0].tolist() == found.tolist()
    aware = pa.array([DAY_NS // 1_000], pa.timestamp("us", "UTC"))
    assert times.read(aware)[0].tolist() == [DAY_NS]
    with pytest.raises(SettingsError, match="no time zone"):
        values.Times("auto", "Mars/Base")
    with pytest.raises(SettingsError, match="give one of auto, s, ms"):
        values.Times("h", "UTC")


def test_sides_and_identifiers() -> None:
    """The usual spellings; what is none is named."""
    found, bad = values.sides(pa.array(["buy", "SELL", "b", "ask", "", "1", "x", None]))
    assert found[:6].tolist() == [1, 2, 1, 2, 0, 1]
    assert bad == {6: "is no side"}
    found, bad = values.whole_numbers(pa.array(["7", "", "-1", "9223372036854775808"]))
    assert found[:2].tolist() == [7, 0]
    assert list(bad) == [2, 3]
    assert values.whole_numbers(pa.array([1, 2]))[0].dtype == np.int64
