"""Settings of the queue of jobs: the compute service's, and its worker replicas'."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from cipherward_member.config import BrokersConfig, KafkaConfig


class JobsConfig(KafkaConfig):
    """Where jobs without secrets run; a base of the compute service's settings."""

    jobs: Literal["local", "kafka"] = Field(
        default="local",
        description="Where arithmetic without secrets runs: `local` (this service's own workers) or"
        " `kafka` (replicas of `python -m cipherward_compute.worker`).",
    )
    jobs_key_file: Path | None = Field(
        default=None,
        description="Key that this member's compute service and its workers share, 32 raw random"
        " bytes; jobs and results on the queue are sealed with it. Needed by `kafka`.",
    )
    jobs_waiting_max: int = Field(
        # A job takes 2 to 200 ms; a study has a few at a time here, and studies are few.
        default=64,
        ge=1,
        le=10_000,
        description="Pieces of arithmetic that may wait for a worker.",
    )

    @model_validator(mode="after")
    def _whole_queue(self) -> Self:
        faults = list(self._halves())
        if faults:
            raise PydanticCustomError("jobs_settings", "{faults}", {"faults": "\n".join(faults)})
        return self

    def _halves(self) -> list[str]:
        if self.jobs == "local":
            return ["jobs_key_file is given, but jobs is local"] if self.jobs_key_file else []
        found = [] if self.jobs_key_file else ["jobs: kafka needs jobs_key_file"]
        if self.feed != "kafka":  # else the feed's own check names them
            found += [f"jobs: {fault}" for fault in self._unfitting()]
        return found

    def faults(self) -> list[str]:
        """Add what production refuses of these settings."""
        found = super().faults()
        if self.jobs == "kafka" and self.feed != "kafka" and self.kafka_security == "plaintext":
            found.append("kafka_security: plaintext shows jobs to the network; give ssl")
        return found


class WorkerConfig(BrokersConfig):
    """A worker replica's: the queue's, and none of its compute service's secrets.

    It serves probes and scrapers only, keeps nothing and follows no chain.
    """

    jobs_key_file: Path = Field(
        description="Key that this worker shares with its member's compute service, 32 raw random"
        " bytes; jobs and results on the queue are sealed with it."
    )

    def faults(self) -> list[str]:
        """Add what production refuses of the way to the queue."""
        found = super().faults()
        if self.kafka_security == "plaintext":
            found.append("kafka_security: plaintext shows jobs to the network; give ssl")
        return found

    @model_validator(mode="after")
    def _whole_queue(self) -> Self:
        faults = self._unfitting()
        if faults:
            raise PydanticCustomError("jobs_settings", "{faults}", {"faults": "\n".join(faults)})
        return self
