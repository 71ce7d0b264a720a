"""What a service reads before it starts: genesis, endpoints and keys, each refused with a cause.

Every refusal is one line for the operator that names the setting to look at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from cipherward_chain.admission import FOLDER, Admission, AdmissionRejected
from cipherward_chain.authorities import FOLDER as AUTHORITIES
from cipherward_chain.authorities import (
    AuthoritiesProof,
    AuthoritiesRejected,
    members_authorities,
)
from cipherward_chain.authorization import MemberSigner
from cipherward_chain.checkpoint import TrustRoot
from cipherward_chain.endpoints import Endpoints, EndpointsMalformed, EndpointUnknown
from cipherward_chain.genesis import Genesis, GenesisMalformed
from cipherward_chain.members import AuthoritiesSet
from cipherward_chain.orders_proof import DOCUMENT_BYTES_MAX
from cipherward_chain.signatures import SEED_BYTES, SigningKey
from cipherward_kit.config import env_name
from cipherward_kit.tls import TrustRegistry
from cipherward_member.config import SigningServiceConfig
from cipherward_member.errors import EndpointsUnusable, GenesisUnusable, KeyUnusable

OTHERS = 0o077  # permission bits of group and others


def read_genesis(path: Path, member: str) -> Genesis:
    """Return the alliance's genesis with `member` in it, or raise `GenesisUnusable`.

    A member that joined later is not in the document: the proof of its admission lies beside it.
    So do proofs that members have changed their authorities.
    """
    return read_genesis_document(path, member)[0]


def read_genesis_document(path: Path, member: str) -> tuple[Genesis, bytes]:
    """As `read_genesis`, with the document byte for byte."""
    try:
        document = path.read_bytes()
        genesis = Genesis.parse(document)
    except OSError as error:
        raise GenesisUnusable(
            f"the genesis file {path} cannot be read ({error.strerror}); "
            f"check {env_name('genesis_file')}"
        ) from None
    except GenesisMalformed as error:
        raise GenesisUnusable(
            f"the genesis file {path} is refused: {error}; get the alliance's genesis.json again"
        ) from None
    if member not in genesis.members:
        genesis = _joined(genesis, path, member)
    try:
        return replace(genesis, authorities=read_authorities(path, genesis.trust_root())), document
    except OSError as error:
        raise GenesisUnusable(f"{error.filename} cannot be read ({error.strerror})") from None
    except AuthoritiesRejected as error:
        raise GenesisUnusable(
            f"a file in {path.parent / AUTHORITIES} proves no change of authorities: {error}; "
            "get it from a member again"
        ) from None


def read_authorities(genesis_file: Path, trust_root: TrustRoot) -> Mapping[str, AuthoritiesSet]:
    """Return the changes of members' authorities whose proofs lie beside a genesis, by member.

    Raises:
        AuthoritiesRejected: a file proves nothing about the member that it is named after.
        OSError: it cannot be read.
    """
    found: dict[str, AuthoritiesSet] = {}
    for path in sorted((genesis_file.parent / AUTHORITIES).glob("*.json")):
        with path.open("rb") as file:
            proof = AuthoritiesProof.from_bytes(file.read(DOCUMENT_BYTES_MAX))
        found[path.stem] = proof.verify(trust_root, path.stem)
    return found


def _joined(genesis: Genesis, path: Path, member: str) -> Genesis:
    proof = path.parent / FOLDER / f"{member}.json"
    try:
        with proof.open("rb") as file:
            admission = Admission.from_bytes(file.read(DOCUMENT_BYTES_MAX))
        return admission.joined(genesis, member)
    except FileNotFoundError:
        raise GenesisUnusable(
            f"the genesis file {path} has no member {member}, and there is no proof {proof} that "
            f"it joined later; check {env_name('member')}"
        ) from None
    except OSError as error:
        raise GenesisUnusable(f"the file {proof} cannot be read ({error.strerror})") from None
    except AdmissionRejected as error:
        raise GenesisUnusable(
            f"the file {proof} proves no admission: {error}; get it from a member again"
        ) from None


def trust_registry(genesis: Genesis) -> TrustRegistry:
    """Return whose certificates count: those of the members' own authorities."""
    return TrustRegistry(known_authorities(genesis))


def known_authorities(genesis: Genesis) -> dict[str, bytes]:
    """Return the authorities (PEM by id) of the genesis, or what was proven of them since."""
    return members_authorities(genesis.members.values(), 0, genesis.authorities)


def read_endpoints(path: Path, chain_id: str) -> Endpoints:
    """Return where the alliance's services are; there is a ledger among them.

    Raises:
        EndpointsUnusable: the file cannot be read, is of another chain, or names no ledger.
    """
    try:
        endpoints = Endpoints.parse(path.read_bytes())
        endpoints.of(endpoints.ledger_member, "ledger")
    except OSError as error:
        raise EndpointsUnusable(
            f"the endpoints file {path} cannot be read ({error.strerror}); "
            f"check {env_name('endpoints_file')}"
        ) from None
    except (EndpointsMalformed, EndpointUnknown) as error:
        raise EndpointsUnusable(
            f"the endpoints file {path} is refused: {error}; get alliance.json again"
        ) from None
    if endpoints.chain_id != chain_id:
        raise EndpointsUnusable(
            f"the endpoints file {path} is of the chain {endpoints.chain_id}, not {chain_id}; "
            "give files of one alliance"
        )
    return endpoints


def read_key(path: Path, length: int, field: str) -> bytes:
    """Return the key in a file.

    Args:
        path: raw bytes that their owner alone may read.
        length: how many.
        field: the setting that names the file.

    Raises:
        KeyUnusable: it cannot be read, has another length, or others may read it.
    """
    setting = env_name(field)
    try:
        open_to_others = path.stat().st_mode & OTHERS
        with path.open("rb") as file:
            key = file.read(length + 1)  # a path given by mistake may be of anything
    except OSError as error:
        raise KeyUnusable(
            f"the key file {path} cannot be read ({error.strerror}); check {setting}"
        ) from None
    if len(key) != length:
        raise KeyUnusable(f"the key file {path} has not {length} bytes; check {setting}")
    if open_to_others:
        raise KeyUnusable(f"the key file {path} is open to others; chmod 600 it ({setting})")
    return key


def read_member_signer(config: SigningServiceConfig, genesis: Genesis) -> MemberSigner:
    """Return who signs for the member that the settings name.

    Raises:
        KeyUnusable: the key cannot be used, or is not the one that the genesis names.
    """
    path = config.member_key_file
    seed = read_key(path, SEED_BYTES, "member_key_file")
    if SigningKey(seed).public_key != genesis.members[config.member].public_key:
        raise KeyUnusable(f"the key file {path} is not the key of {config.member}")
    return MemberSigner(config.member, seed)
