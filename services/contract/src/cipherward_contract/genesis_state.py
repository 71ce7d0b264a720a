"""The state of height 0, made from the genesis: registry, issuers, templates, parameters."""

from __future__ import annotations

from dataclasses import asdict

from cipherward_chain.canonical import encode
from cipherward_chain.genesis import Genesis
from cipherward_chain.registry_entry import member_key
from cipherward_contract.catalogue import compile_template
from cipherward_contract.entries import ISSUER, PARAMETERS, template_key
from cipherward_contract.machine_versions import VERSIONS
from cipherward_contract.registry import (
    REGISTRY,
    Registered,
    issuer_entry,
    registry_entry,
)
from cipherward_contract.templates.document import TemplateMalformed


class GenesisUnusable(ValueError):
    """A genesis that is in form cannot be the beginning of a chain of this machine; says why."""


def initial_pairs(genesis: Genesis) -> dict[bytes, bytes]:
    """Return the pairs of height 0.

    Raises:
        GenesisUnusable: a template may not be deployed, or this release lacks the machine version.
    """
    if genesis.machine_version not in VERSIONS:
        raise GenesisUnusable(f"this release has no machine version {genesis.machine_version}")
    pairs: dict[bytes, bytes] = {}
    powers = {validator.public_key: validator.power for validator in genesis.validators.validators}
    for member in genesis.members.values():
        issuers = tuple(one.public_key for one in genesis.issuers if one.member == member.id)
        registered = Registered(member, issuers, powers.get(member.consensus_public_key, 0))
        pairs[member_key(member.id)] = registered.to_bytes()
    pairs[REGISTRY] = registry_entry(len(genesis.members))
    for issuer in genesis.issuers:
        pairs[ISSUER + issuer.public_key] = issuer_entry(issuer.member, issuer.schemas)
    for found in genesis.templates:
        try:
            template = compile_template(found.document).template
        except TemplateMalformed as error:
            raise GenesisUnusable(f"template {found.name}: {error}") from error
        if (template.name, template.version) != (found.name, found.version):
            raise GenesisUnusable(f"template {found.name} is called {template.name} inside")
        pairs[template_key(found.name, found.version)] = found.document
    pairs[PARAMETERS] = encode(
        {
            **asdict(genesis.parameters),
            "chain_id": genesis.chain_id,
            "genesis_ns": genesis.time_ns,
            "engine": genesis.engine,
            "machine_version": genesis.machine_version,
            "upgrade": [],
        }
    )
    return pairs
