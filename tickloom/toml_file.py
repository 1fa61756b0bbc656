"""A TOML file in, its tables out, or an error that says what to mend."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from tickloom.errors import SettingsError, TickloomError


def read_tables(path: Path, remedy: str, error: type[TickloomError] = SettingsError) -> dict[str, Any]:
    """The tables of a file.

    Parameters
    ----------
    remedy : str
        What to do where there is no file, as a sentence.
    error : type
        What is raised.

    Raises
    ------
    TickloomError
        Of type ``error``: the file cannot be read, or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as failure:
        raise error(f"{path}: {failure.strerror}. {remedy}") from None
    except UnicodeDecodeError as failure:
        raise error(f"{path}: not UTF-8: {failure.reason} at byte {failure.start}. Mend it.") from None
    except tomllib.TOMLDecodeError as failure:
        raise error(f"{path}: not TOML: {failure}. Mend that line.") from None
