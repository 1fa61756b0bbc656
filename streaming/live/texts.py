"""The text of every rule that ran live, kept by version: what a signal's version is looked up in later.

A rule's file is edited; an order outlives the edit. So a submission keeps the whole file, header and all, and
its values, under ``<data_dir>/rules/texts/RULE/VERSION.HASH.json``. The hash is over what the rule says and
its values, so a text that was changed without a new version stands beside the one before it.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from streaming.live.origin import text_hash
from streaming.rules import Rule
from tickloom.errors import SettingsError


@dataclass(frozen=True, slots=True)
class KeptText:
    """A rule as it was submitted.

    Attributes
    ----------
    version : str
        With its overrides (:func:`streaming.rules.version_of`).
    text : str
        The file, header and all.
    text_hash : str
        Over the rule's SELECT and its values (:func:`streaming.live.origin.text_hash`).
    parameters : dict
        Set to name to value, as it ran.
    first_ns : int
        When it was submitted first, wall clock.
    """

    rule: str
    version: str
    about: str
    venue: str
    kind: str
    file: str
    text: str
    text_hash: str
    parameters: dict[str, dict[str, str]]
    first_ns: int


def keep(data_dir: Path, rule: Rule, now_ns: int) -> None:
    """Keep a bound rule's text. Once kept it is not written again, so ``first_ns`` stays.

    Raises
    ------
    SettingsError
        It cannot be written: what runs must be explainable, so nothing may run then.
    """
    digest = text_hash(rule.text, rule.sets)
    path = _folder(data_dir, rule.name) / f"{rule.version}.{digest}.json"
    if path.exists():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = KeptText(
            rule=rule.name,
            version=rule.version,
            about=rule.about,
            venue=rule.venue,
            kind=rule.kind,
            file=rule.path.name,
            text=rule.path.read_text() if rule.path.exists() else rule.text,
            text_hash=digest,
            parameters=rule.sets,
            first_ns=now_ns,
        )
        draft = path.with_suffix(f".{os.getpid()}.tmp")
        with draft.open("w") as file:
            file.write(json.dumps(asdict(kept), indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise SettingsError(
            f"{path}: {error.strerror}. The text of a rule that runs is kept there; make it writable."
        ) from None


def kept(data_dir: Path, rule: str, version: str, ts_ns: int) -> KeptText | None:
    """The text that a version of a rule had at ``ts_ns``: the last one that was submitted by then, or, if
    all were submitted later, the first.

    Raises
    ------
    SettingsError
        A file there cannot be read.
    """
    found = []
    for path in _folder(data_dir, rule).glob("*.json"):
        if path.name.rsplit(".", 2)[0] == version:
            try:
                found.append(KeptText(**json.loads(path.read_text())))
            except (OSError, ValueError, TypeError) as error:
                raise SettingsError(f"{path} cannot be read ({error}); restore it from a copy") from None
    found.sort(key=lambda one: one.first_ns)
    before = [one for one in found if one.first_ns <= ts_ns]
    return before[-1] if before else (found[0] if found else None)


def _folder(data_dir: Path, rule: str) -> Path:
    return data_dir / "rules" / "texts" / rule
