"""Files of Databento's: to a capture, once, of their own day, as far as they are whole."""

from __future__ import annotations

import gzip
import json
from datetime import date
from pathlib import Path

import databento_dbn as dbn
import pytest
import zstandard
from typer.testing import CliRunner

from ingest.bulk.load import Options, open_source
from ingest.bulk.tables import TableOptions
from ingest.feeds import decoder_for, is_dbn, load_file
from ingest.pipeline import count_events
from ingest.trace import find
from tests.ingest.dbn.test_decoder import DAY, trade
from tests.ingest.dbn_naive import encoded
from tickloom.cli.ingest import app
from tickloom.errors import CaptureError, DecodeError, FeedError

PLAIN = encoded([trade(size=n + 1) for n in range(5_000)], "trades")


def test_plain_and_compressed_are_the_same(tmp_path: Path) -> None:
    """The same session with the same events; the day is the file's own; a second load is refused."""
    found = []
    half = len(PLAIN) // 2
    frames = [zstandard.compress(PLAIN[:half]), zstandard.compress(PLAIN[half:])]
    for number, raw in enumerate((PLAIN, gzip.compress(PLAIN), zstandard.compress(PLAIN), b"".join(frames))):
        path = tmp_path / f"file{number}"
        path.write_bytes(raw)
        loaded = load_file(path, tmp_path / str(number), "XNAS", DAY if number else None)
        decoder = decoder_for("XNAS", loaded.session)
        counts = count_events(loaded.path, decoder)
        found.append((loaded.session, loaded.messages, loaded.damage, counts["trades"]))
        with pytest.raises(CaptureError, match="holds a capture already"):
            load_file(path, tmp_path / str(number), "XNAS", DAY)
    assert found[0][0].startswith("20261120.DBN.TRADES.")
    assert found[0][1:] == (5_000, "", {"7": 5_000})
    assert found == [found[0]] * 4
    with pytest.raises(CaptureError, match="of feed dbn counts"):
        find(tmp_path / "0", "XNAS", found[0][0], [1])


@pytest.mark.parametrize("cut", [1, 47, 96])
def test_cut_off_file_gives_what_is_whole(tmp_path: Path, cut: int) -> None:
    """What is behind the last whole record is damage, and said."""
    path = tmp_path / "file"
    path.write_bytes(PLAIN[:-cut])
    loaded = load_file(path, tmp_path, "XNAS", DAY)
    assert loaded.messages == 5_000 - (cut + 47) // 48
    assert ("ends inside a record" in loaded.damage) == (cut != 96)
    path.write_bytes(zstandard.compress(PLAIN)[:-30])
    assert "cannot be read on" in load_file(path, tmp_path / "z", "XNAS", DAY).damage


def test_length_that_cannot_be(tmp_path: Path) -> None:
    """The records before it are loaded."""
    path = tmp_path / "file"
    path.write_bytes(PLAIN[:-48] + bytes(48))
    loaded = load_file(path, tmp_path, "XNAS", DAY)
    assert loaded.messages == 4_999
    assert "behind record 4,999: a record's length cannot be" in loaded.damage


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    """Another day, no records, half a head: said, and nothing is captured."""
    path = tmp_path / "file"
    path.write_bytes(PLAIN)
    with pytest.raises(DecodeError, match=r"begins on 2026-11-20 \(UTC\), not on 2026-11-21; give that date"):
        load_file(path, tmp_path, "XNAS", date(2026, 11, 21))
    path.write_bytes(encoded([], "trades"))
    with pytest.raises(DecodeError, match="no whole record behind the metadata"):
        load_file(path, tmp_path, "XNAS", DAY)
    path.write_bytes(PLAIN[:50])
    with pytest.raises(DecodeError, match="ends inside its metadata"):
        load_file(path, tmp_path, "XNAS", DAY)
    with pytest.raises(DecodeError, match="give a file that can be read"):
        load_file(tmp_path / "none", tmp_path, "XNAS", DAY)
    assert not (tmp_path / "capture").exists()
    assert dbn.DBN_VERSION == 3  # a newer one brings new layouts


def test_file_command_takes_the_venue_of_the_dataset(tmp_path: Path) -> None:
    """Without --venue a file of Nasdaq's is XNAS's, and one of CME's is not taken for that."""
    path = tmp_path / "file"
    for dataset, venue in (("XNAS.ITCH", "XNAS"), ("GLBX.MDP3", "XCME")):
        path.write_bytes(PLAIN.replace(b"XNAS.ITCH", dataset.encode()))
        done = CliRunner().invoke(app, ["file", str(path), "--data-dir", str(tmp_path)])
        assert json.loads(done.stdout)["venue"] == venue
        assert (tmp_path / "capture" / venue).exists()


def test_damaged_zstd_is_a_typed_error(tmp_path: Path) -> None:
    """What cannot be decompressed at all is refused as any file that cannot be read."""
    path = tmp_path / "file"
    path.write_bytes(zstandard.compress(PLAIN)[:4] + b"\xff" * 40)
    assert not is_dbn(path)
    with pytest.raises(DecodeError, match="cannot be read on"):
        load_file(path, tmp_path, "XNAS", DAY)
    with pytest.raises(FeedError, match="cannot be read on"):
        open_source(path, Options(rejects=tmp_path, venue="XNAS", table=TableOptions(day=DAY))).run(print)
