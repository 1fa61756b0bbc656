"""A pair's name in the registry in, its names on the two wires out.

v1 has Kraken's own codes of two currencies, XBT and XDG, as has ``wsname`` of REST's AssetPairs; v2 has BTC
and DOGE, and refuses a subscription to the others. The registry may have either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_V2_CODES = {"XBT": "BTC", "XDG": "DOGE"}
_V1_CODES = {v2: v1 for v1, v2 in _V2_CODES.items()}


def v1_name(pair: str) -> str:
    """``XBT/USD`` of either name."""
    return _renamed(pair, _V1_CODES)


def v2_name(pair: str) -> str:
    """``BTC/USD`` of either name."""
    return _renamed(pair, _V2_CODES)


def aliases(pairs: Sequence[str]) -> dict[str, int]:
    """The names that the pairs have beside the given ones, each with the position of its pair."""
    found = {name(pair): at for at, pair in enumerate(pairs) for name in (v1_name, v2_name)}
    return {name: at for name, at in found.items() if name not in pairs}


def _renamed(pair: str, codes: Mapping[str, str]) -> str:
    return "/".join(codes.get(code, code) for code in pair.split("/"))
