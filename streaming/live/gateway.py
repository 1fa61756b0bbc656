"""The JVM through which PyFlink talks to Flink: which java and jars it has, and its errors as ours.

It is started at first use, serves all later ones of this process, and ends with it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from streaming.live import java_format
from tickloom.errors import ServiceError, SetupError, TickloomError
from tickloom.settings import FlinkSettings, StackSettings

_AT = re.compile(r"line ([1-9]\d*), column")  # inside MATCH_RECOGNIZE Flink may say "From line 0 to line 15"
_CAUSE = re.compile(r"^(?:Caused by: )?(?:[\w$]+\.)+[\w$]*(?:Exception|Error): (.*)$")
_CONNECTION = ("Connection refused", "Could not connect", "Connection reset", "UnknownHost")

#: Of every job. Flink 2.3 takes two parts of a plan for the same if they differ only in WITHIN, which their
#: digest leaves out, and would give a rule's sets the limit of one of them.
PLANNER_OPTIONS = {"table.optimizer.reuse-sub-plan-enabled": "false"}


@contextmanager
def shared_parts(table_env: Any) -> Iterator[None]:
    """Equal parts of what is planned inside are planned once, as a reading of a topic should be; for what
    has no two MATCH_RECOGNIZE."""
    (option,) = PLANNER_OPTIONS
    configuration = table_env.get_config()
    before = configuration.get(option, "")
    configuration.set(option, "true")
    try:
        yield
    finally:
        configuration.set(option, before)


def table_environment(flink: FlinkSettings, options: Mapping[str, str]) -> Any:
    """A table environment whose jobs go to the session cluster, and know the format of tick batches."""
    prepare_jvm()
    from pyflink.common import Configuration
    from pyflink.datastream import StreamExecutionEnvironment
    from pyflink.java_gateway import get_gateway
    from pyflink.table import StreamTableEnvironment
    from pyflink.util.java_utils import add_jars_to_context_class_loader, to_jarray

    configuration = Configuration()
    for key, value in {**PLANNER_OPTIONS, **options}.items():
        configuration.set_string(key, value)
    jvm = get_gateway().jvm
    jar = java_format.jar(jvm)
    add_jars_to_context_class_loader([jar.as_uri()])  # for the planner; the job takes it along
    # get_execution_environment() is local whatever the configuration says: PyFlink leaves it to `flink run`
    remote = jvm.org.apache.flink.streaming.api.environment.RemoteStreamEnvironment(
        flink.host, flink.rest_port, configuration._j_configuration, to_jarray(jvm.String, [str(jar)])
    )
    return StreamTableEnvironment.create(StreamExecutionEnvironment(remote))


def prepare_jvm() -> None:
    """Tell PyFlink which java, which jars, and where its log goes."""
    from tickloom.stack import flink as flink_stack

    os.environ.update(flink_stack.client_environment())
    # it plans a few queries and ends: compiling itself well would take longer than it lives
    os.environ["JVM_ARGS"] += " -XX:TieredStopAtLevel=1"
    log_dir = StackSettings.load().data_dir.absolute() / "log"
    try:
        log_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            f"{log_dir}: {error.strerror}. Set stack.data_dir to where logs may be written."
        ) from None
    os.environ["FLINK_LOG_DIR"] = str(log_dir)  # else it logs into site-packages
    os.environ["FLINK_IDENT_STRING"] = "rules"


@contextmanager
def flink_errors(flink: FlinkSettings, refused: Callable[[int, str], TickloomError]) -> Iterator[None]:
    """Turn a Java exception into one of ours.

    Parameters
    ----------
    refused : callable
        Makes the error of what Flink did not take from the line that it names (0: none) and its reason.
    """
    from py4j.protocol import Py4JError
    from pyflink.util.exceptions import JavaException

    try:
        yield
    except (Py4JError, JavaException) as error:
        text = str(error)
        if any(sign in text for sign in _CONNECTION):
            raise ServiceError(
                f"Flink at {flink.rest_url} does not answer. Is it up? See `tickloom status`."
            ) from error
        raise refused(*_reason(text)) from error


def _reason(text: str) -> tuple[int, str]:
    """Line and innermost cause of a Java stack trace."""
    causes = [found[1] for line in text.splitlines() if (found := _CAUSE.match(line.strip()))]
    telling = [cause for cause in causes if cause.strip()]
    reason = telling[-1] if telling else text.splitlines()[0]
    at = next((found for cause in reversed(telling) if (found := _AT.search(cause))), None)
    return (int(at[1]) if at else 0), reason.strip().rstrip(".")
