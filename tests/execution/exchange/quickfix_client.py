"""QuickFIX's initiator in a process of its own: sends one of each request, prints what it is told.

    python quickfix_client.py CONFIGURATION

A line a message: its fields as QuickFIX has them, after QuickFIX's own dictionary has passed them.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import quickfix


class Client(quickfix.Application):  # type: ignore[misc]
    def onCreate(self, session: Any) -> None:  # noqa: N802
        pass

    def onLogon(self, session: Any) -> None:  # noqa: N802
        order = {38: "10", 40: "2", 59: "0", 207: "XNAS"}
        say(session, "D", {11: "A", 44: "152.50", **order})
        say(session, "D", {11: "B", 44: "100", **order})
        say(session, "G", {11: "C", 41: "B", 44: "101", **order})
        say(session, "H", {11: "C", 790: "Q"}, timed=False)
        say(session, "F", {11: "D", 41: "C", 38: "10"})
        say(session, "F", {11: "E", 41: "C", 38: "10"})
        say(session, "D", {11: "F", 44: "152.50", **order, 38: "0.5"})

    def onLogout(self, session: Any) -> None:  # noqa: N802
        pass

    def toAdmin(self, message: Any, session: Any) -> None:  # noqa: N802
        pass

    def fromAdmin(self, message: Any, session: Any) -> None:  # noqa: N802
        if message.getHeader().getField(35) == "3":
            print(message.toString().replace("\x01", "|"), flush=True)  # noqa: T201

    def toApp(self, message: Any, session: Any) -> None:  # noqa: N802
        pass

    def fromApp(self, message: Any, session: Any) -> None:  # noqa: N802
        print(message.toString().replace("\x01", "|"), flush=True)  # noqa: T201


def say(session: Any, msg_type: str, fields: dict[int, str], timed: bool = True) -> None:
    message = quickfix.Message()
    message.getHeader().setField(35, msg_type)
    message.setField(55, "ALFA")
    message.setField(54, "1")
    if timed:
        message.setField(quickfix.TransactTime())
    for tag, value in fields.items():
        message.setField(tag, value)
    quickfix.Session.sendToTarget(message, session)


def main() -> None:
    settings = quickfix.SessionSettings(sys.argv[1])
    application, store = Client(), quickfix.FileStoreFactory(settings)  # it holds no reference of its own
    initiator = quickfix.SocketInitiator(application, store, settings)
    initiator.start()
    while True:
        time.sleep(1)


if __name__ == "__main__":
    main()
