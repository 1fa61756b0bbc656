"""A sample of ``tests.faults.agent_kills``: what it does in full, each fault a few times."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faults import agent_kills

pytestmark = pytest.mark.slow


@pytest.mark.timeout(400)
def test_agent_killed_venue_silent_and_a_standby_takes_over(tmp_path: Path) -> None:
    """Under load, one after the other: the agent is killed, the venue says nothing for five seconds,
    and a standby takes over from a killed agent. In the end each signal is an order a leg, once."""

    def all_of_them(rig: agent_kills.Rig, load: agent_kills.Load, say: agent_kills.Say) -> None:
        agent_kills.kill_agent(rig, 2, random.Random(7), load, say)
        agent_kills.silence_exchange(rig, 5.0, load, say)
        agent_kills.stand_by(rig, load, say)

    result = agent_kills.run("sample", tmp_path, all_of_them, 5)
    assert result["differences"] == 0
    assert int(str(result["orders"])) > 0
