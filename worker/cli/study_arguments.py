"""How a person names studies on the command line (`worker.reporting.lookup`)."""

from typing import Annotated

import typer

StudyArgument = Annotated[str, typer.Argument(help="Id or its beginning, Study Instance UID or accession number")]
StudiesArgument = Annotated[
    list[str] | None,
    typer.Argument(help="Ids or their beginnings, Study Instance UIDs or accession numbers; or use the options"),
]
