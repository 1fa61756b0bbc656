"""An agent sleeps while its successor, on a copy of its journal, trades; it wakes and is fenced off."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from execution.journal import Journal
from execution.service import journal_path
from tests.execution.rig import WAIT_S, Rig, make_signal, trading_rig
from tickloom.stack.ports import free_ports

pytestmark = pytest.mark.slow

COPIED = ("journal.db", "journal.db-wal")


def settled(directory: Path, count: int) -> bool:
    path = journal_path(directory)
    if not path.exists():
        return False
    journal = Journal(path, read_only=True)
    try:
        return len(journal.signals()) >= count and not journal.open_orders()
    finally:
        journal.close()


def wait(what: str, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < deadline, f"{what} did not happen in {WAIT_S} s"
        time.sleep(0.1)


def duplicates(rig: Rig) -> float:
    """Orders that the exchange was sent and had already, as it counts them itself."""
    port = rig.environment["TICKLOOM_EXCHANGE_METRICS_PORT"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("tickloom_exchange_orders_total") and 'outcome="duplicate"' in line:
                return float(line.rpartition(" ")[2])
    return 0.0


@pytest.mark.timeout(300)
def test_an_agent_that_wakes_after_its_successor_sends_nothing(tmp_path: Path) -> None:
    """Stopped, copied, succeeded, woken: from then on the exchange has the successor's orders and no other,
    not even one that it would have refused as a duplicate. The first halts itself, and starts no more."""
    other = tmp_path / "other"
    with trading_rig(tmp_path / "rig") as rig:
        signals = [make_signal(number, "ALFA", "buy" if number % 2 else "sell") for number in range(1, 31)]
        rig.publish(signals[:10])
        rig.wait_settled(10)
        first = rig.stack.pid("agent")
        os.kill(first, signal.SIGSTOP)
        (other / "execution").mkdir(parents=True)
        for name in COPIED:
            shutil.copy(rig.data_dir / "execution" / name, other / "execution" / name)
        metrics_port, web_port = free_ports(2)
        environment = {
            **os.environ,
            **rig.environment,
            "TICKLOOM_STACK_DATA_DIR": str(other),
            "TICKLOOM_EXECUTION_METRICS_PORT": str(metrics_port),
            "TICKLOOM_EXECUTION_WEB_PORT": str(web_port),
        }
        command = [sys.executable, "-m", "tickloom", "agent"]
        log = (tmp_path / "other.log").open("w")
        with subprocess.Popen(command, env=environment, stdout=log, stderr=log) as successor:
            try:
                rig.publish(signals[10:20])
                wait("the successor's orders", lambda: settled(other, 20))
                os.kill(first, signal.SIGCONT)
                rig.publish(signals[20:])
                wait("the first one's halt", (rig.data_dir / "execution" / "HALT").exists)
                wait("the refusal to start", lambda: "Compare the two journals" in agent_log(rig))
            finally:
                successor.kill()
        assert duplicates(rig) == 0
        with rig.journal() as journal, rig.record() as record:
            taken = {order.order_id for order in record.orders()}
            assert [kind for _, kind, _ in journal.alerts() if kind == "fenced"] == ["fenced"]
            assert "is fenced off: agent 2" in journal.fenced()
        kept = Journal(journal_path(other), read_only=True)
        assert taken <= {order.order_id for order in kept.orders(sent_only=True)}
        assert len(taken) >= 20
        kept.close()


def agent_log(rig: Rig) -> str:
    return (rig.data_dir / "log" / "agent.log").read_text(errors="replace")
