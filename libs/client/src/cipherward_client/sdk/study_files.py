"""A study as a researcher writes it: a YAML or JSON file, see docs/study.schema.json.

data_set: cohort-1
variables:
  - {name: bmi, low: 5, high: 100, unit: kg/m2}
  - {name: progression, low: 0, high: 1000}
analyses:
  - {kind: moments, variables: [bmi, progression]}
  - {kind: linear_regression, outcome: progression, predictors: [bmi]}
minimum: 10
"""

from __future__ import annotations

from pathlib import Path

from cipherward_client.sdk.document_files import read_document
from cipherward_client.sdk.study_requests import StudyRequestInvalid
from cipherward_studies.spec import Draft


def read_draft(path: Path) -> Draft:
    """Return the study that a file asks for; numbers stay the decimals that were written.

    Raises:
        OSError: the file cannot be read.
        StudyRequestInvalid: it is no YAML or JSON.
        DraftInvalid: it describes no study; every fault is named.
    """
    return Draft.from_document(read_document(path, StudyRequestInvalid))
