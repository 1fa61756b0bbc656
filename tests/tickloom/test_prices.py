"""Exactness of prices, against Python's own decimal arithmetic."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom import prices
from tickloom.errors import PriceRangeError


@given(st.integers(-(2**22) * 10**9, 2**22 * 10**9))
def test_below_four_million_every_unit_survives(nanos: int) -> None:
    """Each multiple of 1e-9 up to 2**22 is the same after a double has carried it."""
    values = np.array([nanos], dtype=np.int64)
    assert prices.to_nanos(prices.to_double(values))[0] == nanos


@given(st.integers(0, 2**32 - 1))
def test_whole_shares_survive(shares: int) -> None:
    """Any share count that fits ITCH's four bytes survives."""
    assert prices.survives(np.array([shares * 10**9], dtype=np.int64)).all()


@given(st.integers(0, 2**32 - 1))
def test_itch_prices_survive(price_e4: int) -> None:
    """Any price that fits ITCH's four bytes of 1e-4 survives."""
    assert prices.survives(np.array([price_e4 * 10**5], dtype=np.int64)).all()


@given(st.decimals(0, 4_000_000, places=9))
def test_text_is_parsed_exactly(value: Decimal) -> None:
    """Decimal text becomes the integer that decimal arithmetic gives, and is printed back as itself."""
    nanos = prices.parse_nanos(format(value, "f"))
    assert nanos == int(value * 10**9)
    assert Decimal(prices.format_nanos(nanos)) == value


@pytest.mark.parametrize("text", ["", ".", "1e5", "abc", "1.2.3", "--1", "1,5", "٣"])
def test_what_is_no_number_is_refused(text: str) -> None:
    """Text that is no plain decimal raises ValueError."""
    with pytest.raises(ValueError, match="no decimal number"):
        prices.parse_nanos(text)


@pytest.mark.parametrize("text", ["0.0000000001", "9007198.123456781", "99999999999"])
def test_what_would_be_rounded_is_refused(text: str) -> None:
    """More decimals, or a larger value, than travel exactly raise PriceRangeError."""
    with pytest.raises(PriceRangeError):
        prices.parse_nanos(text)


def test_a_missing_price_is_nan_and_comes_back() -> None:
    """NO_PRICE is NaN as a double and NO_PRICE again."""
    doubles = prices.to_double(np.array([prices.NO_PRICE, 0], dtype=np.int64))
    assert np.isnan(doubles[0])
    assert doubles[1] == 0.0
    assert prices.to_nanos(doubles)[0] == prices.NO_PRICE
