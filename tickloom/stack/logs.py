"""Log files of services: their end, following them, and their limit."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

LOG_BYTES_MAX = 64 * 1024 * 1024  # a file; beyond it the older part goes to NAME.log.1, in place of the last
TAIL_BYTES_MAX = 256 * 1024
FOLLOW_S = 0.2


def tail(path: Path, lines: int) -> list[str]:
    """The last ``lines`` lines, of the last 256 KiB; none where there is no file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES_MAX))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return text.splitlines()[-lines:] if lines else []


def follow(path: Path, stop: threading.Event) -> Iterator[str]:
    """What is appended to ``path`` from now on, until ``stop`` is set; goes on when it is trimmed."""
    position = path.stat().st_size if path.exists() else 0
    while not stop.wait(FOLLOW_S):
        try:
            size = path.stat().st_size
            if size < position:
                position = 0
            if size > position:
                with path.open("rb") as file:
                    file.seek(position)
                    part = file.read(size - position)
                position = size
                yield part.decode(errors="replace")
        except OSError:
            continue


def trim(path: Path, limit_bytes: int = LOG_BYTES_MAX) -> None:
    """Keep a file that a process appends to below ``limit_bytes``.

    The process holds it open (for appending, so it goes on at the new end): it is copied and cut,
    not renamed. Lines written between the two are lost.
    """
    try:
        if path.stat().st_size > limit_bytes:
            shutil.copyfile(path, path.with_name(path.name + ".1"))
            os.truncate(path, 0)
    except OSError:
        pass
