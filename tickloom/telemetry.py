"""What a process tells about itself: structured logs on stderr, metrics for Prometheus on loopback."""

from __future__ import annotations

import logging
import sys

import structlog
from prometheus_client import start_http_server

from tickloom.errors import SetupError


def configure_logging(process: str, level: str = "INFO") -> structlog.stdlib.BoundLogger:
    """Log as one line an event, key=value, with UTC times; libraries' own logs go the same way."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"]),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    structlog.contextvars.bind_contextvars(process=process)
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(process)
    return logger


def start_metrics(port: int, host: str = "127.0.0.1") -> None:
    """Serve ``/metrics``. Call it when the process is ready: answering is its health check. 0: none."""
    if port == 0:
        return
    try:
        start_http_server(port, addr=host)
    except OSError as error:
        raise SetupError(
            f"metrics port {host}:{port} cannot be opened ({error.strerror}); "
            "set another metrics_port, or see `tickloom doctor` for who holds it"
        ) from error
