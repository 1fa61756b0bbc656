"""Faults of the agent and of what is around it, under load: nothing doubled, nothing forgotten, no breach.

    python -m tests.faults.agent_kills [--kills 50] [--seed N] [--away-s 30] [--rate 40]
        [--only agent,exchange,...]

Each line of output is JSON: what was done, how often, the times from the fault to the next order in seconds,
and what was compared in the end. A difference ends it with the seed. A sample is in ``test_agent_faults.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from execution.orders import client_order_id
from tests.execution.rig import WAIT_S, Rig, make_signal, trading_rig
from tickloom.errors import ServiceError
from tickloom.events import OrderState, Signal
from tickloom.stack import kafka as kafka_server
from tickloom.stack.ports import free_ports

SYMBOLS = ("ALFA", "BRVO", "KILO", "ALFA~BRVO")
RATE = 40  # signals a second: on two cores a restart keeps up with it. From 200 on the log is followed
POLL_S = 0.05


#: Told the seconds from a fault to the next order or fill.
Say = Callable[[float], None]


@dataclass
class Load:
    """Signals of all symbols at a steady rate, from a thread of its own, some of them twice."""

    rig: Rig
    rate: float = RATE  # signals a second
    sent: list[Signal] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Load:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(1 / self.rate):
            number = len(self.sent) + 1
            one = make_signal(number, SYMBOLS[number % 4], "buy" if number % 3 else "sell")
            self.sent.append(one)
            for _ in range(1 + (number % 10 == 0)):
                self.rig.publish_soon(one)


Act = Callable[[Rig, Load, Say], None]


def expected_ids(signals: list[Signal]) -> set[str]:
    """What an undisturbed run makes: one order a leg of each distinct signal."""
    return {
        client_order_id(one.signal_id, leg) for one in signals for leg in range(2 if "~" in one.symbol else 1)
    }


def next_order_s(rig: Rig, fault_s: float) -> float:
    """How long after the fault there was an order again, as the journal has it. Called as soon as nobody
    writes to it any more."""
    since = orders(rig)
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        with rig.journal() as journal:
            if len(journal.orders()) > since:
                return time.monotonic() - fault_s
        time.sleep(POLL_S)
    raise AssertionError(f"no order in {WAIT_S} s after the fault")


def orders(rig: Rig) -> int:
    with rig.journal() as journal:
        return len(journal.orders())


def check(rig: Rig, signals: list[Signal]) -> dict[str, int]:
    """Everything settles; then journal and exchange hold exactly what an undisturbed run makes, once."""
    assert rig._producer.flush(WAIT_S) == 0
    rig.wait_settled(len(signals), timeout_s=2 * WAIT_S)
    rig.assert_consistent()
    wanted = expected_ids(signals)
    found = rig.order_ids()
    assert found == wanted, f"{len(found - wanted)} orders too many, {len(wanted - found)} too few"
    with rig.journal() as journal, rig.record() as record:
        taken = [order.order_id for order in record.orders()]
        breaches = [alert for alert in journal.alerts() if alert[1] in ("breach", "order", "fenced")]
        # as in an undisturbed run: the market stands still, and shows more than all of them take
        unfilled = [order for order in journal.orders() if order.state is not OrderState.FILLED]
    compared = rig.compare()
    result = {
        "signals": len(signals),
        "orders": compared.orders,
        "executions": compared.executions,
        "differences": len(compared.differences),
        "doubled": len(taken) - len(set(taken)),
        "forgotten": len(wanted - set(taken)),
        "unfilled": len(unfilled),
        "breaches": len(breaches),
    }
    assert set(taken) <= wanted, "the exchange has orders that nobody wanted"
    for name in ("differences", "doubled", "forgotten", "unfilled", "breaches"):
        assert result[name] == 0, f"{name}: {result}, {breaches}, {unfilled[:3]}"
    return result


def kill_agent(rig: Rig, kills: int, chance: random.Random, load: Load, say: Say) -> None:
    """At a random moment of its life, each time: while it recovers, too."""
    for kill in range(kills):
        time.sleep(chance.uniform(0.0, 2.0))
        fault_s = time.monotonic()
        pid = rig.stack.kill("agent")
        if chance.random() < 0.2:  # once more, before it is ready
            time.sleep(chance.uniform(0.2, 3.0))
            with suppress(ServiceError):  # it was not launched again yet
                pid = rig.stack.kill("agent")
        rig.stack.wait_ended("agent", pid)
        say(next_order_s(rig, fault_s))
        if kill % 3 == 2:  # else while its consumer joins its group
            rig.stack.wait_healthy("agent", not_pid=pid)


def kill_exchange(rig: Rig, kills: int, chance: random.Random, load: Load, say: Say) -> None:
    """At a random moment; the time to the next fill."""
    for _ in range(kills):
        time.sleep(chance.uniform(0.5, 2.0))
        with rig.journal() as journal:
            since = len(journal.executions())
        fault_s = time.monotonic()
        pid = rig.stack.kill("exchange")
        rig.stack.wait_healthy("exchange", not_pid=pid)
        rig.wait_for("a fill", lambda journal, n=since: len(journal.executions()) > n)
        say(time.monotonic() - fault_s)


def silence_exchange(rig: Rig, away_s: float, load: Load, say: Say) -> None:
    """It stops in the middle of whatever it does, its connections stay, and nothing is answered."""
    time.sleep(2.0)
    pid = rig.stack.pid("exchange")
    os.kill(pid, signal.SIGSTOP)
    time.sleep(away_s)
    with rig.journal() as journal:
        since = len(journal.executions())
    os.kill(pid, signal.SIGCONT)
    fault_s = time.monotonic()
    rig.wait_for("a fill", lambda journal: len(journal.executions()) > since)
    say(time.monotonic() - fault_s)


def take_kafka_away(rig: Rig, away_s: float, load: Load, say: Say) -> None:
    """The broker is stopped, and comes back."""
    time.sleep(2.0)
    rig.broker.stop_service(kafka_server.NAME)
    time.sleep(away_s)
    fault_s = time.monotonic()
    rig.broker.start_service(kafka_server.NAME, wait=False)
    say(next_order_s(rig, fault_s))


def stand_by(rig: Rig, load: Load, say: Say) -> None:
    """A second agent waits on the same journal. The first is killed: one of the two goes on, never both. Then
    the standby is killed, and the supervised one is it again."""
    metrics_port, web_port = free_ports(2)
    environment = {
        **os.environ,
        **rig.environment,
        "TICKLOOM_EXECUTION_METRICS_PORT": str(metrics_port),
        "TICKLOOM_EXECUTION_WEB_PORT": str(web_port),
    }
    said = rig.data_dir / "standby.log"
    log = said.open("w")
    command = [sys.executable, "-m", "tickloom", "agent", "--standby"]
    with subprocess.Popen(command, env=environment, stdout=log, stderr=log) as standby:
        try:
            deadline = time.monotonic() + WAIT_S
            while "event='standby'" not in said.read_text():  # it has loaded, and waits for the lock
                assert standby.poll() is None, said.read_text()[-2_000:]
                assert time.monotonic() < deadline, said.read_text()[-2_000:]
                time.sleep(POLL_S)
            fault_s = time.monotonic()
            rig.stack.wait_ended("agent", rig.stack.kill("agent"))
            say(next_order_s(rig, fault_s))
            lock = (rig.data_dir / "execution" / "journal.lock").read_text()
            assert f"pid {standby.pid}," in lock, lock
            time.sleep(2.0)
            fault_s = time.monotonic()
        finally:
            standby.kill()
    say(next_order_s(rig, fault_s))


def run(name: str, directory: Path, act: Act, count: int, rate: float = RATE) -> dict[str, object]:
    """One fault on a rig of its own; what is printed of it."""
    took: list[float] = []
    with trading_rig(directory / name) as rig:
        with Load(rig, rate) as load:
            time.sleep(1.0)
            act(rig, load, took.append)
        result = check(rig, load.sent)
    times = {
        "to_next_order_s_median": round(statistics.median(took), 2),
        "to_next_order_s_max": round(max(took), 2),
    }
    return {"fault": name, "count": count, **times, **result}


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=20_240_808)
    parser.add_argument("--away-s", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--only", default="agent,exchange,silence,kafka,standby")
    given = parser.parse_args()
    chance, few = random.Random(given.seed), max(1, given.kills // 10)
    acts: dict[str, tuple[Act, int]] = {
        "agent": (lambda rig, load, say: kill_agent(rig, given.kills, chance, load, say), given.kills),
        "exchange": (lambda rig, load, say: kill_exchange(rig, few, chance, load, say), few),
        "silence": (lambda rig, load, say: silence_exchange(rig, given.away_s, load, say), 1),
        "kafka": (lambda rig, load, say: take_kafka_away(rig, given.away_s, load, say), 1),
        "standby": (stand_by, 2),
    }
    for name in given.only.split(","):
        with tempfile.TemporaryDirectory() as directory:
            act, count = acts[name]
            try:
                line = json.dumps(run(name, Path(directory), act, count, given.rate))
            except AssertionError as error:
                sys.stdout.write(f"{name} failed with --seed {given.seed}: {error}\n")
                return 1
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
