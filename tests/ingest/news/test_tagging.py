"""Which instruments a text is about."""

from __future__ import annotations

import pytest

from ingest.news.story import Story
from ingest.news.tagging import TAGS_MAX, Tagger
from tickloom.errors import SettingsError
from tickloom.instruments import Instrument, Registry, Venue

VENUES = {code: Venue(code, "", "", "UTC", "") for code in ("XNAS", "BINANCE", "OKX")}


def instrument(venue: str, symbol: str) -> Instrument:
    return Instrument(venue, symbol, symbol, "", 1, 1, 1)


REGISTRY = Registry(
    VENUES,
    [
        instrument("XNAS", "ALFA"),
        instrument("XNAS", "BRVO"),
        instrument("XNAS", "IT"),
        instrument("BINANCE", "BTC-USDT"),
        instrument("OKX", "BTC-USD-PERP"),
        instrument("OKX", "UNI-USD-PERP"),
    ],
    aliases={"ALFA": ("Alfa Industries", "Alfa"), "BRVO": ("Alfa Bravo",), "BTC": ("Bitcoin",)},
)
ALFA, BRVO, IT = ("XNAS", "ALFA"), ("XNAS", "BRVO"), ("XNAS", "IT")
BTC = [("BINANCE", "BTC-USDT"), ("OKX", "BTC-USD-PERP")]


def tags(title: str, *symbols: str) -> list[tuple[str, str]]:
    return Tagger(REGISTRY).tags(Story("s", "", title, "", "", 0, symbols))


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Why $ALFA fell", [ALFA]),
        ("$brvo is no cashtag, and US$IT is none", []),
        ("It costs $5, or $ALFA5", []),
        ("Gains for IT companies", []),
        ("Gartner (NYSE: IT) gains", [IT]),
        ("Two firms (Nasdaq GS: ALFA, BRVO) merge", [ALFA, BRVO]),
        ("BRVO shares drop", [BRVO]),
        ("BRVO SHARES DROP", []),
        ("(NASDAQ: BRVO) DROPS", [BRVO]),
        ("BRVOX and xBRVO are others", []),
        ("Shares of alfa industries and others", [ALFA]),
        ("The Alfabet of Alfas", []),
        ("Alfa Bravo is one firm", [BRVO]),
        ("ALFA's board resigns", [ALFA]),
        ("Bitcoin, up", BTC),
        ("BTC up, UNI down", []),
        ("$BTC up", BTC),
        ("BTC/USDT at a high", BTC[:1]),
        ("BTC-USD-PERP trades above UNI-USD-PERP", [BTC[1], ("OKX", "UNI-USD-PERP")]),
    ],
)
def test_what_a_title_names(title: str, expected: list[tuple[str, str]]) -> None:
    """Marked tickers of any length, bare ones of four letters, whole names, the longer one first."""
    assert tags(title) == expected


def test_what_the_source_names() -> None:
    """A ticker or a whole symbol, however it is written; one that nobody knows is none."""
    assert tags("Nothing here", "$alfa", "BTC-USDT", "ZZZZ") == [BTC[0], ALFA]


def test_a_list_of_everything_is_cut() -> None:
    """A story has so many events at most."""
    many = [instrument("XNAS", f"SYM{chr(65 + n)}") for n in range(26)]
    found = Tagger(Registry(VENUES, many)).tags(
        Story("s", "", "Movers: " + " ".join(f"${one.symbol}" for one in many), "", "", 0)
    )
    assert len(found) == TAGS_MAX


def test_registry_without_aliases_and_with_wrong_ones(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """The table may be missing; a ticker that no instrument has is refused with its name."""
    assert Tagger(Registry(VENUES, [instrument("XNAS", "ALFA")])).tags(
        Story("s", "", "ALFA up", "", "", 0)
    ) == [ALFA]
    path = tmp_path / "instruments.toml"
    path.write_text('[aliases]\nZZZZ = ["Zet"]\n')
    with pytest.raises(SettingsError, match="'ZZZZ', which is the ticker of no instrument"):
        Registry.load(path)


def test_shipped_aliases_are_found() -> None:
    """The registry's own file: each name tags every instrument of its ticker."""
    registry = Registry.load()
    tagger = Tagger(registry)
    for key, names in registry.aliases.items():
        for name in names:
            found = tagger.tags(Story("s", "", f"About {name} today", "", "", 0))
            assert found, name
            assert {symbol.partition("-")[0] for _, symbol in found} == {key}
