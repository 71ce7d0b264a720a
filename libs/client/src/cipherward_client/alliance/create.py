"""A member's keys and certificates, made where they stay; and a whole alliance on one machine.

Each member's secrets lie in a folder of its own, also where one machine plays all members.
"""

from __future__ import annotations

import json
import secrets
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cipherward_anoncred.scheme import generate_issuer_key
from cipherward_chain.comet import address
from cipherward_chain.endpoints import Endpoint
from cipherward_chain.genesis import Genesis, Issuer, Member, Parameters, TemplateDocument
from cipherward_chain.sealing import SealingKey
from cipherward_chain.signatures import SigningKey
from cipherward_client.alliance import layout
from cipherward_client.alliance.founding import ChainPlan, found_chain
from cipherward_client.alliance.layout import AllianceFolder, MemberFolder
from cipherward_client.alliance.parts import SOLO
from cipherward_client.alliance.places import for_others, write_places
from cipherward_client.sdk.registration import UNNUMBERED, Registration
from cipherward_kit.datafolder import sync_folder, write_atomically
from cipherward_kit.devca import DevAuthority, save_identity

SEED_BYTES = 32
DEFAULT_COUNT = 4  # the fewest that outvote one of them: n = 3f + 1
COUNT_MAX = len(string.ascii_lowercase)  # hospital-a … hospital-z


class KeysExist(Exception):
    """There is a member's folder already, which was not made whole by this program."""

    reason = "MEMBER_FOLDER_EXISTS"


class TemplatesUnavailable(Exception):
    """The contract service, which ships the templates, is not installed or does not answer."""

    reason = "TEMPLATES_UNAVAILABLE"


def hospitals(count: int = DEFAULT_COUNT) -> tuple[tuple[str, str], ...]:
    """Return (id, name) of 1 to COUNT_MAX hospitals: hospital-a, hospital-b and so on."""
    letters = string.ascii_lowercase[:count]
    return tuple((f"hospital-{one}", f"Hospital {one.upper()}") for one in letters)


@dataclass(frozen=True, slots=True)
class AlliancePlan:
    """What a new alliance is to be; `engine` is solo or cometbft."""

    chain_id: str
    members: Sequence[tuple[str, str]] = hospitals()
    parameters: Parameters = field(default_factory=Parameters)
    engine: str = SOLO

    @property
    def ledger_member(self) -> str:
        """The member that runs the shared ledger and contract under the solo engine."""
        return self.members[0][0]

    def validates(self, member: str) -> bool:
        """Say whether the member has a ledger and a consensus key of its own."""
        return self.engine != SOLO or member == self.ledger_member


def shipped_templates() -> list[TemplateDocument]:
    """Return the contract service's shipped templates, as it prints them.

    Raises:
        TemplatesUnavailable: it cannot be run.
    """
    command = [sys.executable, "-m", "cipherward_contract.templates"]
    try:
        printed = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise TemplatesUnavailable("the contract service cannot print its templates") from error
    return [
        TemplateDocument(name, found["version"], bytes.fromhex(found["document"]))
        for name, found in sorted(json.loads(printed).items())
    ]


def create_alliance(folder: AllianceFolder, plan: AlliancePlan) -> Genesis:
    """Make all keys, certificates and the genesis of a new alliance; return the genesis.

    Nothing existing is overwritten: call it on a folder that has no genesis yet. The genesis is
    written last, so a folder that has one is complete.
    """
    node = plan.engine != SOLO
    registrations = [
        establish(folder, member, name, consensus=plan.validates(member), node=node)
        for member, name in plan.members
    ]
    chain = ChainPlan(plan.chain_id, plan.engine, shipped_templates(), plan.parameters)
    return begin_chain(folder, chain, registrations)


def begin_chain(
    folder: AllianceFolder, plan: ChainPlan, registrations: Sequence[Registration]
) -> Genesis:
    """Write the genesis of a new chain, and alliance.json if the members say where they will be.

    Raises:
        ChainNameMalformed, MemberTaken, KeyTaken, EngineUnfit, GenesisMalformed: see `found_chain`.
        EndpointsMalformed: others say where they will be, and the one with the ledger does not.
    """
    document = found_chain(plan, registrations, time.time_ns())
    places = {one.member.id: one.endpoints for one in registrations if one.endpoints}
    if places:
        write_places(folder, plan.chain_id, places)
    write_atomically(folder.genesis_file, document, 0o644)  # it is compared, not kept secret
    return Genesis.parse(document)


def establish(
    folder: AllianceFolder,
    member: str,
    name: str,
    services: Mapping[str, Endpoint] | None = None,
    *,
    consensus: bool,
    node: bool,
) -> Registration:
    """Make a member's keys and certificates, all or none; return what the alliance is told.

    A member that was established before keeps its keys: what is returned is what was told then.

    Args:
        services: where others will reach its services, if that is known.
        consensus, node: as for `create_member`.

    Raises:
        KeysExist: the folder holds something of that member that this did not make whole.
        RegistrationMalformed: what it was told then is damaged.
    """
    home = folder.member(member)
    if home.registration_file.exists():
        return Registration.from_bytes(home.registration_file.read_bytes())
    folder.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{member}.", dir=folder.root) as partial:
        made = MemberFolder(Path(partial), member)
        told = create_member(made, name, UNNUMBERED, consensus=consensus, node=node)
        registration = Registration(*told, for_others(services or {}))
        write_atomically(made.registration_file, registration.to_bytes(), 0o644)
        try:
            (made.root / member).rename(folder.root / member)  # an empty folder gives way
        except OSError as error:
            raise KeysExist(f"{folder.root / member}: {error.strerror}") from error
    sync_folder(folder.root)
    return registration


def readdress(
    folder: AllianceFolder, registration: Registration, services: Mapping[str, Endpoint]
) -> Registration:
    """Tell others other addresses than before; keys and fingerprint of the registration stay."""
    told = replace(registration, endpoints=for_others(services))
    if told.endpoints != registration.endpoints:
        file = folder.member(registration.member.id).registration_file
        write_atomically(file, told.to_bytes(), 0o644)
    return told


def create_member(
    home: MemberFolder, name: str, index: int, *, consensus: bool, node: bool
) -> tuple[Member, Issuer]:
    """Make a member's keys and certificates; return what the registry is told of it.

    Args:
        home: the member's folder; keys that lie in it are overwritten.
        consensus: it runs a ledger and a contract, and has a consensus key.
        node: its ledger meets others' over a network: it has a node's key.
    """
    member = home.member
    home.key("").mkdir(mode=0o700, parents=True, exist_ok=True)
    home.tls.mkdir(mode=0o700, parents=True, exist_ok=True)

    def fresh(key: str) -> bytes:
        material = secrets.token_bytes(SEED_BYTES)
        write_atomically(home.key(key), material)
        return material

    authority = DevAuthority.create(member)
    authority.save(home.key(""))
    chain = layout.CHAIN_SERVICES if consensus else ()
    for service in (*layout.MEMBER_SERVICES, *chain, layout.CLIENT):
        save_identity(authority.issue(service), home.tls, service)
    fresh(layout.CEREMONY_KEY)
    fresh(layout.DATA_SET_KEY)
    custodian = SealingKey.generate()
    write_atomically(home.key(layout.CUSTODIAN_KEY), custodian.secret_bytes())
    issuer = generate_issuer_key(fresh(layout.ISSUER_KEY))
    validator = SigningKey(fresh(layout.CONSENSUS_KEY)).public_key if consensus else b""
    return (
        Member(
            id=member,
            name=name,
            index=index,
            public_key=SigningKey(fresh(layout.MEMBER_KEY)).public_key,
            custodian_public_key=custodian.public_key,
            ca_certificate=authority.certificate_pem.decode(),
            consensus_public_key=validator,
            node_id=address(SigningKey(fresh(layout.NODE_KEY)).public_key) if node else b"",
        ),
        Issuer(member, issuer.public, ("patient", "staff")),
    )
