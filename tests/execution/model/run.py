"""One world of the model from its beginning to its end, all of it from one seed."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

from tests.execution.model.world import RESTLESS, WEIGHTS, World

WORLD_STEPS = 400
#: A file system in memory, where there is one: the crashes are of the process, not of the machine.
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


def run_world(seed: int, steps: int) -> World:
    """One world from its beginning to its end.

    Raises
    ------
    AssertionError
        Something did not hold.
    """
    directory = Path(tempfile.mkdtemp(prefix="model", dir=MEMORY))
    try:
        world = World(directory, seed)
        chooser = random.Random(f"steps {seed}")
        weights = RESTLESS if chooser.random() < 0.3 else WEIGHTS
        names = chooser.choices(list(weights), list(weights.values()), k=steps)
        where = "settling"
        try:
            for number, name in enumerate(names):
                where = f"step {number}, {name}"
                world.step(name)
                if number % 20 == 0:
                    world.check_journal()
            where = "settling"
            world.settle()
        except BaseException as error:
            error.add_note(f"world {seed}, {where}: python -m tests.execution.model --world {seed}")
            raise
        world.close()
        return world
    finally:
        shutil.rmtree(directory, ignore_errors=True)
