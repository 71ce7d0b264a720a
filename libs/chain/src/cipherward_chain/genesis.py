"""The genesis document: CometBFT's genesis.json with the alliance in `app_state`."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cipherward_chain.acts import NAME, SUITE_SHARED
from cipherward_chain.canonical import NotCanonical, decode_map
from cipherward_chain.checkpoint import TrustRoot
from cipherward_chain.comet import Validator, ValidatorSet, ValidatorsMalformed
from cipherward_chain.errors import ChainError
from cipherward_chain.json_fields import JsonFields, JsonMalformed
from cipherward_chain.members import (
    ISSUER_KEY_BYTES,
    MEMBERS_MAX,
    SCHEMAS,
    AuthoritiesSet,
    Issuer,
    Member,
    check_key,
    parse_issuers,
    parse_members,
)
from cipherward_chain.rfc3339 import TimeMalformed, parse_time
from cipherward_chain.transactions import TRANSACTION_BYTES_MAX
from cipherward_chain.wire import NANOS

# A genesis is where its readers look for its members, whose own module registries share.
__all__ = [
    "CHAIN_ID",
    "ENGINES",
    "ISSUER_KEY_BYTES",
    "KEY_TYPE",
    "MEMBERS_MAX",
    "NODE_ID_BYTES",
    "SCHEMAS",
    "Genesis",
    "GenesisMalformed",
    "Issuer",
    "Member",
    "Parameters",
    "TemplateDocument",
]

ENGINES: Final = ("solo", "cometbft")
CHAIN_ID: Final = re.compile(
    r"[a-z][a-z0-9-]{0,49}"
)  # CometBFT's 50 characters; fits a topic's name
NODE_ID_BYTES: Final = 20  # CometBFT's node id: an address made from the node's key
KEY_TYPE: Final = "tendermint/PubKeyEd25519"
TEMPLATE_DELAY_SECONDS_MAX: Final = 2_592_000  # 30 days
DATA_SET_RELEASES_MAX: Final = 1_000_000  # beyond it a quota protects nobody
DATA_SET_RHO_MAX: Final = 1_000_000_000  # micro-zCDP: 1,000, which protects nobody either


class GenesisMalformed(ChainError):
    """A genesis document is out of form; the text says where."""

    reason = "GENESIS_MALFORMED"


@dataclass(frozen=True, slots=True)
class TemplateDocument:
    """A contract template that is active from the first block; `document` is canonical CBOR."""

    name: str
    version: int
    document: bytes


@dataclass(frozen=True, slots=True)
class Parameters:
    """Times and bounds of the chain.

    heartbeat_seconds: an empty block at least this often; the bound of silence is a multiple of it.
    stale_heartbeats: after so many without a header, no sensitive act.
    expiry_seconds_max: how far ahead a transaction may expire; ids are remembered that long.
    epoch_seconds: how long a credential lives without renewal: 30 days.
    transaction_bytes_max, block_bytes_max, acts_max: bounds on a block and its parts.
    minimum_suite: records of an earlier suite are not anchored: no author is talked into a weaker
        one.
    template_delay_seconds: between the vote on a template and its first instance: time to object.
    data_set_releases_max: exact results of one data set, over all permits, studies and researchers.
    data_set_rho_max: micro-zCDP that noisy results of one data set may spend, over all of them.
    """

    heartbeat_seconds: int = 10
    stale_heartbeats: int = 3
    expiry_seconds_max: int = 600
    epoch_seconds: int = 2_592_000
    transaction_bytes_max: int = 65_536
    block_bytes_max: int = 2_097_152
    acts_max: int = 64
    minimum_suite: int = SUITE_SHARED
    template_delay_seconds: int = 86_400
    data_set_releases_max: int = 10_000
    data_set_rho_max: int = 10_000_000

    @property
    def fresh_seconds(self) -> int:
        """The age of the newest certified header beyond which no sensitive act is done."""
        return self.heartbeat_seconds * self.stale_heartbeats


@dataclass(frozen=True, slots=True)
class Genesis:
    """The beginning of a chain, checked. `members` is by id, in the order of their index.

    `time_ns` is the genesis time in Unix nanoseconds, `digest` the SHA-256 of the document's bytes.
    `authorities` are changes of members' authorities that were proven since: no part of the
    document, and empty unless whoever reads it has them.
    """

    chain_id: str
    time_ns: int
    engine: str
    machine_version: int
    validators: ValidatorSet
    members: Mapping[str, Member]
    issuers: tuple[Issuer, ...]
    templates: tuple[TemplateDocument, ...]
    parameters: Parameters
    digest: bytes
    authorities: Mapping[str, AuthoritiesSet] = field(default_factory=dict[str, AuthoritiesSet])

    @classmethod
    def parse(cls, raw: bytes) -> Genesis:
        """Return the genesis whose document is `raw`, or raise `GenesisMalformed`."""
        try:
            return _parse(raw)
        except (JsonMalformed, TimeMalformed, ValidatorsMalformed) as error:
            raise GenesisMalformed(str(error)) from error

    def trust_root(self) -> TrustRoot:
        """Return what a verifier must have got out of band."""
        return TrustRoot(self.chain_id, self.digest, self.validators, self.engine)

    def epoch_at(self, seconds: float) -> int:
        """Return the epoch, from 1, at Unix time `seconds`; before the genesis it is the first."""
        since = max(0, int(seconds * NANOS) - self.time_ns)
        return since // (self.parameters.epoch_seconds * NANOS) + 1


def _parse(raw: bytes) -> Genesis:
    top = JsonFields.parse(raw, "genesis")
    chain_id = top.text("chain_id")
    if not CHAIN_ID.fullmatch(chain_id):
        raise GenesisMalformed("genesis.chain_id is not a name of at most 50 characters")
    time_ns = parse_time(top.text("genesis_time"))
    top.integer_text("initial_height", minimum=1)
    if top.text("app_hash"):
        raise GenesisMalformed("genesis.app_hash is made by InitChain and stands empty here")
    validators = _validators(top)
    consensus = top.object("consensus_params")
    state = top.object("app_state")
    top.end()
    engine = state.text("engine")
    if engine not in ENGINES:
        raise GenesisMalformed(f"genesis.app_state.engine is not one of {ENGINES}")
    machine_version = state.integer("machine_version", minimum=1)
    members = _members(state)
    issuers = parse_issuers(state, members)
    templates = _templates(state)
    parameters = _parameters(state.object("parameters"))
    state.end()
    _check_nodes(members, validators, engine)
    _check_consensus(consensus, parameters, machine_version)
    return Genesis(
        chain_id=chain_id,
        time_ns=time_ns,
        engine=engine,
        machine_version=machine_version,
        validators=validators,
        members=members,
        issuers=issuers,
        templates=templates,
        parameters=parameters,
        digest=hashlib.sha256(raw).digest(),
    )


def _check_consensus(consensus: JsonFields, parameters: Parameters, machine_version: int) -> None:
    """The engine's parameters agree with ours; what else CometBFT keeps there is its own."""
    block = consensus.object("block")
    if block.integer_text("max_bytes", minimum=1) != parameters.block_bytes_max:
        raise GenesisMalformed("consensus_params.block.max_bytes is not block_bytes_max")
    if block.integer_text("max_gas", minimum=-1) != -1:
        raise GenesisMalformed("consensus_params.block.max_gas is -1: there is no gas")
    if consensus.object("version").integer_text("app", minimum=1) != machine_version:
        raise GenesisMalformed("consensus_params.version.app is not machine_version")
    if consensus.object("validator").texts("pub_key_types") != ("ed25519",):
        raise GenesisMalformed("consensus_params.validator allows ed25519 only")


def _check_nodes(members: Mapping[str, Member], validators: ValidatorSet, engine: str) -> None:
    """The validators are the members' own; beside other nodes, each node has an id."""
    running = [member for member in members.values() if member.consensus_public_key]
    if any(m.node_id and not m.consensus_public_key for m in members.values()):
        raise GenesisMalformed("a member has a node id and no consensus key")
    keys = {member.consensus_public_key for member in running}
    if len(keys) != len(running) or keys != {v.public_key for v in validators.validators}:
        raise GenesisMalformed("the validators are not the members' consensus keys, one each")
    identifiers = {member.node_id for member in running}
    if engine == "solo":
        if len(running) != 1 or identifiers != {b""}:
            raise GenesisMalformed("a solo chain has one validator, and no node id")
    elif len(identifiers) != len(running) or {len(one) for one in identifiers} != {NODE_ID_BYTES}:
        raise GenesisMalformed(f"each validator has a node id of its own, {NODE_ID_BYTES} bytes")


def _validators(top: JsonFields) -> ValidatorSet:
    found: list[Validator] = []
    for item in top.objects("validators"):
        key = item.object("pub_key")
        if key.text("type") != KEY_TYPE:
            raise GenesisMalformed(f"{item.where} has no Ed25519 key")
        try:
            public_key = base64.b64decode(key.text("value"), validate=True)
        except ValueError:
            raise GenesisMalformed(f"{item.where} has a key that is not base64") from None
        key.end()
        check_key(public_key, item.where)
        validator = Validator(public_key, item.integer_text("power", minimum=1))
        if item.text("address") != validator.address.hex().upper():
            raise GenesisMalformed(f"{item.where}.address is not the key's")
        item.text("name")
        item.end()
        found.append(validator)
    return ValidatorSet.of(found)


def _members(state: JsonFields) -> dict[str, Member]:
    found = parse_members(state)
    if [member.index for member in found.values()] != list(range(len(found))):
        raise GenesisMalformed("the members' indexes do not count up from 0")
    return found


def _templates(state: JsonFields) -> tuple[TemplateDocument, ...]:
    found: list[TemplateDocument] = []
    for item in state.objects("templates"):
        version = item.integer("version", minimum=1, maximum=(1 << 32) - 1)
        template = TemplateDocument(item.text("name"), version, item.hexadecimal("document"))
        item.end()
        try:
            decode_map(template.document)
        except NotCanonical as error:
            raise GenesisMalformed(f"{item.where}.document: {error}") from error
        if not NAME.fullmatch(template.name):
            raise GenesisMalformed(f"{item.where}.name is not a name")
        found.append(template)
    if len({(t.name, t.version) for t in found}) != len(found):
        raise GenesisMalformed("a template is there twice")
    return tuple(found)


def _parameters(item: JsonFields) -> Parameters:
    found = Parameters(
        heartbeat_seconds=item.integer("heartbeat_seconds", minimum=1, maximum=3_600),
        stale_heartbeats=item.integer("stale_heartbeats", minimum=2, maximum=100),
        expiry_seconds_max=item.integer("expiry_seconds_max", minimum=10, maximum=3_600),
        epoch_seconds=item.integer("epoch_seconds", minimum=60),
        transaction_bytes_max=item.integer(
            "transaction_bytes_max", minimum=1_024, maximum=TRANSACTION_BYTES_MAX
        ),
        block_bytes_max=item.integer("block_bytes_max", minimum=131_072, maximum=2_097_152),
        acts_max=item.integer("acts_max", minimum=1, maximum=64),
        minimum_suite=item.integer("minimum_suite", minimum=1, maximum=SUITE_SHARED),
        template_delay_seconds=item.integer(
            "template_delay_seconds", minimum=0, maximum=TEMPLATE_DELAY_SECONDS_MAX
        ),
        data_set_releases_max=item.integer(
            "data_set_releases_max", minimum=2, maximum=DATA_SET_RELEASES_MAX
        ),
        data_set_rho_max=item.integer("data_set_rho_max", minimum=0, maximum=DATA_SET_RHO_MAX),
    )
    item.end()
    return found
