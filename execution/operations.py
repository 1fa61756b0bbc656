"""Commands of operators in, their effect on the engine and an answer out; and what the kill switch did.

Runs on the agent's loop, a hundred times a second: a look at the file HALT, and one at the inbox. Each
effect is in the journal, with who and why and the command's number, before the answer is given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from execution import metrics
from execution.control import STALE_AFTER_NS, Ask, Command, Inbox, Outcome
from execution.engine import OrderEngine
from execution.risk import Level
from execution.status import live, scope_text
from tickloom.clock import NS_PER_MS, NS_PER_S
from tickloom.errors import ControlError
from tickloom.events import OrderState

HALT_WAIT_NS = 5 * NS_PER_S  # then the answer says what is still open
RETRY_NS = NS_PER_S  # of an inbox that cannot be read
#: An order of which the venue has not said what became of it is no open order that a halt can wait for.
_FATELESS = (OrderState.UNKNOWN,)

_log = structlog.get_logger("execution")


class Operations:
    """An agent's ear for its operators. Not thread-safe, as the engine.

    Parameters
    ----------
    act : Callable[[], None]
        Makes the engine do what is due, and sends it.
    last_order_ns : Callable[[], int]
        When the last order was handed to a gateway, wall clock; 0: none yet.
    """

    def __init__(
        self,
        engine: OrderEngine,
        inbox: Inbox,
        act: Callable[[], None],
        last_order_ns: Callable[[], int] = lambda: 0,
    ) -> None:
        self._engine, self._inbox, self._act, self._last_order_ns = engine, inbox, act, last_order_ns
        self._halted: str | None = None
        self._halted_ns = 0
        self._to_cancel = 0
        self._halts: list[Command] = []  # that wait until nothing is open any more
        self._silent_until_ns = 0

    def turn(self) -> None:
        """Look at the kill switch and the inbox; does nothing where nothing changed."""
        self._watch_kill_switch()
        now_ns = self._engine.clock.monotonic_ns()
        if now_ns < self._silent_until_ns:
            return
        try:
            if self._inbox.changed():
                for command in self._inbox.waiting():
                    if command.outcome is Outcome.WAITING:
                        self._take(command)
                    elif command.number not in {one.number for one in self._halts}:
                        self._halts.append(command)  # taken by an agent that died over it
            self._end_halts()
        except ControlError as error:
            # the inbox serves people; the kill switch, the limits and the plans work without it
            self._silent_until_ns = now_ns + RETRY_NS
            metrics.ALERTS.labels("control").inc()
            _log.error("inbox_away", error=str(error))

    # --- the kill switch -----------------------------------------------------------------------

    def _watch_kill_switch(self) -> None:
        halted = self._engine.kill_switch.halted_because()
        if halted == self._halted:
            if halted is not None and self._cancellable():
                self._act()  # what was acknowledged since can be cancelled by now
            return
        was, self._halted = self._halted, halted
        journal, now_ns = self._engine.journal, self._engine.clock.now_ns()
        if halted is not None and was is None:
            self._halted_ns, self._to_cancel = now_ns, len(self._engine.open)
        with journal.transaction():
            what = "halted" if halted is not None else "not halted any more"
            text = f"{what}: {halted or was}; {len(self._engine.open)} orders are open"
            journal.risk_action(now_ns, "kill_switch", "agent", text)
        self._act()

    def _cancellable(self) -> bool:
        return any(
            order.state in (OrderState.NEW, OrderState.PARTIALLY_FILLED)
            for order in self._engine.open.values()
        )

    def _halt(self, command: Command) -> None:
        if self._engine.kill_switch.halted_because() is None:
            self._answer(command, Outcome.REFUSED, "nothing is halted any more")
            return
        self._watch_kill_switch()  # the file may be younger than our last look at it
        # from here on nothing leaves: the file is asked before each send
        self._inbox.take(command.number, self._engine.clock.now_ns(), "no order leaves any more")
        self._halts.append(self._inbox.read(command.number))

    def _end_halts(self) -> None:
        """Answer those that halted as soon as nothing is open, or that takes too long."""
        if not self._halts:
            return
        left = [order for order in self._engine.open.values() if order.state not in _FATELESS]
        now_ns = self._engine.clock.now_ns()
        for command in list(self._halts):
            if left and now_ns - command.taken_ts < HALT_WAIT_NS:
                continue
            self._halts.remove(command)
            unknown = len(self._engine.open) - len(left)
            last_ns = self._last_order_ns()
            detail = {
                "acknowledged_ms": _ms(command.taken_ts - command.ts),
                "last_order_ms": _ms(max(last_ns - command.ts, 0)),
                "cancelled_ms": _ms(now_ns - command.ts),
                "open_at_halt": self._to_cancel,
                "left_open": len(left),
                "unknown": unknown,
            }
            text = (
                f"acknowledged {detail['acknowledged_ms']} ms after the halt, the last order out "
                f"{detail['last_order_ms']} ms after it; {self._to_cancel} orders were open, after "
                f"{detail['cancelled_ms']} ms {len(left)} are, and {unknown} whose fate is unknown"
            )
            with self._engine.journal.transaction():
                self._engine.journal.risk_action(now_ns, "halted", command.who, text)
            self._inbox.answer(command.number, Outcome.DONE, now_ns, text, detail)

    # --- commands ------------------------------------------------------------------------------

    def _take(self, command: Command) -> None:
        age_ns = self._engine.clock.now_ns() - command.ts
        if age_ns > STALE_AFTER_NS[command.ask]:
            self._answer(command, Outcome.STALE, f"given {age_ns // NS_PER_S} s ago: too old, ask again")
            return
        _log.info("command", number=command.number, ask=command.ask, who=command.who, why=command.why)
        try:
            if command.ask is Ask.HALT:
                self._halt(command)
            elif command.ask is Ask.STATUS:
                self._answer(command, Outcome.DONE, "", msgspec.to_builtins(live(self._engine)))
            else:
                self._answer(command, Outcome.DONE, self._do(command))
        except ControlError as error:
            self._answer(command, Outcome.REFUSED, str(error))

    def _do(self, command: Command) -> str:
        unwinder, who, why = self._engine.unwinder, command.who, f"{command.why}, command {command.number}"
        if command.ask is Ask.PAUSE:
            count = unwinder.pause(who, why)
            if not count:
                raise ControlError("no unwinding is under way that is not paused; nothing was done")
            text = f"{count} unwindings are paused; what is open stays open"
        elif command.ask is Ask.CONTINUE:
            count = unwinder.resume(who, why)
            if not count:
                raise ControlError("no unwinding is paused; nothing was done")
            text = f"{count} unwindings go on"
        else:
            level, name = self._scope(command.arguments)
            scope = scope_text(level, name)
            if command.ask is Ask.RELEASE:
                if not self._engine.risk.stopped(level, name):
                    raise ControlError(f"{scope} is not stopped; nothing was done")
                unwinder.release(level, name, who, why)
                text = f"{scope} trades again; a limit that is still breached stops it again"
            else:
                plan = unwinder.flatten(level, name, who, why)
                text = (
                    f"{scope} is taken down: {', '.join(plan.plan.stages)}; it stays stopped until released"
                )
        self._act()  # makes the events durable, and begins
        return text

    def _scope(self, arguments: dict[str, str]) -> tuple[Level, str]:
        """The level that is meant, if there is one of that name."""
        book = self._engine.risk
        if rule := arguments.get("rule"):
            if rule not in book.strategies:
                known = ", ".join(sorted(name for name in book.strategies if name))
                raise ControlError(f"there is no rule {rule!r}; known are {known}")
            return Level.STRATEGY, rule
        if instrument := arguments.get("instrument"):
            venue, _, symbol = instrument.replace(".", " ", 1 if " " not in instrument else 0).partition(" ")
            if (venue, symbol) not in book.index:
                raise ControlError(f"there is no instrument {instrument!r}; write it as 'XNAS ALFA'")
            return Level.INSTRUMENT, f"{venue} {symbol}"
        return Level.FIRM, ""

    def _answer(
        self, command: Command, outcome: Outcome, text: str, detail: dict[str, Any] | None = None
    ) -> None:
        now_ns, journal = self._engine.clock.now_ns(), self._engine.journal
        if command.ask is not Ask.STATUS:
            with journal.transaction():
                about = f"{command.why}, command {command.number}: {outcome}, {text}"
                journal.risk_action(now_ns, f"command_{command.ask}", command.who, about)
        self._inbox.answer(command.number, outcome, now_ns, text, detail)


def _ms(ns: int) -> float:
    return round(ns / NS_PER_MS, 3)
