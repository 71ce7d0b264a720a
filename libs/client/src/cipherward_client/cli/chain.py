"""`cipherward chain`: is there one chain, and if not, who signed two."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cipherward_chain.evidence import EvidenceRejected, ForkEvidence
from cipherward_chain.evidence_store import EvidenceStore, read_evidence
from cipherward_chain.genesis import Genesis
from cipherward_chain.light_skipping import DAY_SECONDS, TRUSTING_SECONDS, TrustRules
from cipherward_chain.root_file import RootFile
from cipherward_client.cli import context
from cipherward_client.cli.faults import CliFault, FileExists
from cipherward_client.cli.options import DEFAULT_FOLDER, AllianceDir, Json
from cipherward_client.cli.output import Output, clock
from cipherward_client.cli.receipt import RootOption
from cipherward_client.sdk.errors import explaining
from cipherward_client.sdk.roots import read_root_for, write_root
from cipherward_client.sdk.witness import Split, Witnessed, ledger_sources, witness

app = typer.Typer(no_args_is_help=True, help="Compare what the members show of the chain.")

SHOWN_HASH = 16  # digits of a header's hash: enough to tell two apart by eye


class SplitView(CliFault):
    """Members show different chains."""

    reason = "SPLIT_VIEW"
    cause = "Members show two chains, both signed by the alliance's validators."
    fix = "Stop relying on either, keep the evidence, and call the members together."


class HeadRefused(CliFault):
    """What a member shows is not the chain that the trust root leads to."""

    reason = "HEAD_REFUSED"
    cause = "What a member shows cannot be believed from the trust root."
    fix = "Compare the trust root with other members', or get one with a newer checkpoint."


class WitnessAlone(CliFault):
    """Fewer than two members could be compared."""

    reason = "NOTHING_TO_COMPARE"
    cause = "Fewer than two members showed a header, so nothing was compared."
    fix = "Try again when more members' ledgers answer; a solo alliance has one ledger only."


class TooFewAgree(CliFault):
    """A checkpoint needs more members than may be lying."""

    reason = "TOO_FEW_AGREE"
    cause = "Not enough members showed the same header for a checkpoint that can be relied on."
    fix = "Try again when the members that were away answer."


class NothingForked(CliFault):
    """A file is evidence of no fork to this reader."""

    reason = "EVIDENCE_REJECTED"
    cause = "The file does not prove a fork to somebody who trusts this root."
    fix = "If the alliance's members have changed, give a trust root with a newer checkpoint."


@app.callback()
def _group() -> None:
    """Compare what the members show of the chain."""


@app.command("witness")
def witness_command(
    root: RootOption = None,
    evidence: Annotated[
        Path, typer.Option(help="The folder that evidence of a split is written to.")
    ] = Path("evidence"),
    save_root: Annotated[
        Path | None,
        typer.Option(help="Write a trust root with what the members agree on as its checkpoint."),
    ] = None,
    trusting_days: Annotated[
        int, typer.Option(min=1, max=3_650, help="How old the trusted header may be.")
    ] = TRUSTING_SECONDS // DAY_SECONDS,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Ask every member for its newest block and compare: do they all show one chain?

    Fails if two members show different chains, or one shows a chain that cannot be believed.
    """
    folder = context.alliance_folder(alliance)
    if save_root is not None and save_root.exists():
        raise FileExists(str(save_root))

    async def work() -> tuple[Genesis, RootFile, Witnessed]:
        async with context.connect(folder) as connection:
            genesis = connection.genesis
            trust = read_root_for(root, genesis)
            seen = await witness(
                ledger_sources(connection),
                trust.point,
                time.time_ns(),
                genesis.parameters.fresh_seconds,
                TrustRules(trusting_seconds=trusting_days * DAY_SECONDS),
            )
            return genesis, trust, seen

    genesis, trust, seen = context.run(work())
    if seen.split is not None:
        raise SplitView(_told(seen.split, genesis, evidence))
    if seen.refused:
        raise HeadRefused(_listed(seen.refused))
    if len(seen.compared) < 2:
        raise WitnessAlone(_listed(seen.away))
    lines = _lines(seen)
    if save_root is not None:
        lines.append(_saved(seen, trust, save_root))
    Output(as_json).result(_document(seen), *lines)


def _listed(reasons: Mapping[str, str]) -> str:
    return "; ".join(f"{member}: {why}" for member, why in reasons.items())


def _lines(seen: Witnessed) -> list[str]:
    lines = [f"{len(seen.compared)} members show one chain."]
    for member, head in seen.heads.items():
        late = "  lags behind" * (member in seen.lagging)
        signed = f"{len(head.signers)} of {len(head.validators.validators)} signed"
        at = clock(head.time_ns / 1e9)
        lines.append(f"  {member}  block {head.height}  {_short(head.hash)}  {at}  {signed}{late}")
    lines += [f"  {member}  not heard: {why}" for member, why in seen.away.items()]
    return lines


def _document(seen: Witnessed) -> dict[str, Any]:
    heads = {
        member: {
            "height": head.height,
            "header_hash": head.hash.hex(),
            "time": head.time_ns // 10**9,
            "signed": len(head.signers),
            "lagging": member in seen.lagging,
        }
        for member, head in seen.heads.items()
    }
    agreed = None if seen.agreed is None else seen.agreed.height
    return {"one_chain": True, "agreed_height": agreed, "heads": heads, "away": dict(seen.away)}


def _told(split: Split, genesis: Genesis, folder: Path) -> str:
    """Save the evidence of a split, and say who is on which side."""
    sides = " | ".join(
        f"{_short(digest)}: {', '.join(members)}" for digest, members in split.sides.items()
    )
    kept = "no validators could be shown to have signed both"
    if split.evidence is not None:
        with explaining():
            path = EvidenceStore(folder).save(split.evidence)
        kept = f"evidence in {path or folder}"
    return f"block {split.height}: {sides}; {kept} ({genesis.chain_id})"


def _saved(seen: Witnessed, trust: RootFile, path: Path) -> str:
    """Write what was agreed as the checkpoint of a trust root."""
    point = seen.checkpoint
    if point is None:
        raise TooFewAgree(f"{len(seen.compared)} members")
    write_root(path, RootFile(trust.root, trust.time_ns, point))
    return f"{path} trusts block {point.height}, {point.header_hash.hex()}."


@app.command()
def evidence(
    file: Annotated[Path, typer.Argument(help="The evidence.")],
    root: RootOption = None,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Verify evidence of a fork, offline, and name who signed both branches."""
    folder = context.alliance_folder(alliance)
    with explaining():
        genesis = Genesis.parse(folder.genesis_file.read_bytes())
        found = read_evidence(file)
    trust = read_root_for(root, genesis)
    document = _verified(found, trust, genesis)
    sides = document["headers"]
    Output(as_json).result(
        document,
        f"The chain {genesis.chain_id} has forked at block {document['height']}:",
        *(f"  header        {digest}" for digest in sides),
        *(f"  signed both   {name}" for name in document["signed_both"]),
        *(f"  double vote   {name}" for name in document["double_signed"]),
    )


def _verified(found: ForkEvidence, trust: RootFile, genesis: Genesis) -> dict[str, Any]:
    try:
        fork = found.verify(trust.point.validators)
    except EvidenceRejected as error:
        raise NothingForked(str(error)) from None
    if fork.chain_id != genesis.chain_id:
        raise NothingForked(f"it is of the chain {fork.chain_id}")
    names = {m.consensus_public_key: member for member, m in genesis.members.items()}
    return {
        "chain_id": fork.chain_id,
        "height": fork.height,
        "headers": [digest.hex() for digest in fork.header_hashes],
        "signed_both": [_name(v.public_key, names) for v in fork.signed_both],
        "double_signed": [_name(v.public_key, names) for v in fork.double_signed],
    }


def _name(key: bytes, names: Mapping[bytes, str]) -> str:
    return names.get(key, key.hex())


def _short(digest: bytes) -> str:
    return digest.hex()[:SHOWN_HASH]
