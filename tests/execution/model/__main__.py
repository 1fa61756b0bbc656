"""Many random worlds, one after the other: ``python -m tests.execution.model --steps 100000 --seed 1``.

A failure prints the seed of its world, and ``--world SEED`` runs that one alone.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter

from tests.execution.model.run import WORLD_STEPS, run_world


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """Many worlds, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--world", type=int, default=None)
    arguments = parser.parse_args()
    if arguments.world is not None:
        run_world(arguments.world, WORLD_STEPS)
        return
    say(f"seed {arguments.seed}")
    counts: Counter[str] = Counter()
    worlds = crashes = executions = orders = 0
    start_s = time.monotonic()
    while worlds * WORLD_STEPS < arguments.steps:
        world = run_world(arguments.seed * 1_000_000 + worlds, WORLD_STEPS)
        worlds += 1
        counts += world.counts
        crashes += world.crashes
        executions += len(world.traded)
        orders += sum(len(wire.matching.orders) for wire in world.wires.values())
        if worlds % 25 == 0:
            say(f"{worlds * WORLD_STEPS} steps, {time.monotonic() - start_s:.0f} s")
    say(
        f"{worlds * WORLD_STEPS} steps in {worlds} worlds, {crashes} crashes, {orders} orders, "
        f"{executions} executions, {time.monotonic() - start_s:.0f} s; all held"
    )
    say(", ".join(f"{name} {count}" for name, count in sorted(counts.items())))


if __name__ == "__main__":
    main()
