"""Whatever fails, a person is told a reason, one cause and one fix."""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import grpc
import pytest
from grpc import aio
from grpc.aio import Metadata

import cipherward_anoncred
import cipherward_chain
import cipherward_client
import cipherward_threshold
from cipherward.rpc_rules import RULES
from cipherward_client.sdk.advice import ADVICE, UNEXPECTED
from cipherward_client.sdk.errors import ClientError, explained, explaining, reasons_of
from cipherward_client.wallet.errors import WalletPassphraseWrong
from cipherward_kit.boundary import BOUNDARY_ERRORS
from cipherward_kit.errors import DETAILS_KEY, CannotStart, ServiceError
from cipherward_kit.tls import CertificateUnreadable, PeerNotTrusted

# Command line, demonstration and `helm test` explain themselves; they use the SDK, not it them.
PEOPLES_OWN = ("cipherward_client.cli", "cipherward_client.demo", "cipherward_client.trial")


def modules_of(package: ModuleType) -> Iterator[ModuleType]:
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.startswith(PEOPLES_OWN):
            yield importlib.import_module(module.name)


def error_classes() -> set[type[Exception]]:
    """Every exception that the SDK, or a library that it calls, defines for its callers."""
    packages = (cipherward_anoncred, cipherward_chain, cipherward_client, cipherward_threshold)
    found: set[type[Exception]] = {PeerNotTrusted, CertificateUnreadable, CannotStart}
    for module in (module for package in packages for module in modules_of(package)):
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Exception):
                found.add(value)
    return {one for one in found if one.__module__.startswith("cipherward_")} - {ServiceError}


def test_every_reason_of_every_rpc_has_advice() -> None:
    promised = {error.split("/")[1] for rule in RULES.values() for error in rule.errors}
    assert promised | {error.reason for error in BOUNDARY_ERRORS} <= set(ADVICE)


@pytest.mark.slow
def test_every_error_on_this_side_has_advice() -> None:
    classes = {one for one in error_classes() if not issubclass(one, ClientError)}
    assert len(classes) > 80  # the walk found the libraries
    known = {
        one.__qualname__: [reason for reason in reasons_of(one) if reason in ADVICE]
        for one in classes
    }
    assert not [name for name, reasons in known.items() if not reasons or UNEXPECTED in reasons]


@pytest.mark.parametrize("reason", sorted(ADVICE))
def test_advice_is_two_sentences(reason: str) -> None:
    for sentence in (ADVICE[reason].cause, ADVICE[reason].fix):
        assert sentence.endswith(".")
        assert sentence[0].isupper() or sentence[0] == "`"
        assert len(sentence) <= 120


def rpc_error(code: grpc.StatusCode, refusal: ServiceError | None = None) -> aio.AioRpcError:
    trailers = Metadata()
    if refusal is not None:
        trailers = Metadata((DETAILS_KEY, refusal.details("test.cipherward")))
    return aio.AioRpcError(code, Metadata(), trailers, details=str(refusal or ""))


class Stale(ServiceError):
    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "CHAIN_STALE"


def test_a_servers_refusal_keeps_its_reason_and_words() -> None:
    error = explained(rpc_error(Stale.code, Stale("no block for 40 s")))
    assert (error.reason, error.detail) == ("CHAIN_STALE", "no block for 40 s")
    assert error.cause == ADVICE["CHAIN_STALE"].cause


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, "SERVICE_AWAY"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"),
        (grpc.StatusCode.INTERNAL, "SERVICE_FAILED"),
        (grpc.StatusCode.UNIMPLEMENTED, "NOT_SERVED"),
    ],
)
def test_a_refusal_without_a_reason_gets_one(code: grpc.StatusCode, reason: str) -> None:
    assert explained(rpc_error(code)).reason == reason


def test_what_nobody_has_foreseen_tells_its_kind_and_no_content() -> None:
    error = explained(KeyError("a secret"))
    assert (error.reason, error.detail) == (UNEXPECTED, "KeyError")


def test_a_group_of_failures_is_told_as_its_first() -> None:
    group = ExceptionGroup("", [ExceptionGroup("", [WalletPassphraseWrong("no")]), ValueError()])
    assert explained(group).reason == "WALLET_PASSPHRASE_WRONG"


def test_a_missing_file_is_named_by_its_path() -> None:
    with pytest.raises(ClientError) as told, explaining():
        open("/nowhere/wallet").close()
    assert told.value.reason == "FILE_UNREADABLE"
    assert "/nowhere/wallet" in told.value.detail


def test_a_cancellation_stays_one() -> None:
    with pytest.raises(asyncio.CancelledError), explaining():
        raise asyncio.CancelledError
