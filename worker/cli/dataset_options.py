"""Options that commands of manifests share."""

from pathlib import Path
from typing import Annotated

import typer

from db.schema.vocabulary import QualityFinding

RootOption = Annotated[Path | None, typer.Option(help="Folder that paths are relative to (default: the manifest's)")]
ExcludeFindingOption = Annotated[
    list[QualityFinding] | None,
    typer.Option(help="Exclude rows whose region has this quality finding, such as overlay_in_roi; may be repeated"),
]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="Manifest to write, .csv or .parquet")]
