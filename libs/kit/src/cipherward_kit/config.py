"""Settings that processes share, read once from CIPHERWARD_* environment variables."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from cipherward_kit.devca import is_development_certificate
from cipherward_kit.tracing import Collector

ENV_PREFIX = "CIPHERWARD_"

PORT_MAX = 65_535


def _with_a_port(address: str) -> str:
    if int(address.rpartition(":")[2]) > PORT_MAX:
        raise PydanticCustomError("port", "a port is at most 65535")
    return address


Address = Annotated[
    str,
    StringConstraints(pattern=r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):\d{1,5}$"),
    AfterValidator(_with_a_port),
]
MemberId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,30}$")]


class TracesConfig(BaseSettings):
    """Where a process sends its traces, if it does; the command line has these settings too."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix=ENV_PREFIX)

    otlp_endpoint: Annotated[Address | None, BeforeValidator(lambda text: text or None)] = Field(
        default=None,
        description="Collector of traces (OTLP over gRPC), host:port; none, or empty: no traces.",
    )
    otlp_ca_file: Path | None = Field(
        default=None,
        description="Authorities that may vouch for the collector, PEM; none: plaintext.",
    )
    otlp_ratio: float = Field(
        # Requests come by the second, not by the thousand; under more load the queue drops spans.
        default=1.0,
        ge=0,
        le=1,
        description="Which part of the traces that begin here is recorded.",
    )

    @property
    def collector(self) -> Collector | None:
        """Where spans go."""
        if self.otlp_endpoint is None:
            return None
        return Collector(self.otlp_endpoint, self.otlp_ca_file, self.otlp_ratio)


class ProcessConfig(TracesConfig):
    """What every process needs: whose it is, and where it is watched."""

    profile: Literal["embedded", "production"] = Field(
        default="embedded",
        description="`production` refuses, all at once, whatever fits development only.",
    )
    member: MemberId = Field(description="Id of the member that this server belongs to.")
    genesis_file: Path = Field(description="The alliance's genesis.json, got out of band.")
    health_listen: Address = Field(
        default="127.0.0.1:0", description="Address of the plaintext gRPC health service."
    )
    metrics_listen: Address = Field(
        default="127.0.0.1:0", description="Address of the plaintext HTTP page /metrics."
    )
    drain_seconds: float = Field(
        default=3.0, ge=0, le=300, description="From NOT_SERVING to the stop of the ports."
    )
    workers: int = Field(
        default=0,
        ge=0,
        le=64,
        description="Processes for heavy arithmetic; 0 is one thread in this process.",
    )
    parent_pid: int | None = Field(
        default=None, ge=1, description="Development: die when this parent process ends."
    )
    ready_file: Path | None = Field(
        default=None,
        description="Development: JSON file with the bound ports, written once they are bound.",
    )

    def faults(self) -> list[str]:
        """Return what the production profile refuses in these settings, one line each.

        A service overrides it and adds its own faults to these.
        """
        found = self._free_ports("health_listen", "metrics_listen")
        if self.parent_pid is not None:
            found.append("parent_pid: is for development")
        if self.ready_file is not None:
            found.append("ready_file: is for development")
        if self.otlp_ca_file is None and not _on_this_host(self.otlp_endpoint):
            found.append(
                "otlp_endpoint: plaintext would show the network who does what when; give "
                "otlp_ca_file, or a collector on this host (localhost)"
            )
        return found

    def _free_ports(self, *names: str) -> list[str]:
        return [
            f"{name}: port 0 takes a free port, which nobody can be told; give one"
            for name in names
            if str(getattr(self, name)).endswith(":0")
        ]

    @model_validator(mode="after")
    def _refuse_in_production(self) -> Self:
        faults = self.faults() if self.profile == "production" else []
        if faults:
            raise PydanticCustomError(
                "production_refuses", "{faults}", {"faults": "\n".join(sorted(faults))}
            )
        return self


class ServerConfig(ProcessConfig):
    """What every server needs; a service inherits and adds its own fields and `faults`."""

    data_dir: Path = Field(description="Folder of the service's own state; made with mode 0700.")
    tls_certificate: Path = Field(description="Certificate chain of this service, PEM, leaf first.")
    tls_private_key: Path = Field(description="Private key of that certificate, PEM.")
    listen: Address = Field(
        default="127.0.0.1:0",
        description="Address for services (mutual TLS), host:port; port 0 takes a free one.",
    )
    holder_listen: Address | None = Field(
        default=None,
        description="Address for holders (TLS without client certificates); none: not served.",
    )
    grace_seconds: float = Field(
        default=20.0, ge=0, le=300, description="For the calls in flight at the stop."
    )
    message_bytes_max: int = Field(
        default=4 * 1024 * 1024,  # gRPC's own default: larger things are streamed in chunks
        ge=64 * 1024,
        le=16 * 1024 * 1024,
        description="Largest message received or sent.",
    )
    log_reserve_bytes: int = Field(
        # The largest block, its state and SQLite's log of both are some 20 MiB; the rest is what
        # others may write between two looks.
        default=256 * 1024 * 1024,
        ge=0,
        description="What stays free on the data folder's disk: below it nothing is taken in that"
        " would need room, so that what was taken in can be written down.",
    )
    rpcs_max: int = Field(
        # A call holds at most a message of 4 MiB and ends within 30 s; 256 of them fit 1 GiB.
        default=256,
        ge=1,
        le=10_000,
        description="Calls in flight at once on each port; streams are counted apart.",
    )

    def faults(self) -> list[str]:
        """Add what production refuses of the ports for callers, and of a certificate."""
        found = super().faults() + self._free_ports("listen", "holder_listen")
        try:
            if is_development_certificate(self.tls_certificate.read_bytes()):
                found.append("tls_certificate: was issued by a development authority")
        except OSError as error:
            found.append(f"tls_certificate: cannot be read: {error.strerror}")
        except ValueError:
            found.append("tls_certificate: is not a PEM certificate")
        return found


def _on_this_host(address: str | None) -> bool:
    """Return whether nothing leaves this machine, or pod, for `address`; there may be none."""
    host = "localhost" if address is None else address.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # a name
        return False


def env_name(field: str) -> str:
    """Return the environment variable of a setting."""
    return ENV_PREFIX + field.upper()


def describe_config(config_class: type[ProcessConfig]) -> str:
    """Return the settings as rows of a markdown table, from which docs/configuration.md is made."""
    rows = [
        f"| `{env_name(name)}` | {_type_of(field)} | {_default_of(field)} | {field.description} |"
        for name, field in config_class.model_fields.items()
    ]
    head = ["| variable | type | default | meaning |", "|---|---|---|---|"]
    return "\n".join([*head, *rows]) + "\n"


def _type_of(field: FieldInfo) -> str:
    kind = field.annotation
    text = kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")
    text = text.replace("pathlib._local.", "").replace("pathlib.", "").replace("|", "or")
    if text.startswith(("Annotated[str", "Optional[Annotated[str")) or "Annotated[str" in text:
        text = "str or None" if "None" in text else "str"
    bounds = [
        f"{sign} {getattr(rule, name):,}"
        for rule in field.metadata
        for name, sign in (("ge", "≥"), ("le", "≤"))
        if hasattr(rule, name)
    ]
    return ", ".join([text, *bounds])


def _default_of(field: FieldInfo) -> str:
    if field.is_required():
        return "(required)"
    value: Any = field.get_default(call_default_factory=True)
    return "none" if value is None else f"`{value}`"
