"""What every rule of a history needs: somebody who speaks, and contracts that are spoken of."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine

from tests.reference import cast, words
from tests.reference.base import Base
from tests.reference.drawing import RIGHT
from tests.reference.history import History, Tally


class Teller(RuleBasedStateMachine):
    """Tells one history; `bases`, `tally` and `runner` are set by who runs it."""

    bases: Mapping[int, Base]
    tally: Tally
    runner: asyncio.Runner
    history: History

    def say(self, who: tuple[str, str], manner: str, *acts: words.Act, seed: bytes = b"") -> None:
        """Say something: alone in a block, with what others say, or with what was just said.

        Args:
            who: who was drawn, and who it is when that is whoever should say it.
        """
        drawn, right = who
        name = right if drawn == RIGHT else drawn
        self.history.say(name, *acts, seed=seed, joined=manner == "joined")
        if manner == "alone":
            self.history.decide()

    def instance(self, which: int, *templates: str) -> bytes:
        """Return one of the newest contracts, of some templates, or an id that nobody has."""
        found = [
            one
            for one in reversed(self.history.instances)
            if not templates or self.history.where(one)[0] in templates
        ]
        return found[which % len(found)] if found else bytes(16)

    def some(self, which: int, *templates: str) -> bytes:
        """Return one of the newest contracts, of some templates; of none, a consent made for it."""
        if self.instance(which, *templates) == bytes(16):
            self.prepare("consents")
        return self.instance(which, *templates)

    def prepare(self, what: str) -> None:
        """Let what is usual happen, so that something can be said about it."""
        raise NotImplementedError(what)

    def new_instance(self, taken: bool) -> bytes:
        """Return a fresh id, or one that is taken."""
        return self.instance(0) if taken else self.history.fresh_id()

    def owner_of(self, record: int) -> str:
        """Return who should own a record."""
        return f"owner-{record}" if record < 4 else "owner-0"

    def right_for(self, instance: bytes, name: str) -> str:
        """Return who takes a transition of a contract, in an alliance where all goes well."""
        if name.startswith("review"):
            return "officer-a"
        if self.history.where(instance)[0] in ("data-key", "key-resharing"):
            return "hospital-a"
        owner = self.owner_of(self.history.record_of(instance))
        staff = {
            "close": "clinician-b",
            "surrender": "researcher-b",
            "withdraw": "researcher-b",
            "iterate": "researcher-b",
            "conclude": "researcher-b",
            "infer": "hospital-b",
            "give_up": "hospital-b",
        }
        return staff.get(name, owner)

    def with_keys(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return changes with people's names made into their keys."""
        return {
            name: cast.key_of(value)
            if name.endswith("_key") and isinstance(value, str) and value
            else value
            for name, value in changes.items()
        }
