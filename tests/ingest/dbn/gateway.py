"""Databento's live gateway on loopback: its protocol as documented, and records that a test made.

It replays what has ``start`` or a later time, as the real one does. ``test_live`` holds it to Databento's own
client where that is installed.
"""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import databento_dbn as dbn

KEY = "db-0123456789abcdefghijklmnopqrs"
CHALLENGE = "t7kNhwj4xqR0QYjzFKtBEG2ec2pXJ4FK"
WAIT_S = 20.0


@dataclass
class Turn:
    """What one connection gets.

    stop : int
        Records of the stream that have come until it ends; it closes then, unless ``stays``.
    refusal : str
        Instead of being let in.
    too_old : str
        An error record instead of a replay.
    """

    stop: int
    stays: bool = False
    refusal: str = ""
    too_old: str = ""


@dataclass
class Asked:
    """What a client has said."""

    auth: dict[str, str] = field(default_factory=dict)
    subscriptions: list[dict[str, str]] = field(default_factory=list)


def heartbeat(ts_ns: int) -> bytes:
    return bytes(dbn.SystemMsg(ts_ns, "Heartbeat", dbn.SystemCode.HEARTBEAT))


class Gateway:
    """Serves one client after the other, each by its turn; the last turn again and again.

    Parameters
    ----------
    metadata : bytes
    records : sequence of (int, bytes)
        The time by which a record is replayed, and the record.
    """

    def __init__(self, metadata: bytes, records: Sequence[tuple[int, bytes]], turns: Sequence[Turn]) -> None:
        self._metadata, self._records, self._turns = metadata, records, turns
        self.asked: list[Asked] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(WAIT_S)
        self._listening.close()

    def _serve(self) -> None:
        self._listening.settimeout(0.05)
        while not self._done.is_set():
            try:
                connection, _ = self._listening.accept()
            except TimeoutError:
                continue
            turn = self._turns[min(len(self.asked), len(self._turns) - 1)]
            asked = Asked()
            self.asked.append(asked)
            with connection:
                connection.settimeout(WAIT_S)
                try:
                    self._client(connection, turn, asked)
                except OSError:
                    continue

    def _client(self, connection: socket.socket, turn: Turn, asked: Asked) -> None:
        lines = connection.makefile("r", encoding="utf-8", newline="\n")
        connection.sendall(b"lsg_version=0.6.3\n")
        connection.sendall(f"cram={CHALLENGE}\n".encode())
        asked.auth = _fields(lines.readline())
        digest = hashlib.sha256(f"{CHALLENGE}|{KEY}".encode()).hexdigest()
        if turn.refusal or asked.auth.get("auth") != f"{digest}-{KEY[-5:]}":
            connection.sendall(f"success=0|error={turn.refusal or 'Authentication failed.'}\n".encode())
            return
        connection.sendall(b"success=1|session_id=17\n")
        while not (line := lines.readline()).startswith("start_session"):
            if not line:
                return
            asked.subscriptions.append(_fields(line))
        start_ns = int(asked.subscriptions[0].get("start", 0))
        connection.sendall(self._metadata)
        if start_ns and turn.too_old:
            connection.sendall(bytes(dbn.ErrorMsg(1, turn.too_old)))
            return
        shown = self._records[: turn.stop]
        raw = b"".join(record for ts_ns, record in shown if ts_ns >= start_ns)
        third = len(raw) // 3
        for part in (raw[:third], raw[third:]):  # in the middle of a record, most likely
            connection.sendall(part)
        while turn.stays and not self._done.wait(0.05):
            connection.sendall(heartbeat(1))


def _fields(line: str) -> dict[str, str]:
    return dict(part.partition("=")[::2] for part in line.strip().split("|"))
