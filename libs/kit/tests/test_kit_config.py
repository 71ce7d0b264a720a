"""Settings: typed, ranged, described, frozen; production refuses all at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from cipherward_kit.config import ServerConfig, describe_config
from cipherward_kit.process import config_faults
from cipherward_kit.testing import TestAlliance

MINIMAL: dict[str, Any] = {
    "member": "hospital-a",
    "data_dir": "data",
    "genesis_file": "genesis.json",
    "tls_certificate": "tls.pem",
    "tls_private_key": "tls.key",
}


def config_of(**changes: Any) -> ServerConfig:
    return ServerConfig(**(MINIMAL | changes))


def test_settings_come_from_the_environment(
    no_settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in MINIMAL.items():
        monkeypatch.setenv(f"CIPHERWARD_{name.upper()}", value)
    monkeypatch.setenv("CIPHERWARD_WORKERS", "2")
    config = ServerConfig.model_validate({})
    assert (config.member, config.workers, config.profile) == ("hospital-a", 2, "embedded")


def test_settings_do_not_change(no_settings: Path) -> None:
    config = config_of()
    with pytest.raises(ValidationError):
        config.workers = 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("member", "Hospital A"),
        ("member", "a"),
        ("member", "hospital-a\n"),
        ("listen", "127.0.0.1"),
        ("listen", "127.0.0.1:"),
        ("listen", "127.0.0.1:65536"),
        ("holder_listen", "no port"),
        ("drain_seconds", -1),
        ("message_bytes_max", 64 * 1024 * 1024),
        ("rpcs_max", 0),
        ("workers", 65),
        ("parent_pid", 0),
        ("profile", "staging"),
        ("nothing", "known"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(
    no_settings: Path, name: str, value: object
) -> None:
    with pytest.raises(ValidationError) as caught:
        config_of(**{name: value})
    (line,) = config_faults(caught.value)
    assert line.startswith(f"CIPHERWARD_{name.upper()}: ")


PRODUCTION: dict[str, Any] = {
    "profile": "production",
    "listen": "0.0.0.0:7001",
    "health_listen": "0.0.0.0:7003",
    "metrics_listen": "0.0.0.0:7004",
}


def test_production_names_a_certificate_that_it_cannot_judge(no_settings: Path) -> None:
    with pytest.raises(ValidationError) as caught:
        config_of(**PRODUCTION, tls_certificate=str(no_settings / "none"))
    assert config_faults(caught.value) == [
        "profile production refuses: tls_certificate: cannot be read: No such file or directory"
    ]


def test_production_takes_settings_without_a_fault(no_settings: Path) -> None:
    # An authority that is not a development one: the same, under another organization's name.
    certificate = no_settings / "tls.pem"
    certificate.write_bytes(foreign_certificate())
    config = config_of(**PRODUCTION, tls_certificate=certificate)
    assert config.faults() == []


def foreign_certificate() -> bytes:
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Hospital A")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(Encoding.PEM)


def test_every_setting_is_described(no_settings: Path, alliance: TestAlliance) -> None:
    table = describe_config(ServerConfig)
    rows = [line for line in table.splitlines() if line.startswith("| `CIPHERWARD_")]
    assert len(rows) == len(ServerConfig.model_fields)
    assert all(field.description for field in ServerConfig.model_fields.values())
    assert "| `CIPHERWARD_WORKERS` | int, ≥ 0, ≤ 64 | `0` |" in table
    assert "| `CIPHERWARD_MEMBER` | str | (required) |" in table
    assert "| `CIPHERWARD_HOLDER_LISTEN` | str or None | none |" in table
    assert "| `CIPHERWARD_PARENT_PID` | int or None, ≥ 1 | none |" in table
    assert "| `CIPHERWARD_DATA_DIR` | Path | (required) |" in table
