"""What of a job is Java, from its source to a jar that the job takes along: the table format ``tick-batch``,
and what rows need before and behind Python operators.

There is no Java compiler in a JRE, but Flink compiles the code that it generates with one of its own,
Janino. So the source is compiled where a job is submitted, and cluster and client need nothing of it.
"""

from __future__ import annotations

import atexit
import functools
import tempfile
import zipfile
from pathlib import Path
from typing import Any

FORMAT = "tick-batch"
SOURCES = Path(__file__).parent / "java"
#: Columns that the format adds behind those of the wire; see BatchFormat.java.
POISON_COLUMNS = ("poison", "poison_error")
_FACTORY = "tickloom.BatchFormat"
_SERVICE = "META-INF/services/org.apache.flink.table.factories.Factory"


@functools.cache
def jar(jvm: Any) -> Path:
    """The jar, compiled once a process; it goes when the process ends."""
    folder = tempfile.TemporaryDirectory(prefix="tickloom-java-")
    atexit.register(folder.cleanup)
    path = Path(folder.name) / "tickloom.jar"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(_SERVICE, _FACTORY + "\n")
        for source in sorted(SOURCES.glob("*.java")):
            for name, code in _compiled(source, jvm).items():
                archive.writestr(name.replace(".", "/") + ".class", code)
    return path


def function(jvm: Any, name: str) -> Any:
    """A new ``tickloom.NAME``, of ``java/NAME.java``; the jar is among those of the thread's class loader."""
    loader = jvm.Thread.currentThread().getContextClassLoader()
    return jvm.Class.forName(f"tickloom.{name}", True, loader).newInstance()


def _compiled(source: Path, jvm: Any) -> dict[str, bytes]:
    compiler = jvm.org.codehaus.janino.SimpleCompiler()
    compiler.setSourceVersion(8)  # a call of an interface's static method asks for it
    compiler.setTargetVersion(8)
    compiler.setParentClassLoader(jvm.Thread.currentThread().getContextClassLoader())
    compiler.cook(source.read_text())
    return {entry.getKey(): entry.getValue() for entry in compiler.getBytecodes().entrySet()}
