"""The acts of a scenario as the chain knows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.acts import ID_BYTES, SUITE_SHARED, anchor_record, countersign
from cipherward_chain.canonical import Value, encode
from cipherward_chain.signatures import SigningKey
from cipherward_chain.wire import exact_bytes
from cipherward_contract.simulation.cast import CHAIN_ID, KEY_EPOCH, octets
from cipherward_contract.simulation.scenario import RecordPlan, ScenarioMalformed, ScriptedAct
from cipherward_contract.simulation.values import Names, document_of
from cipherward_contract.templates.document import Template

TICK = pb.Act(tick=pb.Tick())
DIGEST_BYTES = 32  # SHA-256
_CIPHERTEXT_BYTES = 1_024  # of a record that nobody reads
_OUTCOMES = {"done": pb.OUTCOME_DONE, "failed": pb.OUTCOME_FAILED}


@dataclass(frozen=True, slots=True)
class Tried:
    """An act, the contract that it is about (empty when it is about none), and it in words."""

    act: pb.Act
    instance: bytes
    text: str


def record_id(name: str) -> bytes:
    """Return the id of a scenario's record."""
    return octets(f"record/{name}", ID_BYTES)


def contract_id(name: str) -> bytes:
    """Return the id of the contract that a scenario calls so."""
    return octets(f"contract/{name}", ID_BYTES)


def anchored(record: RecordPlan, owner_seed: bytes | None) -> pb.Act:
    """Return the act that anchors a record, countersigned with the key of its owner's seed."""
    anchor = pb.RecordAnchor(
        record_id=record_id(record.name),
        ciphertext_digest=octets(f"{record.name}/ciphertext", DIGEST_BYTES),
        ciphertext_bytes=_CIPHERTEXT_BYTES,
        suite=SUITE_SHARED,
        alliance_slot_digest=octets(f"{record.name}/alliance", DIGEST_BYTES),
        custodian_part_commitment=octets(f"{record.name}/part", DIGEST_BYTES),
        record_key_commitment=octets(f"{record.name}/key", DIGEST_BYTES),
        author=record.author,
        custodian=record.custodian,
        release_templates=record.templates,
        key_epoch=KEY_EPOCH,
    )
    slot = octets(f"{record.name}/slot", DIGEST_BYTES)
    if owner_seed is None:
        return anchor_record(anchor, slot)
    signature = countersign(CHAIN_ID, exact_bytes(anchor), owner_seed)
    return anchor_record(anchor, slot, SigningKey(owner_seed).public_key, signature)


@dataclass(frozen=True, slots=True)
class Playbill:
    """What acts refer to: the templates by name/version, which one a contract is of, its orders.

    mine: the template that is played. given: the last order of an instruction, by contract.
    """

    mine: Template
    templates: Mapping[str, Template]
    contracts: Mapping[str, bytes]
    versions: Mapping[bytes, str]
    given: Mapping[tuple[bytes, str], tuple[int, int]]

    def contract(self, name: str) -> bytes:
        """Return the id of a contract that there is, or raise `ScenarioMalformed`."""
        found = self.contracts.get(name)
        if found is None:
            raise ScenarioMalformed(f"no contract is called {name}")
        return found


def tried(act: ScriptedAct, bill: Playbill, names: Names, now: int) -> Tried:
    """Return what a line of a scenario tries at `now`.

    Raises:
        ScenarioMalformed: it names what there is not, or lacks what its kind needs.
    """
    match act.what:
        case "tick":
            instance = bill.contracts.get(act.contract, b"")
            return Tried(TICK, instance, "time passes")
        case "instantiate":
            return _instantiate(act, bill, names, now)
        case "vote":
            return _vote(act, bill.contract(act.contract))
        case "report":
            return _report(act, bill)
        case "allow_template":
            record = names.named("record", _text(act, "record"))
            template = _text(act, "template")
            wanted = pb.AllowTemplate(record_id=_octets(record), template=template)
            return Tried(pb.Act(allow_template=wanted), b"", f"allows {template}")
        case _:
            return _transition(act, bill, names, now)


def _instantiate(act: ScriptedAct, bill: Playbill, names: Names, now: int) -> Tried:
    named = act.details.get("template", f"{bill.mine.name}/{bill.mine.version}")
    template = bill.templates.get(str(named))
    if template is None:
        raise ScenarioMalformed(f"no template {named}")
    terms = document_of(template.terms, _map(act, "terms"), names, now)
    instance = contract_id(act.contract)
    wanted = pb.Instantiate(
        template=template.name, version=template.version, instance_id=instance, terms=encode(terms)
    )
    return Tried(pb.Act(instantiate=wanted), instance, f"begins {named}")


def _transition(act: ScriptedAct, bill: Playbill, names: Names, now: int) -> Tried:
    instance = bill.contract(act.contract)
    template = bill.templates[bill.versions[instance]]
    transition = template.transitions.get(act.what)
    written = _map(act, "arguments")
    arguments = (
        written if transition is None else document_of(transition.arguments, written, names, now)
    )
    wanted = pb.Transition(instance_id=instance, transition=act.what, arguments=encode(arguments))
    return Tried(pb.Act(transition=wanted), instance, f"takes {act.what}")


def _vote(act: ScriptedAct, instance: bytes) -> Tried:
    name = _text(act, "transition")
    approve = act.details.get("approve", True) is True
    wanted = pb.Vote(instance_id=instance, transition=name, approve=approve)
    return Tried(pb.Act(vote=wanted), instance, f"votes {'yes' if approve else 'no'} on {name}")


def _report(act: ScriptedAct, bill: Playbill) -> Tried:
    instance, name = bill.contract(act.contract), _text(act, "order")
    place = bill.given.get((instance, name))
    outcome = str(act.details.get("outcome", "done"))
    if place is None or outcome not in _OUTCOMES:
        raise ScenarioMalformed(f"no order {name} was given, or an outcome is not done or failed")
    word = str(act.details.get("digest", ""))
    wanted = pb.Report(
        order=pb.OrderRef(height=place[0], index=place[1]),
        outcome=_OUTCOMES[outcome],
        digest=octets(word, DIGEST_BYTES) if word else b"",
    )
    return Tried(pb.Act(report=wanted), instance, f"reports {name} {outcome}")


def _text(act: ScriptedAct, name: str) -> str:
    found = act.details.get(name)
    if not isinstance(found, str):
        raise ScenarioMalformed(f"{act.what} needs {name}")
    return found


def _map(act: ScriptedAct, name: str) -> Mapping[str, Value]:
    found = act.details.get(name, {})
    return found if isinstance(found, Mapping) else {}


def _octets(value: Value) -> bytes:
    return value if isinstance(value, bytes) else b""
