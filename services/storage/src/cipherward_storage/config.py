"""Settings of the storage service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from cipherward_kit.config import env_name
from cipherward_member.config import KafkaConfig, SigningServiceConfig
from cipherward_storage.errors import StoreUnusable
from cipherward_storage.mongo.settings import MongoSettings

GIBIBYTE = 1024**3
# 16 bytes of tag a part of 1 MiB, in one document of at most 16 MiB: half of it is for the rest.
MONGO_RECORD_BYTES_MAX = 512 * GIBIBYTE
OTHERS = 0o077  # permission bits of anybody but the owner
# No connection string is longer; a path given by mistake may be of anything.
URI_BYTES_MAX = 16 * 1024

# Without what MongoDB forbids in names, and without what would need quoting in a shell.
DatabaseName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]


class StorageConfig(SigningServiceConfig, KafkaConfig):
    """Every knob of the storage service; `docs/configuration.md` is generated from it."""

    custodian_key_file: Path = Field(
        description="Secret of this member's HPKE custodian key, 96 raw bytes; it opens every slot."
    )
    record_bytes_max: int = Field(
        default=4 * GIBIBYTE,  # a whole-slide image or a CT series; a table of tags of 64 KiB
        ge=1,
        le=1024 * GIBIBYTE,
        description="Longest ciphertext of one record.",
    )
    quota_bytes: int = Field(
        default=1024 * GIBIBYTE,
        ge=1,
        description="Ciphertext of all records, uploads under way and columns.",
    )
    disk_reserve_bytes: int = Field(
        default=GIBIBYTE,  # SQLite, other services' data and logs go on when uploads end
        ge=0,
        description="What uploads leave free on the disk.",
    )
    stall_seconds: float = Field(
        default=60.0,  # a mobile connection that is gone for longer resumes
        ge=1,
        le=3600,
        description="How long the client of an upload or a download may stand still.",
    )
    slot_keys_folder: Path | None = Field(
        default=None,
        description="Folder of the keys that custodian slots lie under, mode 0700; default: "
        "`slot-keys` in the data folder. Storages of one member share it. Never in the same backup "
        "as the records: a record stays erased because these keys are gone.",
    )
    slot_renewal_seconds: float = Field(
        # An erased record is out of every backup's reach after that long.
        default=7 * 24 * 3600.0,
        ge=1,
        le=30 * 24 * 3600,
        description="Age at which a slot key is replaced, and destroyed with what was left of it.",
    )
    store: Literal["embedded", "mongo"] = Field(
        default="embedded",
        description="Where records are kept: SQLite and files in the data folder, or MongoDB.",
    )
    mongo_uri_file: Path | None = Field(
        default=None,
        description="File with MongoDB's connection string, mode 0600: it may hold a password.",
    )
    mongo_database: DatabaseName | None = Field(
        default=None, description="Name of this member's own database."
    )
    mongo_ca_file: Path | None = Field(
        default=None, description="Authority of MongoDB's certificate, PEM; TLS from then on."
    )
    mongo_certificate_file: Path | None = Field(
        default=None, description="Our certificate and key for MongoDB, one PEM file; TLS as well."
    )
    mongo_pool_max: int = Field(
        default=32,  # a thread of the driver each; more uploads at once take turns
        ge=1,
        le=1000,
        description="Connections to MongoDB at once.",
    )
    mongo_timeout_seconds: float = Field(
        # A caller waits so long at most; an election that takes longer is met by its retry.
        default=5.0,
        ge=0.1,
        le=60,
        description="For any one act of MongoDB, its retries included.",
    )

    @model_validator(mode="after")
    def _mongo_is_whole(self) -> Self:
        if self.store != "mongo":
            return self
        missing = [name for name in ("mongo_uri_file", "mongo_database") if not getattr(self, name)]
        if missing:
            names = " and ".join(env_name(name) for name in missing)
            raise PydanticCustomError("mongo", "mongo needs {names}", {"names": names})
        if self.record_bytes_max > MONGO_RECORD_BYTES_MAX:
            raise PydanticCustomError(
                "mongo",
                "in mongo a record has at most {most} bytes; lower CIPHERWARD_RECORD_BYTES_MAX",
                {"most": MONGO_RECORD_BYTES_MAX},
            )
        return self

    def faults(self) -> list[str]:
        """Refuse in production what keeps records on one disk, or sends them in the clear."""
        found = super().faults()
        if self.store == "embedded":
            found.append("store: embedded keeps the records on one disk; use mongo")
            return found
        if self.slot_keys_folder is None:
            found.append("slot_keys_folder: is missing; storages of one member share one folder")
        if self.mongo_ca_file is None:
            found.append("mongo_ca_file: is missing; the connection must be TLS")
        if self.mongo_certificate_file is None and not self._uri_has_account():
            found.append("mongo_uri_file: has no account, and there is no certificate")
        return found

    def _uri_has_account(self) -> bool:
        try:
            return self.mongo_uri_file is not None and "@" in _uri_in(self.mongo_uri_file)
        except StoreUnusable:
            return True  # the start says what is wrong with the file

    def mongo_settings(self) -> MongoSettings | None:
        """Return where the database is, or None for the embedded store. Reads the URI's file.

        Raises:
            StoreUnusable: the file cannot be read, or others may.
        """
        path, database = self.mongo_uri_file, self.mongo_database
        if self.store != "mongo" or path is None or database is None:
            return None
        return MongoSettings(
            _uri_in(path),
            database,
            self.mongo_ca_file,
            self.mongo_certificate_file,
            self.mongo_pool_max,
            self.mongo_timeout_seconds,
        )


def _uri_in(path: Path) -> str:
    setting = env_name("mongo_uri_file")
    try:
        open_to_others = path.stat().st_mode & OTHERS
        with path.open("rb") as file:
            uri = file.read(URI_BYTES_MAX + 1).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreUnusable(
            f"the file {path} cannot be read ({type(error).__name__}); check {setting}"
        ) from None
    if len(uri) > URI_BYTES_MAX:
        raise StoreUnusable(f"the file {path} is too long; check {setting}")
    if open_to_others:
        raise StoreUnusable(f"the file {path} is open to others; chmod 600 it ({setting})")
    return uri
