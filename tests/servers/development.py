"""`make servers`: Kafka, MongoDB and Prometheus in the foreground, for `cipherward dev`."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from cipherward_chain.endpoints import Endpoints, EndpointsMalformed
from cipherward_client.alliance.layout import AllianceFolder
from tests.servers.kafka import running_kafka
from tests.servers.mongo import running_mongo
from tests.servers.pins import FOLDER, ServerName, missing
from tests.servers.prometheus import PrometheusServer, Targets, running_prometheus

# Kept from one run to the next, as the alliance keeps its own.
DATA: Final = FOLDER / "data"
# How often a new or restarted alliance is looked for.
LOOK_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the servers listen; by default where `cipherward dev` looks for them."""

    kafka: int = 19_092
    mongo: int = 27_317
    prometheus: int = 19_090


def run(alliance: Path, ports: Ports = Ports(), data: Path = DATA) -> int:
    """Run what can run here until SIGINT or SIGTERM.

    Args:
        alliance: the folder of the alliance whose services Prometheus scrapes, now or later.
        ports: where the servers listen.
        data: the folder of their data.

    Returns:
        The exit status: 0, or 1 if nothing can run here.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, at any moment
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        prometheus = None
        told = 0
        if _possible("kafka"):
            kafka = stack.enter_context(running_kafka(data / "kafka", port=ports.kafka))
            told += _tell(f"Kafka       {kafka.bootstrap}")
        if _possible("mongo"):
            mongo = stack.enter_context(running_mongo(data / "mongo", port=ports.mongo))
            told += _tell(f"MongoDB     {mongo.uri}")
        if _possible("prometheus"):
            prometheus = stack.enter_context(
                running_prometheus(data / "prometheus", {}, port=ports.prometheus)
            )
            told += _tell(f"Prometheus  {prometheus.url}, scraping the services in {alliance}")
        if not told:
            return 1
        _tell("Now: cipherward dev --engine cometbft --feed kafka --store mongo. Ctrl-C stops.")
        _follow(alliance, prometheus)
    return 0


def _possible(name: ServerName) -> bool:
    sentence = missing(name)
    if sentence is not None:
        print(sentence, file=sys.stderr, flush=True)
    return sentence is None


def _tell(line: str) -> int:
    print(line, flush=True)
    return 1


def _follow(alliance: Path, prometheus: PrometheusServer | None) -> NoReturn:
    """Keep Prometheus' targets those of the alliance's file, for ever."""
    scraped: Targets = {}
    while True:
        found = metrics_targets(alliance)
        if prometheus is not None and found and found != scraped:
            prometheus.scrape(found)
            scraped = found
        time.sleep(LOOK_SECONDS)


def metrics_targets(alliance: Path) -> Targets:
    """Return each service's address of metrics with the labels that Kubernetes gives it, too.

    Empty while there is no alliance.
    """
    with suppress(OSError, EndpointsMalformed):
        endpoints = Endpoints.parse(AllianceFolder(alliance).endpoints_file.read_bytes())
        return {
            service.metrics: {"member": member, "component": component}
            for member, services in endpoints.by_member.items()
            for component, service in services.items()
            if service.metrics
        }
    return {}
