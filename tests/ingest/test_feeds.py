"""Which decoder a venue's captures get."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from ingest.feeds import decoder_for, session_date, sessions
from ingest.iex.decoder import IexDecoder
from ingest.itch.decoder import ItchDecoder
from ingest.sbe.mdp3.decoder import Mdp3Decoder
from ingest.websocket.binance.decoder import BinanceDecoder
from ingest.websocket.bybit.decoder import BybitDecoder
from ingest.websocket.coinbase.decoder import CoinbaseDecoder
from ingest.websocket.kraken.decoder import KrakenDecoder
from ingest.websocket.okx.decoder import OkxDecoder
from tickloom.errors import SettingsError
from tickloom.instruments import Registry, Venue


def test_each_feed_has_its_decoder() -> None:
    """The feed that the registry names decides."""
    assert isinstance(decoder_for("XNAS", "20261121.A"), ItchDecoder)
    assert isinstance(decoder_for("BINANCE", "20261121"), BinanceDecoder)
    assert isinstance(decoder_for("IEXG", "20261121"), IexDecoder)
    assert isinstance(decoder_for("KRAKEN", "20261121"), KrakenDecoder)
    assert isinstance(decoder_for("OKX", "20261121"), OkxDecoder)
    assert isinstance(decoder_for("COINBASE", "20261121"), CoinbaseDecoder)
    assert isinstance(decoder_for("BYBIT", "20261121"), BybitDecoder)
    registry = Registry({"XCME": Venue("XCME", "", "mdp3", "America/Chicago", "USD")}, [])
    assert isinstance(decoder_for("XCME", "20261121.310", registry), Mdp3Decoder)


def test_unknown_venue_and_feed_are_refused() -> None:
    """A venue that is not in the registry, or whose feed nobody decodes, is named with what there is."""
    with pytest.raises(SettingsError, match=r"'XNSA' is not in .* known are .*XNAS"):
        decoder_for("XNSA", "20261121")
    registry = Registry({"V": Venue("V", "", "morse", "UTC", "")}, [])
    with pytest.raises(SettingsError, match="no decoder for feed 'morse'"):
        decoder_for("V", "20261121", registry)


@pytest.mark.parametrize("session", ["", "2026112", "20261321.A", "today"])
def test_session_without_a_date_is_refused(session: str) -> None:
    """A directory that is not named after a day has no event times."""
    with pytest.raises(SettingsError, match="does not begin with a date"):
        session_date(session)
    assert session_date("20261121.A") == date(2026, 11, 21)


def test_sessions_that_were_captured(tmp_path: Path) -> None:
    """Directories of a venue, in order; none where nothing was captured."""
    assert sessions(tmp_path, "XNAS") == []
    for name in ("20261122.A", "20261121.B"):
        (tmp_path / "capture" / "XNAS" / name).mkdir(parents=True)
    assert sessions(tmp_path, "XNAS") == ["20261121.B", "20261122.A"]
