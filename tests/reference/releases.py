"""What must hold of what is decrypted, seen from outside: from acts, results and orders alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cipherward_chain.orders import Order
from tests.reference import words
from tests.reference.interpreter import Decided
from tests.reference.words import Said

COMPUTING = ("study", "column-study", "data-key", "risk-score")


@dataclass(slots=True)
class _Asked:
    """A contract that computes: its terms, whose key its next result goes to, and its rounds."""

    template: str
    terms: dict[str, Any]
    reader: bytes
    counted: bool = False
    rounds: set[int] = field(default_factory=set[int])


@dataclass(slots=True)
class Releases:
    """What has been decrypted on a chain so far, and for whom; who holds the keys of columns."""

    asked: dict[bytes, _Asked] = field(default_factory=dict[bytes, _Asked])
    digests: set[bytes] = field(default_factory=set[bytes])
    holders: dict[bytes, set[str]] = field(default_factory=dict[bytes, set[str]])

    def see(self, transactions: Sequence[Said], decided: Decided, orders: Sequence[Order]) -> None:
        """Look at a block; raise AssertionError when it broke a rule."""
        by_acts = sum(result.order_count for result in decided.results)
        self._note(orders[: len(orders) - by_acts])
        for said, result in zip(transactions, decided.results, strict=True):
            if not result.reason:
                self._note_asked(said)
                self._note(orders[result.first_order :][: result.order_count])

    def _note_asked(self, said: Said) -> None:
        for act in said.acts:
            match act:
                case words.Instantiate(template, _, instance, terms) if template in COMPUTING:
                    reader = terms.get("requester_key_digest", b"")
                    assert isinstance(reader, bytes)
                    self.asked[instance] = _Asked(template, dict(terms), reader)
                case words.Move(instance, "infer", arguments) if instance in self.asked:
                    reader = arguments["requester_key_digest"]
                    assert isinstance(reader, bytes)
                    assert isinstance(said.by, words.ByMember)
                    assert [said.by.member] == self.asked[instance].terms["hospital"]
                    self.asked[instance].reader, self.asked[instance].counted = reader, False
                case _:
                    pass

    def _note(self, orders: Sequence[Order]) -> None:
        for order in orders:
            if order.instruction == "hand_over_key":
                fields = order.fields()
                self.holders[fields.octets("source")] = set(fields.texts("new"))
            if order.instruction not in ("release_counts", "release_result"):
                continue
            asked, fields = self.asked[order.instance], order.fields()
            digest, chosen = fields.octets("digest"), fields.texts("set")
            assert digest not in self.digests, "a ciphertext is decrypted twice"
            self.digests.add(digest)
            assert len(chosen) == asked.terms["threshold"], "another number decrypts"
            assert set(chosen) <= set(asked.terms["members"]), "a stranger decrypts"
            self._hold_it(fields.octets("source"), chosen)
            if order.instruction == "release_counts":
                asked.counted = True
                continue
            assert asked.counted, "a result before what is opened first"
            assert asked.template != "data-key", "a result of a key"
            assert fields.octets("requester_key_digest") == asked.reader, "another reader"
            asked.rounds.add(fields.integer("round"))
            most = asked.terms.get("rounds_max", asked.terms.get("uses_max", 1))
            assert len(asked.rounds) <= most, "more rounds than the terms allow"

    def _hold_it(self, key: bytes, chosen: Sequence[str]) -> None:
        """Who decrypts what is under a data key holds it now."""
        if key:
            made = self.asked[key].terms["members"]
            assert set(chosen) <= self.holders.get(key, set(made)), "a share of before decrypts"
