"""Options that commands of manifests share."""

from pathlib import Path
from typing import Annotated

import typer

from worker.dataset.finding import Finding

RootOption = Annotated[Path | None, typer.Option(help="Folder that paths are relative to (default: the manifest's)")]
ExcludeFindingOption = Annotated[
    list[Finding] | None,
    typer.Option(help="Exclude rows whose image shows this, such as overlay_in_roi or calipers; may be repeated"),
]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="Manifest to write, .csv or .parquet")]
