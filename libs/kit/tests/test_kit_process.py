"""A process from its environment to its exit status: start, refusals, drain, death."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2

from cipherward_kit.channels import open_channel
from cipherward_kit.errors import reason_of
from cipherward_kit.process import CHECK
from cipherward_kit.testing import TestAlliance, eventually
from cipherward_kit.tls import Identity, TrustRegistry

pytestmark = pytest.mark.slow  # each test starts a Python process

SCRIPT = Path(__file__).with_name("kit_echo_process.py")
ECHO = "/cipherward.echo.v1.EchoService/"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def bytes_method(channel: Any, kind: str, method: str) -> Any:
    """Return a method that takes and gives bytes; grpc types one without a proto as unknown."""
    return getattr(channel, kind)(method)


@pytest.fixture
def settings(alliance: TestAlliance, tmp_path: Path) -> dict[str, str]:
    given = alliance.settings("hospital-a", "echo")
    genesis = tmp_path / "authority.pem"
    genesis.write_bytes(alliance.authorities["hospital-a"].certificate_pem)
    given |= {
        "data_dir": tmp_path / "data",
        "genesis_file": genesis,
        "ready_file": tmp_path / "ready.json",
        "grace_seconds": 5,
    }
    return {f"CIPHERWARD_{name.upper()}": str(value) for name, value in given.items()}


@asynccontextmanager
async def process(
    settings: dict[str, str], *arguments: str
) -> AsyncGenerator[asyncio.subprocess.Process]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("CIPHERWARD_")}
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SCRIPT),
        *arguments,
        env=clean | settings,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.communicate()


async def refused(settings: dict[str, str]) -> tuple[int | None, str, str]:
    """Run a process that shall not start; return its exit status, stdout and stderr."""
    async with process(settings) as running:
        out, err = await running.communicate()
        return running.returncode, out.decode(), err.decode()


async def ports_of(settings: dict[str, str]) -> dict[str, int]:
    ready = Path(settings["CIPHERWARD_READY_FILE"])
    await eventually(ready.exists, seconds=50, what="the process")
    return json.loads(await asyncio.to_thread(ready.read_text))


def echo_channel(alliance: TestAlliance, port: int) -> aio.Channel:
    return open_channel(
        f"127.0.0.1:{port}",
        identity=None,
        registry=alliance.registry,
        peer_member="hospital-a",
        peer_service="echo",
    )


def watch_health(channel: aio.Channel) -> Any:
    method: Any = channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    return method(health_pb2.HealthCheckRequest())


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_health_turns_streams_end_and_calls_in_flight_finish_before_the_exit(
    settings: dict[str, str], alliance: TestAlliance, signum: signal.Signals
) -> None:
    settings["CIPHERWARD_DRAIN_SECONDS"] = "0.5"
    async with process(settings) as running:
        ports = await ports_of(settings)
        assert ports["pid"] == running.pid
        async with (
            aio.insecure_channel(f"127.0.0.1:{ports['health']}") as probe,
            echo_channel(alliance, ports["holder"]) as channel,
        ):
            watch = watch_health(probe)
            assert (await watch.read()).status == SERVING
            slow = bytes_method(channel, "unary_unary", ECHO + "Slow")
            forever = bytes_method(channel, "unary_stream", ECHO + "Forever")
            stream = forever(b"")
            assert await stream.read() == b"first"
            call = slow(b"1.5", timeout=20)
            assert await slow(b"0") == b"done"  # so the one before is in flight there
            running.send_signal(signum)
            assert (await watch.read()).status == NOT_SERVING
            assert await slow(b"0") == b"done"  # while it drains it still serves
            with pytest.raises(aio.AioRpcError) as caught:
                await stream.read()
            assert reason_of(caught.value) == "DRAINING"
            assert await call == b"done"  # longer than the drain: its grace
            started = asyncio.get_running_loop().time()
            assert await running.wait() == 0
            assert asyncio.get_running_loop().time() - started < 4  # the watcher has no grace


async def test_a_call_that_outlives_its_grace_is_told_that_the_server_goes_away(
    settings: dict[str, str], alliance: TestAlliance
) -> None:
    settings |= {"CIPHERWARD_DRAIN_SECONDS": "0", "CIPHERWARD_GRACE_SECONDS": "1"}
    async with process(settings) as running:
        ports = await ports_of(settings)
        async with echo_channel(alliance, ports["holder"]) as channel:
            slow = bytes_method(channel, "unary_unary", ECHO + "Slow")
            call = slow(b"60", timeout=90)
            assert await slow(b"0") == b"done"  # so the one before is in flight there
            running.send_signal(signal.SIGTERM)
            with pytest.raises(aio.AioRpcError) as caught:
                await call
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert reason_of(caught.value) == "DRAINING"
            assert await running.wait() == 0


async def test_the_metrics_page_has_the_calls(
    settings: dict[str, str], alliance: TestAlliance
) -> None:
    async with process(settings):
        ports = await ports_of(settings)
        async with echo_channel(alliance, ports["holder"]) as channel:
            slow = bytes_method(channel, "unary_unary", ECHO + "Slow")
            await slow(b"0")
        reader, writer = await asyncio.open_connection("127.0.0.1", ports["metrics"])
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        page = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()
    assert page.startswith("HTTP/1.1 200 OK")
    name = "grpc_server_call_duration_seconds_count"
    slow_name = f"{ECHO}Slow".removeprefix("/")
    assert f'{name}{{grpc_method="{slow_name}",grpc_status="OK"}} 1.0' in page
    assert f'grpc_server_call_started_total{{grpc_method="{slow_name}"}} 1.0' in page
    assert 'cipherward_service_ready{condition="chain"} 1.0' in page
    assert 'cipherward_build_info{process="echo",version="' in page
    free = re.search(r"^cipherward_service_data_free_bytes (\S+)$", page, re.MULTILINE)
    whole = re.search(r"^cipherward_service_data_capacity_bytes (\S+)$", page, re.MULTILINE)
    assert free
    assert whole
    assert 0 < float(free[1]) <= float(whole[1])


@pytest.mark.parametrize("setting", ["LISTEN", "HOLDER_LISTEN", "HEALTH_LISTEN", "METRICS_LISTEN"])
async def test_a_port_in_use_is_one_clear_line(settings: dict[str, str], setting: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings[f"CIPHERWARD_{setting}"] = f"127.0.0.1:{taken.getsockname()[1]}"
        status, out, err = await refused(settings)
    assert status == 3
    assert err.startswith("cipherward echo: cannot bind 127.0.0.1:")
    assert len(err.splitlines()) == 1  # gRPC's own words are kept out, too
    assert f"CIPHERWARD_{setting}" in err
    assert [json.loads(line)["event"] for line in out.splitlines()][-1] == "cannot_start"


async def test_a_second_server_does_not_share_the_port_of_the_first(
    settings: dict[str, str], tmp_path: Path
) -> None:
    async with process(settings):
        ports = await ports_of(settings)
        second = settings | {
            "CIPHERWARD_LISTEN": f"127.0.0.1:{ports['listen']}",
            "CIPHERWARD_DATA_DIR": str(tmp_path / "other"),
        }
        status, _, err = await refused(second)
    assert (status, "CIPHERWARD_LISTEN" in err) == (3, True)


async def test_a_data_folder_in_use_and_one_of_another_chain_are_refused(
    settings: dict[str, str],
) -> None:
    async with process(settings):
        await ports_of(settings)
        status, _, err = await refused(settings)
    assert status == 4
    assert "used by another process" in err
    marker = Path(settings["CIPHERWARD_DATA_DIR"], "chain-id")
    await asyncio.to_thread(marker.write_text, "other-chain\n")
    status, _, err = await refused(settings)
    assert status == 5
    assert "belongs to the chain other-chain" in err


async def test_wrong_settings_are_listed_one_a_line_without_their_values(
    settings: dict[str, str],
) -> None:
    settings |= {"CIPHERWARD_MEMBER": "Dr. Who", "CIPHERWARD_WORKERS": "65"}
    del settings["CIPHERWARD_DATA_DIR"]
    status, out, err = await refused(settings)
    assert (status, out) == (2, "")
    named = [line.split()[2] for line in err.splitlines()]
    assert named == ["CIPHERWARD_MEMBER:", "CIPHERWARD_WORKERS:", "CIPHERWARD_DATA_DIR:"]
    assert "Who" not in err


async def test_production_lists_every_fault_at_once(settings: dict[str, str]) -> None:
    settings |= {"CIPHERWARD_PROFILE": "production", "CIPHERWARD_CRASH": "true"}
    status, _, err = await refused(settings)
    assert status == 2
    named = [line.removeprefix("cipherward echo: ").split(": ")[1] for line in err.splitlines()]
    assert named == [
        "crash",
        "health_listen",
        "holder_listen",
        "listen",
        "metrics_listen",
        "ready_file",
        "tls_certificate",
    ]


async def test_an_unreadable_identity_is_one_line(settings: dict[str, str]) -> None:
    settings["CIPHERWARD_TLS_PRIVATE_KEY"] = "missing.key"
    status, out, err = await refused(settings)
    assert (status, "missing.key" in err, "Traceback" in out + err) == (7, True, False)


@pytest.mark.parametrize(("grace", "status"), [("1", 0), ("-1", 2)])
async def test_a_check_reads_the_settings_and_starts_nothing(
    settings: dict[str, str], grace: str, status: int
) -> None:
    settings["CIPHERWARD_GRACE_SECONDS"] = grace
    async with process(settings, CHECK) as running:
        out, err = await running.communicate()
    assert (running.returncode, out) == (status, b"")
    assert (b"CIPHERWARD_GRACE_SECONDS" in err) == (status == 2)
    assert not await asyncio.to_thread(Path(settings["CIPHERWARD_DATA_DIR"]).exists)


async def test_a_crash_at_the_start_shows_no_value(settings: dict[str, str]) -> None:
    settings["CIPHERWARD_CRASH"] = "true"
    status, out, err = await refused(settings)
    line = json.loads(out)
    assert (status, line["event"]) == (1, "service_crashed")
    assert line["exception"].endswith("\nKeyError")
    assert "Traceback" not in err


async def test_a_slip_in_a_variables_name_is_logged(settings: dict[str, str]) -> None:
    settings |= {"CIPHERWARD_LISTN": "x", "CIPHERWARD_LEDGER_SERVICE_HOST": "10.0.0.1"}
    async with process(settings) as running:
        await ports_of(settings)
        running.terminate()
        out, _ = await running.communicate()
    lines = [json.loads(line) for line in out.splitlines()]
    unknown = [line["variable"] for line in lines if line["event"] == "setting_unknown"]
    assert unknown == ["CIPHERWARD_LISTN"]


STARTER = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, sys.argv[1]], env=os.environ | {
    "CIPHERWARD_PARENT_PID": str(os.getpid() + int(sys.argv[2]))}, stdout=subprocess.DEVNULL)
print(child.pid, flush=True)
print(child.wait(), flush=True)
"""


async def start_under_a_parent(settings: dict[str, str], offset: int) -> Any:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("CIPHERWARD_")}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", STARTER, str(SCRIPT), str(offset)),
        env=clean | settings,
        stdout=asyncio.subprocess.PIPE,
    )


async def test_a_service_dies_with_its_killed_parent(settings: dict[str, str]) -> None:
    parent = await start_under_a_parent(settings, 0)
    child = psutil.Process(int(await parent.stdout.readline()))
    await ports_of(settings)
    assert child.is_running()
    parent.kill()
    await parent.communicate()
    gone: Callable[[], bool] = lambda: (  # noqa: E731 - a name for what is waited for
        not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    )
    await eventually(gone, what="the child's end")


async def test_a_service_whose_parent_is_another_ends_at_once(settings: dict[str, str]) -> None:
    parent = await start_under_a_parent(settings, 1)
    out, _ = await parent.communicate()
    assert out.split()[1] == b"1"
    assert not os.path.exists(settings["CIPHERWARD_READY_FILE"])  # noqa: ASYNC240 - a test may


def test_an_identity_is_what_the_files_say(settings: dict[str, str]) -> None:
    identity = Identity.from_files(
        Path(settings["CIPHERWARD_TLS_CERTIFICATE"]), Path(settings["CIPHERWARD_TLS_PRIVATE_KEY"])
    )
    registry = TrustRegistry({"hospital-a": Path(settings["CIPHERWARD_GENESIS_FILE"]).read_bytes()})
    assert registry.verify_peer(identity.certificate_pem, "spiffe://hospital-a/echo")
