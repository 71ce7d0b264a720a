"""What a caller of this service may be refused; refused acts are results: see `refusals`."""

from __future__ import annotations

import grpc

from cipherward_kit.errors import CannotStart, ServiceError


class GenesisMalformedError(ServiceError):
    """InitChain got bytes that are no usable genesis."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "GENESIS_MALFORMED"


class GenesisDiffers(ServiceError):
    """The chain was begun with another genesis, or this service was configured with another."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "GENESIS_DIFFERS"


class ChainNotInitialised(ServiceError):
    """There is no state yet: InitChain comes first."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "CHAIN_NOT_INITIALISED"


class HeightGap(ServiceError):
    """The block is not the one after the committed block."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "HEIGHT_GAP"

    @classmethod
    def between(cls, height: int, committed: int) -> HeightGap:
        """Return the refusal of `height` when `committed` is the committed one."""
        text = f"block {height} does not follow block {committed}"
        return cls(text, height=height, committed=committed)


class AnotherBlock(ServiceError):
    """Another block was executed or committed at that height."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "ANOTHER_BLOCK"


class BlockTooLarge(ServiceError):
    """The transactions are more than a block may hold."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "BLOCK_TOO_LARGE"


class MachineVersionUnsupported(ServiceError):
    """The members have voted a machine version that this process does not execute."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "MACHINE_VERSION_UNSUPPORTED"

    @classmethod
    def at(cls, height: int, version: int, newest: int) -> MachineVersionUnsupported:
        """Return the refusal of the block at `height`, which `version` executes."""
        text = f"block {height} is executed by machine version {version}, this process has {newest}"
        return cls(text, height=height, version=version, newest=newest)


class NotExecuted(ServiceError):
    """The block after the committed one has not been executed."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "NOT_EXECUTED"


class BlockNotKept(ServiceError):
    """The results of that block are not kept (any more)."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "BLOCK_NOT_KEPT"


class SnapshotUnknown(ServiceError):
    """There is no such snapshot (any more), or no such chunk of it."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "SNAPSHOT_UNKNOWN"


class StateNotEmpty(ServiceError):
    """The chain has begun here: a snapshot would replace a state that blocks have made."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "STATE_NOT_EMPTY"


class SnapshotRefused(ServiceError):
    """A snapshot or a chunk is not what was offered or certified; nothing of it is kept."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "SNAPSHOT_REFUSED"


class NoSnapshotOffered(ServiceError):
    """No snapshot is being restored."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "NO_SNAPSHOT_OFFERED"


class InstanceUnknown(ServiceError):
    """No contract has that id."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "INSTANCE_UNKNOWN"


class PageTokenMalformed(ServiceError):
    """The page token is not one that this service gave."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "PAGE_TOKEN_MALFORMED"


class TooManyKeys(ServiceError):
    """More state keys than one answer proves."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "TOO_MANY_KEYS"


class SourceTooLarge(ServiceError):
    """A template's or a scenario's source is longer than what is looked at."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "SOURCE_TOO_LARGE"


class ScenarioRefused(ServiceError):
    """A scenario is not of the form, or cannot be played; the text says where."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "SCENARIO_MALFORMED"


class DraftMalformed(ServiceError):
    """A template that may not be deployed cannot be played; ValidateContract says all of why."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "TEMPLATE_MALFORMED"


class StateCorrupt(CannotStart):
    """The stored state does not have the root that was committed."""

    exit_status = 40

    @classmethod
    def at(cls, height: int) -> StateCorrupt:
        """Return the refusal to start from the state of block `height`."""
        return cls(
            f"the stored state of block {height} does not have the root that was committed; "
            "restore this service's data folder from a backup"
        )


class StateOfAnotherGenesis(CannotStart):
    """The data folder holds a chain that was begun with another genesis."""

    exit_status = 41


class PurposeUnknown(ServiceError):
    """The members share no keys for that purpose."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "PURPOSE_UNKNOWN"


class GroupKeyUnknown(ServiceError):
    """There is no shared key of that epoch (yet)."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "GROUP_KEY_UNKNOWN"


class TemplateUnknown(ServiceError):
    """The chain has no such template."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "TEMPLATE_UNKNOWN"
