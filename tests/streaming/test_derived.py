"""Computed views: where they live, that history computes them anew, and that a rule reads one topic."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from strategies.pairs import frozen
from strategies.pairs.frozen import PairCalibration, PairSet
from streaming import derived, tables
from streaming.tape import Tape
from tickloom import codec, news_codec, spread_codec
from tickloom.errors import CalibrationError, SettingsError
from tickloom.events import NEWS_DTYPE, SPREAD_DTYPE


def test_a_rule_reads_one_topic() -> None:
    """The market's, or that of one computed view; both at once is refused."""
    assert derived.source_topic("XNAS", ["trades", "quotes"]) == "ticks.XNAS"
    assert derived.source_topic("XNAS", ["spreads"]) == "spreads.XNAS"
    with pytest.raises(SettingsError, match="spreads reads nothing else"):
        derived.source_topic("XNAS", ["quotes", "spreads"])


def test_news_may_be_read_beside_the_market() -> None:
    """Alone from its own topic; beside the market as a second one; beside what is computed not at all."""
    assert derived.source_topic("XNAS", ["news"]) == "news"
    assert derived.news_beside(["news"]) == derived.news_beside(["quotes"]) == ()
    assert derived.source_topic("XNAS", ["quotes", "news"]) == "ticks.XNAS"
    assert derived.news_beside(["quotes", "news"]) == ("news",)
    with pytest.raises(SettingsError, match="spreads reads nothing else"):
        derived.source_topic("XNAS", ["news", "spreads"])


def test_decoder_and_fields_are_those_of_the_topic() -> None:
    """What a job decodes and declares is what is written there."""
    assert derived.decoder(["quotes"]) is codec.decode
    assert derived.decoder(["spreads"]) is spread_codec.decode
    assert set(derived.fields(["spreads"])) == {"spreads"}
    assert derived.decoder(["news"]) is news_codec.decode
    assert set(derived.fields(["news"])) == {"news"}
    assert derived.decoder(["news", "quotes"]) is codec.decode
    assert derived.fields(["trades"]) == codec.EVENT_FIELDS


def test_every_field_of_a_spread_or_a_story_is_a_column_of_its_view() -> None:
    """Nothing that is computed is out of a rule's sight."""
    _, columns = tables.EVENT_VIEWS["spreads"]
    assert {name for name, _, _ in columns} == set(SPREAD_DTYPE.names or ())
    _, columns = tables.EVENT_VIEWS["news"]
    assert {name for name, _, _ in columns} == set(NEWS_DTYPE.names or ())


def test_history_computes_the_view_from_stored_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the venue's frozen calibrations; without any, it says how to get some."""
    tape = Tape()
    tape.quote("B", 0, 39.99, 40.01)
    tape.quote("A", 1, 59.99, 60.01)
    monkeypatch.setattr(frozen, "PAIRS_DIR", tmp_path)
    with pytest.raises(CalibrationError, match="tickloom pairs"):
        list(derived.over_history(["spreads"], [tape.block()], "XNAS"))
    pairs = (PairCalibration("A~B", "A", "B", 1.2, 10.0, 0.5),)
    chosen = PairSet("XNAS", pairs, 10_000, 60_000, datetime(2024, 1, 1, tzinfo=UTC))
    (tmp_path / "XNAS.toml").write_text(frozen.dumps(chosen))
    (block,) = derived.over_history(["spreads"], [tape.block()], "XNAS")
    assert np.allclose(block.spreads["z"], [4.0])
    (same,) = derived.over_history(["quotes"], [tape.block()], "XNAS")
    assert same.quotes.size == 2
