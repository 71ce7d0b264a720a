"""Presentations verified a hundred at a time: processor time of one.

Every presentation is of another holder, in a scope of its own and bound to other bytes, as the
ledger's admission meets them when patients register pseudonyms. The peer is the same presentations
verified one by one. Holders prove in another process: what a prover keeps of its scopes would
spare the verifier the work of hashing them.
"""

from __future__ import annotations

import secrets
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from bench.results import Row, Spread, Target
from cipherward_anoncred.credential import Credential
from cipherward_anoncred.issuance import HolderSecret, grant_first, request_first
from cipherward_anoncred.presentation import present
from cipherward_anoncred.schema import attribute, header_of
from cipherward_anoncred.scheme import IssuerKey, generate_issuer_key
from cipherward_anoncred.verification import Claim, verify, verify_batch

NAME = "presentations"
BATCH = 100
RUNS = 15
SINGLY = 10  # of the same batch, verified one by one in each run
ISSUER, EPOCH = "hospital-a", 7
TARGET = Target(1.5, at_least=False)


def measure() -> list[Row]:
    """Return the row."""
    with ProcessPoolExecutor(1, get_context("spawn")) as holders:
        warm, *batches = holders.submit(proven_batches, 2 * RUNS + 1).result()
    _verify_batch(warm)  # tables of the issuer and the schema, which a service has made long ago
    together, singly = list[float](), list[float]()
    for first, second in zip(batches[::2], batches[1::2], strict=True):
        together.append(_processor_ms(lambda jobs=first: _verify_batch(jobs)) / BATCH)
        singly.append(_processor_ms(lambda jobs=second: _verify_singly(jobs[:SINGLY])) / SINGLY)
    value, alone = statistics.median(together), statistics.median(singly)
    return [
        Row(
            NAME,
            value,
            "ms CPU each",
            Spread.extremes(together),
            TARGET,
            f"one by one, {alone:.2f} ms",
            alone / value,
        )
    ]


def proven_batches(count: int) -> list[list[tuple[Claim, bytes]]]:
    """Return `count` batches of claims with their presentations, by BATCH holders each time."""
    key = generate_issuer_key(secrets.token_bytes(32))
    credentials = [_credential(key) for _ in range(BATCH)]
    return [[_job(credential) for credential in credentials] for _ in range(count)]


def _credential(key: IssuerKey) -> Credential:
    session, header = secrets.token_bytes(16), header_of("patient", ISSUER, EPOCH)
    attributes = (attribute("role", "text", "patient"),)
    request, pending = request_first(
        HolderSecret.generate(), issuer=ISSUER, header=header, session=session
    )
    grant = grant_first(
        key, request, issuer=ISSUER, header=header, session=session, attributes=attributes
    )
    return pending.accept(grant.octets, key.public, attributes)


def _job(credential: Credential) -> tuple[Claim, bytes]:
    scope = f"record:{secrets.token_hex(16)}".encode()
    context = secrets.token_bytes(200)  # about a transaction's body
    proof = present(credential, disclosed=[], scope=scope, context=context)
    claim = Claim.under_schema(credential.public_key, credential.header, (), scope, context)
    return claim, proof


def _verify_batch(jobs: Sequence[tuple[Claim, bytes]]) -> None:
    if not all(verify_batch(jobs)):
        raise AssertionError("a good presentation was refused")


def _verify_singly(jobs: Sequence[tuple[Claim, bytes]]) -> None:
    for claim, proof in jobs:
        verify(claim, proof)


def _processor_ms(work: Callable[[], None]) -> float:
    started = time.process_time()
    work()
    return 1000 * (time.process_time() - started)
