"""A replay's clock."""

from __future__ import annotations

import pytest

from tickloom.clock import ReplayClock


def test_replay_clock_never_goes_back() -> None:
    """An earlier time leaves the clock where it is; a negative step is refused."""
    clock = ReplayClock(100)
    clock.advance_to(50)
    assert clock.now_ns() == 100
    clock.advance_by(5)
    assert clock.monotonic_ns() == 105
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance_by(-1)
