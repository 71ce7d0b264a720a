"""The JSON Schema of a study's document, from the same forms that read it.

Editors check a document with it while it is written. It says less than the reading does: that
bounds ascend, and that variables are those of the study, is beyond JSON Schema.
"""

from __future__ import annotations

from cipherward_studies.document import CONTENT, REQUEST
from cipherward_studies.forms import Schema, map_schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def document_schema() -> Schema:
    """Return the schema of what `Draft.from_document` reads."""
    return {
        "$schema": DIALECT,
        "title": "A study",
        "description": "What a researcher asks of the members' patients, as YAML or JSON.",
    } | map_schema((*CONTENT, *REQUEST))
