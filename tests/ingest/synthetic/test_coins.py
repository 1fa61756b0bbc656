"""Synthetic Binance-format lines, judged by a naive book and by the rules of the real recordings."""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from ingest.synthetic.coins import SyntheticLines
from ingest.synthetic.parameters import MarketParameters
from ingest.websocket.replay import RecordedLines, VenueLine

PARAMETERS = MarketParameters(seed=11, duration_s=20.0)
NAMES = {"BTCUSDT": "BTC-USDT", "ETHUSDT": "ETH-USDT"}


@pytest.fixture(scope="module")
def source() -> SyntheticLines:
    return SyntheticLines(PARAMETERS)


@pytest.fixture(scope="module")
def lines(source: SyntheticLines) -> list[VenueLine]:
    return list(source.lines())


def of(lines: list[VenueLine], stream: str) -> dict[str, list[dict]]:
    """Venue symbol to the messages of one stream."""
    found = defaultdict(list)
    for line in lines:
        message = {} if line.snapshot_of else json.loads(line.payload)
        if message.get("stream", "").endswith(f"@{stream}"):
            found[message["data"]["s"]].append(message["data"])
    return found


def test_same_seed_same_lines(lines: list[VenueLine]) -> None:
    """The same parameters give the same lines, another seed other ones."""
    assert list(SyntheticLines(PARAMETERS).lines()) == lines
    assert list(SyntheticLines(MarketParameters(seed=12, duration_s=20.0)).lines()) != lines


def test_receive_times_never_fall(lines: list[VenueLine]) -> None:
    """Lines of both coins come in order of receipt, on the stocks' clock."""
    times = [line.recv_ns for line in lines]
    assert times == sorted(times)
    assert PARAMETERS.open_ns - 2_000_000_000 < times[0]
    assert PARAMETERS.close_ns - 200_000_000 < times[-1] < PARAMETERS.close_ns + 200_000_000


def test_depth_updates_chain(lines: list[VenueLine]) -> None:
    """Each U is the u before plus one, about one update every 100 ms."""
    for updates in of(lines, "depth@100ms").values():
        for before, after in itertools.pairwise(updates):
            assert after["U"] == before["u"] + 1
            assert after["u"] >= after["U"]
            assert (after["E"] - before["E"]) % 100 == 0 or after is updates[-1]
        assert 200 <= len(updates) <= 222


def test_snapshot_bridges(lines: list[VenueLine]) -> None:
    """The REST snapshot falls inside a depth update: U <= lastUpdateId + 1 <= u holds for exactly one."""
    updates = of(lines, "depth@100ms")
    snapshots = [line for line in lines if line.snapshot_of]
    assert sorted(line.snapshot_of for line in snapshots) == sorted(NAMES)
    for line in snapshots:
        last = json.loads(line.payload)["lastUpdateId"]
        assert sum(u["U"] <= last + 1 <= u["u"] for u in updates[line.snapshot_of]) == 1
        assert any(u["u"] < last for u in updates[line.snapshot_of])


def test_book_equals_ticker_where_ids_are_equal(lines: list[VenueLine], source: SyntheticLines) -> None:
    """A book from the snapshot and the updates shows bookTicker's best at every equal id, never crossed."""
    compared: Counter[str] = Counter()
    for symbol in NAMES:
        tickers = {ticker["u"]: ticker for ticker in of(lines, "bookTicker")[symbol]}
        snapshot = json.loads(next(line.payload for line in lines if line.snapshot_of == symbol))
        book = {side: dict(snapshot[f"{side}s"]) for side in ("bid", "ask")}
        for update in of(lines, "depth@100ms")[symbol]:
            if update["u"] <= snapshot["lastUpdateId"]:
                continue
            apply(book["bid"], update["b"])
            apply(book["ask"], update["a"])
            bid, ask = max(book["bid"], key=float), min(book["ask"], key=float)
            assert float(bid) < float(ask)
            best = (bid, book["bid"][bid], ask, book["ask"][ask])
            ticker = tickers.get(update["u"])
            if ticker is not None:
                assert best == (ticker["b"], ticker["B"], ticker["a"], ticker["A"])
                compared[symbol] += 1
        assert best == source.truth[NAMES[symbol]].best
    assert min(compared.values()) > 30


def apply(levels: dict[str, str], changes: list[list[str]]) -> None:
    for price, size in changes:
        if float(size):
            levels[price] = size
        else:
            levels.pop(price, None)


def test_trades_are_numbered_and_timed(lines: list[VenueLine], source: SyntheticLines) -> None:
    """Trade ids are consecutive, E is not before T, both sides trade, and the truth counts them."""
    for symbol, trades in of(lines, "trade").items():
        first = trades[0]["t"]
        assert [trade["t"] for trade in trades] == list(range(first, first + len(trades)))
        assert all(0 <= trade["E"] - trade["T"] <= 1 for trade in trades)
        assert {trade["m"] for trade in trades} == {True, False}
        assert len(trades) == source.truth[NAMES[symbol]].trade


def test_counts_equal_truth(lines: list[VenueLine], source: SyntheticLines) -> None:
    """Lines by stream are what the truth says, and len() is all of them and the snapshots."""
    for symbol, name in NAMES.items():
        truth = source.truth[name]
        counted = [len(of(lines, stream)[symbol]) for stream in ("depth@100ms", "bookTicker", "trade")]
        assert counted == [truth.depth, truth.book_ticker, truth.trade]
    assert len(source) == len(lines)


def test_length_and_rate_scale() -> None:
    """Twice the duration is about twice the lines; three times the intensity about three times the trades."""
    base, longer = SyntheticLines(PARAMETERS), SyntheticLines(MarketParameters(seed=11, duration_s=40.0))
    denser = SyntheticLines(MarketParameters(seed=11, duration_s=20.0, intensity=3.0))
    assert 1.5 < len(longer) / len(base) < 2.5
    assert 2.0 < denser.truth["BTC-USDT"].book_ticker / base.truth["BTC-USDT"].book_ticker < 3.5


def test_written_files_are_recordings(tmp_path: Path, source: SyntheticLines, lines: list[VenueLine]) -> None:
    """Files written are read back as a recording, line for line."""
    source.write(tmp_path)
    assert list(RecordedLines.of_directory(tmp_path, "BINANCE").lines()) == lines
