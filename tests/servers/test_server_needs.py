from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers.need import REQUIRED, need
from tests.servers.pins import FOLDER, PINS, ServerName, missing, stamp_file, stamped


def nothing_on_the_path(_program: str) -> None:
    return None


def everything_on_the_path(program: str) -> str:
    return f"/usr/bin/{program}"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cometbft", "install Go 1.25, then run `make install-servers`"),
        ("kafka", "Java 17 is missing"),
        ("mongo", "run `make install-servers`"),
        ("prometheus", "the package prometheus is missing"),
    ],
)
def test_a_machine_with_nothing_is_told_what_to_install(
    name: ServerName, words: str, tmp_path: Path
) -> None:
    sentence = missing(name, which=nothing_on_the_path, folder=tmp_path)
    assert sentence is not None
    assert words in sentence


@pytest.mark.parametrize("name", PINS)
def test_a_whole_install_of_the_pinned_version_is_enough(name: ServerName, tmp_path: Path) -> None:
    stamp_file(name, tmp_path).write_text(PINS[name].pinned)
    assert missing(name, which=everything_on_the_path, folder=tmp_path) is None


@pytest.mark.parametrize("name", ["cometbft", "kafka", "mongo"])
def test_an_install_of_another_version_or_without_its_end_does_not_count(
    name: ServerName, tmp_path: Path
) -> None:
    assert not stamped(name, tmp_path)
    stamp_file(name, tmp_path).write_text("0.0.1")
    assert not stamped(name, tmp_path)
    assert missing(name, which=everything_on_the_path, folder=tmp_path) is not None


def test_a_missing_server_skips_its_test_and_in_ci_fails_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", str(FOLDER / "no such folder"))
    monkeypatch.delenv(REQUIRED, raising=False)
    with pytest.raises(pytest.skip.Exception, match="Java 17 is missing"):
        need("kafka")
    monkeypatch.setenv(REQUIRED, "1")
    with pytest.raises(pytest.fail.Exception, match="Java 17 is missing"):
        need("kafka")
