"""What a user edits: rules (``rules/*.sql``), instruments, limits, research."""

import tickloom  # noqa: F401  (before Numba: it says where compiled kernels are kept)
