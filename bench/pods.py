"""How much memory a member's pods need: the processes of each container, watched side by side.

A pod's memory is the sum of what its processes hold resident (VmRSS, Linux, proc(5)). A container's
limit counts every page of it once. That is the same here: the processes that share a pod (a ledger
and its consensus node) run different programs and map no common file. With workers (`WORKERS`) it
would count the libraries that they have in common once for each, which errs upwards.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cipherward_client.demo.memory import descendants, sampling

# Two dozen pods take 10 ms to read: 5 % of a core, on a machine that the load has already filled.
SAMPLE_SECONDS: Final = 0.2
KIB, MIB = 1 << 10, 1 << 20
FORGET_PEAK: Final = "5"  # written into clear_refs: VmHWM begins anew


@dataclass(frozen=True, slots=True)
class Pod:
    """What a member's deployment has in one container: a process and all below it.

    kind: a service, or a part of one that is watched by itself.
    """

    member: str
    kind: str
    pid: int


Peaks = Mapping[Pod, int]  # bytes


class PodWatch:
    """Sees the most that each pod has held since the watch began.

    Samples may miss a moment. The kernel misses none, but counts each process by itself: a pod is
    not below the greatest of its processes' own peaks, and with one process it is exactly that.
    """

    def __init__(self, pods: Sequence[Pod]) -> None:
        """Begin: peaks from before are forgotten."""
        self._most = dict.fromkeys(pods, 0)
        for pod in pods:
            for pid in descendants(pod.pid):
                _forget_peak(pid)

    @property
    def peaks(self) -> Peaks:
        """The most that each pod has held, in bytes; 0 for one that has ended."""
        return dict(self._most)

    def sample(self) -> None:
        """Look once at every pod."""
        for pod, most in self._most.items():
            found = [_resident(pid) for pid in descendants(pod.pid)]
            together = sum(now for now, _ in found)
            self._most[pod] = max(most, together, *(peak for _, peak in found))


@contextmanager
def watched(pods: Sequence[Pod]) -> Generator[PodWatch]:
    """Watch pods while the context is open, in a thread: the load has the loop."""
    watch = PodWatch(pods)
    with sampling(watch.sample, SAMPLE_SECONDS):
        yield watch


def _forget_peak(pid: int) -> None:
    with suppress(OSError):  # it has ended
        Path(f"/proc/{pid}/clear_refs").write_text(FORGET_PEAK, encoding="ascii")


def _resident(pid: int) -> tuple[int, int]:
    """Return the bytes that a process holds and has held at most; 0 when it has ended."""
    now = peak = 0
    with suppress(OSError), Path(f"/proc/{pid}/status").open(encoding="ascii") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                peak = int(line.split()[1]) * KIB
            elif line.startswith("VmRSS:"):
                now = int(line.split()[1]) * KIB
                break  # it comes after VmHWM
    return now, peak
