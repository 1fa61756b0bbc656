"""The packages' names are generic, so nothing else may stand in for them."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    "package", ["tickloom", "ingest", "streaming", "storage", "strategies", "execution", "orchestration"]
)
def test_package_is_the_one_of_this_repository(package: str) -> None:
    """Importing a stage finds the folder beside this test, not another distribution's package."""
    file = importlib.import_module(package).__file__
    assert file is not None
    assert Path(file).is_relative_to(ROOT)
