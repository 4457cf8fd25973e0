"""Options by which several commands take lesions with known pathology and write a report of them."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from worker.cli.refusals import refuse_without

ManifestOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Manifest whose lesions the active models score now")
]
RootOption = Annotated[Path | None, typer.Option(help="With a manifest: folder that its paths are relative to")]
SkipBadOption = Annotated[bool, typer.Option("--skip-bad", help="Leave out bad rows instead of stopping")]
ImageOnlyOption = Annotated[
    bool,
    typer.Option(
        "--image-only", help="With --manifest: score by the image alone (FC2), so that lesions need no age; no advice"
    ),
]
LhThresholdOption = Annotated[
    float | None, typer.Option(min=0, max=1, help="Threshold for DLR_LH, instead of its card's")
]
BmThresholdOption = Annotated[
    float | None, typer.Option(min=0, max=1, help="Threshold for DLR_BM, instead of its card's")
]
ReportFolderOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="Write a report to this new or empty folder")
]


def refuse_other_sources(
    scores: Path | None, manifest: Path | None, root: Path | None, since: datetime | None, *, from_database: bool
) -> None:
    """Refuse lesions of no source or of two, and options of a source that is not the one.

    Raises:
        typer.BadParameter: so it is.
    """
    if sum((scores is not None, manifest is not None, from_database)) != 1:
        raise typer.BadParameter("give exactly one", param_hint="--scores, --manifest, --from-database")
    refuse_without("--root", root, "--manifest", manifest)
    refuse_without("--since", since, "--from-database", from_database or None)
