"""A Flink session cluster out of the ``apache-flink`` wheel: one JobManager, one TaskManager.

Both are launched as plain Java processes. Flink's start scripts would add what a launcher has to
know: the JVM's module flags (read from the wheel's own configuration), and the memory sizes, which
a TaskManager without the scripts must be told one by one (Flink documentation, "Set up TaskManager
Memory", detailed model).
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from pathlib import Path

from tickloom.errors import SetupError
from tickloom.settings import FlinkSettings
from tickloom.stack import artifacts
from tickloom.stack.service import HealthCheck, Service, http_answers, http_get

JOBMANAGER = "flink-jobmanager"
TASKMANAGER = "flink-taskmanager"
VERSION = "2.3.0"

FRAMEWORK_HEAP_MB = 128
FRAMEWORK_OFF_HEAP_MB = 128
TASK_OFF_HEAP_MB = 64  # the Kafka client's direct buffers
JVM_OVERHEAD_MB = 192
JOBMANAGER_OFF_HEAP_MB = 128
MODULE_FLAG = re.compile(r"--add-(?:opens|exports)=\S+")


def services(settings: FlinkSettings, data_dir: Path) -> tuple[Service, Service]:
    """JobManager and TaskManager, with their files in ``data_dir/flink``."""
    return jobmanager(settings, data_dir), taskmanager(settings, data_dir)


def jobmanager(settings: FlinkSettings, data_dir: Path) -> Service:
    """The JobManager, with the web UI."""
    directory = data_dir / "flink"
    memory = (
        f"-Xms{min(128, settings.jobmanager_heap_mb)}m",
        f"-Xmx{settings.jobmanager_heap_mb}m",
        f"-XX:MaxMetaspaceSize={settings.metaspace_mb}m",
        f"-XX:MaxDirectMemorySize={JOBMANAGER_OFF_HEAP_MB}m",
        "-XX:+UseSerialGC",
    )
    return Service(
        name=JOBMANAGER,
        argv=(
            *_java(directory, data_dir / "log" / f"{JOBMANAGER}.log", memory),
            "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
            "--configDir",
            str(directory / "conf"),
        ),
        health=http_answers(f"{settings.rest_url}/overview"),
        environment=_environment(directory),
        ports={
            "flink.rest_port": settings.rest_port,
            "flink.rpc_port": settings.rpc_port,
            "flink.blob_port": settings.blob_port,
        },
        prepare=lambda: prepare(settings, directory),
        address=settings.rest_url,
    )


def taskmanager(settings: FlinkSettings, data_dir: Path) -> Service:
    """The TaskManager. Healthy when the JobManager knows this very launch of it."""
    directory = data_dir / "flink"
    direct_mb = FRAMEWORK_OFF_HEAP_MB + TASK_OFF_HEAP_MB + settings.network_mb
    memory = (
        f"-Xms{min(256, settings.taskmanager_heap_mb)}m",
        f"-Xmx{settings.taskmanager_heap_mb}m",
        f"-XX:MaxMetaspaceSize={settings.metaspace_mb}m",
        f"-XX:MaxDirectMemorySize={direct_mb}m",
        "-XX:+UseG1GC",
    )
    return Service(
        name=TASKMANAGER,
        argv=(
            *_java(directory, data_dir / "log" / f"{TASKMANAGER}.log", memory),
            "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
            "--configDir",
            str(directory / "conf"),
            "-D",
            "taskmanager.resource-id=taskmanager-{attempt}",
        ),
        health=_registered(settings),
        depends_on=(JOBMANAGER,),
        environment={**_environment(directory), "PYTHONPATH": python_path(), "PATH": _path()},
        ports={
            "flink.taskmanager_rpc_port": settings.taskmanager_rpc_port,
            "flink.taskmanager_data_port": settings.taskmanager_data_port,
        },
        prepare=lambda: prepare(settings, directory),
    )


def prepare(settings: FlinkSettings, directory: Path) -> None:
    """Write the configuration directory."""
    for name in ("conf", "checkpoints", "savepoints", "tmp", "work"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    conf = configuration(settings, directory)
    # JSON scalars are YAML, and flat keys are accepted by Flink's parser
    text = "".join(f"{key}: {json.dumps(value)}\n" for key, value in conf.items())
    (directory / "conf" / "config.yaml").write_text(text)
    (directory / "conf" / "log4j.properties").write_text(LOG4J)


def configuration(settings: FlinkSettings, directory: Path) -> dict[str, str | int | float | bool]:
    """Flink's configuration, of both processes."""
    host, mb = settings.host, "{}m".format
    return {
        "jobmanager.rpc.address": host,
        "jobmanager.rpc.port": settings.rpc_port,
        "jobmanager.bind-host": host,
        "jobmanager.memory.heap.size": mb(settings.jobmanager_heap_mb),
        "jobmanager.memory.off-heap.size": mb(JOBMANAGER_OFF_HEAP_MB),
        "jobmanager.memory.jvm-metaspace.size": mb(settings.metaspace_mb),
        "rest.address": host,
        "rest.bind-address": host,
        "rest.port": settings.rest_port,
        "rest.bind-port": str(settings.rest_port),
        "blob.server.port": str(settings.blob_port),
        "web.submit.enable": False,  # no uploading of jars by whoever reaches the port
        "taskmanager.host": host,
        "taskmanager.bind-host": host,
        "taskmanager.rpc.port": str(settings.taskmanager_rpc_port),
        "taskmanager.data.port": settings.taskmanager_data_port,
        "taskmanager.numberOfTaskSlots": settings.slots,
        "taskmanager.cpu.cores": float(settings.slots),
        "taskmanager.memory.framework.heap.size": mb(FRAMEWORK_HEAP_MB),
        "taskmanager.memory.task.heap.size": mb(settings.taskmanager_heap_mb - FRAMEWORK_HEAP_MB),
        "taskmanager.memory.framework.off-heap.size": mb(FRAMEWORK_OFF_HEAP_MB),
        "taskmanager.memory.task.off-heap.size": mb(TASK_OFF_HEAP_MB),
        "taskmanager.memory.network.min": mb(settings.network_mb),
        "taskmanager.memory.network.max": mb(settings.network_mb),
        "taskmanager.memory.managed.size": mb(settings.managed_mb),
        "taskmanager.memory.jvm-metaspace.size": mb(settings.metaspace_mb),
        "taskmanager.memory.jvm-overhead.min": mb(JVM_OVERHEAD_MB),
        "taskmanager.memory.jvm-overhead.max": mb(JVM_OVERHEAD_MB),
        "parallelism.default": settings.parallelism,
        "heartbeat.interval": settings.heartbeat_interval_ms,
        "heartbeat.timeout": settings.heartbeat_timeout_ms,
        # the launcher brings a lost TaskManager back, so a job waits for it however often it takes
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": 2**31 - 1,
        "restart-strategy.fixed-delay.delay": f"{settings.restart_delay_ms} ms",
        "execution.checkpointing.interval": f"{settings.checkpoint_interval_ms} ms",
        "execution.checkpointing.dir": (directory / "checkpoints").as_uri(),
        "execution.checkpointing.savepoint-dir": (directory / "savepoints").as_uri(),
        "pipeline.auto-watermark-interval": f"{settings.watermark_interval_ms} ms",
        "web.refresh-interval": "500 ms",  # REST repeats itself for so long about a job; Flink's own is 3 s
        "metrics.fetcher.update-interval": "1 s",  # at most, when somebody asks; Flink's 10 s is no progress
        "io.tmp.dirs": str(directory / "tmp"),
        "process.working-dir": str(directory / "work"),
        "python.executable": sys.executable,
        "python.client.executable": sys.executable,
        "env.java.opts.all": " ".join(module_flags()),
    }


def flink_home() -> Path:
    """The directory of the ``pyflink`` package, which has the layout of a Flink distribution.

    Raises
    ------
    SetupError
        The ``apache-flink`` wheels are not installed.
    """
    spec = importlib.util.find_spec("pyflink")
    home = Path(spec.origin).parent if spec and spec.origin else None
    if home is None or not list((home / "lib").glob("flink-dist-*.jar")):
        raise SetupError("the Flink distribution (Python package apache-flink) is missing. Run `make setup`.")
    return home


def module_flags() -> tuple[str, ...]:
    """The ``--add-opens`` and ``--add-exports`` that this Flink needs on Java 17."""
    return tuple(MODULE_FLAG.findall((flink_home() / "conf" / "config.yaml").read_text()))


def classpath() -> tuple[Path, ...]:
    """The cluster's jars: the wheel's, PyFlink's operators, and our connectors. flink-dist goes last,
    as in Flink's own scripts, because it holds older copies of some classes."""
    home = flink_home()
    library = sorted(
        (home / "lib").glob("*.jar"), key=lambda jar: (jar.name.startswith("flink-dist"), jar.name)
    )
    python = sorted((home / "opt").glob("flink-python-*.jar"))
    return (*artifacts.jars("flink"), *python, *library)


def client_environment(heap_mb: int = 256) -> dict[str, str]:
    """What a PyFlink client needs in its environment before it starts its gateway JVM.

    PyFlink would otherwise run the ``java`` on the PATH, and does not know our connectors: the only
    variable by which it takes jars of others onto its class path is the one meant for Hadoop.
    """
    return {
        "JAVA_HOME": str(artifacts.java_home()),
        "FLINK_HOME": str(flink_home()),
        "HADOOP_CLASSPATH": ":".join(str(jar) for jar in artifacts.jars("flink")),
        "JVM_ARGS": f"-Xmx{heap_mb}m -XX:+UseSerialGC",
    }


def _java(directory: Path, log_file: Path, memory: tuple[str, ...]) -> tuple[str, ...]:
    return (
        str(artifacts.java()),
        *memory,
        "-XX:+ExitOnOutOfMemoryError",
        "-Djava.awt.headless=true",
        f"-Dlog.file={log_file}",  # lets the web UI show the log that the stack keeps
        f"-Dlog4j.configurationFile={(directory / 'conf' / 'log4j.properties').as_uri()}",
        *module_flags(),
        "-classpath",
        ":".join(str(jar) for jar in classpath()),
    )


def python_path() -> str:
    """``PYTHONPATH`` of a TaskManager: this environment's packages, and ours.

    Python that is loaded into the TaskManager's own process knows no virtual environment, and reads no
    ``.pth`` files, of which our own packages' installation is one.
    """
    packages = flink_home().parent
    return f"{packages}:{Path(__file__).resolve().parents[2]}"


def _path() -> str:
    """``PATH`` of a TaskManager: the Python that this environment was made of comes first.

    Python that is loaded into a process looks for its standard library beside the first ``python3`` on
    the PATH. One of another build there, and its compiled modules do not fit.
    """
    return os.pathsep.join((str(Path(sys.base_prefix) / "bin"), os.environ.get("PATH", os.defpath)))


def _environment(directory: Path) -> dict[str, str]:
    return {"FLINK_CONF_DIR": str(directory / "conf"), "FLINK_HOME": str(flink_home())}


def _registered(settings: FlinkSettings) -> HealthCheck:
    def check(attempt: int) -> str:
        url = f"{settings.rest_url}/taskmanagers"
        try:
            known = [entry["id"] for entry in json.loads(http_get(url))["taskmanagers"]]
        except (OSError, ValueError, KeyError) as error:
            return f"{url}: {error}"
        wanted = f"taskmanager-{attempt}"
        return "" if wanted in known else f"{wanted} is not registered at the JobManager"

    return check


LOG4J = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %-5p %c{1} %m%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
logger.pekko.name = org.apache.pekko
logger.pekko.level = warn
logger.kafka.name = org.apache.kafka
logger.kafka.level = warn
logger.python.name = PythonWorker
logger.python.level = all
"""
