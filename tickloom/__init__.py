"""The kernel: what every stage shares.

Event types and their wire codec, clocks, errors, settings, telemetry, the local stack and the
command line. It imports no stage; the command line imports them lazily, when a command needs one.
"""

from tickloom import compile_cache

__version__ = "0.1.0"

compile_cache.install()  # before anything imports Numba
