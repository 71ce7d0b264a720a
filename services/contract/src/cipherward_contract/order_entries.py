"""What the state holds of an order that members carry out: who must, and what they reported."""

from __future__ import annotations

from dataclasses import dataclass

from cipherward_chain.canonical import decode, encode
from cipherward_chain.fields import Fields


def order_key(height: int, index: int) -> bytes:
    """Return the key of an order's entry."""
    return b"order/" + height.to_bytes(8, "big") + index.to_bytes(4, "big")


@dataclass(frozen=True, slots=True)
class Reported:
    """One member's report of an order; `digest` is empty or 32 bytes."""

    member: str
    done: bool
    digest: bytes


@dataclass(frozen=True, slots=True)
class OrderEntry:
    """Who must carry an order out, and what they have reported, in the order of the reports."""

    instance: bytes
    instruction: str
    members: tuple[str, ...]
    reports: tuple[Reported, ...] = ()

    def to_bytes(self) -> bytes:
        """Return the canonical value."""
        return encode(
            {
                "instance": self.instance,
                "instruction": self.instruction,
                "members": self.members,
                "reports": [
                    {"member": r.member, "done": r.done, "digest": r.digest} for r in self.reports
                ],
            }
        )

    @staticmethod
    def from_bytes(raw: bytes) -> OrderEntry:
        """Return the entry that `raw` holds."""
        fields = Fields(decode(raw))
        reports = [Fields(item) for item in fields.items("reports")]
        return OrderEntry(
            instance=fields.octets("instance"),
            instruction=fields.text("instruction"),
            members=fields.texts("members"),
            reports=tuple(
                Reported(report.text("member"), report.flag("done"), report.octets("digest"))
                for report in reports
            ),
        )
