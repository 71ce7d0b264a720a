"""The commands of `cipherward`, and the one place where errors become words."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from cipherward_client.cli import (
    alliance,
    audit,
    backup,
    canary,
    chain,
    consent,
    consent_fhir,
    contract,
    demo,
    dev,
    doctor,
    emergency,
    key,
    member,
    notices,
    opening,
    receipt,
    record,
    scores,
    study,
    templates,
    wallet,
)
from cipherward_client.cli.main import INTERRUPTED
from cipherward_client.cli.output import (
    FAILED,
    USAGE,
    Refusal,
    refusal_of,
    show_refusal,
)

app = typer.Typer(
    name="cipherward",
    help="Hospitals pool what they know about patients, and nobody sees a patient.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # they print local variables: keys and passphrases
)
app.command("demo")(demo.demo)
app.command("audit")(audit.audit)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("doctor")(doctor.doctor)
app.command("notices")(notices.notices)
app.add_typer(dev.app, name="dev")
app.add_typer(alliance.app, name="alliance")
app.add_typer(member.app, name="member")
app.add_typer(member.upgrade_app, name="upgrade")
app.add_typer(wallet.app, name="wallet")
app.add_typer(record.app, name="record")
consent.app.command("import")(consent_fhir.import_consent)
consent.app.command("export")(consent_fhir.export_consent)
app.add_typer(consent.app, name="consent")
templates.app.command("check")(contract.check)
templates.app.command("simulate")(contract.simulate)
templates.app.command("replay")(contract.replay)
app.add_typer(templates.app, name="contract")
app.add_typer(emergency.app, name="emergency")
app.add_typer(key.app, name="key")
app.add_typer(opening.app, name="opening")
app.add_typer(study.app, name="study")
app.add_typer(scores.app, name="score")
app.add_typer(canary.app, name="canary")
app.add_typer(receipt.app, name="receipt")
app.add_typer(chain.app, name="chain")


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status: 0, 1 (failed), 2 (usage) or 130 (interrupted).

    No traceback leaves it, whatever happens.
    """
    # `demo --json FILE` names a report; everywhere else --json asks for a document on stdout.
    as_json = "--json" in arguments and arguments[0] != "demo"
    try:
        status = app(args=list(arguments), standalone_mode=False)
        return status if isinstance(status, int) else 0
    except typer.TyperException as error:
        return _usage(error, as_json=as_json)
    except typer.Abort:
        return INTERRUPTED
    except KeyboardInterrupt:
        return INTERRUPTED
    except typer.Exit as ended:
        return ended.exit_code
    except Exception as error:
        show_refusal(refusal_of(error), as_json=as_json)
        return FAILED


def _usage(error: typer.TyperException, *, as_json: bool) -> int:
    message = str(error) or "a command is missing"
    context = getattr(error, "ctx", None)
    command = str(getattr(context, "command_path", "cipherward"))
    if not as_json and type(error).__name__ == "NoArgsIsHelpError":
        print(message)
        return USAGE
    fix = f"See `{command} --help`."
    show_refusal(Refusal("USAGE", message, fix), as_json=as_json)
    return USAGE
