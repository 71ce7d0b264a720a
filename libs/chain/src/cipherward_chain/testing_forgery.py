"""Validators that lie, for tests: what they sign is wrong, their signatures are right."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cipherward.chain.v1 import block_pb2 as pb
from cipherward.comet.v1 import types_pb2 as comet
from cipherward_chain.comet import (
    GO_ZERO_TIME,
    ValidatorSet,
    header_hash,
    parse_header,
    vote_sign_bytes,
)
from cipherward_chain.genesis import Genesis
from cipherward_chain.signatures import SigningKey
from cipherward_chain.testing import TestKeys
from cipherward_chain.wire import exact_bytes


def forged_commit(
    header: comet.Header,
    validators: ValidatorSet,
    seeds: Mapping[bytes, bytes],
    *,
    nil: frozenset[bytes] = frozenset(),
    round_: int = 0,
) -> comet.Commit:
    """Commit `header`.

    Args:
        seeds: by public key; a validator without one is absent.
        nil: public keys of validators that vote for no block.
    """
    commit = comet.Commit(height=header.height, round=round_)
    commit.block_id.hash = header_hash(header)
    commit.block_id.part_set_header.total = 1
    commit.block_id.part_set_header.hash = bytes(32)
    for validator in validators.validators:
        seed = seeds.get(validator.public_key)
        if seed is None:
            commit.signatures.add(block_id_flag=comet.BLOCK_ID_FLAG_ABSENT, timestamp=GO_ZERO_TIME)
            continue
        voted = validator.public_key not in nil
        octets = vote_sign_bytes(
            header.chain_id,
            header.height,
            round_,
            commit.block_id if voted else None,
            header.time,
        )
        commit.signatures.add(
            block_id_flag=comet.BLOCK_ID_FLAG_COMMIT if voted else comet.BLOCK_ID_FLAG_NIL,
            validator_address=validator.address,
            timestamp=header.time,
            signature=SigningKey(seed).sign(octets),
        )
    return commit


def resigned(
    block: pb.ProvenBlock,
    genesis: Genesis,
    keys: TestKeys,
    change: Callable[[comet.Header], None],
) -> pb.ProvenBlock:
    """Return `block` with its next header changed and committed anew by the solo validator."""
    header = parse_header(block.next_header)
    change(header)
    forged = pb.ProvenBlock()
    forged.CopyFrom(block)
    forged.next_header = exact_bytes(header)
    alone = genesis.validators.validators[0].public_key
    commit = forged_commit(header, genesis.validators, {alone: keys.validator_seed})
    forged.next_commit = exact_bytes(commit)
    return forged
