"""The story's staff: people of a hospital, each with a wallet and a credential of their own."""

from __future__ import annotations

from dataclasses import dataclass

from cipherward_client.demo.cast import Cast
from cipherward_client.sdk.credentials import admit_holder, obtain_credential, register_duty
from cipherward_client.wallet.scopes import STAFF
from cipherward_client.wallet.wallet import Wallet

CLINICIAN, OFFICER = "clinician", "dpo"


@dataclass(frozen=True, slots=True)
class Staff:
    """A member of a hospital's staff, on duty."""

    member: str
    wallet: Wallet


async def on_duty(cast: Cast, member: str, role: str = CLINICIAN) -> Staff:
    """Return a new member of a hospital's staff, whose key for this epoch is registered."""
    wallet = Wallet.create(cast.alliance.chain_id)
    code = await admit_holder(cast.hospitals[member], STAFF, role=role)
    await obtain_credential(cast.alliance, wallet, member, code)
    await register_duty(cast.alliance, wallet, member)
    return Staff(member, wallet)
