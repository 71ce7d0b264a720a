"""What a study will do, before anything runs: from its plan alone, and exact but for time.

Everything here is a figure or a sentence about the plan. Which contract it runs under, and how long
it takes on whose machines, is for whoever knows these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cipherward_studies.plan import Plan
from cipherward_studies.privacy import DELTA, MICRO, epsilon_of
from cipherward_studies.variables import Condition, Variable
from cipherward_studies.verdict import CONTRIBUTORS_MIN
from cipherward_threshold.parameters import Profile, profile
from cipherward_threshold.proofs.bounds import CHALLENGE_BYTES, encryption_shape

HEADER_BYTES = 6  # of a message: magic, kind, profile
KEY_BYTES = 32  # a ciphertext's message names the key
RESIDUE_BYTES = 8  # of a 60-bit prime
_WORDS = {"<": "<", "<=": "<=", "==": "=", "!=": "is not", ">=": ">=", ">": ">"}


@dataclass(frozen=True, slots=True)
class Upload:
    """What one hospital encrypts and proves for one release; `bytes` go to each other hospital."""

    slots: int
    ciphertexts: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Privacy:
    """What noise a private study has; epsilon is for DELTA, over all rounds that may be asked.

    sigmas: of the figures, in the order of the analyses: noise of a slot in integer steps, against
        2^33 for one patient's largest effect (1 for counts of patients).
    """

    rho_of_round: float
    rho_in_all: float
    epsilon: float
    delta: float
    sigmas: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a study computes, sends, releases and discloses.

    Attributes:
        computes: what each hospital does at home, a sentence each.
        counts, values: of one hospital; `values` once a round.
        rounds: of values, at most; each is one release.
        releases: of the data set's quota, at most: the rounds, besides the counts.
        cells: numbers of patients that are judged before values are encrypted.
        error_bounds: by analysis and figure.
        disclosed: who learns what.
        privacy: None for an exact study.
    """

    computes: tuple[str, ...]
    counts: Upload
    values: Upload
    rounds: int
    releases: int
    cells: tuple[str, ...]
    error_bounds: Mapping[str, str]
    disclosed: tuple[str, ...]
    privacy: Privacy | None

    def to_document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        document = asdict(self)
        document["error_bounds"] = dict(self.error_bounds)
        return document


def explain(plan: Plan) -> Explanation:
    """Return what the study of a plan will do."""
    parameters = profile(plan.spec.profile)
    return Explanation(
        computes=_computes(plan),
        counts=_upload(parameters, plan, plan.count_slots),
        values=_upload(parameters, plan, plan.value_slots),
        rounds=plan.rounds,
        releases=plan.rounds,
        cells=tuple(cell.label for cell in plan.cells),
        error_bounds=_error_bounds(plan),
        disclosed=_disclosed(plan),
        privacy=_privacy(plan),
    )


def _upload(parameters: Profile, plan: Plan, slots: int) -> Upload:
    ciphertexts = plan.ciphertexts(slots)
    return Upload(slots, ciphertexts, batch_bytes(parameters, ciphertexts))


def batch_bytes(parameters: Profile, ciphertexts: int) -> int:
    """Return the bytes of so many ciphertexts and of the one proof that is of all of them."""
    one = 2 * parameters.degree * len(parameters.data_primes) * RESIDUE_BYTES
    one += HEADER_BYTES + KEY_BYTES
    proof = encryption_shape(parameters, ciphertexts).response_bytes + CHALLENGE_BYTES
    return ciphertexts * one + proof + HEADER_BYTES


def _computes(plan: Plan) -> tuple[str, ...]:
    spec = plan.spec
    cohort = " and ".join(_condition(one) for one in spec.cohort) or "all"
    found = [
        "leaves out every patient who opted out before the block that orders the counts",
        f"takes the patients of {spec.data_set} with: {cohort}",
        *(_policy(variable) for variable in spec.variables),
        f"counts patients in {len(plan.cells)} cells; encrypts and proves the counts",
        "leaves out what a guardian's verdict fails, before it encrypts",
    ]
    for analysis in spec.analyses:
        found.append(f"{analysis.kind}: sums over {', '.join(analysis.variables)}")
    if spec.rho_micro:
        found.append("adds its part of the noise to every sum")
    found.append("encrypts and proves the sums under the study's collective key")
    return tuple(found)


def _condition(condition: Condition) -> str:
    values = " to ".join(f"{value:g}" for value in condition.values)
    if condition.op == "between":
        return f"{condition.variable} in {values}"
    return f"{condition.variable} {_WORDS[condition.op]} {values}"


def _policy(variable: Variable) -> str:
    if variable.kind == "flag":
        span = f"{variable.low:g} or {variable.high:g}"
    else:
        span = f"{variable.low:g} to {variable.high:g}"
    unit = f" {variable.unit}" if variable.unit else ""
    missing = "leaves the patient out" if variable.missing == "exclude" else "stops the study"
    outside = {
        "exclude": "leaves the patient out",
        "clip": "becomes the nearer end",
        "refuse": "stops the study",
    }[variable.outside]
    return f"{variable.name}: {span}{unit}; a missing value {missing}; another value {outside}"


def _error_bounds(plan: Plan) -> dict[str, str]:
    found: dict[str, str] = {"count": "exact"}
    for place, (analysis, compiled) in enumerate(
        zip(plan.spec.analyses, plan.analyses, strict=True)
    ):
        for figure, bound in compiled.error_bounds().items():
            found[f"{place + 1} {analysis.kind}: {figure}"] = bound
    if plan.spec.rho_micro:
        found["noise"] = "every figure is off by its noise besides; tests and intervals ignore it"
    return found


def _disclosed(plan: Plan) -> tuple[str, ...]:
    spec = plan.spec
    rounds = "the round" if plan.rounds == 1 else f"each of up to {plan.rounds} rounds"
    return (
        f"to the hospitals of the study: the sums over all hospitals of the {plan.count_slots} "
        "counts, before the values; nothing of the values",
        f"to the researcher: the sums over all hospitals of {plan.value_slots} values of {rounds}, "
        f"without cells of fewer than {spec.minimum} patients beside any one hospital's own, and "
        "the names of the cells that were left out",
        f"the study ends without an answer when fewer than {CONTRIBUTORS_MIN} hospitals have "
        f"patients in it, or fewer than {spec.minimum} beside any one hospital's own",
        "to everybody: the study's terms, members, steps and ends, as the chain has them; neither "
        "its text nor any figure",
    )


def _privacy(plan: Plan) -> Privacy | None:
    if not plan.spec.rho_micro:
        return None
    rho = plan.spec.rho_micro / MICRO
    total = rho * plan.rounds
    sigmas = tuple(block.sigma for block in plan.noise(b"")[1:])
    return Privacy(rho, total, epsilon_of(total), DELTA, sigmas)
