"""Files on this machine: read whole where they changed, or followed line by line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.news.file import FileSource, FollowedFile
from ingest.news.http import FetchError
from ingest.news.sources import Source, load_sources
from tickloom.errors import SettingsError


def source(path: Path, stream: bool = False) -> Source:
    return Source("f", "", path, "jsonl" if stream else "rss", 1.0, stream)


def test_file_that_did_not_change_is_not_read(tmp_path: Path) -> None:
    """Size and time of change are its ETag."""
    path = tmp_path / "feed.xml"
    file = FileSource(source(path), 10)
    with pytest.raises(FetchError, match="file"):
        file.fetch(None)
    path.write_bytes(b"first")
    found = file.fetch(None)
    assert found is not None
    assert found.body == b"first"
    assert file.fetch(found.head) is None
    path.write_bytes(b"another")
    assert file.fetch(found.head) is not None
    path.write_bytes(b"12345678901")
    with pytest.raises(FetchError, match="too_large"):
        file.fetch(found.head)


def test_followed_file_that_grows_is_cut_and_replaced(tmp_path: Path) -> None:
    """Whole lines only, behind the last one that was captured; another file from its beginning."""
    path = tmp_path / "lines"
    path.write_bytes(b"one\ntwo\n\nthr")
    file = FollowedFile(source(path, True), 100, None)
    assert [one.body for one in file.lines(1)] == [b"one"]
    last = file.lines(9)
    assert [one.body for one in last] == [b"two"]
    with path.open("ab") as out:
        out.write(b"ee\n")
    again = FollowedFile(source(path, True), 100, last[-1].head)
    assert [one.body for one in again.lines(9)] == [b"three"]
    path.write_bytes(b"1\n")
    assert [one.body for one in again.lines(9)] == [b"1"]
    other = tmp_path / "other"
    other.write_bytes(b"a new file\n")
    other.rename(path)
    assert [one.body for one in again.lines(9)] == [b"a new file"]
    path.unlink()
    with pytest.raises(FetchError):
        again.lines(9)


@settings(deadline=None, max_examples=50)  # files are opened
@given(st.lists(st.binary(max_size=12), max_size=10), st.lists(st.integers(1, 20), max_size=10))
def test_lines_however_they_are_written(tmp_path_factory, pieces: list[bytes], counts: list[int]) -> None:  # type: ignore[no-untyped-def]
    """Pieces of any bytes, read in between: the lines of the whole, without empty ones and those too long."""
    path = tmp_path_factory.mktemp("followed") / "lines"
    path.touch()
    file, found = FollowedFile(source(path, True), 8, None), list[bytes]()
    for piece in pieces:
        with path.open("ab") as out:
            out.write(piece)
        found += [one.body for one in file.lines(counts.pop() if counts else 9)]
    for _ in range(200):
        found += [one.body for one in file.lines(3)]
    *whole, rest = b"".join(pieces).split(b"\n")
    assert found == [line for line in whole if line.strip() and len(line) <= 8]
    assert file.too_long == sum(len(line) > 8 for line in (*whole, rest))


def test_shipped_sources_and_wrong_ones(tmp_path: Path) -> None:
    """The file beside the strategies is read; each mistake is named with its source."""
    assert all(one.url.startswith("https://") for one in load_sources(Path("strategies/news.toml")))
    path = tmp_path / "news.toml"
    good = 'name = "a"\nurl = "https://x.example/"\nkind = "rss"\n'
    for text, why in [
        ("", r"write one \[\[sources\]\]"),
        ("[[sources]]\n" + good.replace("https", "ftp"), "one of http, https or file"),
        (
            "[[sources]]\n" + good.replace("https://x.example/", "file://host/etc"),
            "one of http, https or file",
        ),
        ("[[sources]]\n" + good.replace("rss", "pdf"), "kind 'pdf'"),
        ("[[sources]]\n" + good.replace('"a"', '"a b"'), "a name has letters"),
        ("[[sources]]\n" + good + "stream = true\n", "of jsonl alone"),
        ("[[sources]]\n" + good + "poll_s = 0\n", "poll_s 0"),
        ("[[sources]]\n" + good + "every = 0\n", "unknown key 'every'"),
        (("[[sources]]\n" + good) * 2, "two sources 'a'"),
        ("[[sources]]\n" + good.replace('url = "https://x.example/"\n', ""), "url ''; write one of http"),
        ('sources = ["a"]', r"'a' is no source: write \[\[sources\]\]"),
        ("# \udcff", "not UTF-8"),
    ]:
        path.write_text(text, errors="surrogateescape")
        with pytest.raises(SettingsError, match=why):
            load_sources(path)
    path.write_text("[[sources]]\n" + good.replace("https://x.example/", "file:///var/a%20b"))
    assert load_sources(path)[0].path == Path("/var/a b")
