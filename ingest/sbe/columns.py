"""Many SBE messages in, columns out: a structured array a block, with the parent of each entry.

A compiled walker (:mod:`ingest.sbe.walk`) finds every block, then each kind of block is copied into one
array of the layout's dtype. What a message of an older version does not have is null in it; what a newer one
has beyond this schema is left out.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ingest.sbe import walk
from ingest.sbe.layout import Layout, layout_of
from ingest.sbe.model import Group, Level, Message, Schema

Rows = NDArray[np.void]
Index = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Block:
    """Blocks of one kind. rows: structured, one a block; parent: index of the block that each belongs to
    (of a root: index of the message in the input)."""

    rows: Rows
    parent: Index
    layout: Layout

    def present(self, column: str) -> NDArray[np.bool_]:
        """Mask of the rows in which a column is not null."""
        return self.layout.present(self.rows, column)


@dataclass(frozen=True, slots=True)
class VarData:
    """Variable-length data: where it stands in the input, and the block it belongs to."""

    start: Index
    length: Index
    parent: Index


@dataclass(frozen=True, slots=True)
class MessageColumns:
    """All messages of a template. groups, data: by path, nested names joined by dots."""

    name: str
    root: Block
    groups: dict[str, Block] = field(default_factory=dict)
    data: dict[str, VarData] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.root.rows)


@dataclass(frozen=True, slots=True)
class Columns:
    """What a batch held. by_template: only templates that came. counters: ``decoded``,
    ``unknown_template``, ``foreign_schema``, ``truncated``, ``trailing_bytes`` (a message longer than the
    schema says, as newer versions are)."""

    by_template: dict[int, MessageColumns]
    counters: Counter[str]


@dataclass(frozen=True, slots=True)
class _Node:
    """A level of a template, compiled: its path, layout and what makes its columns absent."""

    path: str
    layout: Layout | None
    leaves: NDArray[np.int64]


class ColumnDecoder:
    """Decodes batches of messages of one schema.

    Parameters
    ----------
    schema : Schema
    """

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._header = walk.header_of(schema)
        self._programs = {key: _compile(message, schema) for key, message in schema.messages.items()}
        self._known = np.array(sorted(schema.messages), dtype=np.int64)

    def decode(self, data: NDArray[np.uint8], starts: Index, stops: Index) -> Columns:
        """Decode the messages whose headers are at ``starts``, each ending at ``stops`` at the latest.

        What cannot be decoded is counted, never raised: see :class:`Columns`.
        """
        heads = np.zeros((len(starts), walk.HEAD_COLUMNS), dtype=np.int64)
        walk.read_heads(data, starts, stops, self._header, self._known, heads)
        state = heads[:, walk.STATE]
        counters = Counter(
            {
                "truncated": int((state == walk.TRUNCATED).sum()),
                "unknown_template": int((state == walk.UNKNOWN_TEMPLATE).sum()),
                "foreign_schema": int((state == walk.FOREIGN_SCHEMA).sum()),
            }
        )
        found: dict[int, MessageColumns] = {}
        good = state == walk.GOOD
        for template in np.unique(heads[good, walk.TEMPLATE]).tolist():
            which = np.flatnonzero(good & (heads[:, walk.TEMPLATE] == template))
            columns = self._template(template, data, which, heads, counters)
            if len(columns):
                found[template] = columns
        return Columns(found, +counters)

    def _template(
        self,
        template: int,
        data: NDArray[np.uint8],
        which: Index,
        heads: NDArray[np.int64],
        counters: Counter[str],
    ) -> MessageColumns:
        program, nodes = self._programs[template]
        counts = np.zeros(len(nodes), dtype=np.int64)
        tally = walk.count(data, which, heads, program, counts, self.schema.order == ">")
        counters["truncated"] += int(tally[0])
        counters["trailing_bytes"] += int(tally[1])
        counters["decoded"] += len(which) - int(tally[0])
        bounds = np.zeros(len(nodes) + 1, dtype=np.int64)
        np.cumsum(counts, out=bounds[1:])
        entries = np.empty((int(bounds[-1]), walk.ENTRY_COLUMNS), dtype=np.int64)
        walk.fill(data, which, heads, program, bounds[:-1].copy(), entries, self.schema.order == ">")
        root: Block | None = None
        groups: dict[str, Block] = {}
        blobs: dict[str, VarData] = {}
        for number, node in enumerate(nodes):
            part = entries[bounds[number] : bounds[number + 1]]
            parent = part[:, walk.PARENT].copy()
            if node.layout is None:
                blobs[node.path] = VarData(part[:, walk.START].copy(), part[:, walk.LENGTH].copy(), parent)
                continue
            rows = np.empty((len(part), node.layout.dtype.itemsize), dtype=np.uint8)
            walk.gather(data, part, node.layout.null, node.leaves, rows)
            block = Block(_viewed(rows, node.layout.dtype), parent, node.layout)
            if number == 0:
                root = block
            else:
                groups[node.path] = block
        assert root is not None
        return MessageColumns(self.schema.messages[template].name, root, groups, blobs)


def _viewed(rows: NDArray[np.uint8], dtype: np.dtype[np.void]) -> Rows:
    if dtype.itemsize == 0:  # a block of constants: rows without bytes
        return np.empty(len(rows), dtype=dtype)
    return rows.view(dtype)[:, 0]


def _compile(message: Message, schema: Schema) -> tuple[NDArray[np.int64], list[_Node]]:
    """The walker's program of a template (see :mod:`ingest.sbe.walk`) and its levels, the root first."""
    nodes: list[_Node] = []
    program: list[list[int]] = []

    def add(level: Level, path: str, group: Group | None) -> int:
        number = len(nodes)
        layout = layout_of(level, schema.order)
        leaves = [(leaf.offset, leaf.size, leaf.since) for leaf in layout.leaves]
        nodes.append(_Node(path, layout, np.array(leaves, dtype=np.int64).reshape(-1, 3)))
        program.append([0] * walk.PROGRAM_COLUMNS)
        row = program[number]
        row[walk.KIND] = walk.GROUP
        if group is not None:
            dimension = group.dimension
            row[walk.SINCE], row[walk.HEAD_SIZE] = group.since, dimension.size
            row[walk.A_AT], row[walk.A_SIZE] = dimension.block_length[0], dimension.block_length[1].size
            row[walk.B_AT], row[walk.B_SIZE] = dimension.count[0], dimension.count[1].size
        prefix = f"{path}." if path else ""
        children = [add(child.level, prefix + child.name, child) for child in level.groups]
        for data in level.data:
            children.append(len(nodes))
            nodes.append(_Node(prefix + data.name, None, np.empty((0, 3), dtype=np.int64)))
            leaf = [0] * walk.PROGRAM_COLUMNS
            leaf[walk.KIND], leaf[walk.SINCE], leaf[walk.HEAD_SIZE] = walk.DATA, data.since, data.head_bytes
            leaf[walk.A_AT], leaf[walk.A_SIZE] = data.length_offset, data.length.size
            program.append(leaf)
        row[walk.FIRST_CHILD] = children[0] if children else -1
        for child_number, following in zip(children, [*children[1:], -1], strict=False):
            program[child_number][walk.NEXT] = following
        return number

    add(message.level, "", None)
    program[0][walk.NEXT] = -1
    return np.array(program, dtype=np.int64), nodes
