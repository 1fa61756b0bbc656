"""A rule file in, a checked header and the SELECTs that Flink runs out.

A file ``strategies/rules/NAME.sql`` opens with a header, ends it with an empty line, and goes on with
one SELECT::

    -- rule: pair_spread
    -- version: 1
    -- venue: XNAS
    -- about: when it fires, in words;
    --   a line that begins with more blanks goes on with the one above
    -- parameter: deviation double - one standard deviation of the spread, dollars
    -- parameter: entry double 2.5 deviations at which it fires
    -- set: ALFA~BRVO leg_a=ALFA leg_b=BRVO deviation=0.20
    -- set: ECHO~FXTR leg_a=ECHO leg_b=FXTR deviation=0.20

A parameter has a name, a type (double, int, string, interval), a default (``-``: none) and a text; the
SELECT says ``:name``. An interval is a number and its unit: 250ms, 10s, 5min, 1h. Each ``set`` is one
more calibration: the SELECT runs once for each, in one job. The version is part of every signal's
identity: raise it with every change that may change a signal. A parameter that is overridden when the
rule is run becomes part of it too (:func:`version_of`). ``-- kind: absence`` says that the SELECT is over
ABSENCE (``streaming.absence``); without it, or with ``pattern``, over MATCH_RECOGNIZE.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from streaming import sqltext
from streaming.parameters import EXAMPLES, TYPES, Parameter
from tickloom.errors import RuleError, SettingsError

RULES_DIR = Path(__file__).resolve().parent.parent / "strategies" / "rules"
#: What a rule must select, in any order.
OUTPUT_COLUMNS = ("symbol", "side", "strength", "ref_price", "first_seq", "last_seq")
#: The measure that the harness adds: event time of a match's last row.
MATCH_TIME = "match_time"

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")
_REQUIRED = ("rule", "version", "about", "venue")
_REPEATED = ("parameter", "set")
_OPTIONAL = ("kind",)
_KEYS = (*_REQUIRED, *_OPTIONAL, *_REPEATED)
PATTERN, ABSENCE = KINDS = ("pattern", "absence")


@dataclass(slots=True)
class Rule:
    """A rule file.

    Attributes
    ----------
    sets : dict
        Name of a set to the parameters that it fixes; {"": {}} where the file has none.
    text : str
        The SELECT, with the header blanked out, so that its line numbers are the file's.
    kind : str
        Of :data:`KINDS`: what the SELECT is over.
    """

    path: Path
    name: str
    version: str
    about: str
    venue: str
    parameters: dict[str, Parameter]
    sets: dict[str, dict[str, str]]
    text: str
    header_lines: dict[str, int] = field(default_factory=dict)
    kind: str = PATTERN

    @property
    def file(self) -> str:
        """The path as messages show it: below the working directory where it is there."""
        try:
            return str(self.path.relative_to(Path.cwd()))
        except ValueError:
            return str(self.path)

    @property
    def job_name(self) -> str:
        """What Flink's web UI shows."""
        return f"rule: {self.name} v{self.version}"


def names(directory: Path = RULES_DIR) -> list[str]:
    """Names of all rules there are."""
    return sorted(path.stem for path in directory.glob("*.sql"))


def find(name: str, directory: Path = RULES_DIR) -> Rule:
    """Load a rule by its name, or by the path of its file.

    Raises
    ------
    RuleError
        There is no such rule, or its header is refused.
    """
    path = Path(name) if name.endswith(".sql") else directory / f"{name}.sql"
    if not path.exists():
        close = difflib.get_close_matches(name, names(directory), n=1)
        fix = (
            f"did you mean {close[0]!r}?" if close else f"known are: {', '.join(names(directory)) or 'none'}"
        )
        raise RuleError(str(path), 0, "there is no such rule", fix)
    return load(path)


def load(path: Path) -> Rule:
    """Read a rule file and check its header. The SELECT is the linter's.

    Raises
    ------
    RuleError
        With the line of the header that is refused.
    """
    return parse(path.read_text(), path)


def parse(text: str, path: Path) -> Rule:
    """A rule from its text; ``path`` is for messages, and its stem must be the rule's name."""
    shown = str(path)
    entries, body_line = _header(text, shown)
    single = {key: (line, value) for line, key, value in entries if key not in _REPEATED}
    for key in _REQUIRED:
        if not single.get(key, (0, ""))[1]:
            raise RuleError(shown, 1, f"the header has no {key!r}", f"add a line -- {key}: ...")
    name_line, name = single["rule"]
    if not _NAME.fullmatch(name) or name != path.stem:
        raise RuleError(shown, name_line, f"rule {name!r} in the file {path.name}", f"write {path.stem!r}")
    version_line, version = single["version"]
    if not _VERSION.fullmatch(version):
        raise RuleError(shown, version_line, f"version {version!r}", "write letters, digits, dots and dashes")
    kind_line, kind = single.get("kind", (0, PATTERN))
    if kind not in KINDS:
        raise RuleError(shown, kind_line, f"kind {kind!r}", f"one of {', '.join(KINDS)}")
    parameters: dict[str, Parameter] = {}
    for line, key, value in entries:
        if key == "parameter":
            one = _parameter(shown, line, value)
            if one.name in parameters:
                raise RuleError(shown, line, f"a second parameter {one.name!r}", "give it another name")
            parameters[one.name] = one
    sets: dict[str, dict[str, str]] = {}
    for line, key, value in entries:
        if key == "set":
            set_name, fixed = _set(shown, line, value, parameters)
            if set_name in sets:
                raise RuleError(shown, line, f"a second set {set_name!r}", "give it another name")
            sets[set_name] = fixed
    lines = text.split("\n")
    body = "\n" * (body_line - 1) + "\n".join(lines[body_line - 1 :])
    lines_by_key = {key: line for key, (line, _) in single.items()}
    return Rule(
        path,
        name,
        version,
        single["about"][1],
        single["venue"][1],
        parameters,
        sets or {"": {}},
        body,
        lines_by_key,
        kind,
    )


def _header(text: str, path: str) -> tuple[list[tuple[int, str, str]], int]:
    """(line, key, value) of each header entry, and the line with which the SELECT begins."""
    entries: list[tuple[int, str, str]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.startswith("--") or not line[2:].strip():
            return entries, number
        content = line[2:]
        if content.startswith("  ") and entries:
            at, key, value = entries[-1]
            entries[-1] = (at, key, f"{value} {content.strip()}")
            continue
        key, colon, value = content.partition(":")
        key = key.strip()
        if not colon or key not in _KEYS:
            close = difflib.get_close_matches(key, _KEYS, n=1)
            known = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(_KEYS)}"
            raise RuleError(
                path, number, f"unknown header key {key!r}", f"{known} (an empty line ends the header)"
            )
        if key not in _REPEATED and any(known_key == key for _, known_key, _ in entries):
            raise RuleError(path, number, f"a second {key!r}", "keep one of the two")
        entries.append((number, key, value.strip()))
    return entries, text.count("\n") + 1


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
    if not _NAME.fullmatch(name):
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


#: Parameters given at submit: ``{"entry": "3"}`` for all sets, ``{"ALFA~BRVO.entry": "3"}`` for one.
Overrides = Mapping[str, str | float]


def values(rule: Rule, set_name: str, overrides: Overrides | None = None) -> dict[str, str]:
    """Value of each parameter in a set, as it is written: override, else the set's, else the default.

    Raises
    ------
    SettingsError
        An override that the rule does not know, or that is no value of the parameter's type.
    RuleError
        A parameter without a value.
    """
    given = _checked(rule, overrides or {})
    found: dict[str, str] = {}
    for key, parameter in rule.parameters.items():
        value = given.get(f"{set_name}.{key}", given.get(key, _of_file(rule, set_name, parameter)))
        if value is None:
            where = f"set {set_name}" if set_name else "no set"
            raise RuleError(
                rule.file,
                parameter.line,
                f"parameter {key} has no value ({where})",
                f"give it a default, or --param {key}=...",
            )
        found[key] = value
    return found


def _of_file(rule: Rule, set_name: str, parameter: Parameter) -> str | None:
    return rule.sets[set_name].get(parameter.name, parameter.default)


def _checked(rule: Rule, overrides: Overrides) -> dict[str, str]:
    """Overrides as texts, each of a parameter that there is, and of its type."""
    known = {
        **rule.parameters,
        **{f"{name}.{key}": one for name in rule.sets if name for key, one in rule.parameters.items()},
    }
    for key, value in overrides.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = (
                f"did you mean {close[0]!r}?" if close else f"it has {', '.join(rule.parameters) or 'none'}."
            )
            raise SettingsError(f"rule {rule.name} has no parameter {key!r}; {hint}")
        try:
            known[key].canonical(value)
        except ValueError:
            raise SettingsError(
                f"rule {rule.name}: {known[key].refusal(value)}; write {EXAMPLES[known[key].type]}."
            ) from None
    return {key: str(value) for key, value in overrides.items()}


def version_of(rule: Rule, overrides: Overrides | None = None) -> str:
    """The version that a rule's signals carry: the file's, and what overrides make of it.

    An override that changes a value, in whatever way both are written, adds ``+`` and eight hex digits
    of a hash over all values that differ from the file's. So signals of other parameters have other
    ids, and ``2.50`` for ``2.5`` is no other parameter.

    Raises
    ------
    SettingsError, RuleError
        As :func:`values`.
    """
    changed = []
    for set_name in sorted(rule.sets):
        for key, value in sorted(values(rule, set_name, overrides).items()):
            parameter = rule.parameters[key]
            before = _of_file(rule, set_name, parameter)
            after = parameter.check(value, rule.file)
            if before is None or parameter.check(before, rule.file) != after:
                changed.append((set_name, key, after))
    if not changed:
        return rule.version
    return f"{rule.version}+{hashlib.sha256(json.dumps(changed).encode()).hexdigest()[:8]}"


def bind(rule: Rule, overrides: Overrides | None = None) -> Rule:
    """The rule with its overrides built in: canonical values in its sets, and :func:`version_of` them.

    Overriding the bound rule once more with the same values changes nothing.
    """
    bound = {
        name: {
            key: rule.parameters[key].check(value, rule.file)
            for key, value in values(rule, name, overrides).items()
        }
        for name in rule.sets
    }
    return replace(rule, version=version_of(rule, overrides), sets=bound)


def render(rule: Rule, overrides: Overrides | None = None) -> list[str]:
    """One SELECT a set: parameters as literals, and :data:`MATCH_TIME` added as measure and output.

    Line numbers stay those of the file, so that Flink's messages point into it.
    """
    query = sqltext.parse(rule.text, rule.file)
    measures = query.match.clauses["MEASURES"].tokens[-1]
    added = [
        (query.select_items[-1][-1].end, query.select_items[-1][-1].end, f", {MATCH_TIME}"),
        (measures.end, measures.end, f", MATCH_ROWTIME() AS {MATCH_TIME}"),
    ]
    rendered = []
    for set_name in rule.sets:
        chosen = values(rule, set_name, overrides)
        edits = list(added)
        for token in query.tokens:
            if token.kind == "parameter":
                name = token.text[1:]
                if name not in chosen:
                    raise RuleError(
                        rule.file, token.line, f"unknown parameter :{name}", "declare it in the header"
                    )
                edits.append((token.start, token.end, rule.parameters[name].literal(chosen[name], rule.file)))
        text = rule.text
        for start, end, new in sorted(edits, reverse=True):
            text = text[:start] + new + text[end:]
        rendered.append(text.rstrip().rstrip(";"))
    return rendered
