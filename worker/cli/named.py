"""How a person names studies on the command line (`worker.reporting.lookup`)."""

from typing import Annotated

import typer

StudyArgument = Annotated[
    str, typer.Argument(help="The study's id or how it begins, its Study Instance UID or its accession number")
]
StudiesArgument = Annotated[
    list[str] | None,
    typer.Argument(help="Ids or how they begin, Study Instance UIDs or accession numbers; or choose by the options"),
]
