"""Jars: what the lock says and nothing else gets into the cache, and a full cache needs no network."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tickloom.errors import SetupError
from tickloom.stack import artifacts
from tickloom.stack.artifacts import Jar, fetch, read_lock, unusable

CONTENT = b"PK\x03\x04 not much of a jar"


class Counting(http.server.SimpleHTTPRequestHandler):
    """A Maven repository on loopback that counts what it is asked for."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """Address, directory and requests of a local Maven repository."""
    root, asked = tmp_path / "repository", list[str]()
    root.mkdir()
    handler = type("Handler", (Counting,), {"asked": asked})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", root, asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def jar(repository: tuple[str, Path, list[str]]) -> Jar:
    """A jar in the repository, as a lock describes it."""
    jar = Jar("group", "org.example.deep:thing:1.0-x", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
    path = repository[1] / "org/example/deep/thing/1.0-x/thing-1.0-x.jar"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    return jar


def test_second_run_asks_nobody(repository: tuple[str, Path, list[str]], jar: Jar, tmp_path: Path) -> None:
    """The first run downloads and reports progress up to the last byte; the second makes no request."""
    address, _, asked = repository
    seen: list[tuple[str, int, int]] = []
    cache = tmp_path / "cache"
    assert fetch([jar], cache, repository=address, progress=lambda *state: seen.append(state)) == 1
    assert (cache / "org/example/deep/thing/1.0-x/thing-1.0-x.jar").read_bytes() == CONTENT
    assert seen[-1] == ("thing-1.0-x.jar", len(CONTENT), len(CONTENT))
    asked.clear()
    assert fetch([jar], cache, repository=address) == 0
    assert asked == []


def test_wrong_checksum_is_refused(repository: tuple[str, Path, list[str]], jar: Jar, tmp_path: Path) -> None:
    """A jar that is not what the lock says does not get into the cache; the error names both digests."""
    wanted = dataclasses.replace(jar, sha256="0" * 64)
    with pytest.raises(SetupError, match=r"deep:thing:1\.0-x: SHA-256 is .* the lock says 0000"):
        fetch([wanted], tmp_path / "cache", repository=repository[0])
    assert list((tmp_path / "cache").rglob("*.jar")) == []


def test_damaged_jar_is_fetched_again(
    repository: tuple[str, Path, list[str]], jar: Jar, tmp_path: Path
) -> None:
    """A jar cut short or altered in the cache is found by its digest, and replaced."""
    cache = tmp_path / "cache"
    fetch([jar], cache, repository=repository[0])
    (cache / jar.path).write_bytes(CONTENT[::-1])
    assert unusable([jar], cache) == [(jar, "damaged")]
    assert fetch([jar], cache, repository=repository[0]) == 1
    assert unusable([jar], cache) == []


def test_unreachable_repository_says_what_to_do(jar: Jar, tmp_path: Path, free_port: int) -> None:
    """Without a network the error names the coordinate and what to check."""
    with pytest.raises(SetupError, match=r"thing:1\.0-x cannot be downloaded.*Check the network"):
        fetch([jar], tmp_path / "cache", repository=f"http://127.0.0.1:{free_port}")


def test_unwritable_cache_says_what_to_do(jar: Jar, tmp_path: Path) -> None:
    """A cache directory that cannot be made is named, with the variable that moves it."""
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match="XDG_CACHE_HOME"):
        fetch([jar], tmp_path / "file" / "cache")


def test_missing_jars_point_to_setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A launch without set-up says which jars of which group are missing, and the command to run."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(SetupError, match=r"of kafka are not in .*Run `tickloom setup`"):
        artifacts.jars("kafka")


def test_broken_lock_is_refused(tmp_path: Path) -> None:
    """A lock with a field missing is refused, with how to make it anew."""
    path = tmp_path / "jars.lock"
    path.write_text('[kafka]\n"a:b:1" = { sha256 = "00" }\n')
    with pytest.raises(SetupError, match=r"python -m tickloom\.stack\.artifacts"):
        read_lock(path)


def test_lock_holds_every_root_at_its_version() -> None:
    """What the stack declares is in the lock, with a whole SHA-256; Kafka's parts agree on a version."""
    lock = read_lock()
    locked = {jar.coordinate for jar in lock}
    assert {root for roots, _ in artifacts.ROOTS.values() for root in roots} <= locked
    assert all(len(bytes.fromhex(jar.sha256)) == 32 and jar.size_bytes > 0 for jar in lock)
    kafka = {coordinate.split(":")[2] for coordinate in locked if coordinate.startswith("org.apache.kafka:")}
    assert kafka == {"4.2.1"}
    log4j = {coordinate.split(":")[2] for coordinate in locked if "logging.log4j" in coordinate}
    assert len(log4j) == 1


def test_setup_with_a_full_cache_works_without_a_network() -> None:
    """`tickloom setup` succeeds where every connection to the outside fails, and looks for no java."""
    nowhere = {f"{scheme}_proxy": "http://127.0.0.1:9" for scheme in ("http", "https", "all")}
    done = subprocess.run(
        [sys.executable, "-m", "tickloom", "setup"],
        env={**os.environ, **nowhere, "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "all there" in done.stdout
