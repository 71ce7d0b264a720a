"""Renewal: the issuer signs a holder again under the current epoch's header.

Anyone may ask for any holder: the answer is of no use without the holder's secret. Revocation is
the other half: an ended holder is signed no more, and its credential dies with the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass

from cipherward_anoncred.issuance import IssuerRecord
from cipherward_identity.admissions import AdmissionUnknown, parse_request_id
from cipherward_identity.arithmetic import signature_of
from cipherward_identity.errors import CredentialRejected
from cipherward_identity.follow import ChainClock
from cipherward_identity.issuer import OwnIssuer
from cipherward_identity.store import IdentityStore
from cipherward_kit.jobs import WorkerPool


@dataclass(frozen=True, slots=True)
class Renewed:
    """A signature of 80 bytes and the header that it is under."""

    signature: bytes
    header: bytes


class Renewal:
    """Signs again, or no more."""

    def __init__(
        self, issuer: OwnIssuer, clock: ChainClock, store: IdentityStore, pool: WorkerPool
    ) -> None:
        self._issuer = issuer
        self._clock = clock
        self._store = store
        self._pool = pool

    async def renew(self, identity: bytes) -> Renewed:
        """Return the signature of the current epoch; the same bytes whenever asked in that epoch.

        Raises:
            ChainStale: no recent proven block.
            CredentialRejected: no such holder, or an ended one.
            WorkersBusy: too many requests at once.
        """
        self._clock.require_fresh()
        record = await self._store.renewable(identity)
        if record is None:
            raise CredentialRejected
        schema = IssuerRecord.from_octets(record).schema
        header = self._issuer.header(schema, self._clock.epoch())
        signature = await self._pool.run(signature_of, self._issuer.key, record, header)
        return Renewed(signature, header)

    async def end(self, request_id: str) -> None:
        """Renew the holder of an admission no more, and let an unused code die. Idempotent.

        Raises:
            RequestIdMalformed: not a UUID.
            AdmissionUnknown: no admission has that id.
        """
        if not await self._store.end(parse_request_id(request_id)):
            raise AdmissionUnknown("no admission has this request_id")
