"""Templates: what ships, what a deployment refuses, and how decisions are made from them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from cipherward_chain.authorization import PseudonymSigner
from cipherward_chain.canonical import Value, encode
from cipherward_chain.genesis import TemplateDocument
from cipherward_contract.catalogue import compile_template
from cipherward_contract.genesis_state import GenesisUnusable, initial_pairs
from cipherward_contract.policies import Policies, Request, cedar_schema
from cipherward_contract.templates.document import TemplateMalformed
from cipherward_contract.templates.parsing import parse_template
from cipherward_contract.templates.shipped import load_shipped
from cipherward_contract.testing import (
    TICK,
    Story,
    contract_genesis,
    instantiate,
    open_story,
    transition,
)

# A change of either changes what alliances have agreed on: give the template a new version instead.
GOLDEN = {
    "authority-change": "90f0ef25194067183b3db622eee74ed49ddea6630364ae2f554d8486ef7afcbe",
    "column-study": "3a8653cd6d853e6a93e3ad634e1ac30623ece278db55c0f0d809381b02e344fd",
    "consent": "526234ca6773da238f94509d6e04ed57bca9106d4bfc5a5c3edb69d974af6a59",
    "data-key": "4a1fb38f79ef946473ec029ce5b8fd95030efae174be008d7d9544a84b5b0126",
    "data-permit": "a3f6238bd2d1d31b96e6926a2776dbb2159ea7927ea9394a5047df16ab735bc8",
    "emergency-access": "bb5228198e7ad5b597990ba7a5cad89c43579b3a77d5e4b118c7518750308678",
    "erasure": "8ec905e2144a1952983151a4b71b824f5eec0a8b27f79368f63ed15428577a39",
    "key-ceremony": "e27caacf15e8f43f100a714e22856a5245b3c187ae8a483c6c687bb6ba718732",
    "key-resharing": "595ec3baf98f09674d0628f18c454ef100a690a606a0ec405342a6fd9a1a933b",
    "machine-upgrade": "b899fe935e274383d53bf8ae14d21b0a541853f680b17c67f139ae7a1d59f5df",
    "membership": "408c412b8f0b3b3ae5f4178166f741fc8f25ee417b3e371cd5c24770d580ebd0",
    "opening": "f25790536b535a9f6a7b132422efcb0fa06d7151eac2ca3656ecb75cfe2c8c75",
    "removal": "ec181fa2c4b8522ce0c272d8e9b6351b8d9e59020ef2d9e706061949872df09f",
    "risk-score": "567d90eb63f757d1610a34140b51d94570c07359abfc465fee19b02581e8ff4e",
    "study": "03c612372dac162fa64988f409b66cc340b6f4573829821ca1355604fe1d570e",
    "suspension": "1060c6895e0cbad021be660037ad93a566b7c48799654a24ba48f58cf9e574cf",
    "template-adoption": "64894ddb69f2cff0c24692be43882427d391e909824c7f40cb9866ffbfdee8ca",
}

# The smallest template with everything that the checks look at.
SMALL = """
name: small
version: 1
object: record
parties: {owner: {is: record_owner}, reader: {is: staff_of, member: member, key: key}}
terms:
  record: {type: bytes, lengths: [16]}
  member: {type: member, may_be_empty: false}
  key: {type: bytes, lengths: [0, 32]}
  expires: {type: time, ahead_max: 1000000}
  margin: {type: int, minimum: 0, maximum: 4611686018427387904}
states: [active, ended]
initial: active
finals: [ended]
timers: [{states: [active], when: {due: terms.expires}, transition: expire}]
transitions:
  instantiate: {kind: transition, to: active, by: [owner]}
  look:
    kind: transition
    from: [active]
    to: active
    by: [reader]
    arguments: {reader_key: {type: bytes, lengths: [1216]}}
    instructions:
      - order: release_key
        with:
          record: record.id
          custodian: record.custodian
          anchor_digest: record.anchor_digest
          slot_digest: record.slot_digest
          reader_key: arguments.reader_key
          reader: actor.key
          grant: instance.id
          ends: terms.expires
          key_epoch: record.key_epoch
          guardians: record.guardians
  end: {kind: transition, from: [active], to: ended, by: [owner], gives_up_rights: true}
  expire: {kind: timer, from: [active], to: ended}
policies: |
  @id("anybody-anything") permit (principal, action, resource);
  @id("margin") forbid (principal, action == Action::"look", resource)
  when { context.now + resource.terms.margin + resource.terms.margin > 4611686018427387903 };
"""


def small() -> dict[str, Any]:
    return yaml.safe_load(SMALL)


def compiled(document: Mapping[str, Value]) -> None:
    compile_template(encode(document))


def test_the_shipped_templates_are_what_alliances_have_agreed_on() -> None:
    assert {name: t.digest.hex() for name, (t, _) in load_shipped().items()} == GOLDEN


@pytest.mark.slow
def test_the_shipped_templates_are_printed_for_who_makes_a_genesis() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "cipherward_contract.templates"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    shown = json.loads(ran.stdout)
    assert {name: entry["digest"] for name, entry in shown.items()} == GOLDEN
    for name, entry in shown.items():
        template = compile_template(bytes.fromhex(entry["document"])).template
        assert (template.name, template.version) == (name, entry["version"])


def test_the_small_template_may_be_deployed() -> None:
    compiled(small())


def _step(document: dict[str, Any], **changed: Any) -> None:
    document["parties"]["member"] = {"is": "member_of", "members": "members"}
    document["terms"]["members"] = {"type": "members", "at_least": 1}
    vote = {"kind": "vote", "from": ["active"], "to": "ended", "by": ["member"]}
    document["transitions"]["agree"] = vote | {"quorum": "all", "otherwise": "end"} | changed


FAULTS: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
    ("no field states", lambda d: d.pop("states")),
    ("unknown field colour", lambda d: d.update(colour="red")),
    ("is no name", lambda d: d.update(name="Small!")),
    ("field version is below 1", lambda d: d.update(version=0)),
    ("no state nowhere", lambda d: d["transitions"]["end"].update({"to": "nowhere"})),
    ("a state is listed twice", lambda d: d["states"].append("ended")),
    ("ended: is final and can be left", lambda d: d["transitions"]["end"]["from"].append("ended")),
    ("lonely: cannot be reached", lambda d: d["states"].append("lonely")),
    ("ended: cannot be left and is not final", lambda d: d.update(finals=[])),
    ("no due time ends it", lambda d: d.update(timers=[])),
    (
        "no due time ends it",
        lambda d: d["timers"][0].update(when={"after": {"value": 60}}),
    ),
    ("a timer has either due or after", lambda d: d["timers"][0].update(when={})),
    ("more than one timer", lambda d: d["timers"].append(d["timers"][0])),
    ("which is no transition of kind timer", lambda d: d["timers"][0].update(transition="end")),
    (
        "the owner cannot end it at any time",
        lambda d: d["transitions"]["end"].update(gives_up_rights=False),
    ),
    (
        "the owner cannot end it at any time",
        lambda d: d["transitions"]["end"].update(by=["reader"]),
    ),
    ("end: nobody may take it", lambda d: d["transitions"]["end"].pop("by")),
    ("no party stranger", lambda d: d["transitions"]["end"].update(by=["stranger"])),
    ("no party is friend", lambda d: d["parties"]["owner"].update({"is": "friend"})),
    ("party reader: no term doctor", lambda d: d["parties"]["reader"].update(key="doctor")),
    ("the object file is no term", lambda d: d.update(object="file")),
    ("party owner: there is no record", lambda d: d.update(object="")),
    ("no transition instantiate", lambda d: d["transitions"].pop("instantiate")),
    (
        "instantiate must lead",
        lambda d: d["transitions"]["instantiate"].update({"from": ["active"]}),
    ),
    ("no transition is of kind magic", lambda d: d["transitions"]["end"].update(kind="magic")),
    ("end: leaves no state", lambda d: d["transitions"]["end"].pop("from")),
    (
        "have arguments",
        lambda d: d["transitions"]["expire"].update(
            arguments={"a": {"type": "bytes", "lengths": [1]}}
        ),
    ),
    (
        "no instruction send_mail",
        lambda d: d["transitions"]["look"]["instructions"][0].update(order="send_mail"),
    ),
    (
        "arguments missing or unknown: ends, pays",
        lambda d: d["transitions"]["look"]["instructions"][0]["with"].update(
            pays=d["transitions"]["look"]["instructions"][0]["with"].pop("ends")
        ),
    ),
    (
        "too many instructions",
        lambda d: d["transitions"]["look"].update(
            instructions=d["transitions"]["look"]["instructions"] * 9
        ),
    ),
    (
        "look: nothing at terms.colour",
        lambda d: d["transitions"]["look"]["instructions"][0]["with"].update(ends="terms.colour"),
    ),
    (
        "record has no patient",
        lambda d: d["transitions"]["look"]["instructions"][0]["with"].update(ends="record.patient"),
    ),
    ("is no path", lambda d: d["timers"][0].update(when={"due": "somewhere"})),
    (
        "an expression is a path",
        lambda d: d["timers"][0].update(when={"due": {"random": ["terms.x"]}}),
    ),
    ("no type float", lambda d: d["terms"]["margin"].update(type="float")),
    (
        "minimum is above maximum",
        lambda d: d["terms"]["margin"].update(minimum=2**62 - 1, maximum=1),
    ),
    ("beyond 62 bits", lambda d: d["terms"]["margin"].update(maximum=2**63)),
    (
        "a text needs a closed list",
        lambda d: d["terms"].update(note={"type": "text", "one_of": []}),
    ),
    (
        "term enough: no term people",
        lambda d: d["terms"].update(enough={"type": "quorum", "of": "people"}),
    ),
    ("spends gone, which nothing records", lambda d: d["transitions"]["end"].update(spends="gone")),
    ("agree: no quorum terms.most", lambda d: _step(d, quorum="terms.most")),
    (
        "agree: no quorum two_thirds_of_registry",  # of members that the terms name
        lambda d: _step(d, quorum="two_thirds_of_registry"),
    ),
    ("end is no automatic transition", _step),
    ("nobody has to agree on what it keeps", lambda d: _step(d, keep={"x": "agreed_digest"})),
    ("reports do not leave rumours behind", lambda d: _step(d, keep={"x": "rumours"})),
    ("agree: only parties that list members can vote", lambda d: _step(d, by=["owner"])),
    ("policies do not parse", lambda d: d.update(policies="permit everything")),
    (
        "every policy needs an @id",
        lambda d: d.update(policies="permit(principal, action, resource);"),
    ),
    (
        "every policy needs an @id",
        lambda d: d.update(policies=d["policies"].replace('margin")', 'anybody-anything")')),
    ),
    ("a template has 1 to 32 policies", lambda d: d.update(policies="")),
    (
        "a template has 1 to 32 policies",
        lambda d: d.update(
            policies="".join(f'@id("{i}") permit(principal, action, resource);' for i in range(33))
        ),
    ),
    (
        "policies do not fit the template",
        lambda d: d.update(policies=d["policies"].replace("terms.margin", "terms.colour")),
    ),
    (
        "policies do not fit the template",
        lambda d: d.update(policies=d["policies"].replace("context.now", "principal.role")),
    ),
    (
        "policies do not fit the template",
        lambda d: d.update(policies=d["policies"].replace('"look"', '"listen"')),
    ),
]


@pytest.mark.parametrize(
    ("fault", "spoil"), FAULTS, ids=[f"{i}-{f[0]}" for i, f in enumerate(FAULTS)]
)
def test_a_template_with_a_fault_is_refused_by_name(
    fault: str, spoil: Callable[[dict[str, Any]], object]
) -> None:
    document = small()
    spoil(document)
    with pytest.raises(TemplateMalformed, match=_literally(fault)):
        compiled(document)


def _literally(text: str) -> str:
    return "".join(f"[{c}]" if c in "().|*+?[" else c for c in text)


def test_all_faults_are_named_at_once() -> None:
    document = small()
    document["transitions"]["end"].update(to="nowhere", by=["stranger"])
    with pytest.raises(TemplateMalformed, match=r"no state nowhere.*no party stranger"):
        compiled(document)


@pytest.mark.parametrize("document", [b"", b"\xff", b"\xa0 ", bytes(70_000), b"\x80"])
def test_bytes_that_are_no_document_are_refused(document: bytes) -> None:
    with pytest.raises(TemplateMalformed):
        parse_template(document)


def test_a_genesis_with_a_faulty_template_begins_no_chain() -> None:
    document = small()
    document["timers"] = []
    faulty = TemplateDocument("small", 1, encode(document))
    renamed = TemplateDocument("other", 1, encode(small()))
    for template in (faulty, renamed):
        genesis, _ = contract_genesis(templates=[template])
        with pytest.raises(GenesisUnusable, match="template"):
            initial_pairs(genesis)


MARGINS = (0, 2**61, 2**62)  # harmless, forbidden, and beyond 64 bits when it is added up


def _request(margin: int) -> Request:
    return Request(
        action="look",
        actor={
            "kind": "pseudonym",
            "member": "hospital-b",
            "schema": "staff",
            "role": "clinician",
            "scope": "",
            "key": "",
            "parties": ["reader"],
        },
        instance={
            "state": "active",
            "uses": 0,
            "owner": "",
            "creator": "",
            "author": "",
            "custodian": "",
        },
        terms={
            "record": bytes(16),
            "member": "hospital-b",
            "key": b"",
            "expires": 10,
            "margin": margin,
        },
        arguments={"reader_key": bytes(1216)},
        now=1_800_000_000,
    )


def test_a_forbid_that_errs_denies() -> None:
    policies = Policies(parse_template(encode(small())))
    fine = policies.decide(_request(0))
    assert (fine.allowed, fine.policies, fine.erred) == (True, ("anybody-anything",), False)
    # now + margin + margin is beyond 64 bits: Cedar skips the forbid, and would allow.
    erring = policies.decide(_request(2**62))
    assert (erring.allowed, erring.erred) == (False, True)
    forbidden = policies.decide(_request(2**61))
    assert (forbidden.allowed, forbidden.policies) == (False, ("margin",))


def test_decisions_do_not_depend_on_the_order_of_policies() -> None:
    document = small()
    many = "".join(
        f'@id("p{i:02}") permit(principal, action, resource);' for i in (3, 17, 1, 30, 9, 22)
    )
    policies = Policies(parse_template(encode(document | {"policies": many})))
    wanted = ("p01", "p03", "p09", "p17", "p22", "p30")
    assert {policies.decide(_request(0)).policies for _ in range(20)} == {wanted}


def test_the_schema_is_made_from_the_types() -> None:
    schema = cedar_schema(parse_template(encode(small())))
    assert '"expires": Long' in schema
    assert '"record": String' in schema
    assert 'action "look"' in schema
    assert 'action "expire"' not in schema  # nobody asks whether a timer may fire


async def test_a_policy_error_is_a_refusal_on_the_chain(tmp_path: Path) -> None:
    genesis, keys = contract_genesis(templates=[TemplateDocument("small", 1, encode(small()))])
    async with open_story(tmp_path, genesis, keys) as story:
        results = [await _look(story, bytes([n]) * 16, margin) for n, margin in enumerate(MARGINS)]
    assert results == ["", "POLICY_DENIED", "POLICY_ERROR"]


async def begin_small(story: Story, record: bytes, **changed: Value) -> PseudonymSigner:
    """Start a `small` contract about a new record, under the record's id; return the owner."""
    owner = await story.record(record, templates=("consent/1", "small/1"))
    terms: dict[str, Value] = {
        "record": record,
        "member": "hospital-b",
        "key": b"",
        "expires": story.now + 100,
        "margin": 0,
        **changed,
    }
    await story.applied(owner, instantiate("small", record, terms))
    return owner


async def test_policies_cannot_permit_more_than_the_list_of_parties(tmp_path: Path) -> None:
    genesis, keys = contract_genesis(templates=[TemplateDocument("small", 1, encode(small()))])
    async with open_story(tmp_path, genesis, keys) as story:
        owner = await begin_small(story, bytes(16))
        result = await story.act(owner, transition(bytes(16), "look", reader_key=bytes(1216)))
        assert (result.reason, result.policies) == ("NOT_A_PARTY", ("anybody-anything",))


async def test_a_transition_that_needs_what_nobody_has_recorded_is_refused(tmp_path: Path) -> None:
    document = small()
    document["transitions"]["end"]["sets"] = {"why": "variables.failure"}
    genesis, keys = contract_genesis(templates=[TemplateDocument("small", 1, encode(document))])
    async with open_story(tmp_path, genesis, keys) as story:
        owner = await begin_small(story, bytes(16))
        result = await story.act(owner, transition(bytes(16), "end"))
        assert result.reason == "NOT_RECORDED"


async def test_a_timer_whose_transition_cannot_be_taken_does_not_stop_the_chain(
    tmp_path: Path,
) -> None:
    document = small()
    document["transitions"]["expire"]["sets"] = {"why": "variables.failure"}
    genesis, keys = contract_genesis(templates=[TemplateDocument("small", 1, encode(document))])
    async with open_story(tmp_path, genesis, keys) as story:
        owner = await begin_small(story, bytes(16))
        story.now += 100
        for _ in range(2):
            await story.applied(story.member("hospital-a"), TICK)
        committed = await story.chain.committed()
        assert committed is not None
        assert committed.next_timer is None  # the timer is gone, and the owner ends the contract
        await story.applied(owner, transition(bytes(16), "end"))


async def test_a_record_is_released_by_the_templates_of_its_anchor_only(tmp_path: Path) -> None:
    genesis, keys = contract_genesis(templates=[TemplateDocument("small", 1, encode(small()))])
    async with open_story(tmp_path, genesis, keys) as story:
        assert await _look(story, bytes(16), 0, templates=("consent/1",)) == "TEMPLATE_NOT_ALLOWED"


async def _look(
    story: Story, record: bytes, margin: int, templates: tuple[str, ...] = ("consent/1", "small/1")
) -> str:
    owner = await story.record(record, templates=templates)
    terms: dict[str, Value] = {
        "record": record,
        "member": "hospital-b",
        "key": b"",
        "expires": story.now + 100,
        "margin": margin,
    }
    made = await story.act(owner, instantiate("small", record, terms))
    if not made.applied:
        return made.reason
    clinician = await story.staff("hospital-b", "clinician", record.hex())
    return (await story.act(clinician, transition(record, "look", reader_key=bytes(1216)))).reason
