"""Authorised reads, refused in the words of the protos."""

from __future__ import annotations

import grpc
import pytest

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward_chain.authorization import PseudonymSigner
from cipherward_chain.reads import ReadGate, build_read
from cipherward_chain.wire import NANOS
from cipherward_member.errors import ReadMalformed, ReadRejected
from cipherward_member.reads import reader_of

NOW = 1_800_000_000
METHOD = "/cipherward.storage.v1.StorageService/GetRecord"
SIGNER = PseudonymSigner(b"s" * 32)


def gate() -> ReadGate:
    return ReadGate("test-chain", lambda: NOW)


def a_read(object_id: bytes = bytes(16), age_seconds: int = 0) -> chain_pb.AuthorizedRead:
    time_ns = (NOW - age_seconds) * NANOS
    return build_read(METHOD, object_id, chain_id="test-chain", signer=SIGNER, time_ns=time_ns)


def test_a_good_read_says_who_reads_and_is_good_once() -> None:
    checks, read = gate(), a_read()
    assert reader_of(checks, read, METHOD, 16).public_key == SIGNER.public_key
    with pytest.raises(ReadRejected):
        reader_of(checks, read, METHOD, 16)


def test_every_read_that_is_not_authorised_looks_the_same() -> None:
    said: set[tuple[grpc.StatusCode, str, str]] = set()
    spoilt = a_read()
    spoilt.body = a_read().body
    for read, method in ((a_read(age_seconds=61), METHOD), (spoilt, METHOD), (a_read(), "/else")):
        with pytest.raises(ReadRejected) as caught:
            reader_of(gate(), read, method)
        said.add((caught.value.code, caught.value.reason, str(caught.value)))
    assert len(said) == 1


@pytest.mark.parametrize("read", [chain_pb.AuthorizedRead(body=b"?"), a_read(bytes(15))])
def test_a_read_out_of_form_is_malformed(read: chain_pb.AuthorizedRead) -> None:
    with pytest.raises(ReadMalformed):
        reader_of(gate(), read, METHOD, 16)


def test_a_service_may_look_at_the_object_itself() -> None:
    assert reader_of(gate(), a_read(b"record"), METHOD).object == b"record"
