"""``tickloom explain ORDER``: from an order back to the bytes of the packets that it came from."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tickloom.errors import ServiceError, SettingsError, StorageError, TickloomError
from tickloom.settings import QuestDbSettings, StackSettings

if TYPE_CHECKING:
    from execution.lineage.model import PacketLine, RuleLine, TickLine, Ticks

TICKS_MAX = 20  # of each table from either end of a match


def explain(
    order: Annotated[
        str, typer.Argument(help="Client order id or its beginning, venue order id, or execution id.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Every check, the rule's text, packets.")] = False,
    ticks: Annotated[int, typer.Option(help="Matched ticks to show from either end, of each table.")] = 3,
    data_dir: Annotated[Path | None, typer.Option(help="If not stack.data_dir.")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON's schema, and end.")] = False,
) -> None:
    """Why an order was made, and what became of it: router, risk, signal, rule, ticks, packets, fills.

    Needs the journal only. Without QuestDB the ticks come from the capture; what cannot be told is listed
    with the reason.
    """
    import msgspec

    from execution.lineage import Lineage, Sources, trace
    from execution.lineage.records import Records, journal_path
    from execution.lineage.text import render
    from tickloom.instruments import Registry

    if schema:
        print(msgspec.json.format(msgspec.json.encode(msgspec.json.schema(Lineage))).decode())
        return
    if not order:
        raise SettingsError("which order? Give its client order id, or an execution id; see --help")
    root = data_dir or StackSettings.load().data_dir
    shown = min(max(1, TICKS_MAX if as_json or everything else ticks), TICKS_MAX)
    sources = Sources(
        rules=[_KeptRules(root)],
        ticks=[_StoredTicks(shown), _CapturedTicks(root, shown)],
        packets=[_CapturedPackets(root)],
    )
    with Records(journal_path(root)) as records:
        found = trace(records, order, Registry.load(), sources)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(found), indent=1).decode())
    else:
        sys.stdout.write(render(found, everything))


class _KeptRules:
    """Rule texts as they were submitted; else the file of today, if it still has that version."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    def rule(self, name: str, version: str, ts_signal: int) -> RuleLine:
        from execution.lineage.model import RuleLine
        from execution.lineage.sources import Unavailable
        from streaming import engines, rules
        from streaming.live import origin, runs, texts

        own = [run for run in runs.known(name, self._data_dir) if run.version == version]
        before = [run for run in own if run.from_ns <= ts_signal]
        run = before[-1] if before else None
        kept = texts.kept(self._data_dir, name, version, ts_signal)
        try:
            if kept is not None:
                rule = rules.parse(kept.text, Path(kept.file))
                parameters, source, digest = kept.parameters, "submitted", kept.text_hash
            else:
                rule = rules.bind(rules.find(name), run.overrides if run else {})
                parameters, source = rule.sets, "file"
                digest = origin.text_hash(rule.text, rule.sets)
                if rule.version != version:
                    raise Unavailable(
                        f"no text of {name} v{version} was kept when it was submitted, and its file is "
                        f"v{rule.version} by now; look it up in version control"
                    )
            reads = engines.views_read(rule)
        except TickloomError as error:
            raise Unavailable(str(error)) from None
        return RuleLine(
            name=name,
            version=version,
            about=rule.about,
            source="submitted" if source == "submitted" else "file",
            text_hash=digest,
            text=kept.text if kept else rule.path.read_text(),
            parameters=parameters,
            overrides=run.overrides if run else {},
            reads=reads,
            engine=run.engine if run else "",
            job_id=run.job_id if run else "",
            submitted_ns=run.from_ns if run else 0,
        )


class _StoredTicks:
    """Ticks from QuestDB."""

    def __init__(self, ends: int) -> None:
        self._ends = ends

    def ticks(
        self, venue: str, symbols: Sequence[str], tables: Sequence[str], first_seq: int, last_seq: int
    ) -> Ticks:
        from execution.lineage.model import Ticks
        from execution.lineage.sources import Unavailable
        from storage import by_seq

        known = [table for table in tables if table in by_seq.TABLES] or ["trades", "quotes"]
        try:
            found = by_seq.read_range(
                QuestDbSettings.load(), venue, symbols, known, first_seq, last_seq, self._ends
            )
        except (ServiceError, StorageError) as error:
            raise Unavailable(str(error)) from None
        if not found.events:
            raise Unavailable(f"QuestDB has no {' or '.join(known)} of seq {first_seq} to {last_seq}")
        rows = [
            _tick(
                *(one.table, one.session, one.symbol, one.seq, one.ts_event, one.ts_recv, one.values),
                *(first_seq, last_seq),
            )
            for one in found.events
        ]
        return Ticks("questdb", found.counts, rows)


class _CapturedTicks:
    """Ticks decoded again from the capture: no server is asked."""

    def __init__(self, data_dir: Path, ends: int) -> None:
        self._data_dir, self._ends = data_dir, ends

    def ticks(
        self, venue: str, symbols: Sequence[str], tables: Sequence[str], first_seq: int, last_seq: int
    ) -> Ticks:
        from execution.lineage.model import Ticks
        from execution.lineage.sources import Unavailable
        from ingest.trace import sessions_of
        from ingest.trace_events import read_range, values_of

        rows: dict[str, list[TickLine]] = {}
        try:
            for session in sessions_of(self._data_dir, venue, first_seq):
                for block in read_range(self._data_dir, venue, session, symbols, first_seq, last_seq):
                    for table, records in block.kinds().items():
                        if table in tables:
                            found = rows.setdefault(table, [])
                            for record in records:
                                symbol = block.symbols.names[int(record["symbol"])]
                                seq, ts, recv = (int(record[name]) for name in ("seq", "ts_event", "ts_recv"))
                                values = values_of(table, record)
                                head = (table, session, symbol, seq, ts, recv, values)
                                found.append(_tick(*head, first_seq, last_seq))
        except TickloomError as error:
            raise Unavailable(f"QuestDB does not answer, and the capture cannot: {error}") from None
        if not rows:
            raise Unavailable(
                f"QuestDB does not answer, and no capture of {venue} has seq {first_seq} to {last_seq}"
            )
        ends = [one for lines in rows.values() for one in _ends(lines, self._ends)]
        ends.sort(key=lambda one: (one.seq, one.table, one.symbol))
        return Ticks("capture", {table: len(lines) for table, lines in rows.items()}, ends)


class _CapturedPackets:
    """Bytes from the capture."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    def packets(self, venue: str, session: str, seqs: Sequence[int]) -> list[PacketLine]:
        from execution.lineage.model import PacketLine
        from execution.lineage.sources import Unavailable
        from ingest import trace
        from tickloom.events import source_seq

        found: list[trace.Traced] = []
        tried = [session] if session else trace.sessions_of(self._data_dir, venue, seqs[0])
        try:
            for name in tried:
                found = found or trace.find(self._data_dir, venue, name, seqs)
        except TickloomError as error:
            raise Unavailable(str(error)) from None
        if not found:
            where = self._data_dir / "capture" / venue
            raise Unavailable(f"{where}: no capture of {' or '.join(tried) or 'that day'} has these seqs")
        return [
            PacketLine(
                seq=one.seq,
                source_seq=source_seq(one.seq),
                segment=str(one.segment.relative_to(self._data_dir)),
                record=one.record,
                offset=one.offset,
                ts_recv=one.ts_recv,
                protocol=one.protocol,
                message_offset=one.message_offset,
                message=one.message.hex(),
                payload_bytes=len(one.payload),
                payload=one.payload.hex(),
                message_type=one.message_type,
                fields=one.fields,
            )
            for one in found
        ]


def _ends(rows: list[TickLine], ends: int) -> list[TickLine]:
    return rows if len(rows) <= 2 * ends else rows[:ends] + rows[-ends:]


def _tick(
    table: str,
    session: str,
    symbol: str,
    seq: int,
    ts_event: int,
    ts_recv: int,
    values: dict[str, str],
    first_seq: int,
    last_seq: int,
) -> TickLine:
    from execution.lineage.model import TickLine

    part: Literal["first", "between", "last"] = "between"
    if seq in (first_seq, last_seq):
        part = "last" if seq == last_seq else "first"
    return TickLine(table, session, symbol, seq, ts_event, ts_recv, part, values)
