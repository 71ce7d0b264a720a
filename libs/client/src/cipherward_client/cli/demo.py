"""`cipherward demo`: the whole story, told and checked."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from cipherward_client.alliance.create import DEFAULT_COUNT
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.cli import context
from cipherward_client.cli.faults import FileExists, StoryFailed
from cipherward_client.cli.output import console, refusal_of
from cipherward_client.cli.parts import (
    Asked,
    CometbftBinary,
    Engine,
    Feed,
    KafkaAddress,
    MongoAddress,
    Store,
    chosen_parts,
)

TOLD_MAX = 7  # the story's numbers are words; more hospitals tell nothing new


def demo(
    report_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write checks and times here.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Play it in this new folder and keep it.")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Write pictures of the results here.")
    ] = None,
    engine: Engine = None,
    feed: Feed = None,
    store: Store = None,
    members: Annotated[
        int, typer.Option(min=DEFAULT_COUNT, max=TOLD_MAX, help="Hospitals in the story.")
    ] = DEFAULT_COUNT,
    kafka: KafkaAddress = None,
    mongo: MongoAddress = None,
    cometbft: CometbftBinary = None,
) -> None:
    """Play the whole story: real patients, their hospitals, every promise checked.

    It takes less than a minute, asks no network, and leaves two pictures behind, whose paths it
    tells, and nothing else unless --data is given (but for what it writes into the Kafka broker
    and the MongoDB server that it is told to use).
    """
    # Imported here: the story brings SEAL, a quarter of a second that no other command should pay.
    from cipherward_client.demo.report import TO_ITS_END, Report
    from cipherward_client.demo.story import Setting, tell
    from cipherward_client.demo.teller import Teller

    if data is not None and data.exists() and any(data.iterdir()):
        raise FileExists(f"{data} is not empty")
    with ExitStack() as stack:
        made = stack.enter_context(tempfile.TemporaryDirectory(prefix="cipherward-demo-"))
        folder = data if data is not None else Path(made) / "alliance"
        asked = Asked(engine, feed, store, kafka, mongo, cometbft)
        report = Report()
        try:
            parts, _ = chosen_parts(AllianceFolder(folder), asked)
            shown = pictures or (data / "pictures" if data is not None else None)
            setting = Setting(folder, shown or stack.enter_context(_kept()), parts, members)
            context.run(tell(Teller(console()), report, setting))
        except Exception as error:
            report.check(TO_ITS_END, False, refusal_of(error).reason)
            raise
        finally:
            if report_file is not None:
                report.write(report_file)
    failed = [check.name for check in report.checks if not check.passed]
    if failed:
        raise StoryFailed(", ".join(failed))


@contextmanager
def _kept() -> Generator[Path]:
    """Give a new folder that stays, unless nothing is put into it."""
    folder = Path(tempfile.mkdtemp(prefix="cipherward-pictures-"))
    try:
        yield folder
    finally:
        if not any(folder.iterdir()):
            folder.rmdir()
