"""Which rules' compiled signals have been proven to be Flink's: what decides a rule's engine.

A proof is of one rule, version and text, values included: any change asks for a new one. It is kept as one
JSON line in the data directory.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from streaming.live.origin import Identity
from tickloom.settings import StackSettings


def _file() -> Path:
    return StackSettings.load().data_dir / "parity" / "proven.jsonl"


def is_proven(identity: Identity) -> bool:
    """Whether there is a proof of it."""
    path = _file()
    wanted = asdict(identity)
    return path.exists() and any(json.loads(line) == wanted for line in path.read_text().splitlines())


def record(identity: Identity) -> None:
    """Keep a proof. Idempotent."""
    if is_proven(identity):
        return
    path = _file()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(asdict(identity)) + "\n")


def withdraw(identity: Identity) -> None:
    """Forget a proof: the engines were seen to differ."""
    path = _file()
    if is_proven(identity):
        lost = asdict(identity)
        kept = [line for line in path.read_text().splitlines() if json.loads(line) != lost]
        path.write_text("".join(f"{line}\n" for line in kept))
