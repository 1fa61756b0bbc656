"""The exchange's control port: faults and the venue's own acts on demand, as JSON lines on TCP.

A line is an object with ``command`` and its arguments; the answer is one line: ``{"ok": true, ...}``, or
``{"error": ...}`` and nothing was done. For operators and tests; it binds to loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, TypeAlias

import msgspec
import structlog

from execution.exchange.server import ExchangeServer
from tickloom.clock import NS_PER_S, Clock
from tickloom.errors import ServiceError, SettingsError, SetupError
from tickloom.prices import parse_nanos

LINE_BYTES_MAX = 16_384
TIMEOUT_S = 5.0

_log = structlog.get_logger("exchange")


class _Command(msgspec.Struct, tag_field="command", forbid_unknown_fields=True):
    """What may be asked; each class is a command, its fields the arguments."""


class Status(_Command, tag="status"):
    """Who is logged in, and how many orders are open."""


class Halt(_Command, tag="halt"):
    """No trading in an instrument until it is resumed."""

    venue: str
    symbol: str
    text: str = "on demand"


class Resume(_Command, tag="resume"):
    """Trading goes on, unless the feed has halted it."""

    venue: str
    symbol: str


class Reject(_Command, tag="reject"):
    """Reject so many of the next orders."""

    venue: str
    count: int = 1


class LoseOrders(_Command, tag="lose_orders"):
    """So many of the next requests never arrive; the session drops with each."""

    venue: str = ""
    count: int = 1


class LoseAcks(_Command, tag="lose_acks"):
    """So many of the next reports are recorded and not sent; the session drops with each."""

    venue: str = ""
    count: int = 1


class Slow(_Command, tag="slow"):
    """Requests wait longer, for a while."""

    delay_ms: int
    for_s: float
    venue: str = ""


class Silence(_Command, tag="silence"):
    """Sessions are told nothing for a while, heartbeats included; then all at once. client empty: all."""

    for_s: float
    client: str = ""


class Drop(_Command, tag="drop"):
    """Cut sessions. client empty: all."""

    client: str = ""


class Cancel(_Command, tag="cancel"):
    """Take an order out of the book, unsolicited."""

    order_id: str
    text: str = "supervisory"


class Bust(_Command, tag="bust"):
    """Take an execution back."""

    execution_id: str


class Correct(_Command, tag="correct"):
    """Give an execution another quantity and price; decimal text."""

    execution_id: str
    quantity: str
    price: str


Command: TypeAlias = (
    Status | Halt | Resume | Reject | LoseOrders | LoseAcks | Slow | Silence | Drop | Cancel | Bust | Correct
)
_DECODER = msgspec.json.Decoder(Command)


class ControlPort:
    """See the module."""

    def __init__(self, server: ExchangeServer, clock: Clock) -> None:
        self._server, self._clock = server, clock
        self._listener: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; the port (one that was free where ``port`` is 0).

        Raises
        ------
        SetupError
            The port is taken.
        """
        try:
            self._listener = await asyncio.start_server(self._serve, host, port, limit=LINE_BYTES_MAX)
        except OSError as error:
            raise SetupError(
                f"control port {host}:{port} cannot be opened ({error.strerror}); set another port"
            ) from error
        return int(self._listener.sockets[0].getsockname()[1])

    async def close(self) -> None:
        if self._listener is not None:
            self._listener.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(msgspec.json.encode(self.do(line)) + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):  # a line without an end is a ValueError
            pass
        finally:
            with contextlib.suppress(ConnectionError):
                writer.close()

    def do(self, line: bytes) -> dict[str, Any]:
        """Carry out one command; what cannot be done changes nothing."""
        try:
            command = _DECODER.decode(line)
            answer = self._do(command)
        except (msgspec.MsgspecError, ValueError) as error:
            return {"error": str(error)}
        _log.info("control", command=str(command))
        return answer if "error" in answer else {"ok": True, **answer}

    def _do(self, command: Command) -> dict[str, Any]:
        engine, faults, now_ns = self._server.engine, self._server.faults, self._clock.now_ns()
        match command:
            case Status():
                return self._status()
            case Halt():
                engine.halt(command.venue, command.symbol, command.text)
            case Resume():
                self._server.settle(engine.resume(command.venue, command.symbol, now_ns))
            case Reject():
                engine.reject_next(command.venue, command.count)
            case LoseOrders():
                faults.lose_orders[command.venue] = command.count
            case LoseAcks():
                faults.lose_acks[command.venue] = command.count
            case Slow():
                until_ns = now_ns + round(command.for_s * NS_PER_S)
                faults.slow_down(command.venue, command.delay_ms, until_ns)
            case Silence():
                faults.silent[command.client] = now_ns + round(command.for_s * NS_PER_S)
                asyncio.get_running_loop().call_later(command.for_s, self._release)
            case Drop():
                sessions = self._server.sessions(command.client)
                for session in sessions:
                    session.cut()
                return {"dropped": len(sessions)}
            case _:
                return self._amend(command, now_ns)
        return {}

    def _amend(self, command: Cancel | Bust | Correct, now_ns: int) -> dict[str, Any]:
        engine = self._server.engine
        if isinstance(command, Cancel):
            outcome = engine.cancel_unsolicited(command.order_id, command.text, now_ns)
        elif isinstance(command, Bust):
            outcome = engine.bust(command.execution_id, now_ns)
        else:
            quantity, price = parse_nanos(command.quantity), parse_nanos(command.price)
            outcome = engine.correct(command.execution_id, quantity, price, now_ns)
        if not outcome.reports:
            return {"error": "there is no such live order or standing execution; nothing was done"}
        self._server.settle(outcome)
        return {"reports": len(outcome.reports)}

    def _status(self) -> dict[str, Any]:
        orders = self._server.engine.orders.values()
        return {
            "sessions": sorted(session.client for session in self._server.sessions()),
            "orders": len(orders),
            "open": sum(1 for order in orders if order.leaves),
        }

    def _release(self) -> None:
        for session in self._server.sessions():
            session.release()


def arguments_of(command: str, given: dict[str, str]) -> dict[str, Any]:
    """A command from texts, its numbers as numbers.

    Raises
    ------
    SettingsError
        No such command or argument, one that is missing, or no number where one is needed.
    """
    try:
        found: Command = msgspec.convert({"command": command, **given}, Command, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{command}: {error}; docs/exchange.md has the commands") from None
    built: dict[str, Any] = msgspec.to_builtins(found)
    return built


async def ask(host: str, port: int, command: dict[str, Any]) -> dict[str, Any]:
    """Send one command; its answer.

    Raises
    ------
    ServiceError
        Nobody is there, or it was refused.
    """
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await asyncio.open_connection(host, port, limit=LINE_BYTES_MAX)
            writer.write(msgspec.json.encode(command) + b"\n")
            line = await reader.readline()
            writer.close()
        answer: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
    except (OSError, TimeoutError, msgspec.MsgspecError) as error:
        raise ServiceError(
            f"the exchange's control port {host}:{port} does not answer ({error or 'timeout'}); "
            "is it running, and with a control_port?"
        ) from error
    if "error" in answer:
        raise ServiceError(f"the exchange refused {command.get('command')!r}: {answer['error']}")
    return answer
