"""Transactions: one form, stable names, and every signature that needs no state."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.acts import anchor_record, countersign, register_pseudonym
from cipherward_chain.authorization import (
    PSEUDONYM_BYTES,
    AuthorizationRejected,
    MemberSigner,
    PseudonymSigner,
    Signer,
    authorizer_of,
)
from cipherward_chain.canonical import encode
from cipherward_chain.domains import (
    presentation_authorizer,
    pseudonym_authorizer,
    transaction_context,
)
from cipherward_chain.signatures import SigningKey
from cipherward_chain.testing import seed_of
from cipherward_chain.transactions import (
    ACTS_MAX,
    TRANSACTION_BYTES_MAX,
    TransactionMalformed,
    TransactionTooLarge,
    WrongChain,
    build_transaction,
    check_authorization,
    context_of,
    parse_transaction,
    transaction_hash,
    transaction_id,
)
from cipherward_chain.wire import exact_bytes

CHAIN = "test-chain"
EXPIRES = 1_790_000_300
MEMBER = MemberSigner("hospital-a", seed_of("hospital-a"))
PSEUDONYM = PseudonymSigner(seed_of("pseudonym"))
OWNER_SEED = seed_of("owner")
OWNER = SigningKey(OWNER_SEED).public_key
SCOPE = "record:" + bytes(16).hex()
TICK = pb.Act(tick=pb.Tick())


class PresentingWallet:
    """Stands for a wallet: its presentations have the right form; only identity can verify them."""

    def __init__(self, scope: str = SCOPE, pseudonym: bytes = bytes(PSEUDONYM_BYTES)) -> None:
        self.scope = scope
        self.pseudonym = pseudonym
        self.contexts: list[bytes] = []

    @property
    def authorizer(self) -> bytes:
        return presentation_authorizer(self.pseudonym)

    def authorize(self, context: bytes) -> bytes:
        self.contexts.append(context)
        presentation = pb.Presentation(
            issuer_public_key=bytes(96),
            header=b"header",
            disclosed=[pb.DisclosedAttribute(index=2, value=b"doctor")],
            scope=self.scope,
            proof=b"proof",
            pseudonym=self.pseudonym,
        )
        return exact_bytes(pb.Authorization(presentation=presentation))


def transaction(*acts: pb.Act, signer: Signer = MEMBER) -> bytes:
    return build_transaction(
        acts or [TICK], chain_id=CHAIN, expires_at=EXPIRES, signer=signer, nonce=bytes(16)
    )


def anchor(**changes: object) -> pb.RecordAnchor:
    fields: dict[str, object] = {
        "record_id": bytes(16),
        "ciphertext_digest": bytes(32),
        "ciphertext_bytes": 4_096,
        "suite": 1,
        "custodian_part_commitment": bytes(32),
        "record_key_commitment": bytes(32),
        "author": "hospital-a",
        "custodian": "hospital-b",
        "release_templates": ["consent/1", "emergency-access/1"],
    }
    return pb.RecordAnchor(**{**fields, **changes})  # pyright: ignore[reportArgumentType] - the form under test is what is changed


def anchoring(record: pb.RecordAnchor, chain_id: str = CHAIN) -> pb.Act:
    signature = countersign(chain_id, exact_bytes(record), OWNER_SEED)
    return anchor_record(record, bytes(32), OWNER, signature)


def signed(body: bytes, signer: Signer = MEMBER) -> bytes:
    authorization = signer.authorize(context_of(body))
    return exact_bytes(pb.Transaction(body=body, authorization=authorization))


def body_of(*acts: pb.Act, **changes: object) -> bytes:
    fields: dict[str, object] = {
        "chain_id": CHAIN,
        "expires_at": Timestamp(seconds=EXPIRES),
        "nonce": bytes(16),
        "acts": acts or [TICK],
        "authorizer": MEMBER.authorizer,
    }
    return exact_bytes(pb.TransactionBody(**{**fields, **changes}))  # pyright: ignore[reportArgumentType] - the form under test is what is changed


# --- what is accepted


@pytest.mark.parametrize("signer", [MEMBER, PSEUDONYM])
def test_a_signed_transaction_is_parsed_and_authorised(signer: Signer) -> None:
    raw = transaction(signer=signer)
    parsed = parse_transaction(raw)
    assert check_authorization(parsed, CHAIN) is None
    assert parsed.raw == raw
    assert parsed.expires_at == EXPIRES
    assert parsed.body.acts[0] == TICK
    assert parsed.id == transaction_id(parsed.body_bytes)
    assert parsed.id == hashlib.sha256(parsed.body_bytes).digest()
    assert parsed.hash == transaction_hash(raw) == hashlib.sha256(raw).digest()


def test_a_presentation_is_handed_back_bound_to_the_body() -> None:
    wallet = PresentingWallet()
    act = register_pseudonym(CHAIN, SCOPE, seed_of("new key"))
    parsed = parse_transaction(transaction(act, signer=wallet))
    claim = check_authorization(parsed, CHAIN)
    assert claim is not None
    assert claim.scope == SCOPE
    assert claim.context == transaction_context(parsed.body_bytes) == wallet.contexts[0]
    assert claim.presentation.disclosed[0].value == b"doctor"


def test_every_kind_of_act_has_a_form() -> None:
    document = encode({"reader": b"k", "ends": 5})
    acts = [
        anchoring(anchor()),
        anchor_record(anchor(suite=2, alliance_slot_digest=bytes(32), key_epoch=1), bytes(32)),
        pb.Act(
            instantiate=pb.Instantiate(
                template="consent", version=1, instance_id=bytes(16), terms=document
            )
        ),
        pb.Act(
            transition=pb.Transition(instance_id=bytes(16), transition="open", arguments=document)
        ),
        pb.Act(vote=pb.Vote(instance_id=bytes(16), transition="approve", approve=True)),
        pb.Act(
            report=pb.Report(order=pb.OrderRef(height=7), outcome=pb.OUTCOME_DONE, digest=bytes(32))
        ),
        _propose(),
        _ceremony_message(),
        _bad_share(),
        _upgrade(),
        _allow(),
        TICK,
    ]
    parsed = parse_transaction(transaction(*acts))
    assert list(parsed.body.acts) == acts
    assert check_authorization(parsed, CHAIN) is None
    kinds = {act.WhichOneof("act") for act in acts} | {"register_pseudonym"}  # by presentation
    assert kinds == {field.name for field in pb.Act.DESCRIPTOR.fields}


def test_equal_wishes_are_two_transactions() -> None:
    made = {build_transaction([TICK], chain_id=CHAIN, expires_at=1, signer=MEMBER) for _ in "ab"}
    assert len({parse_transaction(raw).id for raw in made}) == 2


SIGNERS: list[Signer] = [
    MEMBER,
    MemberSigner("hospital-b", seed_of("hospital-a")),  # the same key under another name
    MemberSigner("hospital-a", seed_of("hospital-b")),
    PSEUDONYM,
    PseudonymSigner(seed_of("hospital-a")),  # the same key in another place
    PresentingWallet(),
    PresentingWallet(pseudonym=b"\1" * PSEUDONYM_BYTES),
]


def test_the_same_wish_of_two_is_two_transactions() -> None:
    ids = {parse_transaction(transaction(signer=signer)).id for signer in SIGNERS}
    assert len(ids) == len(SIGNERS)


@pytest.mark.parametrize("signer", SIGNERS)
def test_a_body_names_whoever_authorises_it(signer: Signer) -> None:
    parsed = parse_transaction(transaction(signer=signer))
    assert parsed.body.authorizer == signer.authorizer == authorizer_of(parsed.authorization)


def test_a_second_presentation_of_a_body_has_its_id_and_another_hash() -> None:
    raw = transaction(signer=PresentingWallet())
    again = pb.Transaction.FromString(raw)
    shown = pb.Authorization.FromString(again.authorization)
    shown.presentation.proof = b"re-randomised"
    again.authorization = exact_bytes(shown)
    one, other = parse_transaction(raw), parse_transaction(exact_bytes(again))
    assert one.id == other.id
    assert one.hash != other.hash
    assert check_authorization(other, CHAIN) is not None  # identity decides


# --- form


NO_TRANSACTIONS: list[Callable[[bytes], bytes]] = [
    lambda raw: b"",
    lambda raw: raw[:-1],
    lambda raw: raw + b"\xfa\x01\x00",
    lambda raw: raw + raw,
    lambda raw: raw + raw[: len(raw) // 2],
    lambda raw: b"junk",
]


@pytest.mark.parametrize("change", NO_TRANSACTIONS)
def test_bytes_that_are_not_one_transaction_are_refused(change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(TransactionMalformed):
        parse_transaction(change(transaction()))


def test_unknown_fields_deep_inside_are_refused() -> None:
    tick = body_of() + b""
    at = tick.rindex(exact_bytes(TICK))
    inside = tick[: at - 1] + bytes((tick[at - 1] + 3,)) + tick[at:] + b"\xfa\x01\x00"
    for body in (tick + b"\xfa\x01\x00", inside):
        with pytest.raises(TransactionMalformed):
            parse_transaction(signed(body))


def test_a_second_spelling_of_the_same_body_is_refused() -> None:
    body = body_of()
    chain, rest = body[: 2 + len(CHAIN)], body[2 + len(CHAIN) :]
    padded = b"\x0a\x8a\x00" + chain[2:] + rest  # the length in two bytes
    for spelling in (rest + chain, chain + chain + rest, padded):
        assert pb.TransactionBody.FromString(spelling).nonce == bytes(16)
        with pytest.raises(TransactionMalformed):
            parse_transaction(signed(spelling))


def test_every_flipped_bit_is_refused() -> None:
    raw = transaction()
    for bit in range(8 * len(raw)):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises((TransactionMalformed, AuthorizationRejected, WrongChain)):
            check_authorization(parse_transaction(bytes(flipped)), CHAIN)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"chain_id": ""}, "no chain"),
        ({"chain_id": "x" * 51}, "a chain id that CometBFT would refuse"),
        ({"expires_at": None}, "no expiry"),
        ({"expires_at": Timestamp(seconds=1, nanos=1)}, "a fraction of a second"),
        ({"expires_at": Timestamp(seconds=1 << 40)}, "after the year 9999"),
        ({"nonce": bytes(15)}, "a short nonce"),
        ({"nonce": bytes(17)}, "a long nonce"),
        ({"authorizer": b""}, "nobody authorises"),
        ({"authorizer": bytes(31)}, "a short authorizer"),
        ({"authorizer": bytes(33)}, "a long authorizer"),
        ({"acts": []}, "no act"),
        ({"acts": [TICK] * (ACTS_MAX + 1)}, "too many acts"),
        ({"acts": [pb.Act()]}, "an act of no kind"),
    ],
)
def test_a_body_out_of_form_is_refused(changes: dict[str, object], why: str) -> None:
    with pytest.raises(TransactionMalformed):
        parse_transaction(signed(body_of(**changes)))


def test_the_largest_transaction_is_64_kib() -> None:
    def sized(extra: int) -> bytes:
        acts = [
            pb.Act(
                transition=pb.Transition(
                    instance_id=bytes(16),
                    transition="open",
                    arguments=encode({"x": bytes(extra if n == 0 else 16_000)}),
                )
            )
            for n in range(5)
        ]
        return signed(body_of(*acts))

    extra = TRANSACTION_BYTES_MAX - len(sized(1_000)) + 1_000
    assert len(sized(extra)) == TRANSACTION_BYTES_MAX
    parse_transaction(sized(extra))
    with pytest.raises(TransactionTooLarge):
        parse_transaction(sized(extra + 1))


SMALL_ORDER = bytes((1,)) + bytes(31)


def _transition(**changes: object) -> pb.Act:
    fields: dict[str, object] = {
        "instance_id": bytes(16),
        "transition": "open",
        "arguments": encode({}),
    }
    return pb.Act(transition=pb.Transition(**{**fields, **changes}))  # pyright: ignore[reportArgumentType] - the form under test is what is changed


def _instantiate(**changes: object) -> pb.Act:
    fields: dict[str, object] = {
        "template": "consent",
        "version": 1,
        "instance_id": bytes(16),
        "terms": encode({}),
    }
    return pb.Act(instantiate=pb.Instantiate(**{**fields, **changes}))  # pyright: ignore[reportArgumentType] - the form under test is what is changed


def _report(**changes: object) -> pb.Act:
    fields: dict[str, object] = {"order": pb.OrderRef(height=1), "outcome": pb.OUTCOME_DONE}
    return pb.Act(report=pb.Report(**{**fields, **changes}))  # pyright: ignore[reportArgumentType] - the form under test is what is changed


def _propose(**changes: object) -> pb.Act:
    fields: dict[str, object] = {
        "document": b"d",
        "instance_id": bytes(16),
        "vote_seconds": 3_600,
    }
    return pb.Act(propose_template=pb.ProposeTemplate(**{**fields, **changes}))  # pyright: ignore[reportArgumentType] - the form under test is what is changed


def _ceremony_message(**changes: object) -> pb.Act:
    fields: dict[str, object] = {"instance_id": bytes(16), "kind": "complain", "body": b""}
    return pb.Act(ceremony_message=pb.CeremonyMessage(**{**fields, **changes}))  # pyright: ignore[reportArgumentType] - the form under test is what is changed


def _bad_share(**changes: object) -> pb.Act:
    fields: dict[str, object] = {"record_id": bytes(16), "part": b"p", "alliance_slot": b"s"}
    return pb.Act(bad_share=pb.BadShare(**{**fields, **changes}))  # pyright: ignore[reportArgumentType] - the form under test is what is changed


def _upgrade(**changes: object) -> pb.Act:
    fields: dict[str, object] = {"instance_id": bytes(16), "version": 2}
    return pb.Act(upgrade_instance=pb.UpgradeInstance(**{**fields, **changes}))  # pyright: ignore[reportArgumentType] - the form under test is what is changed


def _allow(**changes: object) -> pb.Act:
    fields: dict[str, object] = {"record_id": bytes(16), "template": "consent/2"}
    return pb.Act(allow_template=pb.AllowTemplate(**{**fields, **changes}))  # pyright: ignore[reportArgumentType] - the form under test is what is changed


def _register(public_key: bytes, possession: bytes) -> pb.Act:
    return pb.Act(
        register_pseudonym=pb.RegisterPseudonym(public_key=public_key, possession=possession)
    )


@pytest.mark.parametrize(
    "act",
    [
        _transition(instance_id=bytes(15)),
        _transition(transition=""),
        _transition(transition="Open"),
        _transition(arguments=b""),
        _transition(arguments=encode([])),
        _transition(arguments=b"\xbf\xff"),
        _transition(arguments=encode({"x": bytes(16_384)})),
        _instantiate(template="a b"),
        _instantiate(version=0),
        _instantiate(instance_id=b""),
        _instantiate(terms=b"\xa1"),
        pb.Act(vote=pb.Vote(instance_id=bytes(16))),
        pb.Act(vote=pb.Vote(transition="approve")),
        _report(order=None),
        _report(order=pb.OrderRef(index=1)),
        _report(outcome=pb.OUTCOME_UNSPECIFIED),
        _report(outcome=3),
        _report(digest=bytes(31)),
        _register(SMALL_ORDER, bytes(64)),
        _register(bytes(31), bytes(64)),
        _register(OWNER, bytes(63)),
        anchor_record(anchor(), bytes(31)),
        anchor_record(anchor(), bytes(32), b"", bytes(64)),
        anchor_record(anchor(), bytes(32), OWNER, b""),
        anchor_record(anchor(), bytes(32), SMALL_ORDER, bytes(64)),
        anchor_record(anchor(record_id=bytes(15)), bytes(32)),
        anchor_record(anchor(ciphertext_digest=b""), bytes(32)),
        anchor_record(anchor(ciphertext_bytes=0), bytes(32)),
        anchor_record(anchor(suite=0), bytes(32)),
        anchor_record(anchor(alliance_slot_digest=bytes(1)), bytes(32)),
        anchor_record(anchor(record_key_commitment=b""), bytes(32)),
        anchor_record(anchor(custodian_part_commitment=b""), bytes(32)),
        anchor_record(anchor(author=""), bytes(32)),
        anchor_record(anchor(custodian="Hospital"), bytes(32)),
        anchor_record(anchor(release_templates=["b/1", "a/1"]), bytes(32)),
        anchor_record(anchor(release_templates=["a/1", "a/1"]), bytes(32)),
        anchor_record(anchor(release_templates=["A"]), bytes(32)),
        anchor_record(anchor(release_templates=[f"t{n:02}/1" for n in range(17)]), bytes(32)),
        pb.Act(anchor_record=pb.AnchorRecord(anchor=b"junk", custodian_slot_digest=bytes(32))),
        anchor_record(anchor(release_templates=["consent"]), bytes(32)),
        anchor_record(anchor(release_templates=["consent/0"]), bytes(32)),
        anchor_record(anchor(suite=2), bytes(32)),
        anchor_record(anchor(suite=2, alliance_slot_digest=bytes(32)), bytes(32)),
        anchor_record(anchor(suite=2, key_epoch=1), bytes(32)),
        anchor_record(anchor(alliance_slot_digest=bytes(32)), bytes(32)),
        anchor_record(anchor(key_epoch=1), bytes(32)),
        _propose(document=b""),
        _propose(document=bytes(49_153)),
        _propose(instance_id=b""),
        _propose(vote_seconds=0),
        _ceremony_message(instance_id=bytes(15)),
        _ceremony_message(kind="commit"),
        _bad_share(record_id=b""),
        _bad_share(part=b""),
        _bad_share(alliance_slot=b""),
        _upgrade(instance_id=b""),
        _upgrade(version=0),
        _allow(record_id=b""),
        _allow(template="consent"),
        _allow(template="consent/01"),
    ],
)
def test_an_act_out_of_form_is_refused(act: pb.Act) -> None:
    with pytest.raises(TransactionMalformed):
        parse_transaction(signed(body_of(act)))
    with pytest.raises(TransactionMalformed):
        transaction(act)


def _presentation(**changes: object) -> pb.Authorization:
    fields: dict[str, object] = {
        "issuer_public_key": bytes(96),
        "header": b"h",
        "scope": SCOPE,
        "proof": b"p",
        "pseudonym": bytes(PSEUDONYM_BYTES),
    }
    return pb.Authorization(presentation=pb.Presentation(**{**fields, **changes}))  # pyright: ignore[reportArgumentType] - the form under test is what is changed


def _member(**changes: object) -> pb.Authorization:
    fields: dict[str, object] = {
        "member_id": "hospital-a",
        "public_key": OWNER,
        "signature": bytes(64),
    }
    return pb.Authorization(member=pb.MemberSignature(**{**fields, **changes}))  # pyright: ignore[reportArgumentType] - the form under test is what is changed


def _disclosed(*indexes: int, value: bytes = b"v") -> list[pb.DisclosedAttribute]:
    return [pb.DisclosedAttribute(index=index, value=value) for index in indexes]


@pytest.mark.parametrize(
    "authorization",
    [
        pb.Authorization(),
        _member(member_id=""),
        _member(public_key=bytes(31)),
        _member(signature=bytes(63)),
        pb.Authorization(pseudonym=pb.PseudonymSignature(public_key=OWNER)),
        _presentation(issuer_public_key=bytes(95)),
        _presentation(header=b""),
        _presentation(header=bytes(1_025)),
        _presentation(scope=""),
        _presentation(scope="s" * 257),
        _presentation(proof=b""),
        _presentation(proof=bytes(16_385)),
        _presentation(pseudonym=b""),
        _presentation(pseudonym=bytes(47)),
        _presentation(pseudonym=bytes(49)),
        _presentation(disclosed=_disclosed(2, 1)),
        _presentation(disclosed=_disclosed(1, 1)),
        _presentation(disclosed=_disclosed(*range(17))),
        _presentation(disclosed=_disclosed(1, value=b"")),
        _presentation(disclosed=_disclosed(1, value=bytes(257))),
    ],
)
def test_an_authorization_out_of_form_is_refused(authorization: pb.Authorization) -> None:
    raw = exact_bytes(pb.Transaction(body=body_of(), authorization=exact_bytes(authorization)))
    with pytest.raises(TransactionMalformed):
        parse_transaction(raw)


# --- authorization


def test_another_chain_is_refused() -> None:
    with pytest.raises(WrongChain):
        check_authorization(parse_transaction(transaction()), "other-chain")


@pytest.mark.parametrize("author", SIGNERS)
def test_a_body_under_another_authorizer_is_rejected(author: Signer) -> None:
    """Whoever sees a body can sign it, and would so have its id remembered before its author."""
    raw = transaction(signer=author)
    body = pb.Transaction.FromString(raw).body
    for thief in SIGNERS:
        if thief is author:
            continue
        stolen = parse_transaction(signed(body, thief))
        assert stolen.id == parse_transaction(raw).id
        with pytest.raises(AuthorizationRejected):
            check_authorization(stolen, CHAIN)
    check_authorization(parse_transaction(raw), CHAIN)


@pytest.mark.parametrize("signer", [MEMBER, PSEUDONYM])
def test_a_signature_over_another_body_or_for_another_use_is_rejected(signer: Signer) -> None:
    body = body_of(authorizer=signer.authorizer)
    for octets in (
        context_of(body_of(authorizer=signer.authorizer, nonce=bytes(15) + b"\1")),
        body,
        b"cipherward/read/v1\0" + body,
    ):
        forged = exact_bytes(pb.Transaction(body=body, authorization=signer.authorize(octets)))
        with pytest.raises(AuthorizationRejected):
            check_authorization(parse_transaction(forged), CHAIN)


def test_a_signing_key_of_small_order_is_rejected() -> None:
    """Such a key verifies signatures over everything, in libraries that let it pass."""
    forged = pb.Authorization(
        pseudonym=pb.PseudonymSignature(public_key=SMALL_ORDER, signature=SMALL_ORDER + bytes(32))
    )
    body = body_of(authorizer=pseudonym_authorizer(SMALL_ORDER))
    raw = exact_bytes(pb.Transaction(body=body, authorization=exact_bytes(forged)))
    with pytest.raises(AuthorizationRejected):
        check_authorization(parse_transaction(raw), CHAIN)


@pytest.mark.parametrize(
    ("chain_id", "scope"), [("other-chain", SCOPE), (CHAIN, "record:" + bytes(15).hex() + "01")]
)
def test_possession_for_another_chain_or_scope_is_rejected(chain_id: str, scope: str) -> None:
    act = register_pseudonym(chain_id, scope, seed_of("new key"))
    parsed = parse_transaction(transaction(act, signer=PresentingWallet()))
    with pytest.raises(AuthorizationRejected):
        check_authorization(parsed, CHAIN)


def test_possession_of_another_key_is_rejected() -> None:
    act = register_pseudonym(CHAIN, SCOPE, seed_of("new key"))
    act.register_pseudonym.public_key = OWNER
    parsed = parse_transaction(transaction(act, signer=PresentingWallet()))
    with pytest.raises(AuthorizationRejected):
        check_authorization(parsed, CHAIN)


@pytest.mark.parametrize("signer", [MEMBER, PSEUDONYM])
def test_a_pseudonym_is_registered_by_a_presentation_only(signer: Signer) -> None:
    act = register_pseudonym(CHAIN, SCOPE, seed_of("new key"))
    with pytest.raises(AuthorizationRejected):
        check_authorization(parse_transaction(transaction(act, signer=signer)), CHAIN)


def test_a_presentation_registers_one_key() -> None:
    acts = [register_pseudonym(CHAIN, SCOPE, seed_of(name)) for name in ("one", "two")]
    parsed = parse_transaction(transaction(*acts, signer=PresentingWallet()))
    with pytest.raises(AuthorizationRejected):
        check_authorization(parsed, CHAIN)


def test_an_owners_signature_is_bound_to_chain_anchor_and_key() -> None:
    record = anchor()
    other = exact_bytes(anchor(custodian="hospital-c"))
    forgeries = [
        anchoring(record, chain_id="other-chain"),
        anchor_record(record, bytes(32), OWNER, countersign(CHAIN, other, OWNER_SEED)),
        anchor_record(
            record, bytes(32), OWNER, countersign(CHAIN, exact_bytes(record), seed_of("thief"))
        ),
    ]
    for act in forgeries:
        with pytest.raises(AuthorizationRejected):
            check_authorization(parse_transaction(transaction(act)), CHAIN)


@pytest.mark.parametrize(
    "signer", [PSEUDONYM, PresentingWallet(), MemberSigner("hospital-b", seed_of("hospital-b"))]
)
def test_a_record_is_anchored_by_its_author_only(signer: Signer) -> None:
    parsed = parse_transaction(transaction(anchoring(anchor()), signer=signer))
    with pytest.raises(AuthorizationRejected):
        check_authorization(parsed, CHAIN)
