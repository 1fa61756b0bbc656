"""Our table format ``tick-batch``, from its Java source to a jar that a job takes along.

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
SOURCE = Path(__file__).parent / "java" / "BatchFormat.java"
#: Columns that the format adds behind those of the wire; see SOURCE.
POISON_COLUMNS = ("poison", "poison_error")
_FACTORY = "tickloom.BatchFormat"
_SERVICE = "META-INF/services/org.apache.flink.table.factories.Factory"


@functools.cache
def jar(jvm: Any) -> Path:
    """The jar, compiled once a process; it goes when the process ends."""
    compiler = jvm.org.codehaus.janino.SimpleCompiler()
    compiler.setSourceVersion(8)  # a call of an interface's static method asks for it
    compiler.setTargetVersion(8)
    compiler.setParentClassLoader(jvm.Thread.currentThread().getContextClassLoader())
    compiler.cook(SOURCE.read_text())
    folder = tempfile.TemporaryDirectory(prefix="tickloom-java-")
    atexit.register(folder.cleanup)
    path = Path(folder.name) / "tick-batch.jar"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(_SERVICE, _FACTORY + "\n")
        for entry in compiler.getBytecodes().entrySet():
            archive.writestr(entry.getKey().replace(".", "/") + ".class", entry.getValue())
    return path
