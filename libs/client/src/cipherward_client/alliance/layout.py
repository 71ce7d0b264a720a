"""Where an alliance keeps its files: one on this machine, or one member's part of another.

DIR/genesis.json  alliance.json  parts.json  logs/  admissions/  registrations/  invitation.txt
DIR/authorities/  authority-change/    proofs that members changed theirs; what was proposed
DIR/<member>/keys/    seeds, key material and passwords, mode 0600: what a thief must not get
DIR/<member>/tls/     certificates of the member's services
DIR/<member>/data/<service>/
DIR/<member>/registration.json   what the alliance is told of the member: no secret
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MEMBER_SERVICES = ("identity", "storage", "compute")  # every member runs its own
CHAIN_SERVICES = ("contract", "ledger")  # one each for the alliance under solo, else every member's
CLIENT = "client"  # the certificate of a member's own systems: the SDK in its hands

MEMBER_KEY = "member.key"
CONSENSUS_KEY = "consensus.key"
NODE_KEY = "node.key"
CUSTODIAN_KEY = "custodian.key"
ISSUER_KEY = "issuer.key"
CEREMONY_KEY = "ceremony.key"
DATA_SET_KEY = "dataset.key"
MONGO_URI = "mongo.uri"  # a connection string holds a password


@dataclass(frozen=True, slots=True)
class MemberFolder:
    """The folder of one member."""

    root: Path
    member: str

    def key(self, name: str) -> Path:
        """Return the path of a key file."""
        return self.root / self.member / "keys" / name

    @property
    def tls(self) -> Path:
        """The folder of the services' certificates."""
        return self.root / self.member / "tls"

    @property
    def registration_file(self) -> Path:
        """What the alliance is told of the member; written last when its keys are made."""
        return self.root / self.member / "registration.json"

    def certificate(self, service: str) -> tuple[Path, Path]:
        """Return the paths of a service's certificate and private key."""
        return self.tls / f"{service}.pem", self.tls / f"{service}.key"

    def data(self, service: str) -> Path:
        """Return the folder of a service's own state."""
        return self.root / self.member / "data" / service


@dataclass(frozen=True, slots=True)
class AllianceFolder:
    """The folder of an alliance that runs on this machine, or of one member of another."""

    root: Path

    @property
    def genesis_file(self) -> Path:
        """The chain's genesis document."""
        return self.root / "genesis.json"

    @property
    def endpoints_file(self) -> Path:
        """Where the services listen, rewritten at every start."""
        return self.root / "alliance.json"

    @property
    def invitation_file(self) -> Path:
        """The invitation that a newcomer has accepted."""
        return self.root / "invitation.txt"

    def received_registration(self, member: str) -> Path:
        """Return where the registration of another member is kept once it was proposed."""
        return self.root / "registrations" / f"{member}.json"

    @property
    def parts_file(self) -> Path:
        """What the alliance is put together from, and whose processes run here."""
        return self.root / "parts.json"

    @property
    def logs(self) -> Path:
        """The folder of the processes' logs."""
        return self.root / "logs"

    def member(self, member: str) -> MemberFolder:
        """Return a member's folder."""
        return MemberFolder(self.root, member)
