"""Four members' stores and their parts in key ceremonies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from cipherward_chain.testing import seed_of
from cipherward_compute.arithmetic.peer import PeerWrong
from cipherward_compute.ceremony.messages import Revealed
from cipherward_compute.ceremony.steps import CeremonySteps
from cipherward_compute.errors import StepFailed
from cipherward_compute.instructions import CeremonyStep, KeyCeremony, Shared
from cipherward_compute.keyring import Keyring, MessageKind
from cipherward_compute.member import Member
from cipherward_compute.steps import Done
from cipherward_compute.vault import CeremonyRoot, Vault
from cipherward_kit.database import Database
from cipherward_member.reports import OrderKey
from cipherward_threshold.dealing.disputes import deal_digest
from cipherward_threshold.messages import Deal, KeyShare, PublicKey
from cipherward_threshold.parameters import profile
from services.compute.tests.members_on_disk import MembersOnDisk, Neighbours, running

MEMBERS = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")
PROFILE = "additive-1"
THRESHOLD = 3
STUDY = bytes(range(16))
DEALING: tuple[CeremonyStep, ...] = ("commit", "reveal", "confirm")
STEPS: dict[str, tuple[CeremonyStep, ...]] = {
    "additive-1": DEALING,
    "product-1": (
        *DEALING,
        "relin_first",
        "relin_second",
        "relin_combine",
        "test_commit",
        "test_open",
    ),
}


@dataclass
class Alliance(MembersOnDisk):
    """Four members' stores and parts in ceremonies."""

    keyrings: dict[str, Keyring] = field(default_factory=dict[str, Keyring])
    steps: dict[str, CeremonySteps] = field(default_factory=dict[str, CeremonySteps])
    peers: dict[str, Neighbours] = field(default_factory=dict[str, Neighbours])

    def assemble(self, me: Member, database: Database) -> None:
        keyring = Keyring(database, Vault(seed_of(f"{me.id}/data")))
        self.keyrings[me.id] = keyring
        self.peers[me.id] = Neighbours(me.id, self._message)
        root = CeremonyRoot(seed_of(f"{me.id}/ceremony"))
        self.steps[me.id] = CeremonySteps(me, root, keyring, self.peers[me.id])

    async def _message(self, member: str, study: bytes, kind: MessageKind, to: str) -> bytes:
        return await self.keyrings[member].message(study, kind, dealer=member, receiver=to)


@dataclass
class Run:
    """A ceremony, and what the chain has kept of it."""

    alliance: Alliance
    history: History
    study: bytes = STUDY
    seed: bytes = b"s" * 32
    profile: str = PROFILE
    commitments: dict[str, bytes] = field(default_factory=dict[str, bytes])
    reveals: dict[str, bytes] = field(default_factory=dict[str, bytes])

    def order(self, step: CeremonyStep) -> KeyCeremony:
        return KeyCeremony(
            Shared(OrderKey(7, 0), self.study, MEMBERS),
            step,
            THRESHOLD,
            self.profile,
            self.seed,
            dict(self.commitments),
            dict(self.reveals),
            MEMBERS[:THRESHOLD] if step == "test_open" else (),
        )

    async def at(self, member: str, step: CeremonyStep) -> Done:
        """Take a step at a member, and make its effect durable."""
        done = await self.alliance.steps[member].carry_out(self.order(step))
        await self.alliance.databases[member].write(done.write)
        return done

    async def step(self, step: CeremonyStep) -> dict[str, bytes]:
        """Take a step everywhere; return the digests that the members report."""
        done = await asyncio.gather(*(self.at(member, step) for member in MEMBERS))
        return {member: one.digest for member, one in zip(MEMBERS, done, strict=True)}

    async def take(self, *steps: CeremonyStep) -> dict[str, bytes]:
        """Take steps everywhere, as the chain keeps their digests; return the last ones."""
        digests: dict[str, bytes] = {}
        for step in steps:
            digests = await self.step(step)
            if step == "commit":
                self.commitments = digests
            else:
                self.reveals = digests
        return digests

    async def before(self, step: CeremonyStep) -> None:
        """Bring everybody to where a step begins, with what the steps before left on the disks."""
        found = await asyncio.to_thread(self.history.before, self.profile, step)
        await self.alliance.begin_with(found.folder)
        self.commitments, self.reveals = dict(found.commitments), dict(found.reveals)

    async def refusals(self, step: CeremonyStep) -> dict[str, StepFailed | PeerWrong]:
        """Take a step everywhere; return why it fails, by member."""
        answers = await asyncio.gather(
            *(self.alliance.steps[m].carry_out(self.order(step)) for m in MEMBERS),
            return_exceptions=True,
        )
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, StepFailed | PeerWrong):
                raise answer
        return {
            member: answer
            for member, answer in zip(MEMBERS, answers, strict=True)
            if isinstance(answer, StepFailed | PeerWrong)
        }

    async def key_of(self, member: str) -> tuple[PublicKey, KeyShare]:
        """Return the key and the share of it that a member has."""
        keyring, row = self.alliance.keyrings[member], profile(self.profile)
        ceremony = await keyring.ceremony(self.study)
        share = KeyShare.parse(row, keyring.open_key_share(ceremony))
        return PublicKey.parse(row, ceremony.public_key), share

    async def own(self, member: str, kind: MessageKind) -> bytes:
        """Return a member's own message."""
        keyring = self.alliance.keyrings[member]
        return await keyring.message(self.study, kind, dealer=member, receiver=member)

    async def shown_by(self, member: str) -> Revealed:
        """Return what a member reveals."""
        return Revealed.parse(member, await self.own(member, "reveal"), MEMBERS)

    def rewrite(self, member: str, kind: MessageKind, octets: bytes, receiver: str = "") -> bytes:
        """Let a member have another message than it made; return the commitment to it."""
        return self.alliance.rewrite(self.study, member, kind, octets, receiver)

    def commit_to(self, member: str, shown: Revealed) -> None:
        """Let a member commit to and reveal another message than its service would make."""
        self.commitments[member] = self.rewrite(member, "reveal", shown.to_bytes())

    async def deal_wrongly(self, dealer: str, receiver: str) -> None:
        """Let a dealer commit to a deal that lies on no polynomial with its others."""
        keyring, row = self.alliance.keyrings[dealer], profile(self.profile)
        parsed = Deal.parse(row, (await keyring.deals(self.study))[dealer, receiver])
        value = parsed.value.copy()
        value[0, 1, 5] ^= 1
        wrong = replace(parsed, value=value).to_bytes(row)
        sealed = keyring.seal_deal(self.study, dealer, receiver, wrong)
        self.rewrite(dealer, "deal", sealed.octets, receiver)
        shown = await self.shown_by(dealer)
        digests = {**shown.deal_digests, receiver: deal_digest(wrong)}
        self.commit_to(dealer, replace(shown, deal_digests=digests))


@dataclass(frozen=True)
class Moment:
    """Everything that is on disk before a step, and on the chain."""

    folder: Path
    commitments: dict[str, bytes]
    reveals: dict[str, bytes]


class History:
    """One ceremony of each profile, as it stood before every step: tests begin in its middle."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._moments: dict[tuple[str, CeremonyStep], Moment] = {}

    def before(self, profile_name: str, step: CeremonyStep) -> Moment:
        """Return how things stood before a step; the first question takes a whole ceremony."""
        if (profile_name, step) not in self._moments:
            asyncio.run(self._happen(profile_name))
        return self._moments[profile_name, step]

    async def _happen(self, profile_name: str) -> None:
        folder = self._folder / profile_name
        folder.mkdir()
        async with running(Alliance, folder, MEMBERS) as alliance:
            run = Run(alliance, self, profile=profile_name)
            for step in STEPS[profile_name]:
                kept = self._folder / f"{profile_name}-{step}"
                await alliance.keep(kept)
                moment = Moment(kept, dict(run.commitments), dict(run.reveals))
                self._moments[profile_name, step] = moment
                if step != STEPS[profile_name][-1]:
                    await run.take(step)


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    return History(tmp_path_factory.mktemp("history"))


@pytest.fixture
async def alliance(tmp_path: Path) -> AsyncGenerator[Alliance]:
    async with running(Alliance, tmp_path, MEMBERS) as made:
        yield made


@pytest.fixture
def run(alliance: Alliance, history: History) -> Run:
    return Run(alliance, history)


@pytest.fixture
def another(alliance: Alliance, history: History) -> Run:
    """A ceremony of another contract."""
    return Run(alliance, history, study=b"o" * 16)
