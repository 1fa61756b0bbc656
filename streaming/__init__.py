"""Events in, signals out: what a rule is and reads, and what runs it.

Here: a rule's text (``rules``, ``header``, ``parameters``, ``sqltext``), what it reads (``tables``,
``derived``), the one place that knows the kinds of rules (``engines``), and what authors import
(``builder``, ``job``, ``tape``). The rooms: ``authoring`` checks and explains, ``compiled`` and
``absence`` match, ``live`` runs on Flink, ``stored`` runs over history and proves.
"""

import tickloom  # noqa: F401  (before Numba: it says where compiled kernels are kept)
