"""The mask beside a dealt secret, and what is published about it.

A dealer deals a mask r with its secret s, and publishes b_r = -(a r + e_r). When all deals stand,
a challenge rho is drawn, and the receivers publish their shares of rho s + r: they show whether the
deals fit each other and the public-key share, and nothing else (`checks`).

r and e_r are uniform on [-2^72, 2^72): rho has 64 coefficients of one, so rho s moves r by at most
64 and rho e moves e_r by at most 64 * 21; what is published is within n * 1344 / 2^73 < 2^-48 of
what does not depend on s and e (n = 16384).
"""

from __future__ import annotations

from cipherward_threshold.dealing.messages import MaskShare
from cipherward_threshold.messages import Sharing
from cipherward_threshold.ring import Ring
from cipherward_threshold.sampling import Residues, Stream

# Wide enough to hide, see above; narrow enough that shares which pass can only be of the secret
# behind the public-key share, see `checks`.
MASK_BITS = 72


def small_polynomial(ring: Ring, stream: Stream) -> Residues:
    """Return a polynomial uniform on [-2^72, 2^72) a coefficient, as [3, n], NTT form."""
    return ring.ntt(ring.flooding_coefficients(stream, MASK_BITS))[0]


def mask_share(
    ring: Ring, common: Residues, mask: Residues, noise: Residues, *, dealer: bytes, form: Sharing
) -> bytes:
    """Return what is published about a mask, as a message.

    Args:
        common: the ceremony's polynomial `a`, [1, >= 3, n]; mask, noise: [3, n]; all in NTT form.
        dealer, form: the deals that the mask verifies.
    """
    level = len(ring.profile.data_primes)
    masked = ring.multiply(common[:, :level], mask)
    b = ring.negate(ring.add(masked, noise[None]))
    return MaskShare(dealer, form, b).to_bytes(ring.profile)
