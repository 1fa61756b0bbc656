"""Where an exchange of this machine listens: written when it is ready, read by whoever connects to it.

One file an instance, ``<data_dir>/exchange/NAME.ports.json``: names of ports (``port``, ``control``,
``drop_copy``, ``metrics``, ``XNAS fix``) to numbers. A port that was taken as a free one is asked for again
after a restart, so that who was connected finds the exchange where it was.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from tickloom.errors import DestinationsError
from tickloom.stack.ports import is_free


def ports_path(data_dir: Path, name: str) -> Path:
    """Where the exchange of that name writes down its ports."""
    return data_dir / "exchange" / f"{name}.ports.json"


def write(data_dir: Path, name: str, ports: dict[str, int]) -> None:
    """Write it whole, or not at all."""
    path = ports_path(data_dir, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(ports))
    fresh.replace(path)


def read(data_dir: Path, name: str) -> dict[str, int]:
    """What the exchange of that name opened when it last started.

    Raises
    ------
    DestinationsError
        It never started with this data directory.
    """
    path = ports_path(data_dir, name)
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, int])
    except (OSError, msgspec.MsgspecError) as error:
        raise DestinationsError(
            f"exchange {name!r} has not said where it listens ({path}: {error}); start it with this "
            f"data_dir, as `tickloom exchange --name {name}` or by exchange.instances"
        ) from None


def again(data_dir: Path, name: str, key: str, port: int) -> int:
    """``port``, or where that is 0 the one that was opened under ``key`` before, if it is still free."""
    if port:
        return port
    try:
        before = read(data_dir, name).get(key, 0)
    except DestinationsError:
        return 0
    return before if before and is_free(before) else 0
