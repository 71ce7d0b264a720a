"""Write docs/study.schema.json and docs/model.schema.json from the forms of a study and of a model
(`python tools/study_schema.py`)."""

from __future__ import annotations

import json
from pathlib import Path

from cipherward_studies.schema import document_schema, model_schema

DOCS = Path(__file__).resolve().parents[1] / "docs"
TARGET = DOCS / "study.schema.json"
MODEL_TARGET = DOCS / "model.schema.json"


def document() -> str:
    """Return docs/study.schema.json as it must be."""
    return json.dumps(document_schema(), indent=2) + "\n"


def model_document() -> str:
    """Return docs/model.schema.json as it must be."""
    return json.dumps(model_schema(), indent=2) + "\n"


if __name__ == "__main__":
    TARGET.write_text(document(), encoding="utf-8")
    MODEL_TARGET.write_text(model_document(), encoding="utf-8")
