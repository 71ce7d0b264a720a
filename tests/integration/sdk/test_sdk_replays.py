"""`cipherward contract replay` against a chain that real services have made."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.cli.commands import run
from cipherward_client.sdk.consents import ConsentTerms, grant_consent, revoke_consent
from cipherward_client.sdk.errors import ActRefused
from cipherward_client.sdk.records import WalletOwner, get_record, put_record
from cipherward_client.wallet.file import save_wallet

Town = Any  # conftest's; test modules cannot import it
PASSPHRASE = "a passphrase"


async def history(town: Town, wallet: Path) -> tuple[str, str]:
    """Let a consent be granted, used, refused and revoked; return its id, and its record's."""
    alliance, patient = town.alliance, await town.person("a")
    reader = await town.person("b", "staff", "clinician")
    stranger = await town.person("c", "staff", "clinician")
    owner = WalletOwner(alliance, patient)
    record = await put_record(await town.hospital("a"), b"content", owner)
    terms = ConsentTerms(record.record_id, "hospital-b", int(alliance.now()) + 3600)
    given = await grant_consent(alliance, patient, terms)
    assert (await get_record(alliance, reader, record.record_id, given.grant_id)).content
    with pytest.raises(ActRefused):
        await get_record(alliance, stranger, record.record_id, given.grant_id)
    await revoke_consent(alliance, patient, given.grant_id)
    with pytest.raises(ActRefused):
        await get_record(alliance, reader, record.record_id, given.grant_id)
    save_wallet(wallet, patient, PASSPHRASE)
    return given.grant_id.hex(), record.record_id.hex()


async def test_every_decision_of_a_consent_is_made_again(
    town: Town, folder: AllianceFolder, capsys: Any, tmp_path: Path
) -> None:
    wallet = tmp_path / "patient.wallet"
    consent, record = await history(town, wallet)
    passphrase = tmp_path / "passphrase"
    passphrase.write_text(PASSPHRASE + "\n")

    async def replayed(*asker: str) -> dict[str, Any]:
        command = ["contract", "replay", consent, "--alliance", str(folder.root), "--json"]
        status = await asyncio.to_thread(run, [*command, *asker])  # it brings its own loop
        told = capsys.readouterr()
        assert status == 0, told.out + told.err
        return json.loads(told.out)

    found = await replayed(
        *("--wallet", str(wallet)),
        *("--record", record),
        *("--passphrase-file", str(passphrase)),
    )
    assert found["differing"] == []
    steps = found["steps"]
    assert all(step["same"] for step in steps)
    # What a busy ledger has not answered in time is handed to another's: the same bytes, once more.
    once = [step for step in steps if step["rule"] != "TRANSACTION_REPLAYED"]
    assert [(step["act"].split(" ", 2)[2], step["rule"], step["state"]) for step in once] == [
        ("begins consent/1", "", "active"),
        ("takes open", "", "active"),
        (f"order {steps[1]['height']}/0 done", "", "active"),
        ("takes open", "POLICY_DENIED", "active"),
        ("takes revoke", "", "revoked"),
        ("takes open", "STATE_FORBIDS", "revoked"),
    ]
    assert [step["policies"] for step in once] == [
        ["owner-grants"],
        ["grantee-opens"],
        [],  # the custodian's report
        ["not-the-grantee"],
        ["owner-revokes"],
        [],  # its state forbids it, before any policy is asked
    ]
    assert await replayed("--member", "hospital-a") == found
