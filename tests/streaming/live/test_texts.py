"""Texts of rules that ran, kept by version."""

from __future__ import annotations

from pathlib import Path

import pytest

from streaming import rules
from streaming.live import texts
from streaming.live.origin import text_hash
from tickloom.errors import SettingsError

TEXT = """-- rule: probe
-- version: 3
-- venue: XNAS
-- about: a probe
-- parameter: least double 2.5 at least

SELECT 1 FROM trades WHERE price >= :least
"""


def a_rule(directory: Path, text: str = TEXT) -> rules.Rule:
    path = directory / "probe.sql"
    path.write_text(text)
    return rules.bind(rules.load(path))


def test_a_kept_text_is_the_whole_file(tmp_path: Path) -> None:
    """Header and values too; the hash is that of the job's identity."""
    rule = a_rule(tmp_path)
    texts.keep(tmp_path, rule, 100)
    found = texts.kept(tmp_path, "probe", "3", 200)
    assert found is not None
    assert found.text == TEXT
    assert found.parameters == {"": {"least": "2.5"}}
    assert found.text_hash == text_hash(rule.text, rule.sets)
    assert texts.kept(tmp_path, "probe", "4", 200) is None
    assert texts.kept(tmp_path, "other", "3", 200) is None


def test_submitting_again_keeps_the_first_time(tmp_path: Path) -> None:
    """The same text again is no other one."""
    texts.keep(tmp_path, a_rule(tmp_path), 100)
    texts.keep(tmp_path, a_rule(tmp_path), 900)
    found = texts.kept(tmp_path, "probe", "3", 1_000)
    assert found is not None
    assert found.first_ns == 100
    assert len(list((tmp_path / "rules" / "texts" / "probe").iterdir())) == 1


def test_a_text_changed_without_a_new_version_stands_beside_the_old(tmp_path: Path) -> None:
    """A signal of before the change gets the text of before it, one of after it the other."""
    texts.keep(tmp_path, a_rule(tmp_path), 100)
    changed = TEXT.replace(">=", ">")
    texts.keep(tmp_path, a_rule(tmp_path, changed), 500)
    found = [texts.kept(tmp_path, "probe", "3", ts) for ts in (50, 499, 500)]
    assert [one.text if one else "" for one in found] == [TEXT, TEXT, changed]


def test_versions_with_overrides_are_told_apart(tmp_path: Path) -> None:
    """An override adds to the version, dots and all."""
    rule = rules.bind(rules.load(a_rule(tmp_path).path), {"least": "3.5"})
    texts.keep(tmp_path, rule, 100)
    assert rule.version.startswith("3+")
    assert texts.kept(tmp_path, "probe", "3", 200) is None
    found = texts.kept(tmp_path, "probe", rule.version, 200)
    assert found is not None
    assert found.parameters == {"": {"least": "3.5"}}


def test_what_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    """Where the folder is a file, nothing runs: the message says what to mend."""
    rule = a_rule(tmp_path)
    (tmp_path / "rules").write_text("in the way")
    with pytest.raises(SettingsError, match="make it writable"):
        texts.keep(tmp_path, rule, 100)
