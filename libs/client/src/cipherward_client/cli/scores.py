"""`cipherward score …`: risk scores of one's own patients, over columns that all have encrypted."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from cipherward_client.cli import context
from cipherward_client.cli.options import DEFAULT_FOLDER, AllianceDir, As, Json, Reject
from cipherward_client.cli.output import Output, clock
from cipherward_client.sdk import inferences, scores
from cipherward_client.sdk.advice import ADVICE
from cipherward_client.sdk.data_keys import DAY_SECONDS, read_columns
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.inferences import Inference
from cipherward_client.sdk.ledger import ProvenAct
from cipherward_client.sdk.scores import (
    LIFE_DAYS,
    STEP_SECONDS,
    USES,
    ProposedScore,
    RiskScore,
    ScoreRequest,
)
from cipherward_client.sdk.study_ends import meaning
from cipherward_studies.document import STEP_SECONDS_LEAST
from cipherward_studies.scores import plan_scores

app = typer.Typer(no_args_is_help=True, help="Risk scores of one's own patients, under encryption.")

ScoreId = Annotated[str, typer.Argument(metavar="SCORE", help="The risk score's id.")]
ModelFile = Annotated[
    Path, typer.Argument(help="A YAML or JSON file: data_set, kind, intercept and terms.")
]
ColumnsFile = Annotated[
    Path | None, typer.Option("--columns", help="The data key's file: check the weights with it.")
]


@app.command()
def model(file: ModelFile, columns: ColumnsFile = None, as_json: Json = False) -> None:
    """Check a model's file, and say how exact its scores will be."""
    found = scores.read_model(file)
    document: dict[str, Any] = {**found.to_document(), "model_digest": found.digest.hex()}
    where = f"over columns of {', '.join(found.members)}"
    lines = [
        f"a {found.kind} model of {len(found.terms)} terms in {found.data_set}, {where}.",
        f"  digest {found.digest.hex()}",
    ]
    if columns is not None:
        plan = plan_scores(found, read_columns(columns))
        document |= {"error": plan.error, "scale_bits": plan.scale_bits}
        lines.append(f"  a score is off by at most {plan.error:.3g}, for values in their ranges.")
        first = read_columns(columns).names[0]
        lines.append(f"  Patients without a value of {first} at the hospital cannot be scored.")
    Output(as_json).result(document, *lines)


@app.command()
def propose(
    file: ModelFile,
    member: As,
    key: Annotated[str, typer.Option("--key", help="The data key's id.")],
    columns: ColumnsFile = None,
    uses: Annotated[int, typer.Option(min=1, max=5000, help="How often.")] = USES,
    days: Annotated[int, typer.Option(min=1, help="From now until it expires.")] = LIFE_DAYS,
    step_seconds: Annotated[
        int, typer.Option(min=STEP_SECONDS_LEAST, help="What every step may take.")
    ] = STEP_SECONDS,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Propose a risk score as the hospital that will ask for it; the members vote."""
    found = scores.read_model(file)
    if columns is not None:
        plan_scores(found, read_columns(columns))  # refuses what could never be computed
    request = ScoreRequest(
        found,
        context.parse_id(key),
        uses_max=uses,
        seconds=days * DAY_SECONDS,
        step_seconds=step_seconds,
    )

    async def work(hospital: Hospital) -> ProposedScore:
        return await scores.propose_score(hospital, request)

    proposed = context.by_member(alliance, member, work)
    risk_score = proposed.risk_score.hex()
    Output(as_json).result(
        {"risk_score": risk_score, "height": proposed.act.height},
        f"risk score {risk_score} is proposed in block {proposed.act.height}.",
        "Members vote with: cipherward score approve SCORE --member MEMBER --model FILE",
    )


@app.command()
def approve(
    score: ScoreId,
    member: As,
    file: Annotated[
        Path | None, typer.Option("--model", help="The model that was read: it must be this one.")
    ] = None,
    reject: Reject = False,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Vote on a risk score as a member."""
    read = None if file is None else scores.read_model(file)
    named = context.parse_id(score)

    async def work(hospital: Hospital) -> ProvenAct:
        return await scores.vote_score(hospital, named, not reject, read)

    act = context.by_member(alliance, member, work)
    Output(as_json).vote("risk score", score, member, not reject, act.height)


@app.command()
def run(
    score: ScoreId,
    member: As,
    patient: Annotated[
        list[str], typer.Option("--patient", help="Reference of a patient's rows; repeatable.")
    ],
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Score patients of the hospital, and show what only it can read."""
    named = context.parse_id(score)
    references = [context.parse_id(one) for one in patient]
    output = Output(as_json)

    async def work(hospital: Hospital) -> Inference:
        use = await inferences.infer(hospital, named, references)
        output.say(f"use {use.hex()}; look again with: cipherward score show SCORE --use USE")
        return await inferences.await_scores(hospital, use)

    _tell(output, context.by_member(alliance, member, work))


@app.command()
def show(
    score: ScoreId,
    member: As,
    use: Annotated[str, typer.Option("--use", help="Show this use of it, with its scores.")] = "",
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Show a risk score as one of its members, or a use of it as its hospital."""
    named, output = context.parse_id(score), Output(as_json)
    if use:
        inference = context.parse_id(use)
        _tell(
            output,
            context.by_member(
                alliance, member, lambda hospital: inferences.show_inference(hospital, inference)
            ),
        )
        return

    async def work(hospital: Hospital) -> RiskScore:
        return await scores.show_score(hospital, named)

    found = context.by_member(alliance, member, work)
    document = {
        **asdict(found),
        "risk_score": score,
        "data_key": found.data_key.hex(),
        "model_digest": found.model_digest.hex(),
        "members": list(found.members),
    }
    lines = [
        f"risk score {score} of {found.hospital} is {found.state}: {found.uses} of "
        f"{found.uses_max} uses, until {clock(found.expires)}.",
        f"  model {found.model_digest.hex()} over data key {found.data_key.hex()}",
    ]
    if found.failure:
        lines += [f"  its newest use failed: {found.failure}"]
        lines += [f"  {one}" for one in _meaning(found.failure)]
    output.result(document, *lines)


@app.command()
def end(
    score: ScoreId,
    member: As,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """End a risk score as any of its members; the data key stays."""
    named = context.parse_id(score)
    act = context.by_member(alliance, member, lambda hospital: scores.end_score(hospital, named))
    Output(as_json).result(
        {"risk_score": score, "member": member, "height": act.height},
        f"{member} ended the risk score in block {act.height}.",
    )


def _meaning(reason: str) -> tuple[str, ...]:
    """Return what the end of a use means: a member's word, or why the chain refused it."""
    advice = ADVICE.get(reason)
    refused = () if advice is None else (advice.cause, advice.fix)
    return meaning("", reason) or refused


def _tell(output: Output, found: Inference) -> None:
    means = _meaning(found.reason)
    document = {
        "use": found.inference.hex(),
        "state": found.state,
        "reason": found.reason,
        "failure": found.failure,
        "meaning": list(means),
        "variables": found.variables,
        "scores": [{**asdict(one), "reference": one.reference.hex()} for one in found.scores],
    }
    if found.state != "released":
        lines = [f"the use is {found.state}: {found.reason} {found.failure}".rstrip(": ")]
        output.result(document, *lines, *(f"  {one}" for one in means))
        return
    rows = [
        [
            one.reference.hex(),
            f"{one.linear:.6g}",
            "" if one.probability is None else f"{one.probability:.4f}",
            f"{one.known} of {found.variables}",
        ]
        for one in found.scores
    ]
    output.table(document, ["patient", "score", "probability", "values known"], rows)
