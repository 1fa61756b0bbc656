"""A plain PyFlink job in, signals out: for what MATCH_RECOGNIZE cannot say.

A file ``strategies/jobs/NAME.py`` is a rule like any other: listed, checked, tested over tapes, submitted,
stopped and run over history by the same commands. Its docstring is its header, and it has one function::

    \"\"\"
    rule: order_flow
    version: 1
    venue: XNAS
    reads: quotes
    about: when it fires, in words.
    parameter: half_life interval 10s of the imbalance
    \"\"\"

    def build(context):
        quotes = context.stream("quotes")                     # DataStream API; or
        quotes = context.view("quotes")                       # Table API
        ...
        context.signals(rows)

``build`` is called once, where the job is submitted. What it gives to ``context.signals`` are rows with the
columns of :data:`COLUMNS`: a rule's six, and ``ts_event``, event time in ns of the last event that made the
signal. Identity, version and venue are added behind it. The rest of the contract is every rule's: nothing
may be NULL, and nothing may depend on a clock or on the order of arrival; ``streaming.live.in_order`` helps.

Functions are pickled by value, so a running job does not see later edits of its file. They run in Python
workers of the TaskManager, with this environment's interpreter and packages.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

from streaming.parameters import interval_ms
from streaming.rules import MATCH_TIME, Rule, values
from tickloom.errors import RuleError

#: Columns of the rows that a job gives, with their SQL types.
COLUMNS: tuple[tuple[str, str], ...] = (
    ("symbol", "STRING"),
    ("side", "STRING"),
    ("strength", "DOUBLE"),
    ("ref_price", "DOUBLE"),
    ("first_seq", "BIGINT"),
    ("last_seq", "BIGINT"),
    ("ts_event", "BIGINT"),
)
BUNDLE_MS_MAX = 10  # Flink's 1,000 ms would be most of a signal's latency
ROWS = "job_rows"  # prefix of the views over what a job gives
_CAUSE = re.compile(r"(?:Caused by: |: )?(?:[\w$]+\.)+[\w$]*(?:Exception|Error): (.+)$")
#: Calls whose answer is another one when history is run again.
_CLOCKS = (
    "time.time",
    "time.time_ns",
    "time.monotonic",
    "datetime.now",
    "datetime.utcnow",
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "random.random",
    "uuid.uuid4",
)


class JobContext:
    """What ``build`` gets.

    Attributes
    ----------
    rule : Rule
        The header, with the overrides of this run.
    parameters : dict
        Values by name: double as float, int as int, string as str, interval as ms (int).
    table_env : pyflink.table.StreamTableEnvironment
        For all else that PyFlink can do. Every view that ``reads`` names is a table in it.
    """

    def __init__(self, rule: Rule, table_env: Any) -> None:
        self.rule, self.table_env = rule, table_env
        self.parameters = typed_values(rule)
        self.selects: list[str] = []

    def view(self, name: str) -> Any:
        """A view of the ticks as a Table; ``event_time`` is its time attribute.

        Raises
        ------
        RuleError
            The header's ``reads`` does not name it.
        """
        if name not in self.rule.reads:
            line = self.rule.header_lines["reads"]
            raise RuleError(
                self.rule.file, line, f"build() reads {name!r}", f"add it to the line reads: ..., {name}"
            )
        return self.table_env.from_path(name)

    def stream(self, view: str, columns: Sequence[str] = ()) -> Any:
        """A view as a DataStream of Rows with named fields; each has its event time as its timestamp.

        ``columns``: what to keep besides ``symbol``, ``ts_event`` and ``seq``; all of them if there are
        none. Few are faster: every row is carried into a Python process.
        """
        table = self.view(view)
        if columns:
            from pyflink.table.expressions import col

            names = dict.fromkeys(("symbol", "ts_event", "seq", *columns, "event_time"))
            table = table.select(*(col(name) for name in names))
        return self.table_env.to_data_stream(table)

    @property
    def signal_type(self) -> Any:
        """Type of the rows that :meth:`signals` takes: a function's ``output_type``."""
        from pyflink.common import Types

        kinds = {"STRING": Types.STRING(), "DOUBLE": Types.DOUBLE(), "BIGINT": Types.LONG()}
        return Types.ROW_NAMED([name for name, _ in COLUMNS], [kinds[kind] for _, kind in COLUMNS])

    def signals(self, rows: Any) -> None:
        """Send rows to the topic of signals. May be called more than once.

        ``rows``: a Table with :data:`COLUMNS`, or a DataStream of :attr:`signal_type`.
        """
        from pyflink.datastream import DataStream
        from pyflink.table import Schema

        if isinstance(rows, DataStream):
            schema = Schema.new_builder()
            for name, kind in COLUMNS:
                schema = schema.column(name, kind)
            rows = self.table_env.from_data_stream(rows, schema.build())
        view = f"{ROWS}_{len(self.selects)}"
        self.table_env.create_temporary_view(view, rows)
        names = ", ".join(name for name, _ in COLUMNS)
        self.selects.append(
            f"SELECT {names}, TO_TIMESTAMP_LTZ(ts_event / 1000000, 3) AS {MATCH_TIME} FROM {view}"
        )


def typed_values(rule: Rule) -> dict[str, float | int | str]:
    """The value of each parameter in its own type; intervals in ms."""
    types: dict[str, Callable[[str], float | int | str]]
    types = {"double": float, "int": int, "string": str, "interval": interval_ms}
    return {name: types[rule.parameters[name].type](text) for name, text in values(rule, "").items()}


def selects(table_env: Any, rule: Rule) -> list[str]:
    """Build a job in ``table_env``, which has the views that it reads; a SELECT for each of its outputs.

    Raises
    ------
    RuleError
        The file cannot be loaded, ``build`` fails, or it gives no signals; with the line in the file.
    """
    from py4j.protocol import Py4JError
    from pyflink.util.exceptions import JavaException

    _use_this_python(table_env)
    context = JobContext(rule, table_env)
    try:
        build = getattr(_load(rule), "build", None)
        if build is None:
            raise RuleError(rule.file, 0, "it has no function build(context)", "see streaming/job.py")
        build(context)
    except RuleError:
        raise
    except Exception as error:
        line = _line_in(rule, error)
        from_java = isinstance(error, Py4JError | JavaException)
        reason = f"Flink: {_cause(str(error))}" if from_java else f"{type(error).__name__}: {error}"
        raise RuleError(rule.file, line, reason, "mend that line; it runs when the job is built") from error
    if not context.selects:
        raise RuleError(rule.file, 0, "build() gives no signals", "call context.signals(rows)")
    return context.selects


def _use_this_python(table_env: Any) -> None:
    """Workers run this interpreter, with its packages; rows do not wait long for others to go with them."""
    from pyflink.common import Configuration

    options = Configuration()
    options.set_string("python.executable", sys.executable)
    options.set_string("python.client.executable", sys.executable)
    options.set_string("python.fn-execution.bundle.time", str(BUNDLE_MS_MAX))
    table_env._j_tenv.execEnv().configure(options._j_configuration)


def findings(rule: Rule) -> Iterator[tuple[int, str, str]]:
    """Line, reason and fix of everything in a job's file that can be seen without running it."""
    from streaming.tables import VIEWS

    line = rule.header_lines["reads"]
    for view in rule.reads:
        if view not in VIEWS:
            yield line, f"there is no view {view!r}", f"reads: one or more of {', '.join(VIEWS)}"
    tree = ast.parse(rule.text)
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    if "build" not in functions:
        yield 1, "it has no function build(context)", "write one; streaming/job.py says what it may do"
    elif len(functions["build"].args.args) != 1:
        yield functions["build"].lineno, "build takes one argument, the context", "write def build(context):"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in _CLOCKS:
            yield (
                node.lineno,
                f"{ast.unparse(node.func)} is not the same live and over history",
                "use ts_event",
            )


def _load(rule: Rule) -> ModuleType:
    """The module of a job, new each time, its functions pickled by value."""
    import cloudpickle  # type: ignore[import-untyped]

    name = f"strategies.jobs.{rule.name}"
    spec = importlib.util.spec_from_file_location(name, rule.path)
    if spec is None or spec.loader is None:
        raise RuleError(rule.file, 0, "it cannot be loaded", "give it the ending .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    cloudpickle.register_pickle_by_value(module)
    return module


def _line_in(rule: Rule, error: BaseException) -> int:
    """The last line of the job's own file that an error passed through; 0 if none."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame.lineno for frame in frames if frame.filename == str(rule.path)]
    return (own[-1] or 0) if own else 0


def _cause(trace: str) -> str:
    """The innermost cause in what py4j, or PyFlink, makes of a Java exception."""
    causes = [found[1] for line in trace.splitlines() if (found := _CAUSE.match(line.strip()))]
    return (causes[-1] if causes else trace.splitlines()[0]).rstrip(".")
