"""Events of the edge's own processes: one JSON object per line on standard error."""

import sys

import structlog


def configure_events() -> None:
    """Send structlog's events to standard error as JSON lines. Call once, at start."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
