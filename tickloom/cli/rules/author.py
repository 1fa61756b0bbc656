"""``tickloom rules list | new | check | test | explain``: a rule while it is written; needs no server."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from tickloom.cli.rules import Name, Params, app, console, overrides_of
from tickloom.errors import RuleError, SettingsError, TapeError

if TYPE_CHECKING:
    from streaming.authoring.cases import Case, Engine, Result
    from streaming.rules import Rule


class TapeEngine(StrEnum):
    """What runs a rule over its tapes."""

    compiled = "compiled"
    flink = "flink"


@app.command("list")
def list_rules() -> None:
    """The rules there are, and when each fires."""
    from streaming import rules

    table = Table("rule", "version", "venue", "fires when", box=None)
    for name in rules.names():
        rule = rules.find(name)
        table.add_row(rule.name, rule.version, rule.venue, rule.about.split(". ")[0])
    console.print(table)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Small letters, digits and _.")],
    directory: Annotated[
        Path | None, typer.Option("--in", help="Where; without, with the other rules.")
    ] = None,
) -> None:
    """Write a new rule with a tape beside it: a commented template that passes check and test."""
    from streaming import rules
    from streaming.authoring import template
    from streaming.authoring.cells import shown
    from tickloom.settings import ExecutionSettings

    about = ("the rule: edit it", "a tape, events by hand", "the signals it must give over them")
    written = template.write_rule(name, directory or rules.RULES_DIR)
    table = Table("written", "", box=None)
    for path, text in zip(written, about, strict=True):
        table.add_row(shown(path), text)
    limits = ExecutionSettings.load().limits_file
    if directory is None and template.add_limits(name, limits):
        table.add_row(str(limits), "its limits, commented out: until you choose them it does not trade")
    console.print(table)
    console.print()
    called = name if directory is None else shown(written[0])
    table = Table("next", "", box=None)
    for command, text in (
        (f"check {called}", "the linter and Flink's planner"),
        (f"test {called}", "over its tapes"),
        (f"explain {called} --svg {name}.svg", "what it reads and holds, and its pattern as a picture"),
        (f"submit {called}", "live"),
    ):
        table.add_row(f"tickloom rules {command}", text)
    console.print(table)


@app.command()
def check(name: Name, param: Params = None) -> None:
    """Lint a rule, then have Flink plan it; says the line, the reason and the fix."""
    from streaming import rules
    from streaming.authoring import linter
    from streaming.live import jobs
    from tickloom.instruments import Registry
    from tickloom.settings import FlinkSettings, KafkaSettings

    rule = rules.bind(rules.find(name), overrides_of(param))
    for finding in [*linter.check_registered(rule, Registry.load().venues), *linter.lint(rule)]:
        print(f"{rule.file}:{finding.line}: {finding.severity}: {finding.reason}. Fix: {finding.fix}")
    linter.check(rule)
    jobs.explain(rule, FlinkSettings.load(), KafkaSettings.load())
    console.print(f"{rule.name} v{rule.version}: the linter and Flink accept it")


@app.command("test")
def run_tapes(
    name: Annotated[str, typer.Argument(help="Name of a rule, or path of its file; without: all.")] = "",
    engine: Annotated[TapeEngine, typer.Option(help="Flink takes seconds a tape, and a running stack.")] = (
        TapeEngine.compiled
    ),
    update: Annotated[bool, typer.Option(help="Write what was found as what is expected.")] = False,
) -> None:
    """Run a rule over its tapes, small files of events beside it, and compare with the expected signals."""
    from streaming import rules
    from streaming.authoring import cases

    wanted = [rules.find(one) for one in ([name] if name else rules.names())]
    run = _engine(engine)
    table = Table("rule", "tape", box=None)
    for column in ("events", "signals"):
        table.add_column(column, justify="right")
    table.add_column("result")
    failed: list[Result] = []
    refused: list[RuleError] = []
    for rule in wanted:
        if not name and engine is TapeEngine.compiled and rule.kind == rules.JOB:
            table.add_row(rule.name, "-", "", "", "[yellow]not run[/]: a PyFlink job; --engine flink runs it")
            continue
        try:
            found = cases.find(rule)
            if not found:
                _without_tapes(rule, alone=bool(name))
                table.add_row(rule.name, "-", "", "", "[yellow]no tapes[/]")
            for case in found:
                result = cases.run(rule, case, run)
                table.add_row(*_summary(rule, case, result))
                failed.extend([] if result.passed else [result])
        except RuleError as error:
            if name:
                raise
            refused.append(error)
            table.add_row(rule.name, "-", "", "", "[red]refused[/]")
    console.print(table)
    for result in failed:
        _show_differences(result)
        if update:
            console.print(f"  written: {cases.accept(result)}")
    for refusal in refused:
        console.print(f"\n{refusal}", markup=False)
    if refused or (failed and not update):
        raise typer.Exit(1)


def _engine(engine: TapeEngine) -> Engine:
    from streaming.authoring import cases
    from tickloom.settings import FlinkSettings, KafkaSettings

    if engine is TapeEngine.compiled:
        return cases.compiled
    return cases.on_flink(FlinkSettings.load(), KafkaSettings.load())


def _without_tapes(rule: Rule, *, alone: bool) -> None:
    from streaming.authoring import cases
    from streaming.authoring.cells import shown

    if alone:
        raise TapeError(
            shown(cases.directory(rule)),
            0,
            f"rule {rule.name} has no tapes",
            "write a CASE.csv there; streaming/authoring/tapes.py describes it, the other rules have some",
        )


def _summary(rule: Rule, case: Case, result: Result) -> tuple[str, ...]:
    if result.passed:
        verdict = "[green]passed[/]"
    elif case.expectation is None:
        verdict = "[red]failed[/]: nothing is expected of it yet"
    else:
        verdict = f"[red]failed[/]: {len(result.differences)} of its signals"
    return rule.name, case.name, f"{len(case.tape.seq_of_row):,}", f"{len(result.found):,}", verdict


def _show_differences(result: Result) -> None:
    from streaming.authoring.cells import shown
    from streaming.authoring.tapes import figure

    case = result.case
    console.print(f"\n[bold]{shown(case.tape.path)}[/]")
    if case.expectation is None:
        console.print(f"  there is no {case.expectation_path.name}; --update writes it from what was found:")
    table = Table("", "symbol", "side", box=None, padding=(0, 1, 0, 1))
    for column in ("strength", "ref_price", "rows"):
        table.add_column(column, justify="right")
    table.add_column("")
    colours = {"missing": "red", "extra": "yellow", "different": "magenta"}
    for one in result.differences:
        signal = one.signal
        where = f"{case.expectation_path.name}:{signal.line}" if signal.line else ""
        table.add_row(
            f"[{colours[one.kind]}]{one.kind}[/]",
            signal.symbol,
            signal.side,
            *("" if value is None else figure(value) for value in (signal.strength, signal.ref_price)),
            f"{signal.first_row} to {signal.last_row}",
            "  ".join(text for text in (one.note, where) if text),
        )
    console.print(table)


@app.command("explain")
def explain_rule(
    name: Name,
    param: Params = None,
    svg: Annotated[
        Path | None, typer.Option(help="File for a picture of the pattern as an automaton.")
    ] = None,
    plan: Annotated[bool, typer.Option(help="Also Flink's plan, which takes some seconds.")] = True,
) -> None:
    """What a rule reads, with which parameters, what it holds in memory, its picture, and Flink's plan."""
    from streaming import engines, rules
    from streaming.authoring import explain, linter
    from streaming.live import jobs
    from tickloom.settings import FlinkSettings, KafkaSettings

    rule = rules.bind(rules.find(name), overrides_of(param))
    linter.check(rule)
    console.print(f"[bold]{rule.name} v{rule.version}[/] on {rule.venue}")
    console.print(f"{rule.about}\n", markup=False)
    console.print(f"reads: {', '.join(engines.views_read(rule))}\n")
    if rule.parameters:
        table = Table("set", *rule.parameters, box=None)
        for set_name in rule.sets:
            table.add_row(set_name or "-", *explain.shown_values(rule, set_name).values())
        console.print(table)
        console.print()
    table = Table("keeps", "at most", "grows with", box=None)
    for holding in explain.holdings(rule):
        table.add_row(holding.what, holding.bound, holding.grows)
    console.print(table)
    if svg is not None:
        picture = explain.svg(rule)
        try:
            svg.write_text(picture)
        except OSError as error:
            raise SettingsError(f"--svg {svg}: {error.strerror}. Name a file that can be written.") from None
        console.print(f"\npicture: {svg}")
    if plan:
        print(f"\n{jobs.explain(rule, FlinkSettings.load(), KafkaSettings.load())}")
