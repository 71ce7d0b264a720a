"""What must hold of what the service did, seen from outside: from acts, results and orders alone.

Nothing here knows how the machine works. It remembers who was told what, and looks at every order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.orders import Order
from tests.reference import words
from tests.reference.interpreter import Decided
from tests.reference.permits import RESEARCH, SELF
from tests.reference.releases import Releases
from tests.reference.words import Said

MONTH_SECONDS = 2_592_000  # how long a pseudonym is suspended, and how long a key is good for
# What a transaction is refused for before anybody looks at what it wants.
UNHEARD = {"TRANSACTION_EXPIRED", "EXPIRY_TOO_FAR", "TRANSACTION_REPLAYED", "WRONG_CHAIN"}
NEVER_GIVES_UP = {"open", "review", "review_late", "pause", "resume"}
# What a suspended pseudonym may still start: it takes from everybody.
GIVING_UP = {"erasure"}


@dataclass(slots=True)
class _Consent:
    terms: dict[str, Any]
    opened: int = 0
    ended: bool = False


@dataclass(slots=True)
class Watch:
    """What has been seen of a chain so far."""

    consents: dict[bytes, _Consent] = field(default_factory=dict[bytes, _Consent])
    ended: set[bytes] = field(default_factory=set[bytes])
    erased: set[bytes] = field(default_factory=set[bytes])
    owners: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    people: dict[bytes, words.ByShown] = field(default_factory=dict[bytes, words.ByShown])
    suspended: dict[tuple[str, bytes], int] = field(default_factory=dict[tuple[str, bytes], int])
    releases: Releases = field(default_factory=Releases)
    now: int = 0

    def see(self, now: int, transactions: Sequence[Said], decided: Decided) -> None:
        """Look at a block; raise AssertionError when it broke a rule."""
        self.now = now
        orders = [Order.from_bytes(raw) for raw in decided.orders]
        by_acts = sum(result.order_count for result in decided.results)
        by_timers = orders[: len(orders) - by_acts]
        self._note(by_timers)
        self.releases.see(transactions, decided, orders)
        assert not any(order.instruction == "release_key" for order in by_timers)
        for said, result in zip(transactions, decided.results, strict=True):
            if result.reason:
                assert not self._gives_up(said) or result.reason in UNHEARD, "a right is kept"
                continue
            given = orders[result.first_order :][: result.order_count]
            self._see_transaction(said, iter(given))
            self._note(given)

    def _gives_up(self, said: Said) -> bool:
        """Say whether it is nothing but the end of a consent, by whoever may always end it."""
        if len(said.acts) != 1 or not isinstance(said.by, words.ByKey):
            return False
        act, key = said.acts[0], said.by.public_key
        if not isinstance(act, words.Move) or (act.name, dict(act.arguments)) != ("revoke", {}):
            return False
        consent = self.consents.get(act.instance)
        if consent is None or act.instance in self.ended:
            return False
        record, person = _record_of(consent.terms), self.people.get(key)
        stands_in = person is not None and person.scope == f"record:{record.hex()}"
        is_representative = stands_in and key == consent.terms["representative_key"]
        return is_representative or key == self.owners[record]

    def _note(self, orders: Sequence[Order]) -> None:
        """Remember what ends rights."""
        for order in orders:
            fields = order.fields()
            if order.instruction == "revoke_key":
                self.ended.add(fields.octets("grant"))
            elif order.instruction == "erase_record":
                record = fields.octets("record")
                assert record not in self.erased, "erased twice"
                self.erased.add(record)
            elif order.instruction == "suspend":
                who = fields.text("scope"), fields.octets("pseudonym")
                self.suspended[who] = self.now + fields.integer("seconds")

    def _see_transaction(self, said: Said, orders: Iterator[Order]) -> None:
        key = said.by.public_key if isinstance(said.by, words.ByKey) else b""
        if isinstance(said.by, words.ByKey):
            self._is_in_force(said, self.people[key])
        for act in said.acts:
            match act:
                case words.Register(public_key):
                    assert isinstance(said.by, words.ByShown)
                    self.people[public_key] = said.by
                    key = public_key
                case words.Anchor(anchor, _, owner) if owner:
                    record = pb.RecordAnchor.FromString(anchor).record_id
                    assert self.owners.get(record, owner) == owner, "a record changed hands"
                    self.owners[record] = owner
                case words.Instantiate("consent", _, instance, terms):
                    assert self.owners[_record_of(terms)] == key, "a consent that nobody gave"
                    self.consents[instance] = _Consent(dict(terms))
                case words.Instantiate("emergency-access", _, instance, terms):
                    self._is_emergency(said, key, terms)
                    order = _next_release(orders)
                    self._is_release(order, (instance, _record_of(terms), key))
                case words.Move(instance, "open", arguments) if instance in self.consents:
                    self._is_permitted(instance, key, dict(arguments))
                    order = _next_release(orders)
                    record = _record_of(self.consents[instance].terms)
                    self._is_release(order, (instance, record, key))
                case words.Move(instance, "revoke", _) if instance in self.consents:
                    self.ended.add(instance)
                case _:
                    pass
        left = [order for order in orders if order.instruction == "release_key"]
        assert not left, "a key without a consent or an emergency"

    def _is_in_force(self, said: Said, person: words.ByShown) -> None:
        """What is suspended only gives up rights."""
        until = self.suspended.get((person.scope, person.pseudonym), 0)
        if self.now >= until:
            return
        for act in said.acts:
            gives = isinstance(act, words.Move) and act.name not in NEVER_GIVES_UP
            gives |= isinstance(act, words.Instantiate) and act.template in GIVING_UP
            assert gives or isinstance(act, words.Tick), "a suspended pseudonym acted"

    def _is_emergency(self, said: Said, key: bytes, terms: Any) -> None:
        person = said.by if isinstance(said.by, words.ByShown) else self.people[key]
        assert (person.schema, person.role) == ("staff", "clinician")
        assert key, "a reader without a key"
        assert 60 <= terms["visit_seconds"] <= 14_400

    def _is_permitted(self, instance: bytes, key: bytes, arguments: Any) -> None:
        """Every prohibition of the consent holds, whatever else permits it."""
        consent, person = self.consents[instance], self.people[key]
        terms, purpose = consent.terms, arguments["purpose"]
        assert instance not in self.ended, "opened after its end"
        assert self.now < terms["expires"], "opened after the consent's time"
        assert consent.opened < terms["visits_max"], "opened too often"
        consent.opened += 1
        owner = self.owners[_record_of(terms)]
        if key == owner or key == terms["representative_key"]:
            assert purpose == SELF
            return
        assert person.schema == "staff"
        assert terms["grantee_member"] in ("", person.issuer)
        assert terms["grantee_key"] in (b"", key)
        assert terms["grantee_member"] or terms["grantee_key"]
        assert purpose in terms["purposes"], "another purpose"
        assert person.role == "clinician" or (person.role == "researcher" and purpose in RESEARCH)

    def _is_release(self, order: Order, wanted: tuple[bytes, bytes, bytes]) -> None:
        """The order is the release of that record to that key, and the record is there."""
        instance, record, key = wanted
        fields = order.fields()
        assert order.instruction == "release_key"
        assert (order.instance, fields.octets("grant")) == (instance, instance)
        assert fields.octets("record") == record
        assert fields.octets("reader") == key
        assert key
        assert record not in self.erased, "a key of an erased record"
        assert fields.integer("ends") > self.now


def _next_release(orders: Iterator[Order]) -> Order:
    return next(order for order in orders if order.instruction == "release_key")


def _record_of(terms: Any) -> bytes:
    record = terms["record"]
    assert isinstance(record, bytes)
    return record
