"""One history: what is said, block by block, to both executors, until every contract has ended."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from cipherward_chain.orders import Order
from tests.reference import cast, words
from tests.reference.base import Base, Stage, play
from tests.reference.instructions import EXECUTORS
from tests.reference.service import Mishap
from tests.reference.world import NANOS, World

# Ends of ends: a contract is in its last state after a handful of timers, each within ten years.
ROUNDS_MAX = 100
LIFE_SECONDS = 300


@dataclass(slots=True)
class Tally:
    """What histories came to, over all of them."""

    histories: int = 0
    blocks: int = 0
    transactions: int = 0
    acts: int = 0
    orders: int = 0
    reasons: Counter[str] = field(default_factory=Counter[str])
    applied: Counter[str] = field(default_factory=Counter[str])
    ends: Counter[str] = field(default_factory=Counter[str])
    mishaps: Counter[str] = field(default_factory=Counter[str])


@dataclass(slots=True)
class _Draft:
    speaker: cast.Speaker
    acts: list[tuple[words.Act, bytes]]
    expires_at: int
    chain: str = cast.CHAIN


class History:
    """What is said is kept until `decide` makes a block of it."""

    def __init__(self, base: Base, runner: asyncio.Runner, tally: Tally) -> None:
        self._folder = TemporaryDirectory(prefix="history-")
        self._runner = runner
        self._tally = tally
        self._waiting: list[_Draft | cast.Sent] = []
        self._broken = False
        self.leaps = False  # to its end: to all timers at once, not to one after another
        self.stage: Stage = base.begin(Path(self._folder.name))
        self.instances: list[bytes] = []  # every id that was ever asked for
        self.ordered: list[Order] = []  # every order that names somebody
        self.sent: list[cast.Sent] = []
        self.epochs: dict[str, int] = {}  # the epoch in which somebody registered last
        runner.run(self.stage.service.resume(base.files))

    @property
    def now(self) -> int:
        """The next block's time in whole seconds, as far as it is known."""
        return self.stage.now

    @property
    def epoch(self) -> int:
        """The epoch of the next block."""
        world = self.stage.reference.world
        before, world.time_ns = world.time_ns, self.stage.time_ns
        try:
            return world.epoch
        finally:
            world.time_ns = before

    def fresh_id(self) -> bytes:
        """Return an id that no contract has."""
        number = len(self.instances) + 1
        self.instances.append(number.to_bytes(16, "big"))
        return self.instances[-1]

    def speaker(self, who: str) -> cast.Speaker:
        """Return who is meant by a name, perhaps with how it speaks behind a space."""
        name, _, how = who.partition(" ")
        if name not in cast.PERSON:
            return cast.member(name, forged=how == "forged")
        match how:
            case "showing":
                return cast.showing(name, self.epoch)
            case "showing-late":
                return cast.showing(name, self.epoch - 1)
            case "showing-elsewhere":
                return cast.showing(name, self.epoch, scope="record:nowhere")
            case "showing-unissued":
                return cast.showing(name, self.epoch, issuer=cast.NO_MEMBER)
            case "first":
                return cast.registered(name, 1)
            case _:
                return cast.registered(name, self.epochs.get(name, 1))

    def say(
        self,
        who: str,
        *acts: words.Act,
        seed: bytes = b"",
        joined: bool = False,
        life: int = LIFE_SECONDS,
        chain: str = cast.CHAIN,
    ) -> None:
        """Let somebody want acts; joined: together with what they wanted just before."""
        speaker = self.speaker(who)
        wanted = [(act, seed) for act in acts]
        last = self._waiting[-1] if self._waiting else None
        if joined and isinstance(last, _Draft) and last.speaker.by == speaker.by:
            last.acts.extend(wanted)
            return
        self._waiting.append(_Draft(speaker, wanted, self.now + life, chain))

    def send(self, sent: cast.Sent) -> None:
        """Let bytes come that were made before."""
        self._waiting.append(sent)

    def pass_time(self, nanoseconds: int) -> None:
        """Let the next block be later."""
        self.stage.time_ns += nanoseconds

    def pass_until(self, seconds: int) -> None:
        """Let the next block be no earlier than that."""
        self.stage.time_ns = max(self.stage.time_ns, seconds * NANOS)

    def members(self) -> list[str]:
        """Return who is a member now."""
        return list(self.stage.reference.world.members())

    def timers(self) -> list[int]:
        """Return when timers are due, the next first."""
        keys = self.stage.reference.world.under(b"timer/")
        return [int.from_bytes(key[len(b"timer/") :][:8], "big") for key in keys]

    def decide(self, mishap: Mishap = Mishap.NONE) -> None:
        """Make a block of what was said."""
        sent = [self._sent(draft) for draft in self._waiting]
        self._waiting.clear()
        reference = self.stage.reference
        self._broken = True
        self._runner.run(play(self.stage, sent, mishap))
        self._broken = False
        self.sent.extend(one for one in sent if not one.said.fault)
        self._count(sent, mishap)
        for raw in reference.world.orders:
            order = Order.from_bytes(raw)
            if order.instruction in EXECUTORS:
                self.ordered.append(order)

    def _sent(self, draft: _Draft | cast.Sent) -> cast.Sent:
        if isinstance(draft, cast.Sent):
            return draft
        self.stage.nonce += 1
        acts = [(act, cast.act_of(draft.speaker, act, seed)) for act, seed in draft.acts]
        return cast.send(
            draft.speaker,
            acts,
            expires_at=draft.expires_at,
            nonce=self.stage.nonce,
            chain=draft.chain,
        )

    def _count(self, sent: list[cast.Sent], mishap: Mishap) -> None:
        tally, world = self._tally, self.stage.reference.world
        tally.blocks += 1
        tally.transactions += len(sent)
        tally.orders += len(world.orders)
        tally.mishaps[mishap.value] += 1
        for one, result in zip(sent, self.stage.results, strict=True):
            tally.acts += len(one.said.acts)
            tally.reasons[result.reason or "APPLIED"] += 1
            if not result.reason:
                tally.applied.update(_told(act) for act in one.said.acts)

    def where(self, instance: bytes) -> tuple[str, str]:
        """Return a contract's template and state; nothing if there is none."""
        found = self.stage.reference.world.get(b"instance/" + instance)
        return (found["template"], found["state"]) if found else ("", "")

    def alive(self) -> list[bytes]:
        """Return the contracts that have not ended, the newest first."""
        world, found = self.stage.reference.world, list[tuple[int, bytes]]()
        for key in world.under(b"instance/"):
            one = world.get(key)
            if one["state"] not in world.template(one["template"], one["version"])["finals"]:
                found.append((one["created"], key[len(b"instance/") :]))
        return [instance for _, instance in sorted(found, reverse=True)]

    def ways_on(self, instance: bytes, kind: str) -> list[str]:
        """Return the transitions of a kind that leave where a contract stands."""
        world = self.stage.reference.world
        found = world.get(b"instance/" + instance)
        if found is None:
            return []
        transitions = world.template(found["template"], found["version"])["transitions"]
        return [
            name
            for name, transition in transitions.items()
            if transition["kind"] == kind and found["state"] in transition.get("from", [])
        ]

    def ways_waiting(self, kind: str) -> list[tuple[bytes, str]]:
        """Return the contracts that wait for a transition of a kind, the newest first."""
        return [
            (instance, ways[0])
            for instance in reversed(self.instances)
            if (ways := self.ways_on(instance, kind))
        ]

    def due_of(self, instance: bytes) -> int:
        """Return when a contract's timer is due; 0 if none runs."""
        found = self.stage.reference.world.get(b"instance/" + instance)
        return found["timer"] if found else 0

    def step_of(self, instance: bytes) -> tuple[int, int] | None:
        """Return the place of the order that a contract waits for."""
        found = self.stage.reference.world.get(b"instance/" + instance)
        return (found["step"][0], found["step"][1]) if found and found["step"] else None

    def next_round(self, instance: bytes) -> int:
        """Return the round that a study's next iterate is for."""
        found = self.stage.reference.world.get(b"instance/" + instance)
        return (found["uses"] if found else 0) + 2

    def waited_for(self) -> list[tuple[int, int]]:
        """Return the places of the orders that somebody could report, the newest first."""
        kept = self.stage.reference.world.under(b"order/")
        places = [key[len(b"order/") :] for key in reversed(kept)]
        return [(int.from_bytes(p[:8], "big"), int.from_bytes(p[8:], "big")) for p in places]

    def record_of(self, instance: bytes) -> int:
        """Return the number of the record that a contract is about; 0 if it is about none."""
        found = self.stage.reference.world.get(b"instance/" + instance)
        terms = {} if found is None else World.get_terms(found)
        record = terms.get("record")
        return cast.RECORDS.index(record) if record in cast.RECORDS else 0

    def finish(self) -> None:
        """Let time pass until nothing waits, look at what is left, and put everything away."""
        try:
            if not self._broken:
                self._end()
        finally:
            self._runner.run(self.stage.service.close())
            self._folder.cleanup()

    def _end(self) -> None:
        if self._waiting:
            self.decide()
        for _ in range(ROUNDS_MAX):
            timers = self.timers()
            if not timers:
                break
            self.pass_until(max(timers) if self.leaps else min(timers))
            self.say("hospital-a", words.Tick())
            self.decide()
        world = self.stage.reference.world
        for key in world.under(b"instance/"):
            found = world.get(key)
            template = world.template(found["template"], found["version"])
            assert found["state"] in template["finals"], f"{found} has not ended"
            self._tally.ends[f"{found['template']} {found['state']}"] += 1
        assert self._runner.run(self.stage.service.pairs()) == world.pairs
        self._tally.histories += 1


def _told(act: words.Act) -> str:
    """Return what an act is counted as."""
    match act:
        case words.Instantiate(template):
            return f"instantiate {template}"
        case words.Move(_, name) | words.Vote(_, name):
            return f"{type(act).__name__.lower()} {name}"
        case _:
            return type(act).__name__.lower()
