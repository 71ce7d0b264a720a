"""The command line records traces where the environment says so, and nowhere else."""

from __future__ import annotations

import pytest

from cipherward_client.alliance.supervisor import child_environment
from cipherward_client.cli.context import run
from cipherward_client.cli.faults import TracesMisconfigured
from cipherward_kit import tracing

ENDPOINT = "CIPHERWARD_OTLP_ENDPOINT"
NOBODY = "127.0.0.1:1"


async def recorded() -> tuple[bool, bool]:
    """Return whether traces are recorded, and whether this is part of one."""
    return tracing.on(), tracing.current() is not None


def test_without_a_collector_a_command_records_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENDPOINT, raising=False)
    assert run(recorded()) == (False, False)


@pytest.mark.slow  # at its end it tries for two seconds to send what it has
def test_a_command_is_one_trace_and_a_dead_collector_does_not_fail_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(ENDPOINT, NOBODY)
    assert run(recorded()) == (True, True)
    assert not tracing.on()


def test_a_collector_that_is_no_address_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, "https://collector")
    with pytest.raises(TracesMisconfigured, match=ENDPOINT) as refused:
        run(recorded())
    assert "https://collector" not in str(refused.value)


def test_the_processes_of_an_alliance_send_their_traces_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(ENDPOINT, NOBODY)
    monkeypatch.setenv("CIPHERWARD_MEMBER", "hospital-z")  # of whoever started us
    environment = child_environment({"CIPHERWARD_MEMBER": "hospital-a"})
    assert environment[ENDPOINT] == NOBODY
    assert environment["CIPHERWARD_MEMBER"] == "hospital-a"
    assert "CIPHERWARD_DATA_DIR" not in environment
