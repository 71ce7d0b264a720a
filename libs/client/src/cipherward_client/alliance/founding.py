"""A genesis made from registrations: what the members tell of themselves, and nobody's secret."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from cipherward_chain.comet import Validator
from cipherward_chain.genesis import (
    CHAIN_ID,
    Genesis,
    Issuer,
    Member,
    Parameters,
    TemplateDocument,
)
from cipherward_chain.genesis_document import alliance_state, genesis_document
from cipherward_client.alliance.parts import SOLO
from cipherward_client.sdk.errors import CheckFailed
from cipherward_client.sdk.registration import Registration

VALIDATOR_POWER: Final = 10  # CometBFT's own default for a validator of a new chain


class ChainNameMalformed(CheckFailed):
    """A chain has another kind of name."""

    reason = "CHAIN_NAME_MALFORMED"


class MemberTaken(CheckFailed):
    """Two members, or one that is or was there and a newcomer, have one id."""

    reason = "MEMBER_ID_TAKEN"


class KeyTaken(CheckFailed):
    """A key or certificate of a registration is another member's, or serves twice."""

    reason = "REGISTRATION_KEY_TAKEN"


class EngineUnfit(CheckFailed):
    """A registration has keys of a consensus node where members run none, or the reverse."""

    reason = "REGISTRATION_OF_ANOTHER_ENGINE"


@dataclass(frozen=True, slots=True)
class ChainPlan:
    """What a new chain is to be; `engine` is solo or cometbft."""

    chain_id: str
    engine: str
    templates: Sequence[TemplateDocument]
    parameters: Parameters = field(default_factory=Parameters)


def require_fit(registration: Registration, engine: str, *, runs_solo: bool = False) -> None:
    """Raise `EngineUnfit` unless the registration has the node that members of a chain have.

    Args:
        runs_solo: this member runs the chain for all where the engine is solo.
    """
    member = registration.member
    has = bool(member.consensus_public_key), bool(member.node_id)
    if has != ((runs_solo, False) if engine == SOLO else (True, True)):
        raise EngineUnfit(f"{member.id} was not made for a chain of the engine {engine}")


def require_unused(
    registration: Registration, members: Iterable[Member], issuers: Iterable[Issuer] = ()
) -> None:
    """Raise unless id and keys of a registration are its own.

    Raises:
        MemberTaken, KeyTaken: they are not.
    """
    others = list(members)
    own = list(_unique_octets(registration.member, [registration.issuer]))
    if any(other.id == registration.member.id for other in others):
        raise MemberTaken(registration.member.id)
    used = {octets for other in others for octets in _unique_octets(other, ())}
    used |= {issuer.public_key for issuer in issuers}
    if len(set(own)) != len(own) or not used.isdisjoint(own):
        raise KeyTaken(f"a key or certificate of {registration.member.id} is not its own")


def found_chain(plan: ChainPlan, registrations: Sequence[Registration], time_ns: int) -> bytes:
    """Return the genesis of a new chain; the first registration's member is its first.

    Args:
        time_ns: Unix nanoseconds of its beginning.

    Raises:
        ChainNameMalformed, MemberTaken, KeyTaken, EngineUnfit: what does not go together.
        GenesisMalformed: a registration's key or certificate is out of form.
    """
    if CHAIN_ID.fullmatch(plan.chain_id) is None:
        raise ChainNameMalformed(plan.chain_id)
    members: list[Member] = []
    issuers: list[Issuer] = []
    for index, registration in enumerate(registrations):
        require_fit(registration, plan.engine, runs_solo=index == 0)
        require_unused(registration, members, issuers)
        members.append(replace(registration.member, index=index))
        issuers.append(registration.issuer)
    validators = [
        (member.id, Validator(member.consensus_public_key, VALIDATOR_POWER))
        for member in members
        if member.consensus_public_key
    ]
    state = alliance_state(plan.engine, members, issuers, plan.templates, plan.parameters)
    document = genesis_document(plan.chain_id, time_ns, validators, state, plan.parameters)
    Genesis.parse(document)
    return document


def _unique_octets(member: Member, issuers: Iterable[Issuer]) -> Iterator[bytes]:
    """Yield every key and certificate that no other member may have."""
    yield member.public_key
    yield member.custodian_public_key
    yield member.ca_certificate.encode()
    yield from (key for key in (member.consensus_public_key, member.node_id) if key)
    yield from (issuer.public_key for issuer in issuers)
