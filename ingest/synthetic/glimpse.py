"""ITCH messages in, the market's state as GLIMPSE sends it out, by plain dictionaries. Pure.

Source: Nasdaq GLIMPSE 5.0, section 1: directories, trading states, short sale restrictions and resting orders
as ITCH 5.0 messages, then the number of the feed's next message.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ingest.itch.messages import LAYOUTS, unpack


def state_of(messages: Iterable[bytes]) -> list[bytes]:
    """What a client gets that logs in behind ``messages``, the first messages of a session."""
    directories: list[bytes] = []
    states: dict[tuple[str, int], bytes] = {}
    orders: dict[int, dict[str, Any]] = {}
    count = 0
    for raw in messages:
        count += 1
        message: dict[str, Any] = dict(unpack(raw))
        kind = str(message["type"])
        if kind == "R":
            directories.append(raw)
        elif kind in "SHYh":
            states[kind, message["stock_locate"]] = raw
        elif kind in "AF":
            orders[message["reference"]] = message
        elif kind in "DU":
            old = orders.pop(message["reference"], None)
            if kind == "U" and old is not None:
                changed = {name: message[name] for name in ("shares", "price", "timestamp")}
                orders[message["new_reference"]] = old | changed | {"reference": message["new_reference"]}
        elif kind in "ECX" and message["reference"] in orders:
            orders[message["reference"]]["shares"] -= message["shares"]
            if orders[message["reference"]]["shares"] <= 0:
                del orders[message["reference"]]
    adds = [
        LAYOUTS[one["type"]].pack(**{name: value for name, value in one.items() if name != "type"})
        for one in orders.values()
    ]
    return [*directories, *states.values(), *adds, b"G%20d" % (count + 1)]
