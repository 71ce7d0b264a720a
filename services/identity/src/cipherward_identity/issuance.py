"""Blind issuance, in two steps: a session for a code, then a grant for a proof bound to it.

A session is not stored: it is its time and a MAC over time, code and header, so any number of them
costs nothing and they survive a restart. A grant is stored before it is answered; the same request
gets the same bytes for ever, another one for the same code nothing.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from cipherward_anoncred.errors import RequestRejected
from cipherward_anoncred.octets import pack
from cipherward_chain import domains
from cipherward_identity.admissions import hash_of_code
from cipherward_identity.arithmetic import Ask, grant
from cipherward_identity.desk_key import DeskKey
from cipherward_identity.errors import CredentialRejected
from cipherward_identity.follow import ChainClock
from cipherward_identity.issuer import OwnIssuer
from cipherward_identity.registry import IssuerNotCurrent, Registry
from cipherward_identity.store import Admission, Answered, CodeUsed, Holder, IdentityStore
from cipherward_kit.jobs import WorkerPool

SESSION_SECONDS = 600  # time to approve the wallet's request by hand, on a slow phone
_TIME_BYTES = 8
_MAC_BYTES = 24  # 192 bits; with the time a session has the 32 bytes that the proof is bound to
SESSION_BYTES = _TIME_BYTES + _MAC_BYTES


@dataclass(frozen=True, slots=True)
class Offer:
    """What a holder needs to make its request."""

    session: bytes
    issuer: str
    public_key: bytes
    header: bytes
    attributes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class HolderRequest:
    """What a holder sends; the `earlier_*` are empty for a first credential."""

    admission_code: str
    session: bytes
    request: bytes
    earlier_public_key: bytes
    earlier_header: bytes

    def digest(self, code_hash: bytes) -> bytes:
        """Return what makes two requests the same, 32 bytes."""
        fields = pack(
            code_hash, self.session, self.request, self.earlier_public_key, self.earlier_header
        )
        return hashlib.sha256(domains.IDENTITY_REQUEST + fields).digest()


class Issuance:
    """The two steps."""

    def __init__(
        self,
        issuer: OwnIssuer,
        desk_key: DeskKey,
        registry: Registry,
        clock: ChainClock,
        store: IdentityStore,
        pool: WorkerPool,
    ) -> None:
        self._issuer = issuer
        self._desk_key = desk_key
        self._registry = registry
        self._clock = clock
        self._store = store
        self._pool = pool

    async def begin(self, admission_code: str) -> Offer:
        """Return a session for a code that is not used.

        Raises:
            ChainStale: no recent proven block.
            CredentialRejected: the code is wrong, used or expired.
        """
        self._clock.require_fresh()
        code_hash = hash_of_code(admission_code)
        admission, answered = await self._admission(code_hash)
        if answered is not None:
            raise CredentialRejected
        self._require_unexpired(admission)
        header = self._header(admission)
        return Offer(
            session=self._session(self._clock.now(), admission.code_hash, header),
            issuer=self._issuer.member,
            public_key=self._issuer.key.public,
            header=header,
            attributes=admission.attributes,
        )

    async def request(self, asked: HolderRequest) -> bytes:
        """Return the grant for a request: 80 bytes, or 112 for a first credential.

        Raises:
            ChainStale: no recent proven block.
            CredentialRejected: code, session, earlier credential or proof is not good.
            WorkersBusy: too many requests at once.
        """
        self._clock.require_fresh()
        admission, answered = await self._admission(hash_of_code(asked.admission_code))
        digest = asked.digest(admission.code_hash)
        if answered is not None:
            if answered.request_digest != digest:
                raise CredentialRejected
            return answered.grant
        self._require_unexpired(admission)
        header = self._header(admission)
        self._require_session(asked.session, admission.code_hash, header)
        ask = Ask(
            request=asked.request,
            issuer=self._issuer.member,
            header=header,
            session=asked.session,
            attributes=admission.attributes,
            earlier=self._earlier(asked, admission.schema),
        )
        try:
            made = await self._pool.run(grant, self._issuer.key, ask)
        except RequestRejected:
            raise CredentialRejected from None
        try:
            return await self._store.keep_grant(
                admission.code_hash,
                Answered(digest, made.octets),
                Holder(made.record.identity, made.record.to_octets()),
                now=self._clock.now(),
            )
        except CodeUsed:
            raise CredentialRejected from None

    async def _admission(self, code_hash: bytes | None) -> tuple[Admission, Answered | None]:
        found = None if code_hash is None else await self._store.admission(code_hash)
        if found is None:
            raise CredentialRejected
        return found

    def _require_unexpired(self, admission: Admission) -> None:
        if admission.expires_at <= self._clock.now():
            raise CredentialRejected

    def _header(self, admission: Admission) -> bytes:
        return self._issuer.header(admission.schema, self._clock.epoch())

    def _session(self, begun_at: int, code_hash: bytes, header: bytes) -> bytes:
        time = begun_at.to_bytes(_TIME_BYTES, "big")
        return (
            time
            + self._desk_key.mac(domains.IDENTITY_SESSION, time, code_hash, header)[:_MAC_BYTES]
        )

    def _require_session(self, session: bytes, code_hash: bytes, header: bytes) -> None:
        """Refuse a session that this issuer did not give for this code and header, or long ago.

        A session of the epoch that has just ended is refused too: the wallet begins again.
        """
        begun_at = int.from_bytes(session[:_TIME_BYTES], "big")
        expected = self._session(begun_at, code_hash, header)
        if not hmac.compare_digest(session, expected):
            raise CredentialRejected
        if self._clock.now() >= begun_at + SESSION_SECONDS:
            raise CredentialRejected

    def _earlier(self, asked: HolderRequest, schema: str) -> tuple[bytes, bytes] | None:
        if not asked.earlier_public_key and not asked.earlier_header:
            return None
        try:
            self._registry.require_current(asked.earlier_public_key, asked.earlier_header, schema)
        except IssuerNotCurrent:
            raise CredentialRejected from None
        return asked.earlier_public_key, asked.earlier_header
