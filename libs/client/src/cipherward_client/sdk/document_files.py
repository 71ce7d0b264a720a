"""Documents as people write them: YAML or JSON files, whose numbers stay the texts they are."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from cipherward_client.sdk.errors import CheckFailed


def read_document(path: Path, unreadable: type[CheckFailed]) -> object:
    """Return the document in a file; `.json` is JSON, everything else YAML.

    Args:
        unreadable: what is raised for a file that is neither.

    Raises:
        OSError: the file cannot be read.
    """
    text = path.read_text(encoding="utf-8")
    try:
        if path.suffix == ".json":
            return json.loads(text, parse_int=str, parse_float=str)
        # BaseLoader makes texts only: 1.10 stays 1.10, and nothing is executed.
        return yaml.load(text, Loader=yaml.BaseLoader)
    except (ValueError, yaml.YAMLError) as error:
        raise unreadable(" ".join(str(error).split())) from error
