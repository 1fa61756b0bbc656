"""The kill switch: a file. While it exists no order leaves and open ones are cancelled.

It needs neither Kafka nor QuestDB nor the agent: ``tickloom risk halt`` writes it, or ``touch`` does.
"""

from __future__ import annotations

import json
from pathlib import Path

FILE_NAME = "HALT"


class KillSwitch:
    """The file ``directory/HALT``; its JSON says who and why, an empty file will do."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE_NAME

    def halted_because(self) -> str | None:
        """Who halted and why, or None where trading may go on. What cannot be read halts."""
        try:
            self.path.stat()  # no file, as almost always: a tenth of the time that opening it takes
            raw = self.path.read_text()
        except FileNotFoundError:
            return None
        except OSError as error:
            return f"{self.path}: {error.strerror}"
        try:
            note = json.loads(raw)
            return f"{note['why']} ({note['who']})"
        except (ValueError, KeyError, TypeError):
            return f"{self.path} exists"

    def halt(self, who: str, why: str) -> None:
        """Halt. Complete or not there: the file is moved into place."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(".draft")
        draft.write_text(json.dumps({"who": who, "why": why}))
        draft.replace(self.path)

    def resume(self) -> bool:
        """Let orders leave again; False if nothing was halted."""
        try:
            self.path.unlink()
        except FileNotFoundError:
            return False
        return True
