"""The arithmetic of a resharing, beside the event loop: octets in, octets out.

A message of a peer that is not what it should be is `PeerWrong`, by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cipherward_compute.arithmetic.peer import PeerWrong
from cipherward_threshold.dealing.disputes import deal_digest
from cipherward_threshold.dealing.messages import MaskShare, ReshareDeal
from cipherward_threshold.dealing.resharing import (
    Resharing,
    reshare,
    reshared_key_share,
    verify_resharing,
)
from cipherward_threshold.dealing.trial import TRIAL_CIRCUIT, check_trial, trial_ciphertext
from cipherward_threshold.decryption import partial_decryption
from cipherward_threshold.encryption import c1_digest
from cipherward_threshold.errors import (
    DealCheckRejected,
    DealsDisputed,
    ThresholdError,
    WrongKey,
)
from cipherward_threshold.messages import DecryptionShare, KeyShare, PublicKey
from cipherward_threshold.parameters import profile


@dataclass(frozen=True, slots=True)
class ReshareForm:
    """What all messages of a resharing are about. dealers, new: points by member."""

    resharing: Resharing
    dealers: Mapping[str, int]
    new: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class DealtAnew:
    """What a dealer makes: its mask's share, and its deals, SECRET, by receiver."""

    mask_share: bytes
    deals: Mapping[str, bytes] = field(repr=False)
    digests: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Trial:
    """What a new sharing is tried on. seed: public, 32 bytes."""

    form: ReshareForm
    seed: bytes

    @property
    def ciphertext(self) -> bytes:
        """Return what all new holders open; about 50 ms."""
        resharing = self.form.resharing
        return trial_ciphertext(resharing.profile, resharing.public_key, self.seed)


def check_held(
    profile_name: str, key_share: bytes, public_key: bytes, holders: Mapping[str, int]
) -> None:
    """Accept this member's key share as one that it can deal from with these holders.

    Raises:
        ThresholdError: it is none, or of another key.
        PeerWrong: a holder has no share of the same sharing.
    """
    parameters = profile(profile_name)
    share = KeyShare.parse(parameters, key_share)
    if share.key_id != PublicKey.parse(parameters, public_key).key_id:
        raise WrongKey("the share is of another key")
    for name, point in holders.items():
        if point not in share.sharing.points:
            raise PeerWrong(name, "it holds no share of this key")


def deal_anew(form: ReshareForm, key_share: bytes, seed: bytes) -> DealtAnew:
    """Return this holder's part of the secret, dealt to the new holders; about 0.3 s.

    Raises:
        ThresholdError: the share is of another key or sharing, or the dealers are too few.
    """
    dealt = reshare(form.resharing, key_share, seed=seed)
    deals = {name: dealt.deals[point] for name, point in form.new.items()}
    digests = {name: deal_digest(deal) for name, deal in deals.items()}
    return DealtAnew(dealt.mask_share, deals, digests)


def check_dealt(
    form: ReshareForm, dealer: str, receiver: str, dealt: tuple[bytes, bytes], digest: bytes
) -> None:
    """Accept what a dealer shows to all, and its deal to `receiver`; some ms.

    Args:
        dealt: the mask's share, and the deal.
        digest: what the dealer committed to of the deal.

    Raises:
        PeerWrong: a deal or mask of another resharing, dealer or receiver; or none.
    """
    mask_share, octets = dealt
    if deal_digest(octets) != digest:
        raise PeerWrong(dealer, "its deal is not what it committed to")
    parameters, resharing = profile(form.resharing.profile), form.resharing
    try:
        mask = MaskShare.parse(parameters, mask_share)
        deal = ReshareDeal.parse(parameters, octets)
        key_id = PublicKey.parse(parameters, resharing.public_key).key_id
    except ThresholdError as error:
        raise PeerWrong(dealer, str(error)) from None
    named = resharing.dealer(form.dealers[dealer]), resharing.new
    if (mask.dealer, mask.sharing) != named:
        raise PeerWrong(dealer, "its mask is of another resharing")
    if (deal.dealer, deal.sharing) != named or deal.key_id != key_id:
        raise PeerWrong(dealer, "its deal is of another resharing")
    if deal.point != form.new[receiver]:
        raise PeerWrong(dealer, "its deal is another's")


def verify(
    form: ReshareForm, masks: Mapping[str, bytes], checks: Mapping[str, bytes], challenge: bytes
) -> None:
    """Accept deals that share the secret of the public key anew; about 0.2 s.

    Args:
        masks: by dealer. checks: what each new holder has published about its deals.

    Raises:
        PeerWrong: a dealer whose deals lie on no polynomial, unless a new holder lies about its
            own; or a new holder whose message is no check of these deals.
        ThresholdError: together they are not the secret of the public key: nobody is named.
    """
    try:
        verify_resharing(
            form.resharing,
            {form.dealers[name]: mask for name, mask in masks.items()},
            {form.new[name]: check for name, check in checks.items()},
            challenge,
        )
    except DealCheckRejected as error:
        holder = next(n for n, p in form.new.items() if str(p) == error.metadata["point"])
        raise PeerWrong(holder, str(error)) from None
    except DealsDisputed as error:
        named = {form.resharing.dealer(point): name for name, point in form.dealers.items()}
        dealer = min(named[one] for one in error.dealers)
        raise PeerWrong(
            dealer, "its deals do not fit each other, or a new holder says so falsely"
        ) from None


def new_share(form: ReshareForm, deals: Sequence[bytes]) -> bytes:
    """Return this member's new share of the key; about 10 ms.

    Raises:
        ThresholdError: the deals are not one of every dealer.
    """
    return reshared_key_share(form.resharing, deals)


def trial_share(trial: Trial, key_share: bytes, mine: str, noise: tuple[bytes, bytes]) -> bytes:
    """Return this member's share of the trial; the same bytes every time. About 0.1 s.

    Args:
        noise: seed and context.

    Raises:
        ThresholdError: the key share is of another sharing.
    """
    form, (seed, context) = trial.form, noise
    return partial_decryption(
        form.resharing.profile,
        key_share,
        trial.ciphertext,
        point=form.new[mine],
        online=tuple(form.new.values()),
        seed=seed,
        context=context,
        circuit=TRIAL_CIRCUIT,
    )


def open_trial(trial: Trial, shares: Mapping[str, bytes]) -> bytes:
    """Open the trial with the shares of all new holders; return the digest of it. About 0.2 s.

    Raises:
        PeerWrong: a member's share is none, or another's.
        ThresholdError: it does not open to what everybody knows it to be.
    """
    form, parameters = trial.form, profile(trial.form.resharing.profile)
    ciphertext = trial.ciphertext
    named = c1_digest(parameters.name, ciphertext)
    for name, octets in shares.items():
        try:
            share = DecryptionShare.parse(parameters, octets)
        except ThresholdError as error:
            raise PeerWrong(name, str(error)) from None
        if (share.point, share.c1_digest) != (form.new[name], named):
            raise PeerWrong(name, "its share is another's, or of another trial")
    check_trial(parameters.name, ciphertext, list(shares.values()), trial.seed)
    return named
