"""A kernel's cache must not outlive the source that it was compiled from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tickloom import compile_cache


def test_an_edit_of_a_callee_changes_the_cache(tmp_path: Path) -> None:
    """The hash changes with any file that has compiled code, and with no other."""
    kernels = tmp_path / "ingest"
    kernels.mkdir()
    (kernels / "callee.py").write_text("@njit\ndef f(x): return x\n")
    (kernels / "plain.py").write_text("x = 1\n")
    before = compile_cache.source_hash(tmp_path)
    (kernels / "plain.py").write_text("x = 2\n")
    assert compile_cache.source_hash(tmp_path) == before
    (kernels / "callee.py").write_text("@njit\ndef f(x): return x + 1\n")
    assert compile_cache.source_hash(tmp_path) != before


def test_a_users_own_cache_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that the user set stays; one of ours from another state of the source is replaced."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(compile_cache.VARIABLE, "/somewhere/else")
    compile_cache.install()
    assert os.environ[compile_cache.VARIABLE] == "/somewhere/else"
    monkeypatch.setenv(compile_cache.VARIABLE, str(compile_cache.base() / "old"))
    compile_cache.install()
    assert os.environ[compile_cache.VARIABLE].endswith(compile_cache.source_hash())
