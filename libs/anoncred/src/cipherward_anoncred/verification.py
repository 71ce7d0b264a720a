"""Verification of presentations, alone or many at once; pure, needs nothing but its arguments.

Each first message must equal a sum of points that the verifier knows.  All equations of all
presentations are added up with fresh secret 128-bit weights and checked as one sum, and so are the
pairings; a false equation survives with probability 2^-128.

First messages are checked to be on the curve, not to lie in the subgroup (which costs as much as
all the rest).  Therefore the sum is multiplied by the cofactor before it is compared: whatever part
of a first message lies outside the subgroup vanishes, alone and in every batch, so that two
verifiers with different weights or batches never differ.  Soundness is that of the subgroup.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from cipherward_anoncred.credential import credential_layout, scope_base, signed_header
from cipherward_anoncred.curve import (
    IDENTITY,
    POINT_OCTETS,
    XY_OCTETS,
    Equation,
    G1Point,
    Scalar,
    affine,
    clear_cofactor,
    msm,
    read_point,
    read_public_key,
    read_xy_on_curve,
)
from cipherward_anoncred.errors import (
    AnoncredError,
    DisclosureInvalid,
    Malformed,
    PresentationRejected,
)
from cipherward_anoncred.opening import equations as opening_equations
from cipherward_anoncred.opening import read_opening_key
from cipherward_anoncred.presentation import (
    PLAIN,
    POINTS_END,
    VERSION,
    WITH_OPENING,
    Form,
    challenge,
    check_disclosed,
    read_responses,
    statement_octets,
)
from cipherward_anoncred.relation import ProofEquations, Statement
from cipherward_anoncred.schema import (
    ATTRIBUTES_MAX,
    SHIPPED_SCHEMAS,
    Schema,
    parse_attribute,
    parse_header,
    schema_of,
)
from cipherward_anoncred.scheme import pairings_hold

_WEIGHT_BITS = 128  # the chance to slip a false equation through is 2^-128
_CROWDS_KEPT = 4096  # (issuer, header, disclosed values) met lately; about 1 kB each


@dataclass(frozen=True, slots=True)
class Claim:
    """What a presentation is checked against: plain data, safe to pickle.

    `issuer_public_key` 96 octets; `header` as signed; `attribute_count` from the header's schema,
    never from a message; `disclosed` (index, attribute octets), ascending; `scope` 1 to 256 octets;
    `context` what the presentation is bound to; `opening_key` 48 octets and `opening` 96, of staff,
    or both empty.  Whether there must be an opening is for the contract to say.
    """

    issuer_public_key: bytes
    header: bytes
    attribute_count: int
    disclosed: tuple[tuple[int, bytes], ...]
    scope: bytes
    context: bytes
    opening_key: bytes = b""
    opening: bytes = b""

    @property
    def form(self) -> Form:
        """Of the presentation that would prove it."""
        return WITH_OPENING if self.opening_key or self.opening else PLAIN

    @staticmethod
    def under_schema(
        issuer_public_key: bytes,
        header: bytes,
        disclosed: Sequence[tuple[int, bytes]],
        scope: bytes,
        context: bytes,
        *,
        schemas: Mapping[str, Schema] = SHIPPED_SCHEMAS,
    ) -> Claim:
        """The claim whose number of attributes is that of the schema which `header` names.

        Raises:
            Malformed: not a header.
            SchemaUnknown: not one of `schemas`.
        """
        count = len(schema_of(header, schemas).attributes)
        return Claim(issuer_public_key, header, count, tuple(disclosed), scope, context)


@lru_cache(maxsize=_CROWDS_KEPT)
def _statement(
    public_key: bytes, header: bytes, attributes: int, disclosed: tuple[tuple[int, bytes], ...]
) -> Statement:
    """The same for whole crowds, hence kept; `fixed` in affine form."""
    indexes = [i for i, _ in disclosed]
    parse_header(header)
    for _, octets in disclosed:
        parse_attribute(octets)
    if not 0 <= attributes <= ATTRIBUTES_MAX:
        raise DisclosureInvalid("no schema has so many attributes")
    check_disclosed(indexes, attributes)
    read_public_key(public_key)
    shape = credential_layout(attributes)
    domain = shape.domain(public_key, signed_header(header))
    values = shape.message_scalars(octets for _, octets in disclosed)
    made = Statement.make(shape, domain, indexes, values)
    return Statement(shape, domain, made.indexes, made.values, made.hidden, affine(made.fixed))


@dataclass(frozen=True, slots=True)
class _Parsed:
    """A presentation in shape; whether it proves anything is left to the equations."""

    pseudonym: bytes
    firsts: tuple[G1Point, ...]
    equations: tuple[Equation, ...]
    pairing: tuple[bytes, G1Point, G1Point]


def _parse(claim: Claim, octets: bytes) -> _Parsed:
    """
    Raises:
        AnoncredError: the claim or the presentation is malformed.
    """
    statement = _statement(
        claim.issuer_public_key, claim.header, claim.attribute_count, claim.disclosed
    )
    form, base = claim.form, scope_base(claim.scope)
    if octets[:1] != form.version or len(octets) != form.octets_expected(len(statement.hidden)):
        raise Malformed("presentation: another version or length")
    points = octets[len(VERSION) : POINTS_END]
    firsts = octets[POINTS_END : form.firsts_end]
    *bbs_points, nym = (
        read_point(points[at : at + POINT_OCTETS]) for at in range(0, len(points), POINT_OCTETS)
    )
    public = statement_octets(statement, claim.scope, claim.opening_key)
    c = challenge(public, points + claim.opening, firsts, claim.context, form)
    responses = read_responses(octets[form.firsts_end :])
    rho_hats = [responses.pop()] if form is WITH_OPENING else []
    proof = ProofEquations.make(statement, bbs_points, responses, c)
    secret_hat = proof.hidden_responses[-1]
    equations: list[Equation] = [*proof.firsts, ([base, nym], [secret_hat, -c])]
    for rho_hat in rho_hats:
        equations += _opened(claim, rho_hat, secret_hat, c)
    return _Parsed(
        pseudonym=points[-POINT_OCTETS:],
        firsts=tuple(
            read_xy_on_curve(firsts[at : at + XY_OCTETS]) for at in range(0, len(firsts), XY_OCTETS)
        ),
        equations=tuple(equations),
        pairing=(claim.issuer_public_key, bbs_points[0], bbs_points[1]),
    )


def _opened(
    claim: Claim, rho_hat: Scalar, secret_hat: Scalar, challenge: Scalar
) -> tuple[Equation, Equation]:
    """The opening's equations.

    Raises:
        Malformed: of this schema nobody is opened, or key or opening is not one.
    """
    if not parse_header(claim.header).accountable:
        raise Malformed("presentation: an opening that this schema has not")
    key = read_opening_key(claim.opening_key)
    return opening_equations(key, claim.opening, rho_hat, secret_hat, challenge)


def _equations_hold(items: Sequence[_Parsed]) -> bool:
    """Whether all equations of all items hold, up to the cofactor."""
    points: list[G1Point] = []
    weights: list[Scalar] = []
    # generators and scopes are shared objects: their weights add up, and the sum stays short
    shared: dict[int, tuple[G1Point, Scalar]] = {}
    for item in items:
        for first, (terms, scalars) in zip(item.firsts, item.equations, strict=True):
            weight = Scalar(secrets.randbits(_WEIGHT_BITS))
            points.append(first)
            weights.append(-weight)
            for term, scalar in zip(terms, scalars, strict=True):
                known = shared.get(id(term))
                weighted = scalar * weight
                shared[id(term)] = (term, weighted if known is None else known[1] + weighted)
    points += [point for point, _ in shared.values()]
    weights += [weight for _, weight in shared.values()]
    return clear_cofactor(msm(points, weights)) == IDENTITY


def _hold(items: Sequence[_Parsed]) -> bool:
    return _equations_hold(items) and pairings_hold([item.pairing for item in items])


def verify(claim: Claim, octets: bytes) -> bytes:
    """Verify one presentation; about 3.5 ms.

    Returns:
        The pseudonym that it proves, 48 octets.

    Raises:
        PresentationRejected: it does not prove the claim, for whatever reason.
    """
    try:
        parsed = _parse(claim, octets)
    except AnoncredError:
        raise PresentationRejected from None
    if not _hold([parsed]):
        raise PresentationRejected
    return parsed.pseudonym


def verify_batch(jobs: Sequence[tuple[Claim, bytes]]) -> list[bool]:
    """The verdict of `verify` for each (claim, presentation), in order.

    Cost: about 1 ms each in a batch of 100 that are all good.  A bad one that is well-formed is
    found by halving and costs about 2 log2(n) further sums, so whoever submits presentations is to
    be bounded.
    """
    verdicts = [False] * len(jobs)
    shaped: list[tuple[int, _Parsed]] = []
    for index, (claim, octets) in enumerate(jobs):
        try:
            shaped.append((index, _parse(claim, octets)))
        except AnoncredError:
            continue  # its verdict stands at False
    pending = [shaped] if shaped else []
    while pending:
        group = pending.pop()
        if _hold([parsed for _, parsed in group]):
            for index, _ in group:
                verdicts[index] = True
        elif len(group) > 1:
            half = len(group) // 2
            pending += [group[:half], group[half:]]
    return verdicts
