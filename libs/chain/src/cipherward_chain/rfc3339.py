"""Times as CometBFT writes them in JSON: RFC 3339, UTC, up to nine digits of a second."""

from __future__ import annotations

import calendar
import re
from datetime import UTC, datetime

from cipherward_chain.errors import ChainError
from cipherward_chain.wire import NANOS

_FORM = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?Z", re.ASCII)


class TimeMalformed(ChainError):
    """A text is not a time in UTC."""

    reason = "TIME_MALFORMED"


def parse_time(text: str) -> int:
    """Return Unix nanoseconds, or raise `TimeMalformed`."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise TimeMalformed("a time is not RFC 3339 in UTC")
    try:
        moment = datetime.fromisoformat(found[1]).replace(tzinfo=UTC)
    except ValueError:
        raise TimeMalformed("a time is not a date of the calendar") from None
    return calendar.timegm(moment.timetuple()) * NANOS + int((found[2] or "").ljust(9, "0"))


def format_time(nanoseconds: int) -> str:
    """Return Unix `nanoseconds` with nine digits of the second."""
    seconds, nanos = divmod(nanoseconds, NANOS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanos:09d}Z"
