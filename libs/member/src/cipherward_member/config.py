"""Settings that several services of a member share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, TypeAdapter, model_validator
from pydantic_core import PydanticCustomError

from cipherward_kit.config import Address, ProcessConfig, ServerConfig

_ADDRESS = TypeAdapter[str](Address)


def _addresses(text: str) -> str:
    for address in text.split(","):
        _ADDRESS.validate_python(address)
    return text


Addresses = Annotated[str, StringConstraints(max_length=4096), AfterValidator(_addresses)]


class MemberServiceConfig(ServerConfig):
    """A service that calls others."""

    endpoints_file: Path = Field(
        description="alliance.json: where the alliance's services are, the ledger among them."
    )


class SigningServiceConfig(MemberServiceConfig):
    """A service that signs transactions for its member."""

    member_key_file: Path = Field(
        description="Seed of this member's Ed25519 key, 32 raw bytes, mode 0600; it signs "
        "what this service tells the chain."
    )


class BrokersConfig(ProcessConfig):
    """How Kafka is reached."""

    kafka_bootstrap: Addresses | None = Field(
        default=None, description="Brokers to begin with, host:port,host:port; needed by `kafka`."
    )
    kafka_security: Literal["plaintext", "ssl", "sasl_ssl"] = Field(
        default="plaintext",
        description="How the brokers are reached; with `ssl` a certificate of ours is optional.",
    )
    kafka_ca_file: Path | None = Field(
        default=None,
        description="Authorities that may vouch for the brokers, PEM; none: those of the system.",
    )
    kafka_certificate: Path | None = Field(
        default=None, description="Our certificate chain towards the brokers, PEM, leaf first."
    )
    kafka_private_key: Path | None = Field(
        default=None, description="Private key of that certificate, PEM, unencrypted."
    )
    kafka_sasl_mechanism: Literal["SCRAM-SHA-512", "PLAIN"] = Field(
        default="SCRAM-SHA-512", description="How `sasl_ssl` shows who we are."
    )
    kafka_username: str | None = Field(default=None, description="Our name for `sasl_ssl`.")
    kafka_password_file: Path | None = Field(
        default=None, description="File that holds the password for `sasl_ssl`, mode 0600."
    )

    def _unfitting(self) -> list[str]:
        found: list[str] = []
        if self.kafka_bootstrap is None:
            found.append("kafka needs kafka_bootstrap")
        if (self.kafka_certificate is None) != (self.kafka_private_key is None):
            found.append("kafka_certificate and kafka_private_key go together")
        given = [self.kafka_ca_file, self.kafka_certificate]
        if self.kafka_security == "plaintext" and any(path is not None for path in given):
            found.append("certificates are given, but kafka_security is plaintext")
        named = [self.kafka_username, self.kafka_password_file]
        if self.kafka_security == "sasl_ssl" and None in named:
            found.append("sasl_ssl needs kafka_username and kafka_password_file")
        if self.kafka_security != "sasl_ssl" and named != [None, None]:
            found.append("a name or a password is given, but kafka_security is not sasl_ssl")
        return found


class KafkaConfig(ServerConfig, BrokersConfig):
    """A service that follows the chain, or publishes it: over which feed, and how Kafka is reached.

    A second base beside one of the above.
    """

    feed: Literal["grpc", "kafka"] = Field(
        default="grpc",
        description="How proven blocks travel inside the member: `grpc` (the ledger's StreamBlocks)"
        " or `kafka`, which the ledger publishes to and the other services read.",
    )
    trust_root_file: Path | None = Field(
        default=None,
        description="What is believed instead of the genesis by whoever begins after the first "
        "block: a root file that `cipherward chain witness --save-root` wrote; needed once the "
        "genesis is older than 120 days.",
    )

    def faults(self) -> list[str]:
        """Add what production refuses of these settings."""
        found = super().faults()
        if self.feed == "grpc":
            found.append("feed: grpc is the embedded feed; give kafka")
        elif self.kafka_security == "plaintext":
            found.append("kafka_security: plaintext shows blocks to the network; give ssl")
        return found

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        faults = list(self._unfitting()) if self.feed == "kafka" else []
        if faults:
            raise PydanticCustomError("kafka_settings", "{faults}", {"faults": "; ".join(faults)})
        return self
