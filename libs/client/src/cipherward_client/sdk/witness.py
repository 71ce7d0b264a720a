"""A witness: do all members show one chain? Asks several ledgers and believes none of them.

A liar with more than a third of the power can sign two chains and show one to some readers, another
to the rest. Neither reader sees it alone; whoever compares what several members show does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from cipherward_chain.endpoints import EndpointUnknown
from cipherward_chain.evidence import Branch, EvidenceRejected, ForkEvidence
from cipherward_chain.light_block import LightBlock
from cipherward_chain.light_skipping import LightSource, TrustRules, fetch, skip_to
from cipherward_chain.light_source import GrpcLightSource, LightBlockUnavailable
from cipherward_chain.rejections import BlockRejected, HeightUnexpected, LinkBroken
from cipherward_chain.trust import TrustPoint
from cipherward_chain.wire import NANOS
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.ledgers import ledgers_of

# For all that one member is asked: a way of some headers takes less than a second, and one that
# answers slowly on purpose shall not keep the others' comparison.
MEMBER_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Split:
    """Members show different certified headers of one height.

    `sides` are the members by the header's hash; `evidence` names who signed both, or is None if no
    third of either side's set signed both (then only the trust root's power is shared).
    """

    height: int
    sides: Mapping[bytes, tuple[str, ...]]
    evidence: ForkEvidence | None


@dataclass(frozen=True, slots=True)
class Witnessed:
    """What members have shown, each verified from the trust root.

    heads: the newest light block of each member that showed one to be believed.
    lagging: those whose newest header is too old beside the newest of all.
    away: why a member was not heard, or not on every header that was compared.
    refused: why what a member showed is not believed.
    agreed: the newest header that every member with a head that is not lagging has shown alike;
        None if fewer than two have, or if there is a split.
    split: the lowest height at which they differ, or None.
    """

    heads: Mapping[str, LightBlock]
    lagging: Sequence[str]
    away: Mapping[str, str]
    refused: Mapping[str, str]
    agreed: LightBlock | None
    split: Split | None

    @property
    def checkpoint(self) -> TrustPoint | None:
        """What was agreed, if more members showed it than may be lying; else None."""
        if self.agreed is None:
            return None
        liars = (len(self.agreed.validators.validators) - 1) // 3
        return TrustPoint.of(self.agreed) if len(self.compared) > liars else None

    @property
    def compared(self) -> Sequence[str]:
        """The members whose newest headers were held against each other."""
        return [member for member in self.heads if member not in self.lagging]


@dataclass(slots=True)
class _Hearing:
    """What is heard while members are asked, all at once."""

    point: TrustPoint
    now_ns: int
    rules: TrustRules
    away: dict[str, str] = field(default_factory=dict[str, str])
    refused: dict[str, str] = field(default_factory=dict[str, str])

    async def believed(self, member: str, source: LightSource, height: int) -> LightBlock | None:
        """Return a member's header of `height` (0: its newest) if it can be believed."""
        try:
            async with asyncio.timeout(MEMBER_SECONDS):
                block = await fetch(source, height)
                await self._believe(block, source)
        except (LightBlockUnavailable, TimeoutError) as error:
            self.away.setdefault(member, str(error) or "it did not answer in time")
        except BlockRejected as error:
            self.refused.setdefault(member, f"{error.reason}: {error}")
        else:
            return block
        return None

    async def _believe(self, block: LightBlock, source: LightSource) -> None:
        if block.height > self.point.height:
            await skip_to(self.point, block, source, self.now_ns, self.rules)
            return
        if block.height < self.point.height:
            raise HeightUnexpected("its newest header is older than the trust root's checkpoint")
        block.verify()
        if block.hash != self.point.header_hash:
            raise LinkBroken("it shows another header than the trust root's checkpoint")


async def witness(
    sources: Mapping[str, LightSource],
    point: TrustPoint,
    now_ns: int,
    lag_seconds: int,
    rules: TrustRules | None = None,
) -> Witnessed:
    """Compare what members show; each is verified on its own and from `point`.

    Every member is asked for the newest header of every other, so that nobody can show the common
    past to one and a branch of its own above it to another.

    Args:
        sources: the ledgers by member.
        point: what is trusted: see `RootFile.point`.
        now_ns: this machine's clock, Unix nanoseconds.
        lag_seconds: a newest header so much older than the newest of all is a lagging member's.
        rules: of skipping; the defaults if None.

    Cost: members squared light blocks, of one signature a validator each.
    """
    hearing = _Hearing(point, now_ns, rules or TrustRules())
    asked = {member: (source, 0) for member, source in sources.items()}
    heads = {member: found for (member, _), found in (await _all(hearing, asked)).items()}
    newest_ns = max((head.time_ns for head in heads.values()), default=0)
    lagging = [m for m, head in heads.items() if newest_ns - head.time_ns > lag_seconds * NANOS]
    shown: dict[int, dict[str, LightBlock]] = {}
    for height in sorted({head.height for head in heads.values()}):
        more = {
            member: (sources[member], height)
            for member, head in heads.items()
            if head.height > height
        }
        at_height = {m: head for m, head in heads.items() if head.height == height}
        at_height |= {member: found for (member, _), found in (await _all(hearing, more)).items()}
        shown[height] = at_height
    split = next((s for h, blocks in shown.items() if (s := _split(h, blocks))), None)
    leading = {m: head for m, head in heads.items() if m not in lagging}
    agreed = None if split is not None else _agreed(leading, shown)
    return Witnessed(heads, lagging, hearing.away, hearing.refused, agreed, split)


async def _all(
    hearing: _Hearing, asked: Mapping[str, tuple[LightSource, int]]
) -> dict[tuple[str, int], LightBlock]:
    async with asyncio.TaskGroup() as group:
        tasks = {
            (member, height): group.create_task(hearing.believed(member, source, height))
            for member, (source, height) in asked.items()
        }
    return {key: block for key, task in tasks.items() if (block := task.result()) is not None}


def _agreed(
    leading: Mapping[str, LightBlock], shown: Mapping[int, Mapping[str, LightBlock]]
) -> LightBlock | None:
    """Return the newest header that all of `leading` have shown, if they are two or more."""
    if len(leading) < 2:
        return None
    height = min(head.height for head in leading.values())
    blocks = shown[height]
    return next(iter(blocks.values())) if leading.keys() <= blocks.keys() else None


def _split(height: int, blocks: Mapping[str, LightBlock]) -> Split | None:
    sides: dict[bytes, list[str]] = {}
    for member, block in blocks.items():
        sides.setdefault(block.hash, []).append(member)
    if len(sides) < 2:
        return None
    one, other = (blocks[members[0]] for members in list(sides.values())[:2])
    evidence = ForkEvidence.of(Branch.of(one), Branch.of(other))
    return Split(
        height,
        {digest: tuple(members) for digest, members in sides.items()},
        evidence if _proves(evidence, one, other) else None,
    )


def _proves(evidence: ForkEvidence, one: LightBlock, other: LightBlock) -> bool:
    for believed in (one, other):
        try:
            evidence.verify(believed.validators)
        except EvidenceRejected:
            continue
        return True
    return False


def ledger_sources(alliance: Alliance) -> dict[str, LightSource]:
    """Return the ledgers of every member that has one, over the connection's channels.

    A member whose ledger serves no holders is asked nothing: it is left out.
    """
    found: dict[str, LightSource] = {}
    for member in ledgers_of(alliance.endpoints):
        try:
            channel = alliance.channel(member, "ledger")
        except EndpointUnknown:
            continue
        found[member] = GrpcLightSource(channel, alliance.chain_id)
    return found
