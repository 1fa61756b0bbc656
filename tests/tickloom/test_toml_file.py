"""A file that cannot be read says which, why, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tickloom.errors import CalibrationError, SettingsError
from tickloom.toml_file import read_tables


def test_tables(tmp_path: Path) -> None:
    """Text is UTF-8, whatever the machine's locale is."""
    path = tmp_path / "a.toml"
    path.write_bytes('[a]\nb = "é"\n'.encode())
    assert read_tables(path, "Write it.") == {"a": {"b": "é"}}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, r"a\.toml: No such file or directory\. Write it\."),
        (b"a = ]", r"a\.toml: not TOML: .*line 1.*Mend that line\."),
        (b"a = '\xff'", r"a\.toml: not UTF-8: .* at byte 5"),
    ],
    ids=["missing", "cut", "bytes"],
)
@pytest.mark.parametrize("error", [SettingsError, CalibrationError])
def test_what_cannot_be_read(
    tmp_path: Path, content: bytes | None, text: str, error: type[SettingsError | CalibrationError]
) -> None:
    """Each failure is the error that the caller wants, and nothing else gets out."""
    path = tmp_path / "a.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error, match=text):
        read_tables(path, "Write it.", error)
