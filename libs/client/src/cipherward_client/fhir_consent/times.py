"""FHIR's dates and times: an inclusive end becomes the second at which a right is over.

A date has no time zone; it is taken in UTC, as every time of the chain is.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_DATE_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(Z|[+-]\d{2}:\d{2})", re.ASCII)


class TimeNotExact(ValueError):
    """A date or time is out of form, or says less than a second or a day."""


def end_after(text: str) -> int:
    """Return the Unix second after an inclusive end: of a second, or of a whole day in UTC.

    Raises:
        TimeNotExact: a month or a year, a fraction of a second, or no date at all.
    """
    return _begin(text) + (1 if "T" in text else 86_400)


def begin_of(text: str) -> int:
    """Return the Unix second at which an inclusive start begins.

    Raises:
        TimeNotExact: as `end_after`.
    """
    return _begin(text)


def _begin(text: str) -> int:
    try:
        if _DATE.fullmatch(text):
            found = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
        elif _DATE_TIME.fullmatch(text):
            found = datetime.fromisoformat(text)
        else:
            raise TimeNotExact("not a day, nor a time to the second with its zone")
        return int(found.timestamp())
    except (ValueError, OverflowError) as error:
        raise TimeNotExact(str(error)) from error


def inclusive_end(over: int) -> str:
    """Return the last second of a right that is over at Unix second `over`, as FHIR writes it."""
    last = datetime.fromtimestamp(over, UTC) - timedelta(seconds=1)
    return last.strftime("%Y-%m-%dT%H:%M:%SZ")
