"""``tickloom risk``: what is held and how near its limits, the kill switch, and commands to a running agent.

The kill switch is a file and limits are a file, so both work whether an agent runs or not. The other commands
go through the agent's inbox (:mod:`execution.control`), and wait for its answer. None needs Kafka or QuestDB.
"""

from __future__ import annotations

import getpass
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from tickloom.cli.limits import limits as limits_command
from tickloom.cli.risk_tables import show_status
from tickloom.clock import SystemClock
from tickloom.errors import ControlError
from tickloom.instruments import Registry
from tickloom.settings import ExecutionSettings, StackSettings

if TYPE_CHECKING:
    from execution.control import Ask, Command

POLL_S = 0.002
WAIT_S = 5.0
HALT_WAIT_S = 10.0  # the agent answers after 5 s at the latest

Why = Annotated[str, typer.Option("--why", help="The reason; it is kept.")]
Who = Annotated[str, typer.Option("--who", help="You, if not your login name.")]
Json = Annotated[bool, typer.Option("--json", help="The answer as one JSON object.")]
Rule = Annotated[str, typer.Option("--rule", help="Only what this rule holds.")]
Instrument = Annotated[str, typer.Option("--instrument", help='Only this instrument, such as "XNAS ALFA".')]

app = typer.Typer(
    help="Positions, limits and their use, the kill switch, and commands to a running agent.",
    no_args_is_help=True,
)
app.command("limits")(limits_command)


@app.command(name="compile")
def compile_gate() -> None:
    """Compile the pre-trade gate now, and keep the machine code: set-up calls this."""
    from execution import limits
    from execution.risk.warm import warm_up

    registry = Registry.load()
    warm_up(registry, limits.load(ExecutionSettings.load().limits_file, registry))
    print("the pre-trade gate is compiled")


@app.command()
def status(as_json: Json = False) -> None:
    """Positions, P&L, value at risk, use of limits, breaches, unwindings, open orders, the kill switch.

    Of the running agent; where none runs or answers, what the journal says.
    """
    from execution.control import Ask, Outcome, agent_runs
    from execution.status import RiskStatus

    path = _journal()
    note = ""
    found: RiskStatus | None = None
    if agent_runs(path):
        answer = _ask(Ask.STATUS, "", "", {}, WAIT_S)
        if answer.outcome is Outcome.DONE:
            found = msgspec.convert(answer.detail, RiskStatus)
        else:
            note = "not answering"
    if found is None:
        found = _stored(path)
        found.agent = note or found.agent
    if as_json:
        print(msgspec.json.encode(found).decode())
    else:
        show_status(found)


def _stored(path: Path) -> Any:
    from execution.journal import Journal
    from execution.killswitch import KillSwitch
    from execution.status import stored

    journal = Journal(path, read_only=True)
    try:
        return stored(journal, SystemClock().now_ns(), KillSwitch(path.parent).halted_because())
    finally:
        journal.close()


@app.command()
def halt(why: Why, who: Who = "", as_json: Json = False) -> None:
    """Stop: no order leaves any more, open ones are cancelled. Works without Kafka and QuestDB."""
    from execution.control import Ask, Outcome, agent_runs
    from execution.killswitch import KillSwitch

    path, who = _journal(), who or getpass.getuser()
    KillSwitch(path.parent).halt(who, why)  # first the effect, then the record of it
    thrown_ns = SystemClock().now_ns()
    answer, text = None, "No agent is running; one that starts will send nothing."
    try:
        if agent_runs(path):
            answer = _ask(Ask.HALT, who, why, {}, HALT_WAIT_S, thrown_ns)
            text = answer.text
            if answer.outcome is not Outcome.DONE:
                text = "The agent has not answered: look at its log, and at `tickloom risk status`."
    except ControlError as error:
        text = f"The agent cannot be asked: {error}"
    _record(path, "halt", who, why)
    text = f"halted: {why} ({who}). `tickloom risk resume --why ...` lets orders leave again.\n{text}"
    if as_json:
        print(json.dumps({"halted": why, "who": who, **(answer.detail if answer else {})}))
    else:
        print(text)


@app.command()
def resume(
    why: Why,
    who: Who = "",
    unwindings: Annotated[
        bool, typer.Option("--unwindings", help="Let paused unwindings go on; the kill switch stays.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Let orders leave again after a halt; or, with --unwindings, let those go on that were paused."""
    from execution.control import Ask
    from execution.killswitch import KillSwitch

    if unwindings:
        _command(Ask.CONTINUE, why, who, {}, as_json)
        return
    path, who = _journal(), who or getpass.getuser()
    _record(path, "resume", who, why)
    resumed = KillSwitch(path.parent).resume()
    if as_json:
        print(json.dumps({"resumed": resumed, "who": who}))
    else:
        print(f"resumed: {why} ({who})" if resumed else "nothing was halted")


@app.command()
def flatten(
    why: Why, who: Who = "", rule: Rule = "", instrument: Instrument = "", as_json: Json = False
) -> None:
    """Take everything down, or what one rule or instrument holds, by the plan [breach.operator]."""
    from execution.control import Ask

    _command(Ask.FLATTEN, why, who, _scope(rule, instrument), as_json)


@app.command()
def pause(why: Why, who: Who = "", as_json: Json = False) -> None:
    """Send nothing more of the unwindings that are under way, until `risk resume --unwindings`."""
    from execution.control import Ask

    _command(Ask.PAUSE, why, who, {}, as_json)


@app.command()
def release(
    level: Annotated[str, typer.Argument(help="firm, a rule's name, or an instrument such as 'XNAS ALFA'.")],
    why: Why,
    who: Who = "",
    as_json: Json = False,
) -> None:
    """Let a level trade again that a breach, or a flatten, has stopped."""
    from execution.control import Ask

    scope = {"instrument": level} if " " in level else {"rule": level}
    _command(Ask.RELEASE, why, who, {} if level == "firm" else scope, as_json)


def _scope(rule: str, instrument: str) -> dict[str, str]:
    if rule and instrument:
        raise typer.BadParameter("give --rule or --instrument, or neither for everything")
    return {name: value for name, value in (("rule", rule), ("instrument", instrument)) if value}


def _command(ask: Ask, why: str, who: str, arguments: dict[str, str], as_json: bool) -> None:
    """Give a command, wait for the answer, print it; exit code 1 where it was not carried out."""
    from execution.control import KEPT_FOR_NEXT_START, Outcome, agent_runs

    running = agent_runs(_journal())
    if not running and ask not in KEPT_FOR_NEXT_START:
        raise ControlError(f"no agent is running, so nothing was done; start it and ask for {ask} again")
    answer = _ask(ask, who or getpass.getuser(), why, arguments, WAIT_S if running else 0.0)
    text = answer.text
    if answer.outcome is Outcome.WAITING:
        what = "has not answered" if running else "is not running"
        text = f"the agent {what}: command {answer.number} waits in its inbox, and is taken when it is back"
    elif answer.outcome is Outcome.WITHDRAWN:
        text = f"the agent has not answered in {WAIT_S:g} s: the command was withdrawn; look at its log"
    if as_json:
        print(json.dumps({"number": answer.number, "outcome": answer.outcome, "text": text, **answer.detail}))
    else:
        print(text)
    if answer.outcome is not Outcome.DONE:
        raise typer.Exit(1)


def _ask(
    ask: Ask, who: str, why: str, arguments: dict[str, str], wait_s: float, ts: int | None = None
) -> Command:
    """Put it in the inbox and wait. What nobody took by then is withdrawn, unless it makes sense later."""
    from execution.control import KEPT_FOR_NEXT_START, Inbox

    inbox, clock = Inbox(_journal().parent), SystemClock()
    try:
        number = inbox.ask(ask, who, why, arguments, clock.now_ns() if ts is None else ts)
        deadline = clock.monotonic_ns() + round(wait_s * 1e9)
        while clock.monotonic_ns() < deadline:
            if inbox.read(number).answered_ts:
                break
            time.sleep(POLL_S)
        if ask not in KEPT_FOR_NEXT_START:
            inbox.withdraw(number, clock.now_ns())
        return inbox.read(number)
    finally:
        inbox.close()


def _journal() -> Path:
    from execution.service import journal_path

    return journal_path(StackSettings.load().data_dir)


def _record(path: Path, action: str, who: str, why: str) -> None:
    from execution.journal import Journal

    journal = Journal(path)
    with journal.transaction():
        journal.risk_action(SystemClock().now_ns(), action, who, why)
    journal.close()
