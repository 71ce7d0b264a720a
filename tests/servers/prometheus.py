"""A real Prometheus for tests, on loopback."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cipherward_client.alliance.ports import free_ports
from tests.servers.child import Child

HOST: Final = "127.0.0.1"
LOG_FILE: Final = "prometheus.log"
Targets = Mapping[str, Mapping[str, str]]  # labels by address (host:port)
PROBE_SECONDS: Final = 2.0  # of one attempt
# It watches the file of its targets; each second it also scrapes, so that tests wait little.
SETTINGS: Final = """\
global: {scrape_interval: 1s, evaluation_interval: 1s}
scrape_configs:
- job_name: cipherward
  file_sd_configs: [{files: [targets.json], refresh_interval: 1s}]
"""


class PrometheusServer:
    """A server on one port with one data folder."""

    def __init__(self, folder: Path, port: int, rules: Sequence[Path] = ()) -> None:
        self._folder = folder
        self._port = port
        self._rules = [str(path.resolve()) for path in rules]
        self._child = Child(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={HOST}:{port}",
            ],
            folder / LOG_FILE,
            folder=folder,
        )

    @property
    def url(self) -> str:
        """Its address, `http://host:port`."""
        return f"http://{HOST}:{self._port}"

    @property
    def pid(self) -> int:
        """The id of the living process."""
        return self._child.pid

    def scrape(self, targets: Targets) -> None:
        """Scrape these addresses from now on, instead of earlier ones."""
        content = json.dumps(
            [{"targets": [one], "labels": dict(targets[one])} for one in sorted(targets)]
        )
        partial = self._folder / "targets.partial"
        partial.write_text(content)
        partial.replace(self._folder / "targets.json")  # whole: it may be reading

    def start(self) -> None:
        """Start it and wait until it says that it is ready.

        Raises:
            ServerFailed: it ended, or was not ready in time.
        """
        rules = f"rule_files: {json.dumps(self._rules)}\n"  # JSON is YAML
        (self._folder / "prometheus.yml").write_text(SETTINGS + rules)
        self._child.start()
        try:
            self._child.wait_until_ready(self._probe, OSError)  # a refusal over HTTP is one too
        except BaseException:
            self._child.kill()
            raise

    def stop(self) -> None:
        """Stop it in order."""
        self._child.stop()

    def _probe(self) -> None:
        urllib.request.urlopen(f"{self.url}/-/ready", timeout=PROBE_SECONDS).close()


@contextmanager
def running_prometheus(
    folder: Path, targets: Targets, *, port: int | None = None, rules: Sequence[Path] = ()
) -> Generator[PrometheusServer]:
    """Run a server that scrapes `targets` (host:port) every second; ready when the context opens.

    Args:
        folder: made if missing; a server that ran in it before goes on with its data.
        targets: see `PrometheusServer.scrape`.
        port: default a free one.
        rules: files of rules that it evaluates.

    Raises:
        ServerFailed: it ended, or was not ready in time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    server = PrometheusServer(folder, port or free_ports(1)[0], rules)
    server.scrape(targets)
    try:
        server.start()
        yield server
    finally:
        server.stop()
