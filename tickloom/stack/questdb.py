"""The QuestDB server, launched as a Java module on loopback.

It takes its configuration from ``QDB_*`` variables (QuestDB documentation, "Configuration"), which
override the ``server.conf`` that it writes into its directory.
"""

from __future__ import annotations

from pathlib import Path

from tickloom.settings import QuestDbSettings
from tickloom.stack import artifacts
from tickloom.stack.service import Service, both, http_answers, port_accepts

NAME = "questdb"
VERSION = "9.3.4"
NICENESS = 5  # no order waits for history; who writes it has the capture behind it


def service(settings: QuestDbSettings, data_dir: Path) -> Service:
    """QuestDB with its files in ``data_dir/questdb``."""
    directory = data_dir / "questdb"
    (jar,) = artifacts.jars("questdb")
    argv = (
        str(artifacts.java()),
        f"-Xms{min(64, settings.heap_mb)}m",
        f"-Xmx{settings.heap_mb}m",
        "-XX:+UseParallelGC",
        "-Dcontainerized=false",
        "-Dout=",  # no log file of its own: the console, which the stack keeps
        "-p",
        str(jar),
        "-m",
        "io.questdb/io.questdb.ServerMain",
        "-d",
        str(directory),
    )
    return Service(
        name=NAME,
        argv=argv,
        health=both(
            http_answers(f"http://{settings.host}:{settings.health_port}/"),
            http_answers(f"{settings.http_url}/exec?query=select%201"),
            port_accepts(settings.host, settings.pg_port),
        ),
        environment=environment(settings),
        ports={
            "questdb.http_port": settings.http_port,
            "questdb.pg_port": settings.pg_port,
            "questdb.health_port": settings.health_port,
        },
        prepare=lambda: directory.mkdir(parents=True, exist_ok=True),
        address=settings.http_url,
        niceness=NICENESS,
    )


def environment(settings: QuestDbSettings) -> dict[str, str]:
    """The server's configuration."""
    return {
        "QDB_TELEMETRY_ENABLED": "false",
        "QDB_TELEMETRY_DISABLE_COMPLETELY": "true",
        "QDB_HTTP_BIND_TO": f"{settings.host}:{settings.http_port}",
        "QDB_HTTP_MIN_NET_BIND_TO": f"{settings.host}:{settings.health_port}",
        "QDB_PG_NET_BIND_TO": f"{settings.host}:{settings.pg_port}",
        "QDB_PG_USER": settings.user,
        **_password(settings),
        # rows come by ILP over HTTP, which answers for what it took; the older listeners stay shut
        "QDB_LINE_TCP_ENABLED": "false",
        "QDB_LINE_UDP_ENABLED": "false",
        # a table or column made on the fly would have no DEDUP keys and a guessed type
        "QDB_LINE_AUTO_CREATE_NEW_TABLES": "false",
        "QDB_LINE_AUTO_CREATE_NEW_COLUMNS": "false",
        "QDB_HTTP_EXPORT_CONNECTION_LIMIT": "32",  # else as many as there are cores
        "QDB_METRICS_ENABLED": "true",
        "QDB_LOG_W_STDOUT_LEVEL": settings.log_levels,
        # 16 MB a column by default, of which a machine with dozens of tables does not have enough
        "QDB_CAIRO_WAL_WRITER_DATA_APPEND_PAGE_SIZE": "256K",
        "QDB_CAIRO_WRITER_DATA_APPEND_PAGE_SIZE": "1M",
        "QDB_CAIRO_O3_COLUMN_MEMORY_SIZE": "1M",
    }


def _password(settings: QuestDbSettings) -> dict[str, str]:
    if settings.password_file is None:
        return {"QDB_PG_PASSWORD": settings.password()}
    return {"QDB_PG_PASSWORD_FILE": str(settings.password_file.absolute())}
