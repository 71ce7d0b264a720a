"""Which processes are looked at, and what each is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cipherward_chain.endpoints import Endpoints
from cipherward_client.alliance.layout import CLIENT, AllianceFolder
from cipherward_client.alliance.parts import COMETBFT, Parts, Remembered
from cipherward_client.alliance.plans import Deployment
from cipherward_client.alliance.requirements import CometbftMissing, find_cometbft
from cipherward_client.alliance.running import read_store_address
from cipherward_kit.config import ENV_PREFIX

# What a release's own systems are looked at by, and what is known of its services beside that.
OWN_SETTINGS = (
    "MEMBER",
    "GENESIS_FILE",
    "ENDPOINTS_FILE",
    "TLS_CERTIFICATE",
    "TLS_PRIVATE_KEY",
    "MEMBER_KEY_FILE",
    "METRICS_LISTEN",
)
SHARED_SETTINGS = ("MEMBER", "GENESIS_FILE")


@dataclass(frozen=True, slots=True)
class Target:
    """A process: `settings` are its CIPHERWARD_* variables, as it has or would have them."""

    member: str
    service: str
    settings: Mapping[str, str]

    @property
    def name(self) -> str:
        """How its problems are headed."""
        return f"{self.member}/{self.service}"

    @property
    def module(self) -> str:
        """What `python -m` runs."""
        return f"cipherward_{self.service}"

    def text(self, setting: str) -> str:
        """Return a setting by the end of its name, "" if it is not given."""
        return self.settings.get(ENV_PREFIX + setting, "")

    def path(self, setting: str) -> Path | None:
        """Return a setting that is a path, None if it is not given."""
        text = self.text(setting)
        return Path(text) if text else None


def targets_of(folder: AllianceFolder, member: str = "") -> list[Target]:
    """Return the processes of the members whose processes run in a folder, or of one of them.

    Raises:
        PartsMalformed, EndpointsMalformed: a file of the folder is damaged.
        OSError: alliance.json cannot be read.
    """
    endpoints = Endpoints.parse(folder.endpoints_file.read_bytes())
    remembered = Remembered.read(folder)
    members = tuple(endpoints.by_member) if remembered is None else remembered.members
    deployment = Deployment(folder, endpoints.chain_id, _parts(folder, remembered))
    return [
        Target(one, service, deployment.process_plan((one, service), endpoint).environment)
        for one in members
        if member in ("", one)
        for service, endpoint in endpoints.by_member.get(one, {}).items()
    ]


def target_from(service: str, environment: Mapping[str, str]) -> Target:
    """Return the process that would be started in this environment."""
    settings = {name: value for name, value in environment.items() if name.startswith(ENV_PREFIX)}
    return Target(settings.get(f"{ENV_PREFIX}MEMBER", ""), service, settings)


def targets_of_release(environment: Mapping[str, str]) -> list[Target]:
    """Return a process of the member's own systems, as it is told, and the member's services.

    The services are in other pods: of each its page is known, by alliance.json, and no file.

    Raises:
        EndpointsMalformed: alliance.json is damaged.
        KeyError: the environment is not that of a member's own systems.
        OSError: alliance.json cannot be read.
    """

    def told(names: Sequence[str]) -> dict[str, str]:
        return {ENV_PREFIX + name: environment[ENV_PREFIX + name] for name in names}

    own = Target(environment[f"{ENV_PREFIX}MEMBER"], CLIENT, told(OWN_SETTINGS))
    file = Path(environment[f"{ENV_PREFIX}ENDPOINTS_FILE"])
    services = Endpoints.parse(file.read_bytes()).by_member.get(own.member, {})
    page = f"{ENV_PREFIX}METRICS_LISTEN"
    return [
        own,
        *(
            Target(own.member, service, told(SHARED_SETTINGS) | {page: endpoint.metrics})
            for service, endpoint in services.items()
        ),
    ]


def _parts(folder: AllianceFolder, remembered: Remembered | None) -> Parts:
    if remembered is None:
        return Parts()
    program = ""
    if remembered.engine == COMETBFT:
        try:
            program = find_cometbft(None)
        except CometbftMissing:
            program = "cometbft"  # the check of the program says that it is missing
    store = read_store_address(folder, remembered.members)
    return Parts(
        remembered.engine, remembered.feed, remembered.store, remembered.kafka, store, program
    )
