"""Kubernetes' own API server and controllers, built from source, for `make test-kube`.

`python -m tools.kube` puts them into .servers/kube: kube-apiserver, kube-controller-manager,
kube-scheduler and kubectl, and kwok, which plays the nodes: no container ever runs. etcd is the
machine's own (Debian: etcd-server).
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from tools import chart

SOURCE: Final = chart.ROOT / "deploy/tools/kubernetes"
FOLDER: Final = chart.ROOT / ".servers/kube"  # ignored by git; `make clean` removes it
BINARIES: Final = FOLDER / "bin"
STAGES: Final = FOLDER / "stages.yaml"

VERSION: Final = "1.37.2"  # that of go.mod
PROGRAMS: Final = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
KWOK: Final = "sigs.k8s.io/kwok"
KWOK_VERSION: Final = "v0.8.0"
# What a played node and its pods go through: ready at once, gone at once.
KWOK_STAGES: Final = (
    "node/fast/node-initialize.yaml",
    "node/heartbeat/node-heartbeat.yaml",
    "pod/fast/pod-complete.yaml",
    "pod/fast/pod-delete.yaml",
    "pod/fast/pod-ready.yaml",
)
BUILD_SECONDS: Final = 5_400.0  # fourteen minutes on two idle cores, cold; an hour on busy ones


def install() -> None:
    """Build what is not there in the pinned version.

    Raises:
        Failed: Go or etcd is missing, or a build failed.
    """
    chart.install()  # Helm
    for program, brought_by in (("go", "Go 1.26"), ("etcd", "etcd (Debian: etcd-server)")):
        if shutil.which(program) is None:
            raise chart.Failed(f"{brought_by} is needed: install it and try again.")
    stamp = FOLDER / "stamp"
    pinned = "\n".join((VERSION, KWOK_VERSION, *KWOK_STAGES, (SOURCE / "go.mod").read_text()))
    if stamp.exists() and stamp.read_text() == pinned:
        return
    BINARIES.mkdir(parents=True, exist_ok=True)
    print("building Kubernetes and kwok: a quarter of an hour, once", flush=True)
    build_kubernetes()
    build_kwok()
    stamp.write_text(pinned)


def build_kubernetes() -> None:
    """Build the programs; without a version of their own they do not understand each other."""
    major, minor, _ = VERSION.split(".")
    base = "k8s.io/component-base/version"
    values = {
        f"{base}.gitVersion": f"v{VERSION}",
        f"{base}.gitMajor": major,
        f"{base}.gitMinor": minor,
        "k8s.io/client-go/pkg/version.gitVersion": f"v{VERSION}",
    }
    flags = " ".join(["-s -w", *(f"-X {name}={value}" for name, value in values.items())])
    packages = [f"k8s.io/kubernetes/cmd/{program}" for program in PROGRAMS]
    build = ["go", f"-C={SOURCE}", "build", f"-ldflags={flags}", f"-o={BINARIES}/", *packages]
    chart.run(build, seconds=BUILD_SECONDS, **chart.GO)


def build_kwok() -> None:
    """Build kwok, and take the stages that it plays from its own module."""
    program = f"{KWOK}/cmd/kwok@{KWOK_VERSION}"
    chart.run(["go", "install", program], seconds=BUILD_SECONDS, GOBIN=str(BINARIES), **chart.GO)
    with tempfile.TemporaryDirectory() as empty:  # outside of any Go module
        module = f"{KWOK}@{KWOK_VERSION}"
        told = chart.run(["go", f"-C={empty}", "mod", "download", "-json", module])
    folder = Path(json.loads(told)["Dir"]) / "kustomize/stage"
    stages = [(folder / name).read_text(encoding="utf-8") for name in KWOK_STAGES]
    STAGES.write_text("\n---\n".join(stages), encoding="utf-8")


def main() -> int:
    """Install; return the exit status."""
    try:
        install()
    except chart.Failed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
