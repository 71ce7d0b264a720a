"""The arithmetic of evaluation keys, beside the event loop: octets in, octets out.

A message of a peer that is not what it should be is `PeerWrong`, by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cipherward_chain.batches import BatchMalformed, packed, unpacked
from cipherward_chain.domains import batch_digest
from cipherward_compute.arithmetic.keys import Form
from cipherward_compute.arithmetic.peer import PeerWrong
from cipherward_threshold.decryption import partial_decryption
from cipherward_threshold.encryption import c1_digest, sum_contributions
from cipherward_threshold.errors import ThresholdError
from cipherward_threshold.evaluation.key_check import (
    CHECK_BATCHES,
    CHECK_CIRCUIT,
    check_key,
    dummy_products,
    dummy_values,
)
from cipherward_threshold.evaluation.messages import RelinFirst, RelinSecond
from cipherward_threshold.evaluation.relinearisation import (
    combine_relin_key,
    relin_first,
    relin_second,
)
from cipherward_threshold.keys import member_secret
from cipherward_threshold.messages import DecryptionShare
from cipherward_threshold.parameters import profile
from cipherward_threshold.proofs.contributions import encrypt_contribution, verify_contribution


def first_message(form: Form, seed: bytes) -> bytes:
    """Return this member's first message for the relinearisation key: always the same bytes."""
    return relin_first(member_secret(form.profile, seed, form.context))


def second_message(
    form: Form, seed: bytes, public_key: bytes, firsts: Mapping[str, bytes]
) -> bytes:
    """Return this member's second message, which answers all first ones, by member.

    The caller must see to it that it answers one first round only, for ever.

    Raises:
        PeerWrong: a first message is none.
        ThresholdError: together they are no first round of this key.
    """
    parameters = profile(form.profile)
    for member, message in firsts.items():
        try:
            RelinFirst.parse(parameters, message)
        except ThresholdError as error:
            raise PeerWrong(member, str(error)) from None
    secret = member_secret(form.profile, seed, form.context)
    return relin_second(secret, public_key, list(firsts.values()))


def combined_key(
    form: Form, public_key: bytes, firsts: Mapping[str, bytes], seconds: Mapping[str, bytes]
) -> bytes:
    """Return the collective relinearisation key.

    Raises:
        PeerWrong: a second message is none, or answers another first round.
        ThresholdError: together they make no key.
    """
    parameters = profile(form.profile)
    answered: dict[str, bytes] = {}
    for member, message in seconds.items():
        try:
            answered[member] = RelinSecond.parse(parameters, message).firsts_digest
        except ThresholdError as error:
            raise PeerWrong(member, str(error)) from None
    return combine_relin_key(
        form.profile, public_key, list(firsts.values()), list(seconds.values())
    )


def dummy_batch(form: Form, public_key: bytes, member: str, context: bytes) -> bytes:
    """Return a member's encryptions of public dummy values with their proof, packed; about 0.3 s.

    Args:
        context: of the proof: whose input it is.
    """
    values = dummy_values(form.context, member.encode())
    made = encrypt_contribution(form.profile, public_key, values, context=context)
    return packed(made.ciphertexts, (made.proof,))


def check_dummy_batch(
    form: Form, public_key: bytes, member: str, batch: bytes, context: bytes
) -> None:
    """Accept a member's packed encryptions of dummies; about 0.2 s.

    Raises:
        PeerWrong: it is none, or its proof does not hold.
    """
    try:
        ciphertexts, others = unpacked(batch)
        if len(ciphertexts) != CHECK_BATCHES or len(others) != 1:
            raise PeerWrong(member, "its test has another number of ciphertexts")
        verify_contribution(form.profile, public_key, ciphertexts, others[0], context=context)
    except (ThresholdError, BatchMalformed) as error:
        raise PeerWrong(member, str(error)) from None


def products_of(
    form: Form, evaluation_key: bytes, batches: Mapping[str, bytes]
) -> tuple[bytes, ...]:
    """Return the products that test an evaluation key, of checked batches by member; about 1 s."""
    rows = [unpacked(batches[name])[0] for name in sorted(batches)]
    sums = [sum_contributions(form.profile, column) for column in zip(*rows, strict=True)]
    return dummy_products(form.profile, evaluation_key, sums)


def products_digest(form: Form, products: Sequence[bytes]) -> bytes:
    """Return the digest by which all members say that they have tested the same products."""
    return batch_digest([c1_digest(form.profile, product) for product in products])


def product_shares(
    form: Form,
    key_share: bytes,
    products: Sequence[bytes],
    online: Mapping[str, int],
    member: str,
    noise: tuple[bytes, bytes],
) -> bytes:
    """Return a member's shares of the products, packed: the same bytes every time.

    Args:
        online: the points of the whole set. noise: the seed of the flooding, and its context.
    """
    seed, context = noise
    return packed(
        [
            partial_decryption(
                form.profile,
                key_share,
                product,
                point=online[member],
                online=list(online.values()),
                seed=seed,
                context=context,
                circuit=CHECK_CIRCUIT,
            )
            for product in products
        ]
    )


def open_products(form: Form, products: Sequence[bytes], shares: Mapping[str, bytes]) -> float:
    """Check what the test opened; return log2 of the noise that is left, floods included.

    Args:
        shares: the packed shares of the whole set, by member.

    Raises:
        PeerWrong: a member's shares are none, or another's.
        ThresholdError: they open something else, or more noise than a good key leaves.
    """
    parameters = profile(form.profile)
    by_member: list[tuple[bytes, ...]] = []
    for member, octets in sorted(shares.items()):
        try:
            given, _ = unpacked(octets)
            points = {DecryptionShare.parse(parameters, share).point for share in given}
        except (ThresholdError, BatchMalformed) as error:
            raise PeerWrong(member, str(error)) from None
        if len(given) != len(products) or points != {form.points[member]}:
            raise PeerWrong(member, "its shares are another member's, or too few")
        by_member.append(given)
    return check_key(
        form.profile,
        products,
        list(zip(*by_member, strict=True)),
        context=form.context,
        members=[name.encode() for name in sorted(form.points)],
    )
