"""What can be said of a process without asking it: its files, its ports, and who it needs."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from cipherward_chain.comet import address
from cipherward_chain.genesis import Genesis, Member
from cipherward_chain.signatures import SEED_BYTES, SigningKey
from cipherward_client.alliance.parts import COMETBFT, KAFKA, MONGO, Parts
from cipherward_client.alliance.requirements import (
    CometbftMissing,
    KafkaUnreachable,
    MongoUnreachable,
    require,
)
from cipherward_client.doctor.checks import Problem
from cipherward_client.doctor.targets import Target
from cipherward_kit.errors import CannotStart
from cipherward_kit.own_identity import FollowedIdentity
from cipherward_kit.tls import CertificateUnreadable, PeerNotTrusted, only_uri, server_name
from cipherward_member.alliance_files import (
    OTHERS,
    read_endpoints,
    read_genesis,
    read_key,
    trust_registry,
)

# A renewal that has not come a week before the end does not come by itself.
RUNS_OUT_DAYS = 7
# Another authority takes two votes of the members and new certificates between them: a quarter of a
# year has room for people who meet once a month.
AUTHORITY_RUNS_OUT_DAYS = 90
# A day of blocks and a study's parts fit; below it somebody should look.
FREE_BYTES_MIN = 1024**3
WORLD = 0o007  # a mounted Secret is readable by the pod's group
PORT_SETTINGS = ("LISTEN", "HOLDER_LISTEN", "HEALTH_LISTEN", "METRICS_LISTEN", "P2P_LISTEN")


def genesis_of(target: Target) -> Genesis | None:
    """Return the genesis that a process would read; None if it would refuse it."""
    path = target.path("GENESIS_FILE")
    if path is None:
        return None
    try:
        return read_genesis(path, target.member)
    except CannotStart:
        return None


def look_at_genesis(target: Target) -> Iterator[Problem]:
    """Read genesis and alliance.json as the process would."""
    genesis_file, endpoints_file = target.path("GENESIS_FILE"), target.path("ENDPOINTS_FILE")
    if genesis_file is None:
        return  # the settings say it
    try:
        genesis = read_genesis(genesis_file, target.member)
        if endpoints_file is not None:
            read_endpoints(endpoints_file, genesis.chain_id)
    except CannotStart as error:
        fix = "Get the alliance's genesis.json and alliance.json again, both of one chain."
        yield Problem("genesis", target.name, str(error), fix)


def look_at_certificate(target: Target) -> Iterator[Problem]:
    """Look at a process's certificate and key as its peers would."""

    def problem(what: str, fix: str) -> Problem:
        return Problem("certificates", target.name, what, fix)

    renew = "Issue the certificate again; a process that runs takes it from its files by itself."
    files = target.path("TLS_CERTIFICATE"), target.path("TLS_PRIVATE_KEY")
    if files[0] is None or files[1] is None:
        return
    genesis = genesis_of(target)
    registry = None if genesis is None else trust_registry(genesis)
    try:
        identity = FollowedIdentity(files[0], files[1], registry)
    except CertificateUnreadable as error:
        yield problem(str(error), renew)
        return
    if fault := identity.fault():
        yield problem(fault, renew)
    elif identity.not_after - datetime.now(UTC) < timedelta(days=RUNS_OUT_DAYS):
        yield problem(f"it runs out at {identity.not_after:%FT%TZ}", renew)
    leaf = identity.current.leaf()
    for missing in _missing_names(leaf, target):
        yield problem(f"it does not bear the name {missing}", renew)
    until = None if registry is None else registry.authorities_until().get(target.member)
    if until is not None:
        for what in _authority_faults(until, identity.not_after):
            yield problem(what, "Move to another authority: `cipherward alliance authority`.")
    if files[1].stat().st_mode & WORLD:
        yield problem(f"{files[1]} is open to everybody", f"chmod o= {files[1]}")


def _authority_faults(until: datetime, leaf_until: datetime) -> Iterator[str]:
    """Yield what is wrong with a member's authorities, the last of which runs out at `until`."""
    if until - datetime.now(UTC) < timedelta(days=AUTHORITY_RUNS_OUT_DAYS):
        yield f"the authority of its member runs out at {until:%FT%TZ}"
    if leaf_until > until:
        yield f"it names {leaf_until:%FT%TZ} as its end, and its authority ends at {until:%FT%TZ}"


def _missing_names(leaf: x509.Certificate, target: Target) -> Iterator[str]:
    wanted = f"spiffe://{target.member}/{target.service}"
    try:
        if only_uri(leaf) != wanted:
            yield wanted
    except PeerNotTrusted:
        yield wanted
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        hosts = names.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        hosts = []
    if server_name(target.member, target.service) not in hosts:
        yield server_name(target.member, target.service)


# Whose public half the genesis names: the setting, and what the genesis has of it.
_KNOWN_KEYS: Mapping[str, tuple[Callable[[bytes], bytes], Callable[[Member], bytes]]] = {
    "MEMBER_KEY_FILE": (lambda public: public, lambda member: member.public_key),
    "VALIDATOR_KEY_FILE": (lambda public: public, lambda member: member.consensus_public_key),
    "NODE_KEY_FILE": (lambda public: address(public), lambda member: member.node_id),
}


def look_at_keys(target: Target) -> Iterator[Problem]:
    """Look at the key files that the settings name."""
    genesis = genesis_of(target)
    member = None if genesis is None else genesis.members[target.member]
    for variable in sorted(target.settings):
        setting = variable.removeprefix("CIPHERWARD_")
        path = target.path(setting)
        if not setting.endswith("_KEY_FILE") or path is None:
            continue
        for what, fix in _key_faults(setting, path, member):
            yield Problem("keys", target.name, what, fix)


def _key_faults(setting: str, path: Path, member: Member | None) -> Iterator[tuple[str, str]]:
    restore = f"Put the member's own key there, from its backup ({setting})."
    if setting not in _KNOWN_KEYS:
        try:
            mode = path.stat().st_mode
        except OSError as error:
            yield f"{path} cannot be read: {error.strerror}", restore
            return
        if mode & OTHERS:
            yield f"{path} is open to others", f"chmod 600 {path}"
        return
    try:
        seed = read_key(path, SEED_BYTES, setting.lower())
    except CannotStart as error:
        yield str(error), f"{restore} Its mode must be 0600."
        return
    spell, named = _KNOWN_KEYS[setting]
    if member is not None and spell(SigningKey(seed).public_key) != named(member):
        yield f"{path} is not the key of {member.id} that the genesis names", restore


def look_at_disk(target: Target, bytes_min: int = FREE_BYTES_MIN) -> Iterator[Problem]:
    """Look at the place of a process's state."""
    folder = target.path("DATA_DIR")
    if folder is None:
        return
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        yield Problem("disk", target.name, f"{folder} cannot be written", "Mount it writable.")
    free = shutil.disk_usage(folder).free
    if free < bytes_min:
        left = f"{folder} has {free // 1024**2} MiB left"
        yield Problem("disk", target.name, left, "Make room, or move the data folder.")


def look_at_ports(target: Target) -> Iterator[Problem]:
    """Try to bind what the process would bind."""
    for setting in PORT_SETTINGS:
        where = target.text(setting)
        host, _, port = where.rpartition(":")
        if not port.isdigit():
            continue
        host = host.strip("[]")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            socket.create_server((host, int(port)), family=family).close()
        except (OSError, OverflowError) as error:
            cause = os.strerror(error.errno or 0) if isinstance(error, OSError) else "no port"
            fix = f"Stop whoever uses it, or set CIPHERWARD_{setting}."
            yield Problem("ports", target.name, f"{where} cannot be bound: {cause}", fix)


def look_at_servers(target: Target) -> Iterator[Problem]:
    """Look for the consensus node's program, and for who listens for Kafka and MongoDB."""
    wanted: list[tuple[str, Parts, str]] = []
    if program := target.text("COMETBFT_BINARY"):
        found = shutil.which(program) or program
        fix = "Install CometBFT 0.40, or set CIPHERWARD_COMETBFT_BINARY."
        wanted.append(("consensus program", Parts(engine=COMETBFT, cometbft=found), fix))
    if brokers := target.text("KAFKA_BOOTSTRAP"):
        fix = "Start the brokers, or set CIPHERWARD_KAFKA_BOOTSTRAP."
        wanted.append(("kafka", Parts(feed=KAFKA, kafka=brokers), fix))
    if (file := target.path("MONGO_URI_FILE")) is not None and target.text("STORE") == MONGO:
        fix = "Start the database, or write its connection string into CIPHERWARD_MONGO_URI_FILE."
        try:
            uri = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            yield Problem("mongodb", target.name, f"{file} cannot be read", fix)
        else:
            wanted.append(("mongodb", Parts(store=MONGO, mongo=uri), fix))
    for check, parts, fix in wanted:
        try:
            require(parts)
        except (CometbftMissing, KafkaUnreachable, MongoUnreachable) as error:
            yield Problem(check, target.name, str(error), fix)
