"""A member's way to another authority: it proposes the set, the others see to it and vote, and what
the chain decided is kept beside alliance.json for whoever follows no blocks.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.sdk.authorities import (
    CHANGED,
    authorities_proof,
    find_authority_change,
    propose_authorities,
    registered_authorities,
)
from cipherward_client.sdk.authority_files import authorities_file
from cipherward_client.sdk.errors import ActRefused, CheckFailed, explaining
from cipherward_client.sdk.found_changes import FoundChange
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.membership import (
    AUTHORITY_CHANGE,
    vote_on_change,
)
from cipherward_client.sdk.questions import Asker
from cipherward_kit.datafolder import write_atomically
from cipherward_kit.tls import AUTHORITIES_MAX, Identity, PeerNotTrusted, TrustRegistry, only_uri
from cipherward_member.alliance_files import read_authorities

CERTIFICATES_BYTES_MAX = 64 * 1024  # of a file: four certificates, with room for what stands around
PROPOSED = "proposed"
EXISTS = "INSTANCE_EXISTS"  # another process has proposed the same a moment before
NAME_DIGITS = 16  # of a file's name: enough for the proposals of one member


class AuthorityUnusable(CheckFailed):
    """Services could not go by these authorities, or they are not the member's own."""

    reason = "AUTHORITY_UNUSABLE"


class AuthorityInUse(CheckFailed):
    """A service of the member still shows a certificate of an authority that would be dropped."""

    reason = "AUTHORITY_IN_USE"


class AuthorityNotProposed(CheckFailed):
    """Nobody has proposed these authorities for that member."""

    reason = "AUTHORITY_NOT_PROPOSED"


@dataclass(frozen=True, slots=True)
class AuthorityChange:
    """A member's proposed set of authorities (PEM), and where the proposal stands."""

    member: str
    authorities: str
    change: FoundChange

    @property
    def decided(self) -> bool:
        """Whether it was voted."""
        return self.change.state == CHANGED


@dataclass(frozen=True, slots=True)
class ShownAuthority:
    """One authority of a member: its fingerprint as members read it to each other, and its end."""

    member: str
    fingerprint: bytes
    until: datetime


def parse_authorities(raw: bytes) -> str:
    """Return the certificates of a file, PEM or one in DER, as they are proposed.

    Raises:
        AuthorityUnusable: it holds none.
    """
    try:
        found = x509.load_pem_x509_certificates(raw)
    except ValueError:
        try:
            found = [x509.load_der_x509_certificate(raw)]
        except ValueError:
            raise AuthorityUnusable("the file holds no certificate") from None
    return _written(found)


def shown(member: str, authorities: str) -> tuple[ShownAuthority, ...]:
    """Return the authorities of a member as people look at them."""
    return tuple(
        ShownAuthority(member, one.fingerprint(SHA256()), one.not_valid_after_utc)
        for one in x509.load_pem_x509_certificates(authorities.encode())
    )


async def propose_change(
    folder: AllianceFolder, hospital: Hospital, new: str, *, keep_old: bool
) -> AuthorityChange:
    """Propose other authorities for this member itself, and vote for them; done again, it does
    what is left.

    Args:
        new: PEM, as `parse_authorities` returns it.
        keep_old: those of now stay beside them.

    Raises:
        AuthorityUnusable: nobody could go by them.
        AuthorityInUse: without those of now, a certificate in the folder would be refused.
        ActRefused, ClientError: the chain refuses it, or does not answer.
    """
    member, registry = hospital.member, await registered_authorities(hospital)
    present = _present(registry, member)
    wanted = _joined(present, new) if keep_old else new
    with explaining():
        require_usable(registry, member, wanted)
        if not keep_old:
            await asyncio.to_thread(require_unused, folder, member, wanted)
    found = await find_authority_change(Asker.member(hospital), member, wanted, present)
    if not found.state:
        try:
            await propose_authorities(hospital, wanted, present)
        except ActRefused as error:
            if error.reason != EXISTS:
                raise
    return await _voted(folder, hospital, member, wanted)


async def vote_for_change(
    folder: AllianceFolder, hospital: Hospital, member: str, new: str
) -> AuthorityChange:
    """Vote for what a member has proposed with these authorities, beside those it has or alone,
    unless this member has voted; keep the proof once it is decided.

    Raises:
        AuthorityNotProposed: nobody has proposed them.
        AuthorityUnusable: nobody could go by them.
        ActRefused, ClientError: the chain refuses it, or does not answer.
    """
    registry = await registered_authorities(hospital)
    with explaining():
        present = _present(registry, member)
    states = {
        wanted: (await find_authority_change(Asker.member(hospital), member, wanted, present)).state
        for wanted in (_joined(present, new), new)
    }
    # The step with both is over when the one with the new alone waits for votes.
    waiting = [wanted for wanted, state in states.items() if state == PROPOSED]
    proposed = waiting or [wanted for wanted, state in states.items() if state]
    with explaining():
        if not proposed:
            raise AuthorityNotProposed(member)
        if waiting:
            require_usable(registry, member, waiting[0])
    return await _voted(folder, hospital, member, proposed[0])


async def known_changes(folder: AllianceFolder, hospital: Hospital) -> Sequence[AuthorityChange]:
    """Return the proposals that came here and wait for votes; keep proofs of those decided.

    Raises:
        ClientError: the member's own contract or ledger does not answer.
    """
    found: list[AuthorityChange] = []
    received = await asyncio.to_thread(_received, folder)
    if not received:
        return found
    registry = await registered_authorities(hospital)
    for member, wanted in received:
        if member not in registry:
            continue
        present = _present(registry, member)
        change = await find_authority_change(Asker.member(hospital), member, wanted, present)
        one = AuthorityChange(member, wanted, change)
        if one.decided:
            await _keep_proof(folder, hospital, one)
        elif change.state == PROPOSED:
            found.append(one)
    return found


async def _voted(
    folder: AllianceFolder, hospital: Hospital, member: str, wanted: str
) -> AuthorityChange:
    """Vote yes unless it is done or decided; return where the proposal then stands."""
    await asyncio.to_thread(_remember, folder, member, wanted)
    asker, registry = Asker.member(hospital), await registered_authorities(hospital)
    found = await find_authority_change(asker, member, wanted, _present(registry, member))
    if found.state == PROPOSED and hospital.member not in found.votes:
        await vote_on_change(hospital, AUTHORITY_CHANGE, found.change_id)
        registry = await registered_authorities(hospital)
        found = await find_authority_change(asker, member, wanted, _present(registry, member))
    change = AuthorityChange(member, wanted, found)
    if change.decided:
        await _keep_proof(folder, hospital, change)
    return change


async def _keep_proof(folder: AllianceFolder, hospital: Hospital, change: AuthorityChange) -> None:
    """Write the proof of a change unless the one that lies there is as new."""
    file, root = (
        authorities_file(folder.endpoints_file, change.member),
        hospital.alliance.trust_root,
    )
    with explaining():
        kept = await asyncio.to_thread(read_authorities, folder.endpoints_file, root)
        known = kept.get(change.member)
        if known is not None and known.height >= change.change.changed_height:
            return
        proof = await authorities_proof(hospital, change.change)
        await asyncio.to_thread(proof.verify, root, change.member)
    file.parent.mkdir(mode=0o700, exist_ok=True)
    await asyncio.to_thread(write_atomically, file, proof.to_bytes(), 0o644)  # no secret


def _present(registry: Mapping[str, str], member: str) -> str:
    if member not in registry:
        raise AuthorityNotProposed(f"{member} is no member")
    return registry[member]


def _joined(present: str, new: str) -> str:
    both = x509.load_pem_x509_certificates((present + new).encode())
    return _written(dict.fromkeys(both))


def _written(certificates: Mapping[x509.Certificate, None] | Sequence[x509.Certificate]) -> str:
    return "".join(one.public_bytes(Encoding.PEM).decode() for one in certificates)


def require_usable(registry: Mapping[str, str], member: str, wanted: str) -> None:
    """Raise `AuthorityUnusable` unless every service could go by the set."""
    found = x509.load_pem_x509_certificates(wanted.encode())
    if len(found) > AUTHORITIES_MAX:
        raise AuthorityUnusable(f"a member has at most {AUTHORITIES_MAX} authorities at once")
    if all(one.not_valid_after_utc < datetime.now(UTC) for one in found):
        raise AuthorityUnusable("all of them have run out")
    others = {one: pem.encode() for one, pem in registry.items() if one != member}
    refused = TrustRegistry({}).replace({**others, member: wanted.encode()})
    if member in refused:
        raise AuthorityUnusable(refused[member])


def require_unused(folder: AllianceFolder, member: str, wanted: str) -> None:
    """Raise `AuthorityInUse` if a certificate in the member's folder is of none of these."""
    home, trust = folder.member(member), TrustRegistry({member: wanted.encode()})
    for file in sorted(home.tls.glob("*.pem")):
        service = file.stem
        if not home.certificate(service)[1].exists():  # an authority's own lies there too
            continue
        leaf = Identity.from_files(*home.certificate(service)).leaf()
        try:
            trust.verify_peer(leaf.public_bytes(Encoding.PEM), only_uri(leaf))
        except PeerNotTrusted as error:
            raise AuthorityInUse(f"{service}: {error}") from None


def _remember(folder: AllianceFolder, member: str, wanted: str) -> None:
    name = hashlib.sha256(wanted.encode()).hexdigest()[:NAME_DIGITS]
    file: Path = folder.root / AUTHORITY_CHANGE / f"{member}.{name}.pem"
    file.parent.mkdir(mode=0o700, exist_ok=True)
    write_atomically(file, wanted.encode(), 0o644)


def _received(folder: AllianceFolder) -> list[tuple[str, str]]:
    """Return whose authorities were proposed, and which, PEM, as they were remembered."""
    files = sorted((folder.root / AUTHORITY_CHANGE).glob("*.pem"))
    return [(file.name.split(".")[0], file.read_text()) for file in files]  # an id has no dot
