"""Files that commands write: never over another, and decrypted records for this user alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cipherward_client.cli.faults import FileExists
from cipherward_client.cli.output import Output


def refuse_existing(path: Path | None) -> None:
    """Raise `FileExists` if a file would be overwritten."""
    if path is not None and path.exists():
        raise FileExists(str(path))


def write_new(path: Path, content: bytes) -> None:
    """Write a decrypted record for this user alone."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def show_content(
    output: Output, out: Path | None, content: bytes, document: Mapping[str, Any], line: str
) -> None:
    """Write a record to its file and tell `line`, or to stdout alone if there is none."""
    if out is not None:
        write_new(out, content)
    elif not output.as_json:
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
        return
    found = {**document, "bytes": len(content), "out": str(out) if out is not None else None}
    output.result(found, f"{len(content)} bytes in {out}", f"  {line}")
