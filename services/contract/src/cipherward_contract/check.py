"""`python -m cipherward_contract.check < FILE`: a template's analysis as JSON."""

from __future__ import annotations

import json
import sys

from cipherward_contract.drafts import analysis_json, check_draft


def main() -> None:
    """Read the YAML source from stdin, and print {"deployable", "digest", "findings", "report"}."""
    print(json.dumps(analysis_json(check_draft(sys.stdin.read())), indent=1))


if __name__ == "__main__":
    main()
