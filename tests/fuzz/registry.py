"""Which decoders are fuzzed: adding one is a line here and a class in a file of ``targets``."""

from __future__ import annotations

import importlib

from tests.fuzz.target import Target

#: Name to module and class; modules are imported in the child that needs them.
TARGETS = {
    "itch": "tests.fuzz.targets.itch:Itch",
    "itch_file": "tests.fuzz.targets.itch:ItchFile",
    "itch_columns": "tests.fuzz.targets.itch:ItchColumns",
    "iex": "tests.fuzz.targets.iex:Iex",
    "mdp3": "tests.fuzz.targets.mdp3:Mdp3",
    "dbn": "tests.fuzz.targets.dbn:Dbn",
    "dbn_live": "tests.fuzz.targets.dbn:DbnLive",
    "dbn_file": "tests.fuzz.targets.dbn:DbnFile",
    "news": "tests.fuzz.targets.news:Documents",
    "news_capture": "tests.fuzz.targets.news:Captured",
    "binance": "tests.fuzz.targets.websocket:Binance",
    "binance_usdm": "tests.fuzz.targets.websocket:BinanceUsdm",
    "kraken": "tests.fuzz.targets.websocket:Kraken",
    "okx": "tests.fuzz.targets.websocket:Okx",
    "coinbase": "tests.fuzz.targets.websocket:Coinbase",
    "bybit": "tests.fuzz.targets.websocket:Bybit",
    "template": "tests.fuzz.targets.template:Template",
    "pcap": "tests.fuzz.targets.files:Pcap",
    "capture": "tests.fuzz.targets.files:Segment",
    "capture_packed": "tests.fuzz.targets.files:PackedSegment",
    "wire": "tests.fuzz.targets.records:TickRecords",
    "wire_columns": "tests.fuzz.targets.records:TickColumns",
    "wire_spreads": "tests.fuzz.targets.records:SpreadRecords",
    "fix": "tests.fuzz.targets.orders:Fix",
    "ouch": "tests.fuzz.targets.orders:Ouch",
    "soupbin": "tests.fuzz.targets.orders:SoupBin",
}


def target_class(name: str) -> type[Target]:
    """The class behind a name of :data:`TARGETS`, or behind any ``module:class``."""
    module, _, attribute = TARGETS.get(name, name).partition(":")
    found: type[Target] = getattr(importlib.import_module(module), attribute)
    return found
