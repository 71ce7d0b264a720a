"""What a participant derives from its seed: polynomials, nonces, its sealing key.

The seed is 32 random bytes that are stored before the ceremony's first message and destroyed after
it. Every derivation takes the session and the member, so one seed never gives two ceremonies or
two members the same secret.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cipherward_threshold.group import domains
from cipherward_threshold.group.ceremony.plan import Plan
from cipherward_threshold.group.curve import Scalar, hash_to_scalar
from cipherward_threshold.group.encoding import Field
from cipherward_threshold.group.errors import SeedRejected

SEED_BYTES: Final = 32
SEALING_SECRET_BYTES: Final = 96  # hybrid HPKE: ML-KEM seed 64 and X25519 key 32


def sealing_secret(seed: bytes, session: bytes) -> bytes:
    """Return the secret of the one-time sealing key of a ceremony, 96 bytes.

    Args:
        session: `Plan.session`.

    Raises:
        SeedRejected: the seed has another length than 32.
    """
    _check(seed)
    derivation = HKDF(hashes.SHA256(), SEALING_SECRET_BYTES, domains.CEREMONY_SEALING, session)
    return derivation.derive(seed)


@dataclass(frozen=True, slots=True)
class Secrets:
    """A seed in the hands of one member of one ceremony."""

    plan: Plan
    member: str
    seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        _check(self.seed)

    def polynomials(self, free_term: Scalar | None) -> list[list[Scalar]]:
        """Return a dealer's polynomials, one for each of the deal's bases.

        Args:
            free_term: what is dealt on in a resharing; a new key draws its own.
        """
        found = [
            [self._coefficient(base, degree) for degree in range(self.plan.threshold)]
            for base in range(self.plan.bases)
        ]
        if free_term is not None:
            found[0][0] = free_term
        return found

    def nonces(self, kind: str, count: int, *statement: Field) -> list[Scalar]:
        """Return the nonces of this member's proof of a statement, the same ones each time."""
        bound = self.seed, self.plan.session, self.member, kind, *statement
        return [hash_to_scalar(domains.CEREMONY_NONCE, *bound, place) for place in range(count)]

    def _coefficient(self, base: int, degree: int) -> Scalar:
        bound = self.seed, self.plan.session, self.member, base, degree
        return hash_to_scalar(domains.CEREMONY_COEFFICIENT, *bound)


def _check(seed: bytes) -> None:
    if len(seed) != SEED_BYTES:
        raise SeedRejected(f"a seed has {SEED_BYTES} bytes")
