"""What the service reads before it starts: genesis, endpoints and keys, checked with each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cipherward_chain.authorization import MemberSigner, Signer
from cipherward_chain.checkpoint import Checkpoint, CheckpointForeign, CheckpointMalformed
from cipherward_chain.endpoints import Endpoints, EndpointsMalformed, EndpointUnknown
from cipherward_chain.genesis import Genesis, GenesisMalformed
from cipherward_chain.light import LightClient
from cipherward_chain.sealing import SECRET_BYTES, SealingKey
from cipherward_chain.signatures import SEED_BYTES, SigningKey
from cipherward_kit.errors import CannotStart
from cipherward_storage.config import StorageConfig

OTHERS = 0o077  # permission bits of group and others


class GenesisUnusable(CannotStart):
    """The genesis or endpoints file is missing, malformed, or of another chain or member."""

    exit_status = 30


class KeyUnusable(CannotStart):
    """A key file is missing, open to others, or holds another key than the genesis names."""

    exit_status = 31


class CheckpointUnusable(CannotStart):
    """The stored place in the chain is damaged, or is of another chain's genesis."""

    exit_status = 32


@dataclass(frozen=True, slots=True)
class Custodian:
    """Whose storage this is, on which chain, and with which keys."""

    genesis: Genesis
    member: str
    key: SealingKey
    signer: Signer


@dataclass(frozen=True, slots=True)
class LedgerAddress:
    """Where the ledger listens and whose it is."""

    address: str
    member: str


def read_custodian(config: StorageConfig) -> Custodian:
    """Return the custodian that the settings name.

    Raises:
        GenesisUnusable: the file cannot be read, or names no such member.
        KeyUnusable: a key cannot be used, or is not the one that the genesis names.
    """
    try:
        genesis = Genesis.parse(_read(config.genesis_file, "genesis"))
    except GenesisMalformed as error:
        raise GenesisUnusable(f"the genesis file {config.genesis_file}: {error}") from None
    member = genesis.members.get(config.member)
    if member is None:
        raise GenesisUnusable(f"the genesis has no member {config.member}")
    seed = _read_key(config.member_key_file, SEED_BYTES)
    if SigningKey(seed).public_key != member.public_key:
        raise KeyUnusable(f"{config.member_key_file} is not the key of {config.member}")
    key = SealingKey(_read_key(config.custodian_key_file, SECRET_BYTES))
    if key.public_key != member.custodian_public_key:
        raise KeyUnusable(
            f"{config.custodian_key_file} is not the custodian key of {config.member}"
        )
    return Custodian(genesis, config.member, key, MemberSigner(config.member, seed))


def read_ledger_address(config: StorageConfig, chain_id: str) -> LedgerAddress:
    """Return where the alliance's ledger listens.

    Raises:
        GenesisUnusable: the file cannot be read, is of another chain, or names no ledger.
    """
    path = config.endpoints_file
    try:
        endpoints = Endpoints.parse(_read(path, "endpoints"))
        address = endpoints.ledger().listen
    except (EndpointsMalformed, EndpointUnknown) as error:
        raise GenesisUnusable(f"the endpoints file {path}: {error}") from None
    if endpoints.chain_id != chain_id:
        raise GenesisUnusable(
            f"the endpoints file {path} is of the chain {endpoints.chain_id}, not {chain_id}"
        )
    return LedgerAddress(address, endpoints.ledger_member)


def light_client(genesis: Genesis, checkpoint: bytes) -> LightClient:
    """Return a light client where the last applied block left it.

    Raises:
        CheckpointUnusable: what is stored is not of this chain.
    """
    try:
        place = Checkpoint.from_bytes(checkpoint) if checkpoint else None
        return LightClient(genesis.trust_root(), place)
    except (CheckpointMalformed, CheckpointForeign) as error:
        raise CheckpointUnusable(
            f"the data folder does not go on with this genesis: {error}; choose another folder"
        ) from None


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise GenesisUnusable(
            f"the {what} file {path} cannot be read: {error.strerror}; give the right path"
        ) from None


def _read_key(path: Path, length: int) -> bytes:
    try:
        if path.stat().st_mode & OTHERS:
            raise KeyUnusable(f"the key file {path} is open to others; chmod 600 it")
        key = path.read_bytes()
    except OSError as error:
        raise KeyUnusable(
            f"the key file {path} cannot be read: {error.strerror}; give the right path"
        ) from None
    if len(key) != length:
        raise KeyUnusable(f"the key file {path} has not {length} bytes; restore it")
    return key
