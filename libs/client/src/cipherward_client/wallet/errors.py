"""What a wallet refuses, one class per cause."""

from __future__ import annotations

from typing import ClassVar


class WalletError(ValueError):
    """A wallet cannot do what was asked."""

    reason: ClassVar[str] = "WALLET_ERROR"


class WalletFileMissing(WalletError):
    """There is no file of that name, or it cannot be read."""

    reason = "WALLET_FILE_MISSING"


class WalletFileMalformed(WalletError):
    """The file is not a wallet's, or it was damaged."""

    reason = "WALLET_FILE_MALFORMED"


class WalletFileTooWeak(WalletError):
    """The file asks for less, or for far more, work on the passphrase than is allowed."""

    reason = "WALLET_FILE_TOO_WEAK"


class WalletPassphraseWrong(WalletError):
    """The passphrase does not open the file (or somebody has rewritten it)."""

    reason = "WALLET_PASSPHRASE_WRONG"


class WalletPassphraseEmpty(WalletError):
    """A wallet is not saved under an empty passphrase."""

    reason = "WALLET_PASSPHRASE_EMPTY"


class WalletOfAnotherChain(WalletError):
    """The wallet's keys are of another alliance."""

    reason = "WALLET_OF_ANOTHER_CHAIN"


class CredentialMissing(WalletError):
    """The wallet holds no credential for that scope."""

    reason = "CREDENTIAL_MISSING"


class EntryUnknown(WalletError):
    """The wallet knows no record, grant or study of that id."""

    reason = "ENTRY_UNKNOWN"


class WalletInUse(WalletError):
    """Another program works with the wallet: two that write it would lose what one has learnt."""

    reason = "WALLET_IN_USE"
