"""A new alliance on this machine: every member's keys and certificates, and the genesis.

In a real alliance each member makes its own keys where they stay; here one machine plays all
members, and each member's secrets still lie in a folder of its own.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from cipherward_anoncred.scheme import generate_issuer_key
from cipherward_chain.comet import Validator
from cipherward_chain.genesis import Genesis, Issuer, Member, Parameters, TemplateDocument
from cipherward_chain.genesis_document import alliance_state, genesis_document
from cipherward_chain.sealing import SealingKey
from cipherward_chain.signatures import SigningKey
from cipherward_client.alliance import layout
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_kit.datafolder import write_atomically
from cipherward_kit.devca import DevAuthority, save_identity

SEED_BYTES = 32
VALIDATOR_POWER = 10  # CometBFT's own default for a validator of a new chain
DEFAULT_MEMBERS = (
    ("hospital-a", "Hospital A"),
    ("hospital-b", "Hospital B"),
    ("hospital-c", "Hospital C"),
    ("hospital-d", "Hospital D"),
)


class TemplatesUnavailable(Exception):
    """The contract service, which ships the templates, is not installed or does not answer."""

    reason = "TEMPLATES_UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class AlliancePlan:
    """What a new alliance is to be."""

    chain_id: str
    members: Sequence[tuple[str, str]] = DEFAULT_MEMBERS
    parameters: Parameters = field(default_factory=Parameters)

    @property
    def ledger_member(self) -> str:
        """The member that runs the shared ledger and contract under the solo engine."""
        return self.members[0][0]


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
    made = [_create_member(folder, plan, index) for index in range(len(plan.members))]
    members = [member for member, _ in made]
    issuers = [issuer for _, issuer in made]
    state = alliance_state("solo", members, issuers, shipped_templates(), plan.parameters)
    seed = folder.member(plan.ledger_member).key(layout.CONSENSUS_KEY).read_bytes()
    validators = [(plan.ledger_member, Validator(SigningKey(seed).public_key, VALIDATOR_POWER))]
    document = genesis_document(plan.chain_id, time.time_ns(), validators, state, plan.parameters)
    genesis = Genesis.parse(document)
    write_atomically(folder.genesis_file, document)
    return genesis


def _create_member(folder: AllianceFolder, plan: AlliancePlan, index: int) -> tuple[Member, Issuer]:
    member, name = plan.members[index]
    home = folder.member(member)
    home.key("").mkdir(mode=0o700, parents=True, exist_ok=True)
    home.tls.mkdir(mode=0o700, parents=True, exist_ok=True)

    def fresh(key: str) -> bytes:
        material = secrets.token_bytes(SEED_BYTES)
        write_atomically(home.key(key), material)
        return material

    authority = DevAuthority.create(member)
    authority.save(home.key(""))
    shared = layout.SHARED_SERVICES if member == plan.ledger_member else ()
    for service in (*layout.MEMBER_SERVICES, *shared, layout.CLIENT):
        save_identity(authority.issue(service), home.tls, service)
    if member == plan.ledger_member:
        fresh(layout.CONSENSUS_KEY)
    fresh(layout.CEREMONY_KEY)
    fresh(layout.DATA_SET_KEY)
    custodian = SealingKey.generate()
    write_atomically(home.key(layout.CUSTODIAN_KEY), custodian.secret_bytes())
    issuer = generate_issuer_key(fresh(layout.ISSUER_KEY))
    return (
        Member(
            id=member,
            name=name,
            index=index,
            public_key=SigningKey(fresh(layout.MEMBER_KEY)).public_key,
            custodian_public_key=custodian.public_key,
            ca_certificate=authority.certificate_pem.decode(),
        ),
        Issuer(member, issuer.public, ("patient", "staff")),
    )
