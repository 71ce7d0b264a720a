"""The state of height 0, made from the genesis: registry, issuers, templates, parameters."""

from __future__ import annotations

from dataclasses import asdict

from cipherward_chain.canonical import encode
from cipherward_chain.genesis import Genesis
from cipherward_contract.catalogue import compile_template
from cipherward_contract.entries import ISSUER, MEMBER, PARAMETERS, template_key
from cipherward_contract.templates.document import TemplateMalformed

# What this release can execute. A release carries versions N and N+1 once there is an N+1.
MACHINE_VERSIONS = frozenset({1})


class GenesisUnusable(ValueError):
    """A genesis that is in form cannot be the beginning of a chain of this machine; says why."""


def initial_pairs(genesis: Genesis) -> dict[bytes, bytes]:
    """Return the pairs of height 0.

    Raises:
        GenesisUnusable: a template may not be deployed, or this release lacks the machine version.
    """
    if genesis.machine_version not in MACHINE_VERSIONS:
        raise GenesisUnusable(f"this release has no machine version {genesis.machine_version}")
    pairs: dict[bytes, bytes] = {}
    for member in genesis.members.values():
        pairs[MEMBER + member.id.encode()] = encode(
            {
                "name": member.name,
                "index": member.index,
                "public_key": member.public_key,
                "custodian_public_key": member.custodian_public_key,
            }
        )
    for issuer in genesis.issuers:
        pairs[ISSUER + issuer.public_key] = encode(
            {"member": issuer.member, "schemas": issuer.schemas}
        )
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
            "machine_version": genesis.machine_version,
        }
    )
    return pairs
