"""``tickloom rules list | check | explain``: a rule while it is written; needs no server."""

from __future__ import annotations

from rich.table import Table

from tickloom.cli.rules import Name, Params, app, console, overrides_of


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
def check(name: Name, param: Params = None) -> None:
    """Lint a rule, then have Flink plan it; says the line, the reason and the fix."""
    from streaming import jobs, linter, rules
    from tickloom.settings import FlinkSettings, KafkaSettings

    rule = rules.find(name)
    for finding in linter.lint(rule):
        print(f"{rule.file}:{finding.line}: {finding.severity}: {finding.reason}. Fix: {finding.fix}")
    linter.check(rule)
    jobs.explain(rule, FlinkSettings.load(), KafkaSettings.load(), overrides_of(param))
    console.print(f"{rule.name} v{rule.version}: the linter and Flink accept it")


@app.command()
def explain(name: Name, param: Params = None) -> None:
    """What a rule reads and with which parameters, and Flink's plan of it."""
    from streaming import jobs, rules
    from tickloom.settings import FlinkSettings, KafkaSettings

    rule = rules.find(name)
    overrides = overrides_of(param)
    console.print(f"[bold]{rule.name} v{rule.version}[/] on {rule.venue}\n{rule.about}\n")
    table = Table("set", *rule.parameters, box=None)
    for set_name in rule.sets:
        table.add_row(set_name or "-", *rules.values(rule, set_name, overrides).values())
    console.print(table)
    print(jobs.explain(rule, FlinkSettings.load(), KafkaSettings.load(), overrides))
