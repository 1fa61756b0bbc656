"""Order entry ports: the seam between the exchange and the protocols that it speaks.

A protocol is one file with a class that is an :class:`OrderEntryPort`. It reads requests off its
connections, gives each to the exchange as one of :mod:`execution.exchange.requests`, and puts reports
into its protocol's words. A client's name begins with the port's prefix, by which its reports find it.
"""

from __future__ import annotations

from collections import deque
from contextlib import AbstractContextManager
from typing import Protocol, TypeAlias

from execution.exchange.orders import Outcome
from execution.exchange.requests import CancelRequest, NewOrder, ReplaceOrder, StatusRequest
from execution.venues import Report

Request: TypeAlias = NewOrder | ReplaceOrder | CancelRequest | StatusRequest


class ClientSession(Protocol):
    """One logged-in connection of a client."""

    client: str
    alive: bool
    pending: deque[tuple[int, Request]]  # requests on their way, and when they are looked at; in order

    def cut(self) -> None:
        """End it at once; what it sent and was not looked at is lost."""
        ...

    def answer(self, request: Request, report: Report) -> None:
        """What only the asker is told: a status, a refused cancel, a duplicate."""
        ...

    def release(self) -> None:
        """A silence may be over: send what was held back."""
        ...


class OrderEntryPort(Protocol):
    """One protocol on one TCP port."""

    prefix: str

    async def start(self, host: str, port: int) -> int:
        """Listen; the port (one that was free where ``port`` is 0)."""
        ...

    async def close(self) -> None: ...

    def sessions(self) -> list[ClientSession]:
        """Those that are logged in."""
        ...

    def streamed(self, client: str, report: Report) -> list[tuple[str, bytes]]:
        """What the report puts into numbered streams, in the transaction that makes it durable."""
        ...

    def publish(self, client: str, report: Report, streamed: list[tuple[str, bytes]]) -> None:
        """It is durable: tell the client, if he is there."""
        ...


class Exchange(Protocol):
    """What a port may ask of the exchange."""

    def arrive(self, session: ClientSession, request: Request) -> None:
        """A request has come; it is dealt with after the venue's latency."""
        ...

    def together(self) -> AbstractContextManager[None]:
        """Requests that came at once: what they lead to is durable at once, then told in their order."""
        ...

    def settle(self, outcome: Outcome, streamed: list[tuple[str, bytes]] | None = None) -> None:
        """Make it durable, then tell it; ``streamed``: messages of streams that are no reports."""
        ...

    def silent_until_ns(self, client: str) -> int:
        """0, or when a client's session may speak again."""
        ...
