"""The header of a rule file in, its entries out: ``key: value`` lines before the first empty line. Pure.

In an SQL file each line begins with ``--``; in a Python file they are the module's docstring. A line that
begins with more blanks goes on with the one above. ``streaming.rules`` says what the keys mean.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator, Mapping, Sequence

from streaming.parameters import TYPES, Parameter
from tickloom.errors import RuleError

REQUIRED = ("rule", "version", "about", "venue")
REPEATED = ("parameter", "set")
OPTIONAL = ("kind", "reads")
KEYS = (*REQUIRED, *OPTIONAL, *REPEATED)
NAME = re.compile(r"[a-z][a-z0-9_]*")

Entry = tuple[int, str, str]  # line, key, value


def of_sql(text: str, path: str) -> tuple[list[Entry], int]:
    """Each header entry, and the line with which the SELECT begins.

    Raises
    ------
    RuleError
        A line that is no entry, a key that is unknown or comes twice.
    """
    lines = text.split("\n")
    end = next((n for n, line in enumerate(lines) if not line.startswith("--") or not line[2:].strip()), None)
    body = len(lines) if end is None else end + 1
    content = ((number, line[2:]) for number, line in enumerate(lines[: body - 1], start=1))
    return _entries(content, path, "an empty line ends the header"), body


def of_python(text: str, path: str) -> list[Entry]:
    """Each header entry of a module's docstring.

    Raises
    ------
    RuleError
        As :func:`of_sql`; or it is no Python, or has no docstring.
    """
    try:
        body = ast.parse(text).body
    except SyntaxError as error:
        raise RuleError(path, error.lineno or 0, f"no Python: {error.msg}", "mend that line") from None
    first = body[0] if body else None
    value = first.value if isinstance(first, ast.Expr) else None
    if not isinstance(value, ast.Constant) or not isinstance(value.value, str):
        raise RuleError(
            path, 1, "the file does not open with a docstring", "write its header there: rule: ..."
        )
    return _entries(_of_docstring(value), path, "an empty line ends the header")


def _of_docstring(value: ast.Constant) -> Iterator[tuple[int, str]]:
    lines = str(value.value).split("\n")
    begins = next((n for n, line in enumerate(lines) if line.strip()), len(lines))
    for number, line in enumerate(lines[begins:], start=value.lineno + begins):
        if not line.strip():
            return
        yield number, f" {line}"


def _entries(lines: Iterator[tuple[int, str]], path: str, hint: str) -> list[Entry]:
    entries: list[Entry] = []
    for number, content in lines:
        if content.startswith("  ") and entries:
            at, key, value = entries[-1]
            entries[-1] = (at, key, f"{value} {content.strip()}")
            continue
        key, colon, value = content.partition(":")
        key = key.strip()
        if not colon or key not in KEYS:
            close = difflib.get_close_matches(key, KEYS, n=1)
            known = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(KEYS)}"
            raise RuleError(path, number, f"unknown header key {key!r}", f"{known} ({hint})")
        if key not in REPEATED and any(known_key == key for _, known_key, _ in entries):
            raise RuleError(path, number, f"a second {key!r}", "keep one of the two")
        entries.append((number, key, value.strip()))
    return entries


def parameters_of(entries: Sequence[Entry], path: str) -> dict[str, Parameter]:
    """The parameters that a header declares.

    Raises
    ------
    RuleError
        One is not complete, is there twice, or its default is not of its type.
    """
    found: dict[str, Parameter] = {}
    for line, key, value in entries:
        if key != "parameter":
            continue
        one = _parameter(path, line, value)
        if one.name in found:
            raise RuleError(path, line, f"a second parameter {one.name!r}", "give it another name")
        found[one.name] = one
    return found


def sets_of(
    entries: Sequence[Entry], path: str, parameters: Mapping[str, Parameter]
) -> dict[str, dict[str, str]]:
    """Name of each set to the values that it fixes.

    Raises
    ------
    RuleError
        A set is there twice, or gives a value that cannot be.
    """
    found: dict[str, dict[str, str]] = {}
    for line, key, value in entries:
        if key != "set":
            continue
        if path.endswith(".py"):
            raise RuleError(path, line, "a job has no sets", "loop over its calibrations in build()")
        name, fixed = _set(path, line, value, parameters)
        if name in found:
            raise RuleError(path, line, f"a second set {name!r}", "give it another name")
        found[name] = fixed
    return found


def _parameter(path: str, line: int, value: str) -> Parameter:
    parts = value.split(maxsplit=3)
    if len(parts) < 3:
        raise RuleError(
            path,
            line,
            f"parameter {value!r} is not complete",
            "write NAME TYPE DEFAULT TEXT; - for no default",
        )
    name, kind, default = parts[:3]
    if not NAME.fullmatch(name):
        raise RuleError(path, line, f"parameter name {name!r}", "small letters, digits and _")
    if kind not in TYPES:
        raise RuleError(
            path, line, f"parameter {name} has the unknown type {kind!r}", f"one of {', '.join(TYPES)}"
        )
    parameter = Parameter(name, kind, None if default == "-" else default, " ".join(parts[3:]), line)
    if parameter.default is not None:
        parameter.check(parameter.default, path)
    return parameter


def _set(path: str, line: int, value: str, parameters: Mapping[str, Parameter]) -> tuple[str, dict[str, str]]:
    name, *assignments = value.split()
    fixed: dict[str, str] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or key not in parameters:
            raise RuleError(
                path, line, f"set {name}: {assignment!r}", "write NAME parameter=value parameter=value"
            )
        parameters[key].check(text, path)
        fixed[key] = text
    return name, fixed
