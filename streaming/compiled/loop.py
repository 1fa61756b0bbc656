"""The parts of a kernel's source that are the same for every rule: its imports, and the loop over rows.

Pure text. ``kernel`` fills the loop's gaps, which are named in braces. Partial matches of the partition at
hand stand in ``work`` from ``first`` to ``end``, in the order of their first rows. Where a row can make two
of one, they are written anew with each row, from one half of ``work`` to the other. Else each stays where
it is, or goes: most rows then change one count in each.
"""

from __future__ import annotations

HEAD = """\
import math
import numpy as np
from numba import njit
from streaming.compiled.runtime import (
    copy_rows, java_log, java_log10, java_log2, java_pow, java_sqrt, release, round_half_up, sift_up,
    sign_of, to_whole, whole_div, whole_mod,
)
from tickloom.unowned import unowned
# wrappers that nobody calls cost as much to compile as the functions
inner = njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
outer = njit(cache=True, error_model="numpy", no_cfunc_wrapper=True)
"""

#: Of ``run``, beside the columns.
ARRAYS = (
    "order, starts, times, PF, PI, seen, pm_off, pm_i, pm_f, dq_off, dq_i, dq_f, work_i, work_f, "
    "queue_i, queue_f, new_seen, new_off, new_i, new_f, new_dq_off, new_dq_i, new_dq_f, out_i, out_f"
)

RUN = """\
@njit(cache=True, error_model="numpy")
def run(
    order, starts, times, advance_ms, PF, PI, {columns}, seen, pm_off, pm_i, pm_f, dq_off, dq_i, dq_f,
    work_i, work_f, queue_i, queue_f,
    new_seen, new_off, new_i, new_f, new_dq_off, new_dq_i, new_dq_f, out_i, out_f,
):
{unowned}
    within = {within}
    half = work_i.shape[0] // 2
    blank = 2 * half  # the empty record
    n_new = 0
    n_dq = 0
    n_out = 0
    for partition in range(len(starts) - 1):
        low = pm_off[partition]
        count = pm_off[partition + 1] - low
        qn = dq_off[partition + 1] - dq_off[partition]
        ordinal = seen[partition]
        new_off[partition] = n_new
        new_dq_off[partition] = n_dq
        if starts[partition] == starts[partition + 1] and qn == 0:
            if n_new + count > new_i.shape[0]:
                return 2, 0, 0, 0
            copy_rows(pm_i, pm_f, low, count, new_i, new_f, n_new)
            n_new += count
            new_seen[partition] = ordinal
            continue
        if count > half:
            return 1, 0, 0, 0
        if qn > queue_i.shape[0]:
            return 3, 0, 0, 0
        copy_rows(pm_i, pm_f, low, count, work_i, work_f, 0)
        copy_rows(dq_i, dq_f, dq_off[partition], qn, queue_i, queue_f, 0)
        base = 0  # of the half in use
        first = 0
        end = count
        for k in range(starts[partition], starts[partition + 1]):
            i = order[k]
            ts = times[i]
            if within > 0:
                while first < end and ts - work_i[first, 1] >= within:
                    first += 1
            if qn > 0:
                first, qn, n_out = release(work_i, first, end, queue_i, queue_f, qn, out_i, out_f, n_out)
                if n_out < 0:
                    return 4, 0, 0, 0
{before}
            for p in range(first, end):
                at = work_i[p, {element}]
                j = work_i[p, {rest}]
                {unknown}
{steps}
{behind}
            at = 0
            j = 0
            {unknown}
{start}
{after}
            if qn > 0:
                first, qn, n_out = release(work_i, first, end, queue_i, queue_f, qn, out_i, out_f, n_out)
                if n_out < 0:
                    return 4, 0, 0, 0
            ordinal += 1
        if within > 0:
            while first < end and advance_ms - work_i[first, 1] >= within:
                first += 1
        if qn > 0:
            first, qn, n_out = release(work_i, first, end, queue_i, queue_f, qn, out_i, out_f, n_out)
            if n_out < 0:
                return 4, 0, 0, 0
        if n_new + end - first > new_i.shape[0]:
            return 2, 0, 0, 0
        if n_dq + qn > new_dq_i.shape[0]:
            return 5, 0, 0, 0
        copy_rows(work_i, work_f, first, end - first, new_i, new_f, n_new)
        copy_rows(queue_i, queue_f, 0, qn, new_dq_i, new_dq_f, n_dq)
        n_new += end - first
        n_dq += qn
        new_seen[partition] = ordinal
    new_off[len(starts) - 1] = n_new
    new_dq_off[len(starts) - 1] = n_dq
    return 0, n_new, n_dq, n_out"""


#: Around a row's steps, where it can make two partial matches of one: ``most`` is how many at most.
ANEW = {
    "before": """\
if (end - first + 1) * {most} > half:
    return 1, 0, 0, 0
base = half - base
m = base""",
    "behind": "",
    "after": "first = base\nend = m",
}
#: Where it cannot. Those that go are mostly the oldest, so that none has to move up.
IN_PLACE = {
    "before": """\
if end == blank:
    if end - first > half:
        return 1, 0, 0, 0
    copy_rows(work_i, work_f, first, end - first, work_i, work_f, 0)
    end -= first
    first = 0
m = first""",
    "behind": """\
if m == first:
    first = p + 1
    m = first""",
    "after": "end = m",
}
