"""``dlr dataset import``: a manifest of a PACS export, of what is on record here, or of a public data set."""

import shlex
from collections import Counter
from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.bad_rows import print_faults
from worker.cli.dataset_options import OutputOption, RootOption
from worker.cli.failed import moment
from worker.cli.output import Format, Report, ReportOption, print_json, print_rows, say
from worker.cli.progress import progress_bar
from worker.cli.refusals import refuse_without
from worker.dataset.finding import Finding
from worker.extras import require_extra

if TYPE_CHECKING:
    from worker.dataset.importers.imported_dataset import Imported, OnProgress

EXIT_BAD_ROWS = 3


class Layout(StrEnum):
    """What is imported: a hospital's own export, what is on record here, or a public data set by its layout."""

    DICOM = "dicom"
    LEDGER = "ledger"
    BUSI = "busi"
    BUS_BRA = "bus-bra"
    BREAST = "breast"
    MEDMNIST = "medmnist"


def import_dataset(
    layout: Annotated[
        Layout,
        typer.Argument(
            help="dicom: a PACS export and a table; ledger: your own stored lesions; else which data set it is"
        ),
    ],
    output: OutputOption,
    source: Annotated[
        Path | None, typer.Argument(help="Its folder; for medmnist, the .npz file; for ledger, nothing")
    ] = None,
    root: RootOption = None,
    table: Annotated[
        Path | None,
        typer.Option(help="dicom: the lesions, .csv or .xlsx: by SOP Instance UID or accession number, with pathology"),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(help="dicom, ledger: file of the secret that makes the patients' keys; created if there is none"),
    ] = None,
    label_from_verdicts: Annotated[
        bool,
        typer.Option("--label-from-verdicts", help="ledger: without pathology, label by the final BI-RADS category"),
    ] = False,
    trained_on: Annotated[
        list[Path] | None,
        typer.Option(help="ledger: manifest that a model was trained on, to mark its lesions; may be repeated"),
    ] = None,
    exclude_finding: Annotated[
        list[Finding] | None,
        typer.Option(help="ledger: finding by which rows of --trained-on were left out in training; may be repeated"),
    ] = None,
    biopsied_only: Annotated[
        bool, typer.Option("--biopsied-only", help="breast: leave out lesions that follow-up alone confirmed")
    ] = False,
    since: Annotated[
        datetime | None,
        typer.Option(
            parser=moment, metavar="TIME", help="ledger: only studies received since then: ISO 8601, or 90d (ago)"
        ),
    ] = None,
    fmt: ReportOption = Report.TABLE,
) -> None:
    """Make a manifest of a PACS export with a table, of stored lesions with pathology or a verdict, or of a public set.

    Rows left out are in it too, with the reason. Exit status 3: rows of the table are bad, and left out. Duplicate
    images of a public data set are found by their content. Read its licence: none allows every use.
    """
    from worker.dataset.manifest_file import require_free, write_manifest

    require_free(output)
    if biopsied_only and layout is not Layout.BREAST:
        raise typer.BadParameter("only breast says what was biopsied", param_hint="--biopsied-only")
    if (table is not None) != (layout is Layout.DICOM):
        raise typer.BadParameter("dicom needs a table, and nothing else takes one", param_hint="--table")
    of_ledger = label_from_verdicts or trained_on or since or exclude_finding
    folder = root or output.parent
    if layout is Layout.LEDGER:
        if source is not None or key is None:
            raise typer.BadParameter("ledger has no SOURCE, and needs --key")
        require_extra("worker", "dlr dataset import ledger", "PIL")
        from worker.cli.dataset_ledger import imported_ledger

        refuse_without("--exclude-finding", exclude_finding, "--trained-on", trained_on)
        imported = imported_ledger(
            output, folder, key, since, trained_on or (), exclude_finding or (), label_from_verdicts=label_from_verdicts
        )
    elif source is None or of_ledger or (key is not None) != (layout is Layout.DICOM):
        raise typer.BadParameter("SOURCE is needed; --key is of dicom, which needs it, and of ledger, as are others")
    elif table is not None and key is not None:
        require_extra("worker", "dlr dataset import dicom", "PIL")
        from worker.cli.dataset_dicom import imported_dicom

        imported = imported_dicom(source, table, output, folder, key)
    else:
        with progress_bar("images") as on_progress:
            imported = _imported(layout, source, output, folder, on_progress, biopsied_only=biopsied_only)
    write_manifest(output, imported.rows)
    _tell(imported, output, root, fmt)
    raise typer.Exit(EXIT_BAD_ROWS if imported.faults else 0)


def _tell(imported: "Imported", output: Path, root: Path | None, fmt: Report) -> None:
    left_out = Counter(row.excluded for row in imported.rows if row.excluded is not None)
    if fmt is Report.JSON:
        listed = [{"image": row.image, "excluded": row.excluded} for row in imported.rows if row.excluded is not None]
        bad_rows = list(map(asdict, imported.faults))
        print_json({"rows": len(imported.rows), "excluded": listed, "notes": imported.notes, "bad_rows": bad_rows})
        return
    print_faults(imported.faults, "bad rows of the table, which were left out")
    rows = [{"excluded": reason, "rows": count} for reason, count in left_out.most_common()]
    print_rows(rows, ("excluded", "rows"), Format.TABLE, title=f"left out of {len(imported.rows)} rows")
    validate = ["dlr", "dataset", "validate", str(output), *([] if root is None else ["--root", str(root)])]
    for line in (*(f"note: {note}" for note in imported.notes), f"next: {shlex.join(validate)}"):
        say(line)


def _imported(
    layout: Layout, source: Path, output: Path, root: Path, on_progress: "OnProgress", *, biopsied_only: bool
) -> "Imported":
    require_extra("worker", "dlr dataset import", "PIL")
    from worker.dataset.importers import breast, bus_bra, busi, medmnist

    match layout:
        case Layout.BUSI:
            return busi.import_busi(source, root, on_progress)
        case Layout.BUS_BRA:
            return bus_bra.import_bus_bra(source, root, on_progress)
        case Layout.BREAST:
            return breast.import_breast(source, root, on_progress, biopsied_only=biopsied_only)
        case _:
            return medmnist.import_medmnist(source, root, output.with_name(f"{output.stem}-images"), on_progress)
