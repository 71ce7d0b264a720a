"""Why a block is rejected: one class per cause, all of them `BlockRejected`."""

from __future__ import annotations

from cipherward_chain.errors import ChainError


class BlockRejected(ChainError):
    """A block is not what the chain has decided; the subclasses say why."""

    reason = "BLOCK_REJECTED"


class BlockMalformed(BlockRejected):
    """A part of the block is not the one serialised form of what it should be."""

    reason = "BLOCK_MALFORMED"


class ChainDiffers(BlockRejected):
    """A header is of another chain or another block protocol."""

    reason = "CHAIN_DIFFERS"


class HeightUnexpected(BlockRejected):
    """A header does not have the height that follows."""

    reason = "HEIGHT_UNEXPECTED"


class LinkBroken(BlockRejected):
    """A header is not the one that was certified, or does not name the one before it."""

    reason = "LINK_BROKEN"


class TimeNotIncreasing(BlockRejected):
    """A header's time is not after that of the header before it."""

    reason = "TIME_NOT_INCREASING"


class ValidatorsDiffer(BlockRejected):
    """A set of validators is not the one that was announced."""

    reason = "VALIDATORS_DIFFER"


class CommitRejected(BlockRejected):
    """A commit does not show that more than two thirds of the voting power signed the header."""

    reason = "COMMIT_REJECTED"


class DataDiffers(BlockRejected):
    """The transactions are not those of the header."""

    reason = "DATA_DIFFERS"


class ResultsDiffer(BlockRejected):
    """The results are not those that the next header certifies."""

    reason = "RESULTS_DIFFER"


class OrdersRejected(BlockRejected):
    """The orders are not those that the state proves."""

    reason = "ORDERS_REJECTED"


class TrustExpired(BlockRejected):
    """What was trusted is older than the trusting period: its signers answer for nothing now."""

    reason = "TRUST_EXPIRED"


class HeaderFromTheFuture(BlockRejected):
    """A header's time is further ahead of the local clock than clocks may differ."""

    reason = "HEADER_FROM_THE_FUTURE"


class TrustInsufficient(BlockRejected):
    """Not more than a third of the trusted power signed a header, and no header lies between."""

    reason = "TRUST_INSUFFICIENT"


class BisectionTooLong(BlockRejected):
    """The way to a header leads over more light blocks than a chain of ours can need."""

    reason = "BISECTION_TOO_LONG"
