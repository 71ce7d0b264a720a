"""Evidence of a fork: what proves one, whom it names, and what a follower and a disk make of it."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest

from cipherward.chain.v1 import block_pb2 as pb
from cipherward_chain.checkpoint import Checkpoint
from cipherward_chain.comet import Validator, ValidatorSet, parse_header
from cipherward_chain.evidence import (
    EVIDENCE_BYTES_MAX,
    Branch,
    ChainForked,
    EvidenceMalformed,
    EvidenceRejected,
    ForkEvidence,
)
from cipherward_chain.evidence_store import FILES_MAX, EvidenceStore, read_evidence
from cipherward_chain.follower import Follower
from cipherward_chain.fork_watch import HEADERS_KEPT, ForkWatch
from cipherward_chain.genesis import Genesis
from cipherward_chain.light import LightClient, VerifiedBlock
from cipherward_chain.light_block import LightBlock
from cipherward_chain.testing import BLOCK_NS, make_genesis
from cipherward_chain.testing import TestChain as Chain
from cipherward_chain.testing import TestKeys as Keys
from cipherward_chain.testing_forgery import forged_commit
from cipherward_chain.testing_quorum import QuorumChain, seeds_by_key
from cipherward_chain.wire import exact_bytes

DEADLINE_SECONDS = 10
POWER = 10
Transactions = Callable[[int], list[bytes]]


def forked(chain: QuorumChain, after: int, *, absent: int = 0, round_: int = 0) -> QuorumChain:
    """Grow a chain to `after` blocks, and one more and another on each of two branches; return
    the other branch, which all but `absent` of the validators sign.
    """
    chain.grow(after)
    twin = chain.fork()
    away = chain.genesis.validators.validators[:absent]
    chain.grow(3)
    twin.decide(after_ns=BLOCK_NS + 1, absent=frozenset(v.public_key for v in away), round_=round_)
    twin.grow(2)
    return twin


async def branches(one: QuorumChain, other: QuorumChain, height: int) -> ForkEvidence:
    blocks = [await chain.light_block(height) for chain in (one, other)]
    return ForkEvidence.of(Branch.of(blocks[0]), Branch.of(blocks[1]))


async def test_two_certified_headers_of_one_height_name_who_signed_both(
    quorum: QuorumChain,
) -> None:
    twin = forked(quorum, 4, absent=1)
    evidence = await branches(quorum, twin, 5)
    fork = evidence.verify(quorum.genesis.validators)
    assert (fork.chain_id, fork.height) == ("test-chain", 5)
    assert set(fork.header_hashes) == {quorum.block_hash(5), twin.block_hash(5)}
    assert fork.signed_both == fork.double_signed == quorum.genesis.validators.validators[1:]


async def test_the_order_in_which_branches_were_seen_does_not_matter(quorum: QuorumChain) -> None:
    twin = forked(quorum, 1)
    one, other = await branches(quorum, twin, 2), await branches(twin, quorum, 2)
    assert one == other
    assert ForkEvidence.from_bytes(one.to_bytes()) == one
    assert one.digest == other.digest


async def test_different_rounds_prove_the_fork_and_convict_nobody_alone(
    quorum: QuorumChain,
) -> None:
    twin = forked(quorum, 2, round_=1)
    fork = (await branches(quorum, twin, 3)).verify(quorum.genesis.validators)
    assert fork.signed_both == quorum.genesis.validators.validators
    assert fork.double_signed == ()


async def test_a_branch_may_be_certified_by_the_header_after_it(quorum: QuorumChain) -> None:
    twin = forked(quorum, 2)
    block = twin.proven[2]
    conflicting = Branch(
        block.header, block.next_header, block.next_commit, quorum.genesis.validators.to_bytes()
    )
    evidence = ForkEvidence.of(Branch.of(await quorum.light_block(3)), conflicting)
    fork = evidence.verify(quorum.genesis.validators)
    assert fork.height == 3
    assert fork.signed_both == quorum.genesis.validators.validators
    assert fork.double_signed == ()


async def test_a_header_with_a_set_of_its_own_convicts_the_trusted_who_signed_it(
    quorum: QuorumChain, newcomers: list[bytes], members: tuple[Genesis, object]
) -> None:
    """Two of four members hand the chain to strangers on a branch of their own."""
    quorum.grow(5)
    genuine = await quorum.light_block(5)
    traitors = genuine.validators.validators[:2]
    strangers = ValidatorSet.of([*traitors, *(Validator(key, POWER) for key in newcomers[:3])])
    header = parse_header(genuine.raw.header)
    header.validators_hash = header.next_validators_hash = strangers.hash()
    header.proposer_address = strangers.validators[0].address
    seeds = {v.public_key: quorum.seeds[v.public_key] for v in strangers.validators}
    lie = LightBlock.of(header, forged_commit(header, strangers, seeds), strangers)
    evidence = ForkEvidence.of(Branch.of(genuine), Branch.of(lie))
    assert evidence.verify(genuine.validators).double_signed == traitors


async def test_one_header_twice_is_no_fork(quorum: QuorumChain) -> None:
    quorum.grow(3)
    with pytest.raises(EvidenceRejected, match="same"):
        (await branches(quorum, quorum, 2)).verify(quorum.genesis.validators)


async def test_one_header_decided_in_two_rounds_is_no_fork(quorum: QuorumChain) -> None:
    quorum.grow(2)
    twin = quorum.fork()
    quorum.decide()
    twin.decide(round_=1)
    assert quorum.light_blocks[2] != twin.light_blocks[2]
    with pytest.raises(EvidenceRejected, match="same"):
        (await branches(quorum, twin, 3)).verify(quorum.genesis.validators)


async def test_headers_of_two_heights_are_no_fork(quorum: QuorumChain) -> None:
    twin = forked(quorum, 2)
    one, other = await quorum.light_block(3), await twin.light_block(4)
    with pytest.raises(EvidenceRejected, match="heights"):
        ForkEvidence.of(Branch.of(one), Branch.of(other)).verify(quorum.genesis.validators)


async def test_headers_of_two_chains_are_no_fork(quorum: QuorumChain) -> None:
    """The same members may have two alliances with the same keys."""
    quorum.grow(3)
    other, keys = make_genesis(engine="cometbft", chain_id="other-chain")
    elsewhere = QuorumChain(other, seeds_by_key(keys.validator_seeds))
    elsewhere.grow(3)
    with pytest.raises(EvidenceRejected, match="chains"):
        (await branches(quorum, elsewhere, 3)).verify(quorum.genesis.validators)


async def test_a_successor_that_names_another_header_certifies_nothing(
    quorum: QuorumChain,
) -> None:
    """A header that nobody signed, with a genuine one after it."""
    quorum.grow(5)
    block = quorum.proven[3]
    forged = parse_header(block.header)
    forged.app_hash = bytes(32)
    lie = Branch(
        exact_bytes(forged),
        block.next_header,
        block.next_commit,
        quorum.genesis.validators.to_bytes(),
    )
    evidence = ForkEvidence.of(Branch.of(await quorum.light_block(4)), lie)
    with pytest.raises(EvidenceRejected, match="not certified"):
        evidence.verify(quorum.genesis.validators)


async def test_who_trusts_none_of_the_signers_is_shown_nothing(
    quorum: QuorumChain, newcomers: list[bytes]
) -> None:
    evidence = await branches(quorum, forked(quorum, 2), 3)
    others = ValidatorSet.of([Validator(key, POWER) for key in newcomers[:4]])
    with pytest.raises(EvidenceRejected, match="third"):
        evidence.verify(others)


async def test_a_third_is_not_more_than_a_third(
    quorum: QuorumChain, newcomers: list[bytes]
) -> None:
    """A reader's set of twelve: the four who signed both are a third of it."""
    evidence = await branches(quorum, forked(quorum, 2), 3)
    twelve = [*quorum.genesis.validators.validators, *(Validator(k, POWER) for k in newcomers)]
    with pytest.raises(EvidenceRejected, match="third"):
        evidence.verify(ValidatorSet.of(twelve))
    evidence.verify(ValidatorSet.of(twelve[:11]))


async def test_a_forged_signature_proves_no_fork(quorum: QuorumChain) -> None:
    twin = forked(quorum, 2)
    block = await twin.light_block(3)
    block.commit.signatures[0].signature = bytes(64)
    forged = Branch.of(LightBlock.of(block.header, block.commit, block.validators))
    evidence = ForkEvidence.of(Branch.of(await quorum.light_block(3)), forged)
    with pytest.raises(EvidenceRejected, match="not certified"):
        evidence.verify(quorum.genesis.validators)


async def test_evidence_has_one_form(quorum: QuorumChain) -> None:
    evidence = await branches(quorum, forked(quorum, 2), 3)
    raw = evidence.to_bytes()
    swapped = ForkEvidence(evidence.other, evidence.one).to_bytes()
    for octets in (b"", raw[:-1], raw + b"\0", swapped):
        with pytest.raises(EvidenceMalformed):
            ForkEvidence.from_bytes(octets)
    with pytest.raises(EvidenceMalformed, match="not so long"):
        ForkEvidence.from_bytes(bytes(EVIDENCE_BYTES_MAX + 1))
    with pytest.raises(EvidenceMalformed, match="format 2"):
        ForkEvidence.from_bytes(raw.replace(b"fformat\x01", b"fformat\x02"))


# --- on disk


async def test_evidence_is_kept_once_and_for_its_owner_alone(
    quorum: QuorumChain, tmp_path: Path
) -> None:
    evidence = await branches(quorum, forked(quorum, 2), 3)
    counts: list[int] = []
    store = EvidenceStore(tmp_path / "evidence", counts.append)
    assert list(store.files()) == []
    path = store.save(evidence)
    assert path is not None
    assert store.save(evidence) == path
    assert list(store.files()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert read_evidence(path) == evidence
    assert counts[-1] == 1


async def test_a_full_folder_keeps_the_first_evidence(quorum: QuorumChain, tmp_path: Path) -> None:
    evidence = await branches(quorum, forked(quorum, 2), 3)
    for number in range(FILES_MAX):
        (tmp_path / f"{number}.evidence").write_bytes(b"earlier")
    store = EvidenceStore(tmp_path)
    assert store.save(evidence) is None
    assert len(store.files()) == FILES_MAX


@pytest.mark.parametrize("octets", [b"", b"junk", bytes(EVIDENCE_BYTES_MAX + 7)])
def test_a_file_that_is_no_evidence_is_refused(tmp_path: Path, octets: bytes) -> None:
    path = tmp_path / "some.evidence"
    path.write_bytes(octets)
    with pytest.raises(EvidenceMalformed):
        read_evidence(path)


# --- a follower that is shown both branches


class Switching:
    """A feed that goes over to another branch after a height."""

    def __init__(self, genuine: QuorumChain, other: QuorumChain, after: int) -> None:
        self._genuine, self._other, self._after = genuine, other, after
        self.asked: list[int] = []

    async def blocks_from(self, height: int) -> AsyncGenerator[pb.ProvenBlock, None]:
        self.asked.append(height)
        for place in range(height, self._genuine.height):
            yield (self._genuine if place <= self._after else self._other).blocks[place - 1]


async def run_to_the_fork(
    feed: Switching, client: LightClient
) -> tuple[ForkEvidence, list[VerifiedBlock]]:
    carried_out: list[VerifiedBlock] = []

    async def take(block: VerifiedBlock) -> None:
        carried_out.append(block)

    async with asyncio.timeout(DEADLINE_SECONDS):
        with pytest.raises(ChainForked) as stopped:
            await Follower(feed, client, take).run()
    return stopped.value.evidence, carried_out


async def test_a_follower_that_sees_another_branch_carries_out_nothing_more(
    quorum: QuorumChain,
) -> None:
    """Blocks 1 to 4 prove header 5; the other branch has another header 5."""
    twin = forked(quorum, 4)
    evidence, carried_out = await run_to_the_fork(
        Switching(quorum, twin, after=4), quorum.light_client()
    )
    assert [block.height for block in carried_out] == [1, 2, 3, 4]
    assert evidence.verify(quorum.genesis.validators).height == 5


async def test_a_follower_that_was_started_again_asks_for_what_it_stood_on(
    quorum: QuorumChain,
) -> None:
    twin = forked(quorum, 4)
    client = quorum.light_client()
    for block in quorum.proven[:4]:
        client.accept(block)
    feed = Switching(quorum, twin, after=4)
    evidence, carried_out = await run_to_the_fork(feed, client)
    assert carried_out == []
    assert feed.asked == [5, 4]
    assert evidence.verify(quorum.genesis.validators).height == 5


async def test_a_feed_shows_a_follower_what_it_steps_over(quorum: QuorumChain) -> None:
    """An older block again, from another branch: as a topic may hold it."""
    twin = forked(quorum, 4)
    carried_out: list[int] = []

    async def take(block: VerifiedBlock) -> None:
        carried_out.append(block.height)

    class Feed:
        follower: Follower

        async def blocks_from(self, height: int) -> AsyncGenerator[pb.ProvenBlock, None]:
            for block in quorum.proven[height - 1 :]:
                yield block
            self.follower.stray(quorum.proven[4])  # what is known proves nothing
            self.follower.stray(twin.proven[3])  # block 4 is the same, header 5 is not

    feed = Feed()
    feed.follower = Follower(feed, quorum.light_client(), take)
    async with asyncio.timeout(DEADLINE_SECONDS):
        with pytest.raises(ChainForked) as stopped:
            await feed.follower.run()
    assert carried_out == [1, 2, 3, 4, 5, 6]
    fork = stopped.value.evidence.verify(quorum.genesis.validators)
    assert fork.height == 5
    assert fork.double_signed == quorum.genesis.validators.validators


async def test_junk_of_a_known_height_stops_nobody(quorum: QuorumChain) -> None:
    twin = forked(quorum, 4, absent=2)  # two of four do not certify
    follower_of = Follower(quorum, quorum.light_client(), _ignore)
    running = asyncio.ensure_future(follower_of.run())
    async with asyncio.timeout(DEADLINE_SECONDS):
        await follower_of.wait_for(6, DEADLINE_SECONDS)
        follower_of.stray(twin.blocks[3])
        for field in ("header", "next_header", "next_commit", "next_validators"):
            junk = pb.ProvenBlock()
            junk.CopyFrom(twin.blocks[4])
            setattr(junk, field, b"junk")
            follower_of.stray(junk)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _ignore(_block: VerifiedBlock) -> None:
    """Carry out nothing."""


async def test_a_solo_ledger_that_was_rolled_back_is_found_out(
    chain: Chain, alliance: tuple[Genesis, Keys], transactions: Transactions
) -> None:
    """Its one validator signs other blocks at heights that it has signed before."""
    genesis, keys = alliance
    rolled_back = Chain(genesis, keys)
    for made in transactions(3):
        chain.append([made])
        rolled_back.append([made], time_ns=genesis.time_ns + 7 * BLOCK_NS * chain.height)
    follower = Follower(chain, chain.light_client(), _ignore)
    running = asyncio.ensure_future(follower.run())
    async with asyncio.timeout(DEADLINE_SECONDS):
        await follower.wait_for(4, DEADLINE_SECONDS)
        with pytest.raises(ChainForked):
            follower.stray(rolled_back.blocks[2])
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


# --- what a reader remembers


def standing(chain: QuorumChain, height: int) -> Checkpoint:
    client = chain.light_client()
    for block in chain.proven[:height]:
        client.accept(block)
    assert client.checkpoint is not None
    return client.checkpoint


def test_only_the_certified_header_is_recalled(quorum: QuorumChain) -> None:
    twin = forked(quorum, 4)
    place, watch = standing(quorum, 4), ForkWatch()
    forged = pb.ProvenBlock()
    forged.CopyFrom(quorum.proven[3])
    forged.next_commit = quorum.proven[2].next_commit
    junk = pb.ProvenBlock(next_header=b"junk")
    for other in (twin.proven[3], forged, junk, quorum.proven[2]):
        watch.recall(other, place)
        assert not watch.knows(5)
    watch.recall(quorum.proven[3], place)
    assert watch.knows(5)
    assert watch.conflict(twin.proven[3]) is not None


@pytest.mark.slow
def test_no_more_than_so_many_headers_are_remembered(quorum: QuorumChain) -> None:
    quorum.grow(HEADERS_KEPT + 3)
    client, watch = quorum.light_client(), ForkWatch()
    for block in quorum.proven:
        watch.certified(block, client.accept(block).checkpoint)
    newest = quorum.height
    assert not watch.knows(newest - HEADERS_KEPT)
    assert watch.knows(newest - HEADERS_KEPT + 1)
    assert watch.knows(newest)
