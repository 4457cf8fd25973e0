"""The report: one HTML file that stands alone, with ``metrics.json``, its schema, and the plots beside it."""

import os
import shutil
import tempfile
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from worker.errors import Code, SetupRefused
from worker.evaluation import formatting
from worker.evaluation.document import Evaluation, schema, to_json
from worker.evaluation.examples import Shown
from worker.evaluation.plots import Plot, plots

REPORT_FILE, METRICS_FILE, SCHEMA_FILE, PLOTS_FOLDER = "report.html", "metrics.json", "metrics.schema.json", "plots"

_HERE = Path(__file__).parent / "templates"


def write_report(evaluation: Evaluation, folder: Path, shown: Sequence[Shown] = ()) -> None:
    """Write a report into a folder that is not there yet, or is empty; all of it appears at once, or nothing does.

    Its owner alone may read it: it names lesions.

    Args:
        evaluation: what was measured.
        folder: where it goes.
        shown: lesions with their pictures, in their order.

    Raises:
        SetupRefused: ``setting_invalid``: the folder holds something, or cannot be written.
    """
    check_writable(folder)
    try:
        staging = Path(tempfile.mkdtemp(prefix=".report-", dir=folder.parent))
        try:
            _fill(staging, evaluation, shown)
            if folder.exists():
                folder.rmdir()
            staging.rename(folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise _refused(f"the folder cannot be written ({os.strerror(error.errno or 0)})") from None


def check_writable(folder: Path) -> None:
    """Make sure that a report can go to a folder, before the work that it takes.

    Raises:
        SetupRefused: ``setting_invalid``: it holds something, is no folder, or cannot be made.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
            raise _refused("the folder must be new or empty: a report never overwrites another")
    except OSError as error:
        raise _refused(f"the folder cannot be written ({os.strerror(error.errno or 0)})") from None
    if not os.access(folder.parent, os.W_OK):
        raise _refused("the folder cannot be written")


def html(evaluation: Evaluation, drawn: tuple[Plot, ...], shown: Sequence[Shown] = ()) -> str:
    """Return the report as one page: its pictures are in it, there is no script, and no address but its own."""
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pictures = {plot.name: (plot, b64encode(plot.content["svg"]).decode()) for plot in drawn}
    return environment.get_template("report.html").render(
        e=evaluation,
        pictures=pictures,
        formatting=formatting,
        shown=shown,
        base64=lambda content: b64encode(content).decode(),
    )


def _fill(folder: Path, evaluation: Evaluation, shown: Sequence[Shown]) -> None:
    drawn = tuple(plots(evaluation))
    (folder / REPORT_FILE).write_text(html(evaluation, drawn, shown), "utf-8")
    (folder / METRICS_FILE).write_text(to_json(evaluation), "utf-8")
    (folder / SCHEMA_FILE).write_text(schema(), "utf-8")
    (folder / PLOTS_FOLDER).mkdir()
    for plot in drawn:
        for kind, content in plot.content.items():
            (folder / PLOTS_FOLDER / f"{plot.name}.{kind}").write_bytes(content)


def _refused(reason: str) -> SetupRefused:
    return SetupRefused(Code.SETTING_INVALID, f"--output: {reason}")
