"""Jobs without secrets: what runs, what is on the queue, and what a worker takes from it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from cipherward_chain.batches import packed
from cipherward_chain.canonical import encode
from cipherward_compute.arithmetic.columns import proven_columns
from cipherward_compute.arithmetic.evaluations import Evaluation, ProductTerm, products_of
from cipherward_compute.arithmetic.inputs import ContributionRefused, Encryption, Expected
from cipherward_compute.jobs import kinds
from cipherward_compute.jobs.config import WorkerConfig
from cipherward_compute.jobs.intake import Intake, Job
from cipherward_compute.jobs.kinds import JobMalformed, Kind, run_job
from cipherward_compute.jobs.messages import (
    PART_BYTES_MAX,
    PARTS_MAX,
    Assembly,
    JobHead,
    NotOurs,
    ReplyHead,
    Seal,
    digests_of,
    parse_part,
    part_messages,
)
from cipherward_compute.jobs.public import CircuitRefused, JobCrashed, PublicArithmetic
from cipherward_compute.jobs.queue_reader import QueueReader, Record
from cipherward_threshold.evaluation.relinearisation import (
    combine_relin_key,
    relin_first,
    relin_second,
)
from cipherward_threshold.keys import combine_public_key, member_secret
from cipherward_threshold.proofs.contributions import encrypt_contribution

SEAL = Seal(b"k" * 32, "chain-1", "hospital-a")
JOB = b"j" * 16
NOW = 1_800_000_000.0
LATER_MS = int((NOW + 60) * 1000)
PAYLOAD = b"ciphertexts" * 200_000  # three parts
DIGESTS = digests_of(PAYLOAD)
HEAD = JobHead(JOB, 1, "add_batches", LATER_MS, DIGESTS)
SETTINGS: dict[str, Any] = {
    "member": "hospital-a",
    "genesis_file": Path("genesis.json"),
    "jobs_key_file": Path("k"),
    "kafka_bootstrap": "b:9092",
}
PORTS = {"health_listen": "0.0.0.0:9001", "metrics_listen": "0.0.0.0:9002"}


class Sharing(QueueReader):
    """A share of the queue that a test changes."""

    def __init__(self) -> None:
        self.times = 1

    @property
    def sharings(self) -> int:
        return self.times


@pytest.fixture
def sharing() -> Sharing:
    return Sharing()


@pytest.fixture
def intake() -> Intake:
    return Intake(SEAL, lambda: NOW)


def records(*messages: bytes, partition: int = 3) -> list[Record]:
    return [Record(partition, offset, message) for offset, message in enumerate(messages)]


def job_messages(head: JobHead = HEAD, payload: bytes = PAYLOAD) -> list[bytes]:
    return [SEAL.job(head), *part_messages(head.id, head.attempt, payload)]


def taken(intake: Intake, sharing: QueueReader, *messages: bytes) -> list[Job]:
    intake.add(sharing, records(*messages))
    found: list[Job] = []
    while (job := intake.next()) is not None:
        found.append(job)
    return found


def test_a_head_opens_to_what_was_sealed() -> None:
    assert SEAL.open_job(SEAL.job(HEAD)) == HEAD
    reply = ReplyHead(JOB, 2, "done", DIGESTS)
    assert SEAL.open_reply(SEAL.reply(reply)) == reply


@pytest.mark.parametrize(
    "other",
    [
        Seal(b"x" * 32, "chain-1", "hospital-a"),
        Seal(b"k" * 32, "chain-2", "hospital-a"),
        Seal(b"k" * 32, "chain-1", "hospital-b"),
    ],
    ids=["key", "chain", "member"],
)
def test_a_head_of_another_deployment_is_not_ours(other: Seal) -> None:
    with pytest.raises(NotOurs, match="not sealed"):
        SEAL.open_job(other.job(HEAD))
    with pytest.raises(NotOurs, match="not sealed"):
        SEAL.open_reply(other.reply(ReplyHead(JOB, 1, "taken")))


def test_a_head_of_which_any_octet_is_changed_is_not_ours() -> None:
    message = SEAL.job(HEAD)
    for at in range(len(message)):
        changed = message[:at] + bytes((message[at] ^ 1,)) + message[at + 1 :]
        with pytest.raises(NotOurs):
            SEAL.open_job(changed)


def test_a_job_cannot_be_given_back_as_its_own_reply() -> None:
    with pytest.raises(NotOurs, match="not sealed"):
        SEAL.open_reply(SEAL.job(HEAD))


def test_a_payload_comes_out_of_its_parts_in_any_order() -> None:
    assembly = Assembly(DIGESTS)
    for message in [*reversed(list(part_messages(JOB, 1, PAYLOAD)))]:
        assert not assembly.complete
        assembly.add(parse_part(message))
    assert assembly.payload() == PAYLOAD


def test_a_part_that_no_head_names_is_refused() -> None:
    assembly, (first, *_) = Assembly(DIGESTS), part_messages(JOB, 1, PAYLOAD)
    with pytest.raises(NotOurs, match="no head names"):
        assembly.add(parse_part(first[:-1] + b"?"))
    assert not assembly.complete


def test_the_longest_payload_fits_its_head() -> None:
    head = JobHead(JOB, 3, "add_batches", LATER_MS, (b"d" * 32,) * PARTS_MAX)
    assert SEAL.open_job(SEAL.job(head)) == head
    more = JobHead(JOB, 3, "add_batches", LATER_MS, (b"d" * 32,) * (PARTS_MAX + 1))
    with pytest.raises(NotOurs, match="256"):
        SEAL.open_job(SEAL.job(more))


def test_a_message_fits_a_broker_with_default_settings() -> None:
    longest = max(map(len, part_messages(JOB, 1, b"x" * (PART_BYTES_MAX + 1))))
    assert longest + 512 < 1024 * 1024


def test_a_whole_job_is_taken_with_the_place_behind_it(intake: Intake, sharing: Sharing) -> None:
    (job,) = taken(intake, sharing, *job_messages())
    assert (job.head, job.arguments) == (HEAD, PAYLOAD)
    assert job.last.offset == len(DIGESTS)


def test_what_anybody_writes_between_the_parts_changes_nothing(
    intake: Intake, sharing: Sharing
) -> None:
    head, *parts = job_messages()
    forged = Seal(b"x" * 32, "chain-1", "hospital-a").job(HEAD)
    junk = [b"", b"\1", b"\2", b"\2short", forged, next(part_messages(JOB, 1, b"other"))]
    messages = [head, *(message for part in parts for message in (*junk, part))]
    (job,) = taken(intake, sharing, *messages)
    assert job.arguments == PAYLOAD


def test_a_job_that_is_taken_is_not_taken_again(intake: Intake, sharing: Sharing) -> None:
    (job,) = taken(intake, sharing, *job_messages())
    intake.remember(job.head)
    assert taken(intake, sharing, *job_messages()) == []
    again = JobHead(JOB, 2, HEAD.kind, LATER_MS, DIGESTS)  # but the owner may ask again
    assert len(taken(intake, sharing, *job_messages(again))) == 1


def test_a_late_job_is_nobodys(intake: Intake, sharing: Sharing) -> None:
    late = JobHead(JOB, 1, HEAD.kind, int(NOW * 1000) - 1, DIGESTS)
    assert taken(intake, sharing, *job_messages(late)) == []


def test_a_job_that_its_owner_did_not_finish_gives_way_to_the_next(
    intake: Intake, sharing: Sharing
) -> None:
    other = JobHead(b"o" * 16, 1, HEAD.kind, LATER_MS, DIGESTS)
    found = taken(intake, sharing, *job_messages()[:2], *job_messages(other))
    assert [job.head for job in found] == [other]


def test_partitions_that_are_shared_out_anew_begin_from_their_commit(
    intake: Intake, sharing: Sharing
) -> None:
    head, *parts = job_messages()
    assert taken(intake, sharing, head, *parts[:-1]) == []
    sharing.times += 1
    assert taken(intake, sharing, parts[-1]) == []  # its beginning may be another worker's now
    assert len(taken(intake, sharing, head, *parts)) == 1


def test_jobs_of_two_partitions_do_not_mix(intake: Intake, sharing: Sharing) -> None:
    other = JobHead(b"o" * 16, 1, HEAD.kind, LATER_MS, DIGESTS)
    one, two = records(*job_messages()), records(*job_messages(other), partition=4)
    intake.add(sharing, [record for pair in zip(one, two, strict=True) for record in pair])
    found = [intake.next(), intake.next()]
    assert [job and job.head for job in found] == [HEAD, other]


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("make_coffee", b""),
        ("add_batches", b"\xff"),
        ("add_batches", encode({"profile": "additive-1"})),
        ("add_batches", encode({"profile": "additive-1", "batches": ["text"]})),
        (
            "multiply_columns",
            encode({"profile": "product-1", "evaluation_key": b"", "columns": [7], "terms": []}),
        ),
    ],
)
def test_what_is_no_job_is_malformed(kind: str, arguments: bytes) -> None:
    with pytest.raises(JobMalformed):
        run_job(kind, arguments)


def test_no_kind_of_job_takes_a_seed_a_key_share_or_rows() -> None:
    source = ast.parse(Path(kinds.__file__).read_text(encoding="utf-8"))
    names = {node.value for node in ast.walk(source) if isinstance(node, ast.Constant)}
    taken_by_name = {name for name in names if isinstance(name, str) and name.isidentifier()}
    assert not {name for name in taken_by_name if any(w in name for w in ("seed", "secret", "row"))}
    assert "key_share" not in taken_by_name


class Answering:
    """A runner whose answer a test chooses."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    async def run(self, kind: Kind, arguments: bytes) -> bytes:
        return self._answer


@pytest.mark.parametrize("answer", [b"", b"junk", encode({"given": 7}), encode({"given": [b"a"]})])
async def test_an_answer_out_of_form_is_a_crash_and_no_result(answer: bytes) -> None:
    with pytest.raises(JobCrashed):
        await PublicArithmetic(Answering(answer)).sums_of("additive-1", [])


@pytest.mark.slow
async def test_columns_are_multiplied_as_in_this_process() -> None:
    context, seeds = b"a ceremony", (b"1" * 32, b"2" * 32)
    members = [member_secret("product-1", seed, context) for seed in seeds]
    shares = [member.public_key_share() for member in members]
    public_key = combine_public_key("product-1", context, shares)
    firsts = [relin_first(member) for member in members]
    seconds = [relin_second(member, public_key, firsts) for member in members]
    key = combine_relin_key("product-1", public_key, firsts, seconds)
    made = encrypt_contribution("product-1", public_key, [[1, 2], [3, 4]], context=b"c")
    arithmetic, columns = PublicArithmetic(Local()), [[one] for one in made.ciphertexts]
    evaluation = Evaluation("product-1", key, columns)
    terms = [ProductTerm(0, 1, 1), ProductTerm(1, 1, 2)]
    assert await arithmetic.products_of(evaluation, terms) == products_of(evaluation, terms)
    other = Evaluation("product-1", key, [[b"no ciphertext"]])
    with pytest.raises(CircuitRefused):
        await arithmetic.products_of(other, [ProductTerm(0, 0, 1)])


@pytest.mark.slow
async def test_columns_are_verified_like_any_batch() -> None:
    context = b"a ceremony"
    share = member_secret("product-1", b"1" * 32, context).public_key_share()
    key = combine_public_key("product-1", context, [share])
    encryption = Encryption("product-1", key, b"column 1 of hospital-b")
    columns, proof = proven_columns(encryption, [[1, 2], [3, 4]])
    batch, arithmetic = packed(columns, (proof,)), PublicArithmetic(Local())
    await arithmetic.verify_batch(Expected("hospital-b", encryption, 2, zeros=False), batch)
    other = Encryption("product-1", key, b"column 1 of hospital-c")
    refused = [(encryption, packed(columns[:1], (proof,))), (other, batch)]
    for under, octets in refused:
        with pytest.raises(ContributionRefused, match="hospital-b"):
            await arithmetic.verify_batch(Expected("hospital-b", under, 2, zeros=False), octets)


class Local:
    """Runs jobs where they are asked for."""

    async def run(self, kind: Kind, arguments: bytes) -> bytes:
        return run_job(kind, arguments)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"jobs_key_file": None}, "jobs_key_file"),
        ({"kafka_bootstrap": None}, "kafka needs kafka_bootstrap"),
        ({"kafka_security": "sasl_ssl"}, "sasl_ssl needs kafka_username and kafka_password_file"),
        ({"profile": "production", **PORTS}, "kafka_security: plaintext shows jobs"),
        ({"profile": "production", "kafka_security": "ssl"}, "health_listen: port 0"),
    ],
)
def test_half_of_a_queue_is_refused_by_name(given: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        WorkerConfig.model_validate({**SETTINGS, **given})


def test_a_worker_needs_no_feed_no_folder_and_no_secret_but_the_queues() -> None:
    whole = {**SETTINGS, **PORTS, "profile": "production", "kafka_security": "ssl"}
    assert WorkerConfig.model_validate(whole).workers == 0
    callers = {"listen", "holder_listen", "tls_certificate", "tls_private_key", "rpcs_max"}
    own = {"data_dir", "feed", "member_key_file", "ceremony_key_file", "data_key_file"}
    assert not (callers | own) & set(WorkerConfig.model_fields)
