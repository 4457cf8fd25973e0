"""How a person names studies on the command line (`worker.reporting.lookup`)."""

from typing import Annotated

import typer

_HELP = "Id or its beginning, Study Instance UID or accession number"
StudyArgument = Annotated[str, typer.Argument(help=_HELP)]
OptionalStudyArgument = Annotated[str | None, typer.Argument(help=_HELP)]
StudiesArgument = Annotated[
    list[str] | None,
    typer.Argument(help="Ids or their beginnings, Study Instance UIDs or accession numbers; or use the options"),
]
