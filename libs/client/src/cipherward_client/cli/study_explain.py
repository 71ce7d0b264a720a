"""`cipherward study explain`: what a study will do, before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cipherward_client.cli import context
from cipherward_client.cli.options import DEFAULT_FOLDER, AllianceDir, Json, PassphraseFile
from cipherward_client.cli.output import Output
from cipherward_client.cli.study_spec import read_spec
from cipherward_client.sdk.permits import Permit, show_permit
from cipherward_client.sdk.study_explaining import Explained, explain_study
from cipherward_client.sdk.study_rules import Rule, study_rules
from cipherward_studies.explain import Explanation, Upload
from cipherward_studies.spec import Draft

MEBIBYTE = 1 << 20


def explain(
    spec: Annotated[Path, typer.Argument(help="The study: a YAML or JSON file.")],
    permit: Annotated[
        str, typer.Option(help="Say also whether this data permit allows it; needs --wallet.")
    ] = "",
    wallet: Annotated[
        Path | None, typer.Option("--wallet", envvar="CIPHERWARD_WALLET", help="To see the permit.")
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask no service: without the contracts' rules.")
    ] = False,
    alliance: AllianceDir = DEFAULT_FOLDER,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Say what a study computes, sends, discloses and takes, before anything runs.

    Only the contracts' templates, and the permit if one is named, are read from the chain.
    """
    if permit and (offline or wallet is None):
        raise typer.BadParameter("a permit is read from the chain, with --wallet")
    draft = read_spec(spec)
    found = (
        explain_study(draft)
        if offline
        else context.run(_asked(draft, alliance, permit, wallet, passphrase_file))
    )
    Output(as_json).result(found.to_document(), *lines_of(found))


async def _asked(
    draft: Draft, root: Path, permit: str, wallet: Path | None, passphrase_file: Path | None
) -> Explained:
    seen: Permit | None = None
    if permit and wallet is not None:
        permit_id = context.parse_id(permit)
        async with context.holder(root, wallet, passphrase_file) as me:
            seen = await show_permit(me.alliance, me.wallet, permit_id)
    async with context.connect(context.alliance_folder(root)) as alliance:
        return explain_study(draft, alliance.present, await study_rules(alliance, draft), seen)


def lines_of(found: Explained) -> list[str]:
    """Return an explanation as lines that a person reads."""
    plan = found.plan
    lines = [_head(found), "", "Each hospital, at home:", *_bullets(plan.computes)]
    lines += ["", "and sends to each other hospital:", *_sends(plan)]
    if found.rules:
        lines += ["", "By these rules of these contracts:", *(_rule(one) for one in found.rules)]
    lines += ["", "It takes:", *_bullets(_takes(found))]
    if found.refusals is not None:
        good = ("the permit that was named allows it, as far as it is not spent",)
        lines += ["", "The permit:", *_bullets(found.refusals or good)]
    lines += ["", "How exact the answer is:"]
    lines += _bullets([f"{figure}: {bound}" for figure, bound in plan.error_bounds.items()])
    if found.cautions:
        lines += ["", "Mind:", *_bullets(found.cautions)]
    lines += ["", "Who learns what:", *_bullets(plan.disclosed)]
    lines += ["", f"Counted before anything else, {len(plan.cells)} cells:", *_bullets(plan.cells)]
    return lines


def _head(found: Explained) -> str:
    who = ""
    if found.members:
        who = f" by {', '.join(found.members)}; {found.threshold} of them decrypt together"
    return (
        f"{', '.join(found.draft.outputs)} of {found.draft.data_set}, at least "
        f"{found.draft.minimum} patients in every cell{who}."
    )


def _bullets(sentences: tuple[str, ...] | list[str]) -> list[str]:
    return [f"  - {one}" for one in sentences]


def _sends(plan: Explanation) -> list[str]:
    rounds = "once" if plan.rounds == 1 else f"in each of up to {plan.rounds} rounds"
    return [
        f"  - counts, once: {_upload(plan.counts)}",
        f"  - values, {rounds}: {_upload(plan.values)}",
    ]


def _upload(upload: Upload) -> str:
    if not upload.bytes:
        return f"{upload.slots} numbers, each a product of stored columns: nothing is sent"
    return (
        f"{upload.slots} numbers in {upload.ciphertexts} ciphertexts with their proof, "
        f"{upload.bytes / MEBIBYTE:.1f} MiB"
    )


def _rule(rule: Rule) -> str:
    where = f" in {', '.join(rule.states)}" if 0 < len(rule.states) <= 2 else ""
    who = " or ".join(rule.by)
    needed = f" ({rule.needed.removeprefix('terms.')})" if rule.needed else ""
    then = f"; orders {', '.join(rule.orders)}" if rule.orders else ""
    policies = f" by {', '.join(rule.policies)}" if rule.policies else ""
    return f"  - {rule.contract}{where}: {rule.act} of {who}{needed}{policies} -> {rule.to}{then}"


def _takes(found: Explained) -> list[str]:
    quota, privacy = found.quota, found.plan.privacy
    taken = [
        f"at most {quota.permit} releases of the permit (1 for the counts, and one a round)",
        f"at most {quota.data_set} releases of {found.draft.data_set}, which all studies share",
    ]
    if privacy is not None:
        taken.append(
            f"at most rho = {privacy.rho_in_all:g} of its privacy budget (zCDP), "
            f"{privacy.rho_of_round:g} a round: epsilon {privacy.epsilon:.3g} at delta "
            f"{privacy.delta:g}"
        )
    if found.estimate is not None:
        time = found.estimate
        key = f"{time.key:.1f} s for the key, " if time.key else ""
        taken.append(
            f"about {key}{time.counts:.1f} s for the counts and "
            f"{time.one_round:.1f} s a round: an estimate, from the last vote, without the reading "
            f"of the rows; {time.most:.0f} s if all rounds are needed"
        )
    return taken
