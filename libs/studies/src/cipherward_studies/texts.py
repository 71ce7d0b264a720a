"""Texts that the chain names by their digest: the canonical CBOR of forms, each in its one form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from cipherward_chain.canonical import NotCanonical, Value, decode_map, encode
from cipherward_studies.errors import DraftInvalid, StudyError
from cipherward_studies.forms import Form

VERSION = 1
# 64 terms of a model with the longest names take 8,000, sixteen variables of columns 3,000.
TEXT_BYTES_MAX = 16 * 1024


class HasText(Protocol):
    """What is read from a text: a risk model, or the columns of a data key."""

    @property
    def octets(self) -> bytes:
        """Its text."""
        ...


T = TypeVar("T", bound=HasText)


def text_of(forms: Sequence[Form], entries: Mapping[str, Any]) -> bytes:
    """Return the text of entries that were read by their forms."""
    head: dict[str, Value] = {"version": VERSION}
    return encode(head | {form.name: form.value(entries[form.name]) for form in forms})


def parse_text(
    octets: bytes, read: Callable[[object], T], subject: str, malformed: type[StudyError]
) -> T:
    """Return what `octets` are the one text of.

    Args:
        read: makes it of the text's entries, or raises DraftInvalid.
        subject: what it is, for the error's message.

    Raises:
        malformed: it is not such a text.
    """
    if len(octets) > TEXT_BYTES_MAX:
        raise malformed(f"the text has at most {TEXT_BYTES_MAX} bytes")
    try:
        value = decode_map(octets)
        if value.pop("version", None) != VERSION:
            raise malformed(f"the version of the text is not {VERSION}")
        found = read(value)
    except (NotCanonical, DraftInvalid) as error:
        raise malformed(f"the text of the {subject}: {error}") from None
    if found.octets != octets:
        raise malformed(f"the text of the {subject} is not in its one form")
    return found
