"""Write docs/study.schema.json from the forms of a study (`python tools/study_schema.py`)."""

from __future__ import annotations

import json
from pathlib import Path

from cipherward_studies.schema import document_schema

TARGET = Path(__file__).resolve().parents[1] / "docs/study.schema.json"


def document() -> str:
    """Return docs/study.schema.json as it must be."""
    return json.dumps(document_schema(), indent=2) + "\n"


if __name__ == "__main__":
    TARGET.write_text(document(), encoding="utf-8")
