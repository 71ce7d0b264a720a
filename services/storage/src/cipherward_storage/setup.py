"""What the service reads before it starts: genesis and keys, checked with each other."""

from __future__ import annotations

from dataclasses import dataclass

from cipherward_chain.authorization import Signer
from cipherward_chain.genesis import Genesis
from cipherward_chain.sealing import SECRET_BYTES, SealingKey
from cipherward_chain.signatures import SEED_BYTES, SigningKey
from cipherward_member.alliance_files import read_genesis, read_key, read_member_signer
from cipherward_member.errors import KeyUnusable
from cipherward_storage.config import StorageConfig


@dataclass(frozen=True, slots=True)
class Custodian:
    """Whose storage this is, on which chain, and with which keys.

    key: opens what is sealed to the member. signer, signing_key: the member's one signing key, for
    transactions and for everything else that is signed here.
    """

    genesis: Genesis
    member: str
    key: SealingKey
    signer: Signer
    signing_key: SigningKey


def read_custodian(config: StorageConfig) -> Custodian:
    """Return the custodian that the settings name.

    Raises:
        GenesisUnusable: the file cannot be read, or names no such member.
        KeyUnusable: a key cannot be used, or is not the one that the genesis names.
    """
    genesis = read_genesis(config.genesis_file, config.member)
    signer = read_member_signer(config, genesis)
    path = config.custodian_key_file
    key = SealingKey(read_key(path, SECRET_BYTES, "custodian_key_file"))
    if key.public_key != genesis.members[config.member].custodian_public_key:
        raise KeyUnusable(f"the key file {path} is not the custodian key of {config.member}")
    seed = read_key(config.member_key_file, SEED_BYTES, "member_key_file")
    return Custodian(genesis, config.member, key, signer, SigningKey(seed))
