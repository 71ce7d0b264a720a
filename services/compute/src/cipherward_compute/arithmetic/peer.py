"""How arithmetic says that a peer's message is not what it should be: by the peer's name."""

from __future__ import annotations

from typing import ClassVar


class PeerWrong(ValueError):
    """A member's message is not what the protocol asks of it; `reason` is the word for it."""

    reason: ClassVar[str] = "PEER_WRONG"

    def __init__(self, member: str, why: str) -> None:
        super().__init__(member, why)
        self.member = member
        self.why = why

    def __str__(self) -> str:
        return f"{self.member}: {self.why}"
