"""Logging of a stub: one JSON object per line on stderr."""

import sys

import structlog


def configure_logging() -> None:
    """Send structlog's events to stderr as JSON lines. Call once, at start."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
