"""What a researcher's program gives: studies, ids and a passphrase, in the forms that suit it."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cipherward_chain.acts import ID_BYTES
from cipherward_client.sdk.errors import ClientError
from cipherward_client.sdk.study_files import read_draft
from cipherward_studies.spec import Draft

Spec = Draft | Mapping[str, Any] | str | Path  # a draft, its document, or the file that has it


def draft_of(spec: Spec) -> Draft:
    """Return the study that a file, a document or a draft asks for.

    Raises:
        DraftInvalid, StudyRequestInvalid: it asks for none.
        OSError: the file cannot be read.
    """
    if isinstance(spec, Draft):
        return spec
    if isinstance(spec, Mapping):
        return Draft.from_document(spec)
    return read_draft(Path(spec))


def id_of(text: str) -> bytes:
    """Return the 16 bytes of an id, or raise a `ClientError`."""
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != ID_BYTES:
        raise ClientError("ARGUMENT_INVALID", "an id has 32 hexadecimal digits")
    return found


def passphrase_of(given: str | None, file: str | Path | None) -> str:
    """Return a wallet's passphrase: given, the first line of a file, or typed."""
    if given is not None:
        return given
    if file is None:
        return getpass.getpass("Passphrase of the wallet: ")
    return Path(file).read_text(encoding="utf-8").split("\n", 1)[0].rstrip("\r")
