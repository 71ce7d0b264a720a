"""What the processes say of themselves on their page /metrics."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cipherward_client.doctor.checks import Problem
from cipherward_client.doctor.targets import Target

# The page is made in milliseconds; a process that takes longer is not well.
PAGE_SECONDS = 5.0
PAGE_BYTES_MAX = 4 * 1024**2  # some hundred series are a few hundred kilobytes

# The conditions of readiness: whose check it is, and what to do about it.
CONDITIONS: Mapping[str, tuple[str, str]] = {
    "certificate": ("services", "Renew its certificate; its log says what others refuse."),
    "chain": ("services", "See whether the ledger makes blocks, and whether it is reached."),
    "store": ("services", "See whether its database or disk works."),
    "contract": ("services", "Start the contract service; the ledger waits for it."),
    "node": ("services", "See the ledger's log: the consensus node is away or catches up."),
    "queue": ("services", "See whether the brokers take and give jobs."),
    "scenes": ("services", "See the canaries' log: what they ask about could not be made."),
    "disk": ("services", "Make room where its data folder is."),
    "clock": ("clock", "Let NTP set this machine's clock."),
    "machine_version": ("contract engines", "Install the release that the members voted for."),
    "canaries": ("canaries", "Treat it as a leak: see what the canaries were given, and stop it."),
}
NOT_READY = ("services", "See its log.")

_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Page:
    """One process's samples: (name, labels, value)."""

    target: Target
    samples: tuple[tuple[str, Mapping[str, str], float], ...]

    @classmethod
    def parse(cls, target: Target, text: str) -> Page:
        """Read Prometheus' text format; what is no sample is passed over."""
        found: list[tuple[str, Mapping[str, str], float]] = []
        for name, labels, value in _SAMPLE.findall(text):
            try:
                found.append((name, dict(_LABEL.findall(labels)), float(value)))
            except ValueError:
                continue
        return cls(target, tuple(found))

    def value(self, name: str) -> float | None:
        """Return the value of a metric without labels, None if there is none."""
        return next((value for one, _, value in self.samples if one == name), None)

    def failing(self) -> list[str]:
        """Return the conditions of readiness that do not hold."""
        return [
            labels.get("condition", "")
            for name, labels, value in self.samples
            if name == "cipherward_service_ready" and not value
        ]

    def release(self) -> str:
        """Return the release of the process, "" if it does not say."""
        builds = (labels for name, labels, _ in self.samples if name == "cipherward_build_info")
        return next((labels.get("version", "") for labels in builds), "")


async def read_pages(targets: Sequence[Target]) -> tuple[list[Page], list[Problem]]:
    """Ask every process at once; return the pages, and who does not answer."""
    texts = await asyncio.gather(*(_read(target.text("METRICS_LISTEN")) for target in targets))
    pages: list[Page] = []
    problems: list[Problem] = []
    for target, text in zip(targets, texts, strict=True):
        if text is None:
            where = target.text("METRICS_LISTEN") or "its page of metrics (no address given)"
            fix = "Start it; if it ended by itself, its log and exit status say why."
            problems.append(Problem("services", target.name, f"nobody answers at {where}", fix))
        else:
            pages.append(Page.parse(target, text))
    return pages, problems


def look_at_pages(pages: Sequence[Page], now: float, fresh_seconds: float) -> list[Problem]:
    """Return what the pages say is wrong.

    Args:
        pages: of all processes that answered.
        now: this machine's Unix time.
        fresh_seconds: how old the newest block may be.
    """
    problems: list[Problem] = []
    for page in pages:
        name = page.target.name
        for condition in page.failing():
            check, fix = CONDITIONS.get(condition, NOT_READY)
            text = f"its condition {condition} does not hold"
            problems.append(Problem(check, name, text, fix))
        seen = page.value("cipherward_ledger_block_timestamp_seconds")
        if seen and abs(now - seen) > fresh_seconds:
            way = "old" if seen < now else "in the future"
            text = f"by this machine's clock the newest block is {abs(now - seen):.0f} s {way}"
            fix = "If the chain makes blocks, let NTP set the clock; else look at the ledger."
            problems.append(Problem("clock", name, text, fix))
    releases = {page.target.name: page.release() for page in pages}
    if len(set(releases.values())) > 1:
        newest = max(releases.values())
        fix = "Finish the upgrade, or take it back."
        problems.extend(
            Problem("releases", name, f"it is {release}, others are {newest}", fix)
            for name, release in releases.items()
            if release != newest
        )
    return problems


async def _read(address: str) -> str | None:
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        return None
    try:
        async with asyncio.timeout(PAGE_SECONDS):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            try:
                writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
                return await _body(reader)
            finally:
                writer.close()
    except (OSError, TimeoutError, OverflowError, asyncio.IncompleteReadError):
        return None


async def _body(reader: asyncio.StreamReader) -> str | None:
    raw = bytearray()
    while len(raw) < PAGE_BYTES_MAX and (part := await reader.read(64 * 1024)):
        raw += part
    head, _, body = bytes(raw).partition(b"\r\n\r\n")
    return body.decode(errors="replace") if b" 200 " in head.split(b"\r\n", 1)[0] else None
