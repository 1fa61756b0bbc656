"""What an asset has found, as Dagster's pages, a sentence, and a file for other tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg

from tickloom.settings import StackSettings

ROWS_SHOWN_MAX = 50  # of differences in a check's page; the file beside the report has them all


def table(rows: list[dict[str, Any]]) -> dg.TableMetadataValue | str:
    """Rows as a table of a check's page; all have the columns of the first."""
    if not rows:
        return "none"
    records = [dg.TableRecord({k: str(v) for k, v in row.items()}) for row in rows[:ROWS_SHOWN_MAX]]
    columns = [dg.TableColumn(name, "string") for name in rows[0]]
    return dg.MetadataValue.table(records, schema=dg.TableSchema(columns))


def sentence(rows: list[dict[str, Any]]) -> str:
    """The first differences in words, for whoever reads only one line."""
    if not rows:
        return "no difference"
    texts = [", ".join(f"{key} {value}" for key, value in row.items()) for row in rows[:3]]
    more = f"; and {len(rows) - 3} more" if len(rows) > 3 else ""
    return "; ".join(texts) + more


def keep(folder: str, name: str, content: dict[str, Any]) -> str:
    """Write a result to ``name`` in a folder of the data directory; its path."""
    path: Path = StackSettings.load().data_dir / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
    return str(path)
