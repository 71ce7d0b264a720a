"""One ring per profile and process."""

from __future__ import annotations

import threading

from cipherward_threshold.parameters import profile
from cipherward_threshold.ring import Ring
from cipherward_threshold.selftest import selftest

_rings: dict[str, Ring] = {}
_lock = threading.Lock()


def profile_ring(name: str) -> Ring:
    """Return the ring of a profile, built and self-tested once per process (about 0.2 s).

    Thread-safe, and so is the ring. Call it when a worker starts, so that the first order does not
    pay for it.

    Raises:
        UnknownProfile: no profile of that name.
        SelfTestFailed: the installed SEAL is not what this library knows.
    """
    with _lock:
        ring = _rings.get(name)
        if ring is None:
            ring = Ring(profile(name))
            selftest(ring)
            _rings[name] = ring
        return ring
