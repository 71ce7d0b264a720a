"""Every certificate of an alliance is renewed while it runs: nothing restarts, and all goes on."""

from __future__ import annotations

import asyncio
import ssl
from functools import partial

from cryptography.hazmat.primitives.serialization import Encoding

from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward_client.alliance.layout import CLIENT, AllianceFolder
from cipherward_client.alliance.running import RunningAlliance
from cipherward_client.doctor.files import look_at_certificate
from cipherward_client.doctor.targets import targets_of
from cipherward_client.sdk.hospital import open_hospital
from cipherward_kit.devca import DevAuthority, save_identity
from cipherward_kit.own_identity import LOOK_SECONDS
from cipherward_kit.testing import eventually
from cipherward_kit.tls import Identity

SEEN_SECONDS = 4 * LOOK_SECONDS  # the next look, on a machine that is busy


def renew(folder: AllianceFolder, member: str, service: str) -> Identity:
    home = folder.member(member)
    renewed = DevAuthority.load(home.key(""), member).issue(service)
    save_identity(renewed, home.tls, service)
    return renewed


async def shows(address: str, identity: Identity) -> bool:
    host, _, port = address.rpartition(":")
    shown = await asyncio.to_thread(ssl.get_server_certificate, (host, int(port)))
    return ssl.PEM_cert_to_DER_cert(shown) == identity.leaf().public_bytes(Encoding.DER)


async def test_every_process_takes_a_renewed_certificate_and_the_alliance_goes_on(
    running: RunningAlliance, folder: AllianceFolder
) -> None:
    restarts = running.supervisor.restarts
    async with open_hospital(folder, "hospital-b") as hospital:
        ledger = hospital.alliance.ledger
        before = (await ledger.GetStatus(pb.GetStatusRequest())).height
        targets = targets_of(folder)
        renewed = {
            target.name: await asyncio.to_thread(renew, folder, target.member, target.service)
            for target in targets
        }
        client = await asyncio.to_thread(renew, folder, "hospital-b", CLIENT)
        for target in targets:
            for setting in ("LISTEN", "HOLDER_LISTEN"):
                await eventually(
                    partial(shows, target.text(setting), renewed[target.name]),
                    seconds=SEEN_SECONDS,
                    what=f"{target.name} with its new certificate",
                )
        shown = hospital.alliance.identity
        assert shown is not None
        await eventually(
            lambda: shown.current == client, seconds=SEEN_SECONDS, what="the new client"
        )

        async def grown() -> bool:
            return (await ledger.GetStatus(pb.GetStatusRequest())).height > before

        await eventually(grown, seconds=60, what="a block: its services call each other")
    assert [found for target in targets for found in look_at_certificate(target)] == []
    assert running.supervisor.restarts == restarts
