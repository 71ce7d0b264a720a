"""Several consents that are one decision: all of them stand, or none does."""

from __future__ import annotations

from collections.abc import Sequence

from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.consents import (
    ConsentTerms,
    GrantedConsent,
    grant_consent,
    revoke_consent,
)
from cipherward_client.wallet.wallet import Wallet


async def grant_consents(
    alliance: Alliance, wallet: Wallet, terms: Sequence[ConsentTerms]
) -> list[GrantedConsent]:
    """Grant every consent of one decision, in the order given.

    Each record's owner is another pseudonym, so each consent is a transaction of its own.

    Raises:
        ActRefused, ClientError: one was not granted; those before it were revoked again. What
            could not be revoked is in the wallet and can be.
    """
    granted: list[GrantedConsent] = []
    try:
        for one in terms:
            granted.append(await grant_consent(alliance, wallet, one))
    except BaseException:
        for done in granted:
            await revoke_consent(alliance, wallet, done.grant_id)
        raise
    return granted
