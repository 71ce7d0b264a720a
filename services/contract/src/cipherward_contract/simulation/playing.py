"""Playing a scenario: each act a block of its own, and each due timer one at its time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.acts import register_pseudonym
from cipherward_chain.authorization import MemberSigner, PseudonymSigner, Signer
from cipherward_chain.canonical import Value
from cipherward_chain.genesis import TemplateDocument
from cipherward_chain.results import TransactionResult
from cipherward_chain.signatures import SigningKey
from cipherward_chain.transactions import TransactionMalformed, build_transaction
from cipherward_chain.wire import NANOS
from cipherward_contract.simulation.acting import (
    TICK,
    Playbill,
    anchored,
    contract_id,
    record_id,
    tried,
)
from cipherward_contract.simulation.cast import BEGIN, CHAIN_ID, Presented, beginning, seed_of
from cipherward_contract.simulation.scenario import (
    ALLOWED,
    Scenario,
    ScenarioMalformed,
    ScriptedAct,
    Wanted,
)
from cipherward_contract.simulation.stage import Played, Stage
from cipherward_contract.steps import TIMERS_MAX
from cipherward_contract.templates.parsing import parse_template
from cipherward_contract.templates.shipped import load_shipped

EXPIRES_SECONDS = 300  # of every transaction: it is played at once
TIMER_BLOCKS_MAX = 1_000  # of one scenario; a template that was checked has no timers that go round


@dataclass(frozen=True, slots=True)
class Step:
    """One act or timer, and what became of it.

    at: Unix seconds. rule: why it was refused. surprise: what the scenario expected instead, or "".
    """

    at: int
    act: str
    allowed: bool
    policies: tuple[str, ...]
    rule: str
    message: str
    state: str
    orders: tuple[str, ...]
    surprise: str = ""


def play(document: bytes, scenario: Scenario) -> list[Step]:
    """Play a scenario against a template's canonical document; return every step.

    Raises:
        GenesisUnusable, TemplateMalformed: the template may not be deployed.
        ScenarioMalformed: the scenario cannot be played; says where.
    """
    play = _Play(document, scenario)
    play.prepare()
    for act in scenario.acts:
        try:
            play.act(act)
        except (ScenarioMalformed, TransactionMalformed) as error:
            raise ScenarioMalformed(f"line {act.line}: {error}") from error
    return play.steps


@lru_cache(maxsize=1)  # they are part of this release
def _shipped() -> tuple[TemplateDocument, ...]:
    return tuple(
        TemplateDocument(name, template.version, document)
        for name, (template, document) in load_shipped().items()
    )


class _Play:
    """The state of a play: the chain, who has registered what, and what names stand for."""

    def __init__(self, document: bytes, scenario: Scenario) -> None:
        mine = parse_template(document)
        played = TemplateDocument(mine.name, mine.version, document)
        name = f"{mine.name}/{mine.version}"
        others = [one for one in _shipped() if f"{one.name}/{one.version}" != name]
        self._scenario = scenario
        self._stage = Stage(beginning(scenario.members, [*others, played]))
        self._contracts: dict[str, bytes] = {}
        self._versions: dict[bytes, str] = {}
        self._given: dict[tuple[bytes, str], tuple[int, int]] = {}
        templates = {f"{one.name}/{one.version}": parse_template(one.document) for one in others}
        self._bill = Playbill(
            mine, {**templates, name: mine}, self._contracts, self._versions, self._given
        )
        self._registered: dict[str, tuple[Presented, bytes]] = {}
        self._now = BEGIN
        self._serial = self._timer_blocks = 0
        self.steps: list[Step] = []

    def prepare(self) -> None:
        """Anchor the records, each with its owner registered."""
        for record in self._scenario.records.values():
            if record.owner:
                self._signer(record.owner)
            act = anchored(record, seed_of(record.owner) if record.owner else None)
            result = self._play(self._signer(record.author), act).results[0]
            if not result.applied:
                raise ScenarioMalformed(f"records.{record.name}: {result.message}")

    def act(self, act: ScriptedAct) -> None:
        """Let the time of an act come, timers first, and try it as each who does."""
        self._pass_time(BEGIN + act.at)
        self._now = BEGIN + act.at
        for name in act.by:
            signer = self._signer(name)
            wanted = tried(act, self._bill, self, self._now)
            if act.what == "instantiate":
                self._contracts.setdefault(act.contract, contract_id(act.contract))
            played = self._play(signer, wanted.act)
            text = f"{name} {wanted.text}" if name else wanted.text
            step = self._step(text, played, wanted.instance, played.results[0])
            self.steps.append(_compared(step, act.wanted))

    def named(self, kind: str, name: str) -> Value:
        """Return what `kind:name` stands for at this moment."""
        if kind == "record" and name in self._scenario.records:
            return record_id(name)
        if kind == "contract":
            return self._bill.contract(name)
        if kind in ("key", "pseudonym", "scope") and name in self._scenario.holders:
            self._signer(name)
            presented, key = self._registered[name]
            return {"key": key, "pseudonym": presented.pseudonym, "scope": presented.scope}[kind]
        raise ScenarioMalformed(f"nothing is {kind}:{name}")

    def _signer(self, name: str) -> Signer:
        """Return who signs; a holder whose credential was renewed registers again first."""
        if name in self._scenario.members or not name:
            member = name or self._scenario.members[0]
            return MemberSigner(member, seed_of(member))
        holder = self._scenario.holders[name]
        epoch = self._stage.block(self._now * NANOS).epoch
        is_staff = holder.schema == "staff"
        # a member of staff has another pseudonym in every epoch, and so another key
        seed = seed_of(f"{name}/{epoch}" if is_staff else name)
        held = self._registered.get(name)
        if held is None or held[0].epoch != epoch:
            record = f"record:{record_id(holder.record).hex()}"
            scope = f"duty:{holder.member}:{epoch}" if is_staff else record
            presented = Presented(holder, scope, epoch)
            self._registered[name] = presented, SigningKey(seed).public_key
            self._play(presented, register_pseudonym(CHAIN_ID, scope, seed))
        return PseudonymSigner(seed)

    def _play(self, signer: Signer, act: pb.Act) -> Played:
        """Play a block of one transaction, and note what it has ordered and begun."""
        self._serial += 1
        transaction = build_transaction(
            [act],
            chain_id=CHAIN_ID,
            expires_at=self._now + EXPIRES_SECONDS,
            signer=signer,
            nonce=self._serial.to_bytes(16, "big"),
        )
        played = self._stage.play(self._now, transaction)
        for order in played.orders:
            self._given[order.instance, order.instruction] = (order.height, order.index)
        self._name_contracts()
        return played

    def _name_contracts(self) -> None:
        """Call what instructions have begun by its template, and from the second on by number."""
        known = set(self._contracts.values())
        for instance_id, instance in self._stage.instances().items():
            origin = instance.origin
            self._versions[instance_id] = f"{origin.template}/{origin.version}"
            if instance_id in known:
                continue
            name, number = origin.template, 1
            while name in self._contracts:
                number += 1
                name = f"{origin.template}-{number}"
            self._contracts[name] = instance_id

    def _pass_time(self, until: int) -> None:
        """Fire every timer that falls due until then, each in a block at its own time."""
        while (due := self._stage.next_timer()) is not None and due <= until:
            self._timer_blocks += 1
            if self._timer_blocks > TIMER_BLOCKS_MAX:
                raise ScenarioMalformed(f"more than {TIMER_BLOCKS_MAX} timers fire")
            self._now = max(due, self._now)
            fired = self._stage.due_timers(self._now, TIMERS_MAX)
            names = [self._timer(instance) for instance in fired]
            played = self._play(self._signer(""), TICK)
            for name, instance in zip(names, fired, strict=True):
                self.steps.append(self._step(f"timer {name}", played, instance, None))

    def _timer(self, instance_id: bytes) -> str:
        instance = self._stage.instances()[instance_id]
        template = self._bill.templates[self._versions[instance_id]]
        timer = template.timer_of(instance.position.state)
        name = timer.transition if timer is not None else "none"
        return name if template is self._bill.mine else f"{name} of {template.name}"

    def _step(
        self, text: str, played: Played, instance: bytes, result: TransactionResult | None
    ) -> Step:
        found = self._stage.instances().get(instance)
        return Step(
            self._now,
            text,
            allowed=result is None or result.applied,
            policies=tuple(result.policies) if result else (),
            rule=result.reason if result else "",
            message=result.message if result else "",
            state=found.position.state if found else "",
            orders=tuple(played.given_by(instance)),
        )


def _compared(step: Step, wanted: Wanted) -> Step:
    """Return the step with what was expected of it instead, if anything was."""
    missed: list[str] = []
    if wanted.outcome and wanted.outcome != (step.rule or ALLOWED):
        missed.append(wanted.outcome)
    if wanted.state and wanted.state != step.state:
        missed.append(f"state {wanted.state}")
    if wanted.orders is not None and sorted(wanted.orders) != sorted(step.orders):
        missed.append(f"orders {', '.join(wanted.orders) or 'none'}")
    return replace(step, surprise=", ".join(missed))
