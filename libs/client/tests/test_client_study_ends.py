"""Every word that a study, a data key or a use of a risk score can end with is explained."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import yaml

from cipherward_client.sdk.study_ends import ENDS, STATES, meaning

ROOT = Path(__file__).resolve().parents[3]
COMPUTE = ROOT / "services" / "compute" / "src" / "cipherward_compute"
TEMPLATES = ROOT / "services" / "contract" / "src" / "cipherward_contract" / "templates"
ROOTS = {"StepFailed", "PeerWrong"}  # of what a step fails with: at this member, by another one
PAGE = ROOT / "docs" / "contracts" / "study.md"
WORD = re.compile(r"[A-Z]+(?:_[A-Z]+)*")


def words_of_steps() -> set[str]:
    """Return the reasons of all failures of a step, and the words beside them, from the source."""
    classes: dict[str, ast.ClassDef] = {}
    for path in COMPUTE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                classes[node.name] = node

    def is_step(name: str) -> bool:
        if name in ROOTS:
            return True
        node = classes.get(name)
        bases = [base.id for base in node.bases if isinstance(base, ast.Name)] if node else []
        return any(map(is_step, bases))

    found: set[str] = set()
    for name, node in classes.items():
        if is_step(name) and name not in ROOTS:
            found |= {
                one.value.value
                for one in node.body
                if isinstance(one, ast.Assign)
                and isinstance(one.value, ast.Constant)
                and isinstance(one.value.value, str)
            }
    tree = ast.parse((COMPUTE / "failures.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            found.add(str(node.value.value))
    return found


def words_of_the_contract() -> set[str]:
    table = PAGE.read_text(encoding="utf-8").split("| failure | meaning |")[1].split("\n\n")[0]
    return {line.split("|")[1].strip() for line in table.splitlines()[2:]}


def test_every_word_of_a_compute_service_is_explained() -> None:
    words = words_of_steps()
    assert {"COHORT_TOO_SMALL", "PEER_WRONG", "RELEASE_DEAD", "FLAGS_WRONG"} <= words
    assert words <= set(ENDS)


def test_every_word_of_the_contract_is_explained() -> None:
    words = words_of_the_contract()
    assert "BUDGET_SPENT" in words
    assert words <= set(ENDS)


def words_of_templates() -> set[str]:
    """Return the words that templates of their own give as a failure."""
    found: set[str] = set()
    for path in TEMPLATES.glob("*.yaml"):
        for transition in yaml.safe_load(path.read_text(encoding="utf-8"))["transitions"].values():
            set_here = transition.get("sets", {}).get("failure", {})
            found |= {transition.get("failure", ""), set_here.get("value", "")}
    return found - {""}


def test_every_word_of_a_template_is_explained() -> None:
    words = words_of_templates()
    assert {"FLAGS_REFUSED", "MASK_REFUSED", "RELEASE_DEAD"} <= words
    assert words <= set(ENDS)


def test_every_end_of_a_study_is_explained() -> None:
    line = re.search(r"It ends (.*)\n", PAGE.read_text(encoding="utf-8"))
    assert line is not None
    ends = set(re.findall(r"`([a-z]+)`", line[1])) - {"failure", "silent"}
    assert {"released", "failed"} <= ends
    assert ends <= set(STATES)


def test_a_meaning_says_what_happened_and_what_to_do() -> None:
    assert all(WORD.fullmatch(word) for word in ENDS)
    state, cause, fix = meaning("failed", "COHORT_TOO_SMALL")
    assert state == STATES["failed"]
    assert "minimum" in cause
    assert fix
    assert meaning("counting", "") == ()
    assert meaning("withdrawn", "") == (STATES["withdrawn"],)
