"""A resharing of the data key, driven step by step as its contract would drive it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from cipherward_chain.canonical import Value
from cipherward_chain.orders import Order
from cipherward_compute.arithmetic.peer import PeerWrong
from cipherward_compute.column_keys import PROFILE
from cipherward_compute.errors import StepFailed
from cipherward_compute.instructions import (
    HandOverKey,
    ReshareKey,
    ReshareStep,
    RetireKey,
)
from cipherward_compute.keyring import MessageKind
from cipherward_compute.order_reading import instruction_of
from cipherward_compute.orders import concerns
from cipherward_compute.steps import Done, nothing
from cipherward_compute.store import BlockEffects, Failure, Taken, WaitingOrder
from cipherward_threshold.messages import KeyShare
from cipherward_threshold.parameters import profile
from services.compute.tests.resharing.holders import (
    EVALUATION_KEY,
    FIRST,
    POINTS,
    SOURCE,
    TEXT,
    A,
    Alliance,
    B,
    C,
    D,
    Holder,
    MadeKey,
)

STUDY = bytes(range(16))
STEPS: tuple[ReshareStep, ...] = ("ready", "deal", "answer", "confirm", "test", "open")


@dataclass(frozen=True)
class Plan:
    """Who holds a key, who deals it anew, and who shall hold it."""

    holders: tuple[str, ...] = FIRST
    dealers: tuple[str, ...] = (A, B)
    new: tuple[str, ...] = (B, C, D)
    threshold: int = 2
    study: bytes = STUDY


PLANS = {
    "both": Plan(),  # one leaves, one joins
    "leaves": Plan(dealers=(B, C), new=(B, C)),
    "joins": Plan(dealers=(A, C), new=(A, B, C, D), threshold=3),
}


@dataclass
class Run:
    """A resharing, driven as its contract would drive it, and what the chain has kept of it."""

    alliance: Alliance
    made: MadeKey
    plan: Plan
    height: int = 10
    commitments: dict[str, bytes] = field(default_factory=dict[str, bytes])
    checks: dict[str, bytes] = field(default_factory=dict[str, bytes])
    shares: dict[str, bytes] = field(default_factory=dict[str, bytes])
    seed: bytes = b"s" * 32

    def copied(self, alliance: Alliance) -> Run:
        """Return it as it stands, of these members; from here on each goes its own way."""
        kept = {name: dict(getattr(self, name)) for name in ("commitments", "checks", "shares")}
        return replace(self, alliance=alliance, **kept)

    def takers(self, step: ReshareStep) -> tuple[str, ...]:
        named = {"ready": self.plan.holders, "deal": self.plan.dealers}
        return named.get(step, self.plan.new)

    def order(self, step: ReshareStep, **other: Value) -> Order:
        plan, place = self.plan, STEPS.index(step)
        arguments: dict[str, Value] = {
            "study": plan.study,
            "source": SOURCE,
            "step": step,
            "members": list(self.takers(step)),
            "holders": list(plan.holders),
            "new": list(plan.new),
            "dealers": list(plan.dealers) if place else [],
            "threshold": plan.threshold,
            "seed": self.seed if place > 3 else b"",
            "commitments": dict(self.commitments) if place > 1 else {},
            "reveals": dict(self.shares if step == "open" else self.checks) if place > 2 else {},
            "key_digest": self.made.digest,
            "evaluation_digest": hashlib.sha256(EVALUATION_KEY).digest(),
            "spec_digest": TEXT.digest,
            "column_commitments": {n: one.commitment for n, one in self.made.lists.items()},
        }
        return self._ordered("reshare_key", {**arguments, **other})

    def hand_over_order(self) -> Order:
        plan = self.plan
        return self._ordered(
            "hand_over_key",
            {
                "study": plan.study,
                "source": SOURCE,
                "members": sorted({*plan.holders, *plan.new}),
                "holders": list(plan.holders),
                "new": list(plan.new),
                "threshold": plan.threshold,
                "key_digest": self.made.digest,
            },
        )

    def retire_order(self, cause: str, members: Sequence[str]) -> Order:
        named: dict[str, Value] = {
            "study": self.plan.study,
            "members": list(members),
            "cause": cause,
        }
        return self._ordered("retire_key", named)

    def _ordered(self, instruction: str, arguments: Mapping[str, Value]) -> Order:
        self.height += 1
        study = self.plan.study
        return Order(self.height, 0, study, "key-resharing", instruction, arguments)

    async def block(self, *orders: Order) -> None:
        """Let every member take the block that holds these orders."""
        height = orders[0].height
        for name in self.alliance.databases:
            holder = self.alliance.at[name]
            taken: list[Taken] = []
            for order in orders:
                instruction = instruction_of(order)
                assert instruction is not None
                if concerns(order, name):
                    taken.append(Taken(instruction, order.to_bytes()))
            await holder.chain.apply(
                BlockEffects(height, height.to_bytes(8, "big"), 1000 + height, taken=tuple(taken))
            )
            holder.studies.news.tell(self.plan.study)

    async def answer_at(self, name: str, waiting: WaitingOrder) -> Done | StepFailed | PeerWrong:
        """Carry an order out at a member, without its effect."""
        instruction = instruction_of(Order.from_bytes(waiting.octets))
        return await self._answer(self.alliance.at[name], instruction)

    async def carry_out(self, name: str) -> Done | StepFailed | PeerWrong | None:
        """Take the oldest waiting order at a member, and make its effect durable."""
        holder = self.alliance.at[name]
        waiting = await holder.chain.waiting()
        if not waiting:
            return None
        answer = await self.answer_at(name, waiting[0])
        if isinstance(answer, Done):
            await holder.chain.finish(waiting[0].key, answer.write, None)
        else:
            failed = Failure(answer.reason, str(answer))
            await holder.chain.finish(waiting[0].key, nothing, None, failed)
        holder.studies.news.tell(self.plan.study)
        return answer

    async def _answer(self, holder: Holder, instruction: object) -> Done | StepFailed | PeerWrong:
        try:
            match instruction:
                case ReshareKey():
                    return await holder.steps.carry_out(instruction)
                case HandOverKey():
                    return await holder.steps.handed_over(instruction)
                case RetireKey():
                    return await holder.steps.retire(instruction)
                case _:
                    raise AssertionError("no order of a resharing")
        except (StepFailed, PeerWrong) as error:
            return error

    async def everywhere(self) -> dict[str, Done | StepFailed | PeerWrong]:
        """Take what waits at every member; return what comes of it, where anything was there."""
        names = list(self.alliance.databases)
        found = await asyncio.gather(*(self.carry_out(name) for name in names))
        return {name: one for name, one in zip(names, found, strict=True) if one is not None}

    async def give_order(
        self, step: ReshareStep, **other: Value
    ) -> dict[str, Done | StepFailed | PeerWrong]:
        await self.block(self.order(step, **other))
        return await self.everywhere()

    async def refusals(self, step: ReshareStep) -> dict[str, StepFailed | PeerWrong]:
        """Order a step; return who cannot take it, and why."""
        found = await self.give_order(step)
        return {name: one for name, one in found.items() if not isinstance(one, Done)}

    def keep(self, step: ReshareStep, digests: dict[str, bytes]) -> None:
        """Keep what the members report, as the chain does."""
        assert set(digests) == set(self.takers(step))
        if step == "deal":
            self.commitments = digests
        elif step == "answer":
            self.checks = digests
        elif step == "test":
            self.shares = digests
        else:  # they must agree
            assert len(set(digests.values())) == 1

    async def step(self, step: ReshareStep) -> None:
        """Let a step be taken everywhere."""
        found = await self.give_order(step)
        digests: dict[str, bytes] = {}
        for name, one in found.items():
            assert isinstance(one, Done), (name, one)
            if one.reported:
                digests[name] = one.digest
        self.keep(step, digests)

    async def take(self, *steps: ReshareStep) -> None:
        for step in steps:
            await self.step(step)

    async def hand_over(self) -> Order:
        order = self.hand_over_order()
        await self.block(order)
        assert all(isinstance(one, Done) for one in (await self.everywhere()).values())
        return order

    async def end(self, cause: str = "failed") -> None:
        """Let the resharing end, as its contract tells old and new holders."""
        for members in (self.plan.holders, self.plan.new):
            await self.block(self.retire_order(cause, members))
            await self.everywhere()

    async def share_of(self, name: str) -> bytes:
        """Return a member's share of the data key as it would decrypt with."""
        keyring = self.alliance.at[name].keyring
        return keyring.open_key_share(await keyring.ceremony(SOURCE))

    async def opened_by(self, *names: str) -> list[int]:
        """Decrypt a value under the key with these members' shares."""
        return self.opened_with({name: await self.share_of(name) for name in names})

    def opened_with(self, shares: Mapping[str, bytes]) -> list[int]:
        """Decrypt it with shares by member, as they name their sharing."""
        return self.made.opened_with({POINTS[name]: share for name, share in shares.items()})

    def of_sharing(self, share: bytes, like: bytes) -> bytes:
        """Return a share that claims to be of another one's sharing."""
        row = profile(PROFILE)
        form = KeyShare.parse(row, like).sharing
        return replace(KeyShare.parse(row, share), sharing=form).to_bytes(row)

    async def with_stolen_share(self, thief: str, owner: str, *steps: ReshareStep) -> None:
        """Let steps be taken while a member holds another's share, named as its own."""
        row, keyring = profile(PROFILE), self.alliance.at[thief].keyring
        stolen = KeyShare.parse(row, self.made.shares[owner])
        claimed = replace(stolen, point=POINTS[thief]).to_bytes(row)
        own = (await keyring.ceremony(SOURCE)).sealed_key_share
        update = "UPDATE ceremonies SET key_share = ? WHERE study = ?"
        self.alliance.sql(thief, update, keyring.seal_key_share(SOURCE, claimed), SOURCE)
        await self.take(*steps)
        self.alliance.sql(thief, update, own, SOURCE)

    def left(self, name: str) -> list[str]:
        """Return what a member still has of the attempt."""
        tables = ("ceremonies", "ceremony_messages", "opened")
        counted = {
            table: self.alliance.sql(
                name, f"SELECT 1 FROM {table} WHERE study = ?", self.plan.study
            )
            for table in tables
        }
        return [table for table, rows in counted.items() if rows]

    def rewrite(self, member: str, kind: MessageKind, octets: bytes, receiver: str = "") -> bytes:
        """Let a member have another message than it made; return the commitment to it."""
        return self.alliance.rewrite(self.plan.study, member, kind, octets, receiver)

    async def own(self, member: str, kind: MessageKind) -> bytes:
        keyring = self.alliance.at[member].keyring
        return await keyring.message(self.plan.study, kind, dealer=member, receiver=member)
