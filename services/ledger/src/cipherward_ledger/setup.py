"""What a ledger reads before it starts: genesis, endpoints and keys, checked against each other."""

from __future__ import annotations

from pathlib import Path

from cipherward_chain.authorization import MemberSigner
from cipherward_chain.endpoints import Endpoints, EndpointsMalformed, EndpointUnknown
from cipherward_chain.genesis import Genesis, GenesisMalformed
from cipherward_chain.signatures import SigningKey
from cipherward_chain.solo import NotTheValidator, SoloProposer
from cipherward_ledger.assembly import Chain, Limits
from cipherward_ledger.config import LedgerConfig
from cipherward_ledger.errors import GenesisUnusable, KeyUnusable
from cipherward_ledger.keys import read_seed
from cipherward_ledger.mempool import Bounds

ENGINE = "solo"  # the only engine of this release
PEERS = ("contract", "identity")  # what the ledger calls


def read_chain(config: LedgerConfig) -> Chain:
    """Return the chain that the settings name.

    Raises:
        GenesisUnusable: the file cannot be read, or names another engine or no such member.
        KeyUnusable: a key is not the validator's or not the member's.
    """
    document = _read(config.genesis_file, "genesis")
    try:
        genesis = Genesis.parse(document)
    except GenesisMalformed as error:
        raise GenesisUnusable(f"the genesis file {config.genesis_file}: {error}") from None
    if genesis.engine != ENGINE:
        raise GenesisUnusable(f"this release has the engine {ENGINE}, not {genesis.engine}")
    member = genesis.members.get(config.member)
    if member is None:
        raise GenesisUnusable(f"the genesis has no member {config.member}")
    seed = read_seed(config.member_key_file)
    if SigningKey(seed).public_key != member.public_key:
        raise KeyUnusable(f"{config.member_key_file} is not the key of {config.member}")
    try:
        proposer = SoloProposer(genesis, read_seed(config.validator_key_file))
    except NotTheValidator as error:
        raise KeyUnusable(f"{config.validator_key_file}: {error}") from None
    return Chain(genesis, document, proposer, MemberSigner(config.member, seed))


def read_endpoints(config: LedgerConfig, chain_id: str) -> Endpoints:
    """Return where the other services listen.

    Raises:
        GenesisUnusable: the file cannot be read, or is of another chain or another ledger.
    """
    path = config.endpoints_file
    try:
        endpoints = Endpoints.parse(_read(path, "endpoints"))
        for service in PEERS:
            endpoints.of(endpoints.ledger_member, service)
    except (EndpointsMalformed, EndpointUnknown) as error:
        raise GenesisUnusable(f"the endpoints file {path}: {error}") from None
    if endpoints.chain_id != chain_id:
        raise GenesisUnusable(
            f"the endpoints file {path} is of the chain {endpoints.chain_id}, not {chain_id}"
        )
    if endpoints.ledger_member != config.member:
        raise GenesisUnusable(
            f"the endpoints file {path} says that {endpoints.ledger_member} runs the ledger"
        )
    return endpoints


def limits_of(config: LedgerConfig) -> Limits:
    """Return what the settings say beside the genesis."""
    return Limits(
        Bounds(config.pending_max, config.pending_bytes_max),
        config.gather_milliseconds / 1000,
        config.block_transactions_max,
    )


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise GenesisUnusable(
            f"the {what} file {path} cannot be read: {error.strerror}; give the right path"
        ) from None
