"""``dlr backup``: archives of the database, the models and the accounts, and back from them."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.confirmation import make_sure
from worker.cli.output import Card, Format, FormatOption, Report, ReportOption, print_json, print_rows, say
from worker.cli.progress import stages_bar
from worker.settings import get_settings

if TYPE_CHECKING:
    from worker.backup.folder import Listed
    from worker.backup.restore import Restored
    from worker.backup.stored_files import FileFinding

app = typer.Typer(no_args_is_help=True)

COLUMNS = (
    "name", "created_at", "bytes", "studies", "open", "models", "accounts", "files", "files_missing", "software",
    "revision", "server", "code", "reason",
)  # fmt: skip
CARD = Card(COLUMNS[:2], COLUMNS[2:])
FINDING_COLUMNS = ("what", "name", "state", "then", "now")
MOST_SHOWN = 50
"""Findings of a table; JSON has all."""

ArchiveArgument = Annotated[
    Path, typer.Argument(metavar="ARCHIVE", help="A path, a name of `dlr backup list`, or latest")
]


@app.command()
def create(
    keep: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Then remove all archives but the latest N")
    ] = None,
    digests: Annotated[
        bool, typer.Option(help="Read studies' files for their SHA-256, where they are new or have changed")
    ] = True,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Write an archive of the database, models, accounts and settings into DLR_BACKUP_DIR, while everything runs.

    Of the studies' files it has a list, and of the settings no secrets. Back up DLR_STORAGE_ROOT and the secrets by
    other means.
    """
    from worker.backup.create import create as make
    from worker.backup.create import keep_latest
    from worker.backup.folder import listed_one

    settings = get_settings()
    with stages_bar() as on_progress:
        path = make(settings, digests=digests, on_progress=on_progress)
    if keep is not None:
        for removed in keep_latest(settings.backup_dir, keep):
            say(f"removed {removed}")
    print_rows([_row(listed_one(path))], COLUMNS, fmt, "backup", CARD)


@app.command("list")
def list_archives(fmt: FormatOption = Format.TABLE) -> None:
    """List the archives in DLR_BACKUP_DIR, the latest first. Exit status 3: one cannot be read."""
    from worker.backup.folder import listed

    found = listed(get_settings().backup_dir)
    print_rows([_row(one) for one in found], COLUMNS, fmt, "backups", CARD)
    if any(one.refused is not None for one in found):
        raise typer.Exit(3)


@app.command()
def verify(
    archive: ArchiveArgument,
    storage: Annotated[
        bool, typer.Option("--storage", help="Compare its list of files with DLR_STORAGE_ROOT as well")
    ] = False,
    fmt: ReportOption = Report.TABLE,
) -> None:
    """Read all of an archive and compare each part with its digest. Exit status 3: a file is missing or different."""
    from worker.backup.archive import Archive
    from worker.backup.folder import listed_one, named
    from worker.backup.restore import files_since

    settings = get_settings()
    path = named(settings.backup_dir, archive)
    with Archive(path) as found, stages_bar() as on_progress:
        found.verify(on_progress)
        files = files_since(found, settings, on_progress) if storage else []
    row, findings = _row(listed_one(path)), _of_files(files)
    if fmt is Report.JSON:
        print_json({"backup": row, "findings": findings})
    else:
        print_rows([row], COLUMNS, Format.TABLE, "sound", CARD)
        _print_findings(findings)
    raise typer.Exit(3 if findings else 0)


@app.command()
def restore(
    archive: ArchiveArgument,
    replace: Annotated[
        bool, typer.Option("--replace", help="Remove the studies on record; prefer its accounts and active models")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation")] = False,
    fmt: ReportOption = Report.TABLE,
) -> None:
    """Put an archive's database, models and accounts in place, and say what differs. What was queued is queued again.

    The archive is verified before anything is written. The database has to be without studies, unless --replace.
    Exit status 3: files are missing or newer, settings differ, or something of the backup was not put in place.
    """
    from worker.backup.archive import Archive
    from worker.backup.folder import listed_one, named
    from worker.backup.restore import files_since
    from worker.backup.restore import restore as put_back

    settings = get_settings()
    path = named(settings.backup_dir, archive)
    with Archive(path) as found:
        if replace and not yes:
            make_sure("remove the studies that are on record here?", "--replace removes studies: confirm with --yes")
        with stages_bar() as on_progress:
            restored = put_back(found, settings, replace=replace, on_progress=on_progress)
            files = files_since(found, settings, on_progress)
    findings = [*_of_restored(restored), *_of_files(files)]
    counts = {name: getattr(restored, name) for name in ("studies", "open", "models", "accounts")}
    if fmt is Report.JSON:
        print_json({"backup": _row(listed_one(path)), "restored": counts, "findings": findings})
    else:
        print_rows([counts], tuple(counts), Format.TABLE, "restored")
        _print_findings(findings)
    if restored.open:
        say(f"workers take up {restored.open} studies that were on their way; restart those that run")
    if any(one["state"] == "not_in_backup" for one in findings):
        say("files that are not in the backup are of studies that it does not have: `dlr submit` them again")
    raise typer.Exit(3 if findings else 0)


def _row(one: "Listed") -> dict[str, object]:
    row: dict[str, object] = {"name": one.path.name, "path": str(one.path), "bytes": one.bytes}
    if one.refused is not None:
        return row | {"code": one.refused.code.value, "reason": one.refused.reason}
    assert one.manifest is not None  # noqa: S101  one or the other
    told = one.manifest
    return row | {
        "created_at": told.created_at,
        "studies": told.studies,
        "open": told.open,
        "models": len(told.models),
        "accounts": told.accounts,
        "files": told.files.count,
        "files_missing": told.files.missing,
        "software": told.software,
        "revision": told.database.revision,
        "server": told.database.server,
        "code": None,
        "reason": None,
    }


def _of_files(files: "Sequence[FileFinding]") -> list[dict[str, object]]:
    return [{"what": "file", "name": one.path, "state": one.state.value, "studies": one.studies} for one in files]


def _of_restored(restored: "Restored") -> list[dict[str, object]]:
    kept: list[dict[str, object]] = [{"what": one.what, "name": one.name, "state": "kept"} for one in restored.kept]
    return [*kept, *({"what": "setting", "state": "differs", **_named(asdict(one))} for one in restored.settings)]


def _named(setting: dict[str, object]) -> dict[str, object]:
    return {"name": setting["variable"], "then": setting["then"], "now": setting["now"]}


def _print_findings(findings: Sequence[dict[str, object]]) -> None:
    if findings:
        print_rows(findings[:MOST_SHOWN], FINDING_COLUMNS, Format.TABLE, "missing or different")
    if len(findings) > MOST_SHOWN:
        say(f"and {len(findings) - MOST_SHOWN} more: --format json")
