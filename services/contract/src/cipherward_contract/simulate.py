"""`python -m cipherward_contract.simulate < JSON`: what becomes of each act of a scenario."""

from __future__ import annotations

import json
import sys

from cipherward_contract.drafts import play_draft, step_json
from cipherward_contract.simulation.scenario import ScenarioMalformed
from cipherward_contract.templates.document import TemplateMalformed


def main() -> None:
    """Read {"source", "scenario"} (YAML texts) from stdin, and print {"steps"}, or {"error"}."""
    asked = json.loads(sys.stdin.read())
    try:
        answer: dict[str, object] = {
            "steps": [step_json(step) for step in play_draft(asked["source"], asked["scenario"])]
        }
    except ScenarioMalformed as error:
        answer = {"error": {"reason": "SCENARIO_MALFORMED", "message": str(error)}}
    except TemplateMalformed as error:
        answer = {"error": {"reason": "TEMPLATE_MALFORMED", "message": str(error)}}
    print(json.dumps(answer, indent=1))


if __name__ == "__main__":
    main()
