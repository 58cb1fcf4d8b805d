"""Logs as one JSON object a line, each with the session it belongs to; tokens never come near them."""

import json
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

JOB = re.compile(r"(?<=/v1/jobs/)([\w-]{8})[\w-]+")
"""A job's id in an address; like a session's it is told by its beginning alone."""

_session: ContextVar[str] = ContextVar("session", default="")


@contextmanager
def about(session: str) -> Iterator[None]:
    """What is logged inside the block names this session, by its first eight characters: the whole id would let others drive."""
    token = _session.set(session[:8])
    try:
        yield
    finally:
        _session.reset(token)


class JsonLines(logging.Formatter):
    """time (UTC), level, logger, message, session, and the traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": JOB.sub(r"\1", record.getMessage()),
        }
        if session := _session.get():
            line["session"] = session
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_as_json(level: int = logging.INFO) -> None:
    """Let every logger of the process write such lines to standard error."""
    import time

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter := JsonLines())
    formatter.converter = time.gmtime
    logging.basicConfig(level=level, handlers=[handler], force=True)
