"""The limits file: what is refused, and that it is refused whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from execution import limits
from tickloom.errors import LimitsError
from tickloom.instruments import Registry
from tickloom.prices import NANOS

GOOD = """
version = 1
[firm]
daily_loss_max = "100"
[rules.momentum]
notional = "2500.50"
signal_age_ms_max = 10
event_age_ms_max = 20
daily_loss_max = "50"
[instruments.default]
position_notional_max = "1000"
order_notional_max = "300"
collar_bps = 100
quote_age_ms_max = 5
feed_age_ms_max = 6
[instruments."XNAS.ALFA"]
collar_bps = 7
"""
REGISTRY = Registry.load()


def parse(text: str) -> limits.Limits:
    return limits.parse(text.encode(), "limits.toml", REGISTRY)


def test_amounts_are_exact_and_instruments_override() -> None:
    """2500.50 is 2,500,500,000,000 nanos; ALFA has its own collar and the default's other limits."""
    found = parse(GOOD)
    assert found.rules["momentum"].notional == 2_500_500_000_000
    assert found.instrument("XNAS", "ALFA").collar_bps == 7
    assert found.instrument("XNAS", "ALFA").order_notional_max == 300 * NANOS
    assert found.instrument("XNAS", "BRVO").collar_bps == 100


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ("version = 1", "version = 2", "this program reads version 1"),
        ("[firm]", "[frim]", "unknown key 'frim'; did you mean 'firm'?"),
        ("notional =", "notinal =", "unknown key 'notinal'; did you mean 'notional'?"),
        ('notional = "2500.50"', "notional = 2500.5", "write amounts as text"),
        ('notional = "2500.50"', 'notional = "a lot"', "is no decimal number"),
        ('notional = "2500.50"', 'notional = "-1"', "greater than or equal to 0"),
        ("collar_bps = 7", "colar_bps = 7", "did you mean 'collar_bps'?"),
        ("collar_bps = 7", 'collar_bps = "7"', "valid integer"),
        ("signal_age_ms_max = 10\n", "", "signal_age_ms_max is missing"),
        ('"XNAS.ALFA"', '"XNAS.ALFAA"', "did you mean 'XNAS.ALFA'?"),
        ("[instruments.default]", "[instruments.defaults]", "[instruments.default] is missing"),
        ("[firm]", "[firm", "not TOML"),
    ],
)
def test_malformed_file_is_refused_whole(old: str, new: str, finding: str) -> None:
    """Each mistake is named, with the nearest known word, and nothing of the file comes into force."""
    with pytest.raises(LimitsError) as caught:
        parse(GOOD.replace(old, new, 1))
    assert finding in str(caught.value)
    assert "whole" in str(caught.value)


def test_missing_file_says_which_setting(tmp_path: Path) -> None:
    """No limits, no orders; the message names the setting."""
    with pytest.raises(LimitsError, match=r"execution\.limits_file"):
        limits.load(tmp_path / "none.toml", REGISTRY)


def test_shipped_file_knows_every_shipped_rule() -> None:
    """Each rule in strategies/rules has limits, so that the demo trades it."""
    strategies = Path(limits.__file__).parents[2] / "strategies"
    shipped = limits.load(strategies / "limits.toml", REGISTRY)
    assert {path.stem for path in (strategies / "rules").glob("*.sql")} <= shipped.rules.keys()


@pytest.mark.parametrize(
    ("added", "finding"),
    [
        ('[breach.lost]\nstages = ["stop_new"]\n', "no kind of breach; did you mean 'loss'?"),
        ('[breach.loss]\nstages = ["flat", "stop_new"]\n', "in that order"),
        ('[breach.loss]\nstages = ["cancel_open"]\n', "the first stage is stop_new"),
        ('[breach.loss]\nstages = ["stop_new", "stop_new"]\n', "in that order"),
        ('[rules.more]\nrestricted = ["XNAS.NONE"]\n', "notional is missing"),
    ],
)
def test_malformed_plans_and_lists_are_refused_whole(added: str, finding: str) -> None:
    """Plans go forward only, begin with stopping, and are of kinds that there are."""
    with pytest.raises(LimitsError) as caught:
        parse(GOOD + added)
    assert finding in str(caught.value)


def test_restricted_names_are_known_instruments() -> None:
    """A restricted instrument that does not exist restricts nothing: it is a mistake."""
    with pytest.raises(LimitsError, match="is no instrument"):
        parse(GOOD.replace("[firm]\n", '[firm]\nrestricted = ["XNAS.ALFAA"]\n'))


def test_amounts_that_arithmetic_could_not_hold_are_refused() -> None:
    """Above 4 billion there is no exact comparison in 64 bits, so no such limit."""
    assert parse(GOOD.replace('"100"', '"4000000000"')).firm.daily_loss_max == 4 * 10**18
    with pytest.raises(LimitsError, match="more than 4000000000"):
        parse(GOOD.replace('"100"', '"4000000001"'))
