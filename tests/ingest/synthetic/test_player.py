"""A whole session over real sockets: what receivers count is what the truth says."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections import Counter
from pathlib import Path

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from ingest.synthetic.market import SessionTruth
from ingest.synthetic.parameters import MarketParameters
from ingest.synthetic.player import FaultRates, PlayOptions, play
from tickloom.settings import ItchSettings, SyntheticSettings
from tickloom.stack.ports import free_ports

STREAMS = "/".join(
    f"{coin}@{stream}" for coin in ("btcusdt", "ethusdt") for stream in ("depth@100ms", "bookTicker", "trade")
)


def read_coins(port: int, counts: Counter[str]) -> None:
    """Count a client's messages by stream until the end of the session."""
    while True:
        try:
            client = connect(f"ws://127.0.0.1:{port}/stream?streams={STREAMS}")
        except OSError:
            continue
        break
    with client:
        try:
            for message in client:
                counts[json.loads(message)["stream"]] += 1
        except ConnectionClosed:
            return


def test_both_venues_play_what_the_truth_says(tmp_path: Path) -> None:
    """The receivers of a UDP port and of a websocket get every message of the truth, once."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(60.0)
        itch = ItchSettings.load(port=receiver.getsockname()[1], rerequest_port=0)
        websocket_port, rest_port = free_ports(2)
        synthetic = SyntheticSettings.load(websocket_port=websocket_port, rest_port=rest_port)
        options = PlayOptions(speed=4.0, linger_s=0.2, truth_path=tmp_path / "truth.json")
        stop, parameters = threading.Event(), MarketParameters(seed=5, duration_s=4.0)
        playing = threading.Thread(target=play, args=(parameters, options, itch, synthetic, stop))
        counts: Counter[str] = Counter()
        reading = threading.Thread(target=read_coins, args=(websocket_port, counts), daemon=True)
        playing.start()
        reading.start()
        messages, expected = 0, 1
        try:
            while True:
                sequence, count = struct.unpack(">QH", receiver.recv(65_536)[10:20])
                assert sequence == expected
                if count == 0xFFFF:
                    break
                messages, expected = messages + count, expected + count
            reading.join(60.0)
        finally:
            stop.set()
            playing.join()
    truth = SessionTruth.load(tmp_path / "truth.json")
    assert messages == truth.messages_total
    for symbol, name in (("btcusdt", "BTC-USDT"), ("ethusdt", "ETH-USDT")):
        wanted = truth.coins[name]
        found = [counts[f"{symbol}@{stream}"] for stream in ("depth@100ms", "bookTicker", "trade")]
        assert found == [wanted["depth"], wanted["book_ticker"], wanted["trade"]]


def test_faults_of_a_play_lose_datagrams(tmp_path: Path) -> None:
    """With a chance to be dropped, fewer messages arrive than were sent; the end still comes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(60.0)
        itch = ItchSettings.load(port=receiver.getsockname()[1], rerequest_port=0)
        options = PlayOptions(speed=8.0, coins=False, linger_s=0.1, faults=FaultRates(drop=0.2))
        stop = threading.Event()
        truth = play(MarketParameters(duration_s=2.0), options, itch, SyntheticSettings.load(), stop)
        messages = 0
        while (count := struct.unpack(">H", receiver.recv(65_536)[18:20])[0]) != 0xFFFF:
            messages += count
    assert 0.5 * truth.messages_total < messages < 0.95 * truth.messages_total
