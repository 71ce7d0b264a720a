"""Skipping verification: from a believed header to a far later one, over few headers between.

A header is believed without those before it when more than a third of the power that was trusted
signed it, besides more than two thirds of its own set: fewer than a third of an alliance lie, so at
least one honest member signed, and an honest member signs only what follows from the chain. Where
too few of the trusted members are left, a header halfway is believed first (bisection).

That holds only while those who were trusted still answer for their keys: the trusting period.

Source: CometBFT, spec/light-client/verification, and light/verifier.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from cipherward_chain.light_block import LightBlock
from cipherward_chain.rejections import (
    BisectionTooLong,
    HeaderFromTheFuture,
    HeightUnexpected,
    LinkBroken,
    TimeNotIncreasing,
    TrustExpired,
    TrustInsufficient,
    ValidatorsDiffer,
)
from cipherward_chain.trust import TrustPoint
from cipherward_chain.wire import NANOS

DAY_SECONDS: Final = 86_400
# How long a member answers for what its consensus key signs after it has left. Validators of public
# chains have coins at stake until an unbonding period is over; a hospital has its contract with the
# alliance, whose notice and hand-over take about half a year. After that nobody need care what
# becomes of the key. Two thirds of it may be relied on: the last third is for noticing a fork and
# acting on the evidence while its signers still answer (CometBFT's own advice for its periods).
ACCOUNTABLE_DAYS: Final = 180
TRUSTING_SECONDS: Final = ACCOUNTABLE_DAYS * DAY_SECONDS * 2 // 3
# How far members' clocks may be apart: CometBFT's default, one heartbeat of ours.
CLOCK_DRIFT_SECONDS: Final = 10
# Each light block that is really needed hands trust on over two thirds of the power: an alliance
# does not renew itself so often in a trusting period. With 63 for the depth of a lying bisection.
LIGHT_BLOCKS_MAX: Final = 512


class LightSource(Protocol):
    """Where light blocks come from, untrusted. Adapters: a ledger's GetLightBlock, and chains in
    tests.
    """

    async def light_block(self, height: int) -> LightBlock:
        """Return the light block of `height`, or the newest for 0.

        Raises:
            LightBlockUnavailable: the source does not answer it.
            BlockRejected: what it answers is malformed or of another chain.
        """
        ...


@dataclass(frozen=True, slots=True)
class TrustRules:
    """How long a believed header is relied on, how far clocks may be apart, and how many headers
    a source may be asked for on one way.
    """

    trusting_seconds: int = TRUSTING_SECONDS
    clock_drift_seconds: int = CLOCK_DRIFT_SECONDS
    light_blocks_max: int = LIGHT_BLOCKS_MAX

    def check_recent(self, trusted: TrustPoint, now_ns: int) -> None:
        """Raise `TrustExpired` unless `trusted` is within the trusting period at `now_ns`."""
        if now_ns - trusted.time_ns >= self.trusting_seconds * NANOS:
            days = self.trusting_seconds // DAY_SECONDS
            raise TrustExpired(f"the trusted header is older than {days} days")

    def check_clock(self, block: LightBlock, now_ns: int) -> None:
        """Raise `HeaderFromTheFuture` if `block` is later than a clock at `now_ns` allows."""
        if block.time_ns > now_ns + self.clock_drift_seconds * NANOS:
            raise HeaderFromTheFuture(f"header {block.height} is ahead of this machine's clock")


def can_step(trusted: TrustPoint, block: LightBlock) -> bool:
    """Say whether `block` may be believed from `trusted` if its signatures are right.

    Raises:
        HeightUnexpected, TimeNotIncreasing: it does not come after `trusted`.
        LinkBroken: it is the next header, and names another before it.
        ValidatorsDiffer: it is the next header, and has another set than was announced.
    """
    if block.height <= trusted.height:
        raise HeightUnexpected(f"{block.height} does not come after {trusted.height}")
    if block.time_ns <= trusted.time_ns:
        raise TimeNotIncreasing("a later header has no later time")
    if block.height == trusted.height + 1:
        if block.header.last_block_id.hash != trusted.header_hash:
            raise LinkBroken("the next header names another block")
        if trusted.next_validators_hash:
            if block.header.validators_hash != trusted.next_validators_hash:
                raise ValidatorsDiffer("the next header has another set than was announced")
            return True  # the trusted set announced it: no third of it need have signed
    return 3 * block.power_in(trusted.validators) > trusted.validators.power


def verify_step(
    trusted: TrustPoint, block: LightBlock, now_ns: int, rules: TrustRules | None = None
) -> TrustPoint:
    """Return the point of `block`, believed from `trusted` in one step.

    Cost: one signature a validator of the block's set.

    Raises:
        BlockRejected: `TrustInsufficient` if a header between may help; the others do not.
    """
    bounds = rules or TrustRules()
    bounds.check_recent(trusted, now_ns)
    bounds.check_clock(block, now_ns)
    if not can_step(trusted, block):
        raise TrustInsufficient("not more than a third of the trusted power signed it")
    block.verify()
    return TrustPoint.of(block)


async def skip_to(
    trusted: TrustPoint,
    target: LightBlock,
    source: LightSource,
    now_ns: int,
    rules: TrustRules | None = None,
) -> Sequence[LightBlock]:
    """Return the light blocks that lead from `trusted` to `target`, which is the last of them.

    Args:
        trusted: where belief begins.
        target: what shall be believed; unverified.
        source: of the headers between. It can waste at most `rules.light_blocks_max` of them.
        now_ns: the caller's clock, Unix nanoseconds.
        rules: times and bounds; the defaults if None.

    Raises:
        BlockRejected: the target cannot be believed; a subclass says why.
        LightBlockUnavailable: the source does not have a header that is needed.
    """
    bounds = rules or TrustRules()
    path: list[LightBlock] = []
    waiting, fetched = [target], 0
    while waiting:
        block = waiting[-1]
        bounds.check_recent(trusted, now_ns)
        bounds.check_clock(block, now_ns)
        if can_step(trusted, block):
            block.verify()
            trusted = TrustPoint.of(block)
            path.append(waiting.pop())
            continue
        if block.height == trusted.height + 1:
            raise TrustInsufficient("not more than a third of the trusted power signed it")
        fetched += 1
        if fetched > bounds.light_blocks_max:
            raise BisectionTooLong(f"more than {bounds.light_blocks_max} headers lie between")
        waiting.append(await fetch(source, (trusted.height + block.height) // 2))
    return path


async def fetch(source: LightSource, height: int) -> LightBlock:
    """Return a source's light block of exactly `height` (0: any), or raise as `LightSource`."""
    block = await source.light_block(height)
    if height and block.height != height:
        raise HeightUnexpected(f"asked for header {height}, got {block.height}")
    return block
