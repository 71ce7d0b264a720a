"""The JSON Schemas of the documents of a study and of a risk model, from the forms that read them.

Editors check a document with it while it is written. It says less than the reading does: that
bounds ascend, and that variables are those of the study, is beyond JSON Schema.
"""

from __future__ import annotations

from cipherward_studies.document import CONTENT, REQUEST
from cipherward_studies.forms import Schema, map_schema
from cipherward_studies.models import FORMS

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def document_schema() -> Schema:
    """Return the schema of what `Draft.from_document` reads."""
    return {
        "$schema": DIALECT,
        "title": "A study",
        "description": "What a researcher asks of the members' patients, as YAML or JSON.",
    } | map_schema((*CONTENT, *REQUEST))


def model_schema() -> Schema:
    """Return the schema of what `Model.from_document` reads."""
    return {
        "$schema": DIALECT,
        "title": "A risk model",
        "description": "Weights of stored columns, for scores of a hospital's own patients.",
    } | map_schema(FORMS)
