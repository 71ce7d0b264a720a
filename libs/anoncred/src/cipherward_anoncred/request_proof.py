"""What a holder proves to an issuer before it signs blindly.

First credential: the commitment `com = blind * Q2 + k * J1` and the identity `k * B` hold one k; B
is `credential.identity_base` of the header.  Later ones: the same, and that k is the secret of a
credential that another issuer signed.  Each proof is bound to the issuer's id, to the header it
will sign, and to the session's nonce, so it is of no use to relay.

Octets: `01` com, identity, blind^, k^, c, or
        `02` Abar, Bbar, D, com, identity, e^, r1^, r3^, hidden messages^ (k^ last), blind^, c.
Points are compressed.  The issuer adds its entropy to both com and identity of a first request.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cipherward_anoncred import domains
from cipherward_anoncred.credential import (
    Credential,
    credential_layout,
    identity_base,
    secret_generators,
    signed_header,
)
from cipherward_anoncred.curve import (
    G1Point,
    Rng,
    Scalar,
    hash_to_scalar,
    hedged_scalars,
    msm,
    read_points_and_scalars,
    serialize,
)
from cipherward_anoncred.errors import (
    AnoncredError,
    HeaderMismatch,
    Malformed,
    RequestRejected,
    SessionInvalid,
)
from cipherward_anoncred.octets import pack
from cipherward_anoncred.relation import ProofCommitment, ProofEquations, Statement, respond
from cipherward_anoncred.schema import parse_header
from cipherward_anoncred.scheme import pairings_hold, read_signature

FIRST = b"\x01"
SAME_SECRET = b"\x02"
_FIRST_POINTS, _FIRST_SCALARS = 2, 3
_SAME_SECRET_POINTS = 5
_NOT_HIDDEN = 5  # of the scalars: e^, r1^, r3^, blind^, c
_SESSION_OCTETS_MIN = 16  # nobody guesses or repeats one by chance
_SESSION_OCTETS_MAX = 256  # a nonce, not a document


@dataclass(frozen=True, slots=True)
class Binding:
    """What a request is good for: this issuer, this header, this session's nonce."""

    issuer: str
    header: bytes
    session: bytes

    def __post_init__(self) -> None:
        """
        Raises:
            HeaderMismatch: the header is another issuer's.
            SessionInvalid: the nonce is not 16 to 256 octets.
            Malformed: not a header.
        """
        if parse_header(self.header).issuer != self.issuer:
            raise HeaderMismatch("the header names another issuer")
        if not _SESSION_OCTETS_MIN <= len(self.session) <= _SESSION_OCTETS_MAX:
            raise SessionInvalid("a session nonce has 16 to 256 octets")

    def octets(self) -> bytes:
        return pack(self.issuer.encode(), self.header, self.session)

    def identity_base(self) -> G1Point:
        return identity_base(parse_header(self.header))


@dataclass(frozen=True, slots=True)
class Proven:
    """What a verified request is about."""

    commitment: G1Point
    identity: G1Point


@dataclass(frozen=True, slots=True)
class Requested:
    """A request's octets, and the blind that opens its commitment."""

    octets: bytes
    blind: Scalar = field(repr=False)


def prove_first(k: Scalar, binding: Binding, rng: Rng) -> Requested:
    """A request for a holder's first credential."""
    q2, j1 = secret_generators()
    base = binding.identity_base()
    blind, blind_nonce, k_nonce = hedged_scalars(
        3,
        tag=domains.NONCES_REQUEST_FIRST,
        rng=rng,
        secret=k.to_be_bytes(),
        context=binding.octets(),
    )
    points = [msm([q2, j1], [blind, k]), base * k]
    firsts = [msm([q2, j1], [blind_nonce, k_nonce]), base * k_nonce]
    c = _challenge(domains.REQUEST_FIRST, binding, b"", points, firsts)
    responses = respond([(blind_nonce, blind), (k_nonce, k)], c)
    return Requested(FIRST + serialize([*points, *responses, c]), blind)


def check_first(octets: bytes, binding: Binding) -> Proven:
    """
    Raises:
        RequestRejected: malformed, or it does not prove what it must.
    """
    try:
        points, scalars = _read(FIRST, octets, points=_FIRST_POINTS)
        if len(scalars) != _FIRST_SCALARS:
            raise Malformed("request: another length")
    except Malformed:
        raise RequestRejected from None
    blind_hat, k_hat, c = scalars
    firsts = _secret_firsts(points, binding, blind_hat, k_hat, c)
    if _challenge(domains.REQUEST_FIRST, binding, b"", points, firsts) != c:
        raise RequestRejected
    return Proven(commitment=points[0], identity=points[1])


def prove_same_secret(credential: Credential, binding: Binding, rng: Rng) -> Requested:
    """A request for a further credential on the secret of `credential`; shows its issuer and
    header."""
    q2, j1 = secret_generators()
    base = binding.identity_base()
    statement = _all_hidden(credential.public_key, credential.header, len(credential.attributes))
    scalars = credential.scalars()
    k = scalars[-1]
    needed = ProofCommitment.nonces_needed(statement)
    *nonces, blind, blind_nonce = hedged_scalars(
        needed + 2,
        tag=domains.NONCES_REQUEST_SAME_SECRET,
        rng=rng,
        secret=credential.secret + credential.blind + credential.signature,
        context=pack(binding.octets(), statement.domain.to_be_bytes()),
    )
    k_nonce = nonces[-1]  # the secret is the last hidden message
    a, e = read_signature(credential.signature)
    proof = ProofCommitment.make(statement, a, e, scalars, nonces)
    points = [*proof.points, msm([q2, j1], [blind, k]), base * k]
    firsts = [*proof.firsts, msm([q2, j1], [blind_nonce, k_nonce]), base * k_nonce]
    earlier = statement.domain.to_be_bytes()
    c = _challenge(domains.REQUEST_SAME_SECRET, binding, earlier, points, firsts)
    responses = respond([*proof.pairs, (blind_nonce, blind)], c)
    return Requested(SAME_SECRET + serialize([*points, *responses, c]), blind)


def check_same_secret(
    octets: bytes, binding: Binding, earlier_issuer: tuple[bytes, bytes], attributes: int
) -> Proven:
    """
    Args:
        earlier_issuer: public key and header of the credential that the holder has.
        attributes: how many attributes that header's schema has.

    Raises:
        RequestRejected: malformed, or it does not prove what it must.
    """
    public_key, header = earlier_issuer
    try:
        points, scalars = _read(SAME_SECRET, octets, points=_SAME_SECRET_POINTS)
        statement = _all_hidden(public_key, header, attributes)
        if len(scalars) != _NOT_HIDDEN + len(statement.hidden):
            raise Malformed("request: another length")
        *responses, blind_hat, c = scalars
        proof = ProofEquations.make(statement, points[:3], responses, c)
        k_hat = proof.hidden_responses[-1]
        firsts = [
            *(msm(*equation) for equation in proof.firsts),
            *_secret_firsts(points[3:], binding, blind_hat, k_hat, c),
        ]
        earlier = statement.domain.to_be_bytes()
        proven = _challenge(domains.REQUEST_SAME_SECRET, binding, earlier, points, firsts) == c
        if not proven or not pairings_hold([(public_key, points[0], points[1])]):
            raise RequestRejected
    except AnoncredError:
        raise RequestRejected from None
    return Proven(commitment=points[3], identity=points[4])


def _read(kind: bytes, octets: bytes, *, points: int) -> tuple[list[G1Point], list[Scalar]]:
    if octets[:1] != kind:
        raise Malformed("request: another kind")
    return read_points_and_scalars(octets[1:], points=points)


def _all_hidden(public_key: bytes, header: bytes, attributes: int) -> Statement:
    shape = credential_layout(attributes)
    return Statement.make(shape, shape.domain(public_key, signed_header(header)), (), ())


def _secret_firsts(
    points: list[G1Point], binding: Binding, blind_hat: Scalar, k_hat: Scalar, c: Scalar
) -> list[G1Point]:
    """First messages of commitment and identity, rebuilt: one k^ serves both."""
    commitment, identity = points
    q2, j1 = secret_generators()
    return [
        msm([q2, j1, commitment], [blind_hat, k_hat, -c]),
        msm([binding.identity_base(), identity], [k_hat, -c]),
    ]


def _challenge(
    tag: bytes, binding: Binding, earlier: bytes, points: list[G1Point], firsts: list[G1Point]
) -> Scalar:
    octets = pack(binding.octets(), earlier, serialize(points), serialize(firsts))
    return hash_to_scalar(octets, tag)
