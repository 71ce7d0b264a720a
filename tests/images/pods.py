"""The chart's own pods, run by buildah instead of a kubelet: their volumes, users and settings.

Containers share the machine's network, so each process is given ports of its own on loopback. A
root that is read only and limits of memory are what this way of running does not enforce.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cipherward_client.alliance.ports import free_ports
from tests.servers.child import launcher

HOST: Final = "127.0.0.1"
USER: Final = 65532  # of the images and of the pods' security context
LISTENING: Final = ("LISTEN", "HOLDER_LISTEN", "HEALTH_LISTEN", "METRICS_LISTEN")
PORTS: Final = (7000, 7001, 7002, 7003)  # of a pod
STEP_SECONDS: Final = 120.0  # of a container that is made, or that ends by itself
STOP_SECONDS: Final = 60.0  # drain and grace together take 25 at most
ENDPOINTS: Final = "alliance.json"  # the key of the ConfigMap that names addresses
# The claim that a StatefulSet makes for its first pod; its component is the last word but one.
OWN_CLAIM: Final = re.compile(r"data-.*-(\w+)-0")


class ContainerFailed(RuntimeError):
    """A container could not be made, or ended badly; the text is what was printed."""


def buildah(*arguments: str) -> str:
    """Return what buildah printed."""
    command = ["buildah", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=STEP_SECONDS)
    if done.returncode != 0:
        raise ContainerFailed(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


@dataclass(frozen=True, slots=True)
class Machine:
    """Where pods run: a folder for their volumes, and what they mount.

    `contents`: of ConfigMaps and Secrets, by name and key. `ports`: taken so far, by component.
    """

    folder: Path
    contents: Mapping[str, Mapping[str, bytes]]
    ports: dict[str, list[int]] = field(default_factory=dict[str, list[int]])

    def address(self, component: str, port: int) -> str:
        """Return where a port of a component's pod is on this machine."""
        if component not in self.ports:
            self.ports[component] = free_ports(len(PORTS))
        return f"{HOST}:{self.ports[component][PORTS.index(port)]}"

    @contextmanager
    def pod(self, component: str, spec: Any) -> Generator[Pod]:
        """Make a pod's volumes, and run the containers that come first."""
        folder = self.folder / component
        with ExitStack() as stack:
            volumes = {one["name"]: self._place(folder, one) for one in spec["volumes"]}
            pod = Pod(self, component, folder, spec["containers"][0], stack, volumes)
            for volume in spec["volumes"]:
                if "persistentVolumeClaim" not in volume:
                    self._fill(volumes[volume["name"]], volume)
            for first in spec.get("initContainers", []):
                buildah(*pod.command(first))
            yield pod

    def _place(self, folder: Path, volume: Any) -> Path:
        """Return where a volume is: a pod's own, or a claim that several pods may mount."""
        claim = volume.get("persistentVolumeClaim", {}).get("claimName", "")
        if own := OWN_CLAIM.fullmatch(claim):
            return self.folder / own[1] / "data"
        return self.folder / claim if claim else folder / volume["name"]

    def _fill(self, path: Path, volume: Any) -> None:
        path.mkdir(parents=True)
        for source in volume.get("projected", {}).get("sources", [volume]):
            for given in (source[kind] for kind in ("secret", "configMap") if kind in source):
                self._copy(path, given)
        for one in (path, *path.rglob("*")):  # what `fsGroup` and `defaultMode` make of it
            shutil.chown(one, USER if one.is_dir() else "root", USER)
            one.chmod(0o750 if one.is_dir() else 0o440)

    def _copy(self, path: Path, given: Any) -> None:
        content = self.contents[given.get("name") or given["secretName"]]
        for item in given.get("items") or [{"key": key, "path": key} for key in content]:
            if item["key"] in content or not given.get("optional"):
                file = path / item["path"]
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(self._here(item["key"], content[item["key"]]))

    def _here(self, key: str, content: bytes) -> bytes:
        """Put this machine's addresses where those of the cluster are."""
        if key != ENDPOINTS:
            return content
        document = json.loads(content)
        for services in document["endpoints"].values():
            for component, endpoint in services.items():
                for name, port in (("listen", 7000), ("holder", 7001), ("metrics", 7003)):
                    endpoint[name] = self.address(component, port)
        return json.dumps(document).encode()


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod, whose container is started, or run to its end."""

    machine: Machine
    component: str
    folder: Path
    container: Any
    stack: ExitStack
    volumes: dict[str, Path]

    @property
    def health(self) -> str:
        """Where its health service answers."""
        return self.machine.address(self.component, 7002)

    def command(self, container: Any) -> list[str]:
        """Return the arguments for buildah that run one of the pod's containers."""
        name = buildah("from", "--pull-never", container["image"]).strip()
        self.stack.callback(buildah, "rm", name)
        arguments = ["run", f"--user={USER}:{USER}"]
        for one in container.get("env", []):
            value = self._setting(one["name"].removeprefix("CIPHERWARD_"), one["value"])
            arguments.append(f"--env={one['name']}={value}")
        for mount in container["volumeMounts"]:
            mode = ":ro" if mount.get("readOnly") else ""
            place = self._volume(mount["name"]) / mount.get("subPath", "")
            arguments.append(f"--volume={place}:{mount['mountPath']}{mode}")
        return [*arguments, name, "--", *container.get("command", ["service"])]

    def _setting(self, name: str, value: str) -> str:
        if name in LISTENING:
            return self.machine.address(self.component, int(value.rpartition(":")[2]))
        return self.machine.address("canary", 7002) if name == "CANARY_HEALTH" else value

    def _volume(self, name: str) -> Path:
        path = self.volumes.get(name, self.folder / name)
        if not path.exists():  # a claim
            path.mkdir(parents=True)
            shutil.chown(path, USER, USER)
        return path

    def start(self) -> Running:
        """Start the container; its output is in the pod's folder."""
        command = [*launcher(), "buildah", *self.command(self.container)]
        log_file = self.folder / "output"
        with log_file.open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        running = Running(process, log_file)
        self.stack.callback(running.kill)
        return running

    def run(self) -> str:
        """Run the container to its end, and return what it printed."""
        return buildah(*self.command(self.container))


@dataclass(frozen=True, slots=True)
class Running:
    """A started container."""

    process: subprocess.Popen[bytes]
    log_file: Path

    @property
    def pid(self) -> int:
        """The id of the container's own process, below buildah's."""
        pid = self.process.pid
        while not Path(f"/proc/{pid}/comm").read_text().startswith("python"):
            # buildah starts what it runs from any of its threads
            lists = Path(f"/proc/{pid}/task").glob("*/children")
            pid = next(int(child) for each in lists for child in each.read_text().split())
        return pid

    def stop(self) -> int:
        """Tell the process to stop, as a kubelet does; return its exit status."""
        os.kill(self.pid, signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def kill(self) -> None:
        """End it however it is; buildah takes what it runs with it."""
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(STOP_SECONDS)


def contents_of(manifests: list[Any]) -> dict[str, Mapping[str, bytes]]:
    """Return what ConfigMaps and Secrets hold, by name and key."""
    found: dict[str, Mapping[str, bytes]] = {}
    for one in manifests:
        data = one.get("data", {})
        if one["kind"] == "ConfigMap":
            found[one["metadata"]["name"]] = {key: text.encode() for key, text in data.items()}
        elif one["kind"] == "Secret":
            decoded = {key: base64.b64decode(value) for key, value in data.items()}
            found[one["metadata"]["name"]] = decoded
    return found
