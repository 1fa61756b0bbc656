"""QuickFIX's acceptor in a process of its own: fills each order at once, in two parts.

    python quickfix_venue.py CONFIGURATION

It says "ready" when it listens, and serves until it is killed.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import quickfix


class Venue(quickfix.Application):  # type: ignore[misc]
    def onCreate(self, session: Any) -> None:  # noqa: N802
        pass

    def onLogon(self, session: Any) -> None:  # noqa: N802
        pass

    def onLogout(self, session: Any) -> None:  # noqa: N802
        pass

    def toAdmin(self, message: Any, session: Any) -> None:  # noqa: N802
        pass

    def fromAdmin(self, message: Any, session: Any) -> None:  # noqa: N802
        pass

    def toApp(self, message: Any, session: Any) -> None:  # noqa: N802
        pass

    def fromApp(self, message: Any, session: Any) -> None:  # noqa: N802
        if message.getHeader().getField(35) == "D":
            for part in (1, 2):
                quickfix.Session.sendToTarget(fill(message, part), session)


def fill(order: Any, part: int) -> Any:
    """An ExecutionReport of the first or the second half of an order."""
    report = quickfix.Message()
    version = order.getHeader().getField(8)
    report.getHeader().setField(8, version)
    report.getHeader().setField(35, "8")
    quantity, price = int(order.getField(38)), order.getField(44)
    fields = {37: "V1", 17: f"E{part}", 150: "F", 39: str(part), 6: price, 31: price}
    fields |= {
        14: str(quantity * part // 2),
        151: str(quantity - quantity * part // 2),
        32: str(quantity // 2),
    }
    fields |= {tag: order.getField(tag) for tag in (11, 54, 55, 207)}
    if version == "FIX.4.2":
        fields |= {20: "0", 150: str(part)}
    for tag, value in fields.items():
        report.setField(tag, value)
    return report


def main() -> None:
    settings = quickfix.SessionSettings(sys.argv[1])
    application, store = Venue(), quickfix.FileStoreFactory(settings)  # it holds no reference of its own
    acceptor = quickfix.SocketAcceptor(application, store, settings)
    acceptor.start()
    print("ready", flush=True)  # noqa: T201
    while True:
        time.sleep(1)


if __name__ == "__main__":
    main()
