"""The study that a command is given: a file, whose faults are named entry by entry."""

from __future__ import annotations

from pathlib import Path

from cipherward_client.cli.faults import SpecMalformed
from cipherward_client.sdk.study_files import read_draft
from cipherward_client.sdk.study_requests import StudyRequestInvalid
from cipherward_studies.errors import DraftInvalid
from cipherward_studies.spec import Draft


def read_spec(path: Path) -> Draft:
    """Return the study that a file asks for.

    Raises:
        OSError: the file cannot be read.
        SpecMalformed: it is out of form; the text names the entries.
    """
    try:
        return read_draft(path)
    except (DraftInvalid, StudyRequestInvalid, UnicodeDecodeError) as error:
        raise SpecMalformed(f"{path}: {error}") from error
