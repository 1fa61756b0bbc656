"""Orders, journal and gate under random interleavings; see :mod:`tests.execution.model`.

This is a sample. The full run is ``python -m tests.execution.model --steps 100000``.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.execution.model.run import MEMORY, WORLD_STEPS, run_world
from tests.execution.model.world import WEIGHTS, World

STEPS = st.sampled_from([name for name, weight in WEIGHTS.items() for _ in range(weight)])
CHOICES = st.integers(0, 2**32)


class Agent(RuleBasedStateMachine):
    """Each step draws its own chances, so that a failure can be shrunk to the steps that matter."""

    @initialize(seed=CHOICES)
    def begin(self, seed: int) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="model", dir=MEMORY))
        self.world = World(self.directory, seed)
        self.failed = False

    @rule(name=STEPS, chance=CHOICES)
    def step(self, name: str, chance: int) -> None:
        self.world.rng.seed(chance)
        self.failed = True
        self.world.step(name)
        self.failed = False

    def teardown(self) -> None:
        try:
            if not self.failed:
                self.world.settle()
        finally:
            self.world.close()
            shutil.rmtree(self.directory, ignore_errors=True)


Agent.TestCase.settings = settings(
    max_examples=12,
    stateful_step_count=80,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
test_what_must_always_hold = Agent.TestCase


@pytest.mark.parametrize("seed", range(8))
def test_a_world_holds_and_settles(seed: int) -> None:
    """Four hundred steps each, some with a dozen crashes: every intent ends in a state that both sides
    know, no id came to a venue twice, positions are what was executed, and no limit was passed."""
    world = run_world(seed, WORLD_STEPS)
    assert world.counts["signal"] > 0
