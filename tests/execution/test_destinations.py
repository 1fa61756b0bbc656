"""The destinations file: what it means, and that anything wrong refuses the whole of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from execution import destinations
from execution.exchange.instance import InstanceSettings
from tickloom.errors import DestinationsError
from tickloom.settings import ExchangeSettings

SHIPPED = Path("strategies/destinations.toml")
MARKETS = ("XNAS", "BINANCE")
TEXT = """
version = 1
[gateways.a]
kind = "fix"
host = "10.1.2.3"
port = 9876
sender = "ME"
target = "BROKER"
[gateways.b]
kind = "ouch"
exchange = "nyc"
[destinations.XNAS]
market = "XNAS"
gateway = "a"
maker_fee = "-0.0020"
taker_fee = "0.0030"
latency_ms = 0.25
[destinations.DARK]
market = "XNAS"
gateway = "b"
kind = "dark"
book = "XNAS"
"""


def read(text: str) -> destinations.Connectivity:
    return destinations.parse(text.encode(), "file", ("XNAS",))


def test_what_it_says() -> None:
    """Fees are exact nanos, latency is ns, a lit destination shows its own book."""
    found = read(TEXT)
    lit, dark = found.destinations.of("XNAS")
    assert (lit.maker_fee, lit.taker_fee, lit.latency_ns, lit.book) == (
        -2_000_000,
        3_000_000,
        250_000,
        "XNAS",
    )
    assert (dark.name, dark.dark, dark.book, dark.latency_ns) == ("DARK", True, "XNAS", 1_000_000)
    assert (found.gateway_of("DARK"), found.gateway_of("NONE")) == ("b", "")
    assert (found.carried_by("a"), found.exchanges()) == (("XNAS",), ("nyc",))
    assert found.destinations.books() == ("XNAS",)


def test_shipped_file_fits_the_shipped_exchange() -> None:
    """Each destination behind the instance is a venue there, with the same fees and kind, whose protocol its
    gateway speaks and whose client it may be."""
    found = destinations.load(SHIPPED, MARKETS)
    assert found.exchanges() == ("nyc", "exchange")
    instance = InstanceSettings.load(Path("strategies/exchanges/nyc.toml"))
    behind = found.destinations.of("XNAS")
    assert {one.name for one in behind} == set(instance.profiles)
    for one in behind:
        gateway, profile = found.gateways[one.gateway], instance.profiles[one.name]
        assert gateway.kind in instance.ports[one.name]
        assert (one.maker_fee, one.taker_fee) == (profile.fees.maker, profile.fees.taker)
        assert one.kind == profile.kind
        assert one.book == profile.source if one.dark else one.book == one.name
        if gateway.kind == "fix":
            assert (gateway.target, gateway.sender in instance.fix_clients) == (one.name, True)


def test_without_a_file_each_market_is_its_own_destination() -> None:
    """One session with the exchange of the settings, as before there was a file."""
    found = destinations.plain(MARKETS, ExchangeSettings(port=4711))
    assert list(found.destinations.by_name) == ["XNAS", "BINANCE"]
    assert [found.gateway_of(market) for market in MARKETS] == ["simulated", "simulated"]
    assert found.gateways["simulated"].port == 4711


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("version = 1", "version = 2", "version = 2"),
        ("version = 1", "version = 1\ngateway = 1", "did you mean 'gateways'"),
        ('kind = "fix"', 'kind = "telnet"', "kind = 'telnet'"),
        ('kind = "fix"', "", "kind is missing"),
        ("port = 9876", 'port = "9876"', "port = '9876'"),
        ("port = 9876", "prot = 9876", "did you mean 'port'"),
        ("port = 9876", 'port = 9876\nexchange = "nyc"', "either exchange"),
        ('target = "BROKER"', "", "needs sender and target"),
        ('exchange = "nyc"', "", "either exchange"),
        ('exchange = "nyc"', 'exchange = "nyc"\nheartbeat_s = 1', "heartbeat_s is of FIX"),
        ("port = 9876", "port = 9876\ndrop_copy = true", "drop_copy is that of"),
        ('gateway = "b"', 'gateway = "c"', "gateway = 'c'"),
        ('gateway = "b"', 'gateway = "a"', "[gateways.b] leads to no destination"),
        ('gateway = "a"', 'gateway = "b"', "[gateways.a] leads to no destination"),
        ('market = "XNAS"', 'market = "XNSA"', "did you mean 'XNAS'"),
        ("[destinations.XNAS]", "[destinations.XTWO]", "no destination of its own name"),
        ("[destinations.DARK]", '[destinations."D.K"]', "letters and digits"),
        ('book = "XNAS"', "", "dark one shows no book"),
        ('"-0.0020"', "-0.0020", "write fees as text"),
        ('"-0.0020"', '"cheap"', "maker_fee"),
        ("latency_ms = 0.25", "latency_ms = -1", "latency_ms"),
        ("version = 1", "version = ", "not TOML"),
    ],
)
def test_anything_wrong_refuses_the_whole_file(old: str, new: str, said: str) -> None:
    """The message names the key, and says that nothing of the file is used."""
    assert old in TEXT
    with pytest.raises(DestinationsError, match="whole file is refused") as caught:
        read(TEXT.replace(old, new))
    assert said in str(caught.value)


def test_two_venues_behind_one_ouch_session() -> None:
    """An OUCH port is of one venue."""
    text = TEXT.replace('gateway = "a"', 'gateway = "b"').replace("[gateways.a]", "[gateways.c]")
    text = text.replace(
        '[gateways.c]\nkind = "fix"\nhost = "10.1.2.3"\nport = 9876\nsender = "ME"\ntarget = "BROKER"\n', ""
    )
    with pytest.raises(DestinationsError, match="split it"):
        read(text)


def test_login_file(tmp_path: Path) -> None:
    """User and password come from a file of two lines, never from the repository's."""
    (tmp_path / "login").write_text("USER\nsecret\n")
    gateway = destinations.GatewaySettings(kind="ouch", port=1, login_file=str(tmp_path / "login"))
    assert gateway.login() == ("USER", "secret")
    (tmp_path / "login").write_text("USER\n")
    with pytest.raises(DestinationsError, match="a line each"):
        gateway.login()
