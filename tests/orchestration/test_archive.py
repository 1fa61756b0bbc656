"""The daily archive: sound captures are packed, a damaged one fails the check and is left as it is."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from ingest.capture import CaptureReader, CaptureWriter, RecordKind, segments
from orchestration.defs.archive.assets import packed_captures

KEY = dg.MultiPartitionKey({"date": "2026-11-21", "venue": "XNAS"})


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dg.AssetCheckEvaluation, dict[str, object]]:
    monkeypatch.setenv("TICKLOOM_STACK_DATA_DIR", str(tmp_path))
    result = dg.materialize([packed_captures], partition_key=KEY)
    (check,) = result.get_asset_check_evaluations()
    found = result.asset_materializations_for_node("packed_captures")[0].metadata
    return check, {name: value.value for name, value in found.items()}


def write(path: Path) -> None:
    with CaptureWriter(path) as writer:
        for index in range(100):
            writer.append(RecordKind.DATA, index, b"the same again" * 10)


def test_sound_sessions_are_packed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sessions of the day are packed; running it again packs nothing and still verifies them."""
    root = tmp_path / "capture" / "XNAS"
    for session in ("20261121.A", "20261121.B", "20261120.C"):
        write(root / session)
    check, metadata = run(tmp_path, monkeypatch)
    assert check.passed
    assert metadata["records"] == 200
    suffixes = {path.name: [file.suffix for file in segments(path)] for path in root.iterdir()}
    assert suffixes == {"20261121.A": [".tlcapz"], "20261121.B": [".tlcapz"], "20261120.C": [".tlcap"]}
    with CaptureReader(root / "20261121.A") as reader:
        assert sum(len(batch) for batch in reader.batches()) == 100
    check, metadata = run(tmp_path, monkeypatch)
    assert check.passed
    assert (metadata["records"], metadata["packed_now_mb"]) == (200, 0.0)


def test_damaged_session_is_named_and_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check fails with file and byte; the other session is packed all the same."""
    root = tmp_path / "capture" / "XNAS"
    for session in ("20261121.A", "20261121.B"):
        write(root / session)
    file = segments(root / "20261121.A")[0]
    raw = bytearray(file.read_bytes())
    raw[200] ^= 1
    file.write_bytes(raw)
    check, metadata = run(tmp_path, monkeypatch)
    assert not check.passed
    damaged = check.metadata["damaged"].value
    assert "000001.tlcap: the record at byte" in str(damaged)
    assert file.read_bytes() == bytes(raw)
    assert metadata["records"] == 100
