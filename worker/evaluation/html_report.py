"""The report: one HTML file that stands alone, with ``metrics.json``, its schema, and the plots beside it."""

from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path

from worker.evaluation import formatting
from worker.evaluation.document import Evaluation, schema, to_json
from worker.evaluation.examples import Shown
from worker.evaluation.plots import Plot, plots
from worker.evaluation.report_folder import REPORT_FILE, page, write_folder, write_plots

METRICS_FILE, SCHEMA_FILE = "metrics.json", "metrics.schema.json"

_TEMPLATE = Path(__file__).parent / "templates" / "report.html"


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
    write_folder(folder, lambda staging: _fill(staging, evaluation, shown))


def html(evaluation: Evaluation, drawn: tuple[Plot, ...], shown: Sequence[Shown] = ()) -> str:
    """Return the report as one page."""
    return page(
        _TEMPLATE,
        drawn,
        e=evaluation,
        formatting=formatting,
        shown=shown,
        base64=lambda content: b64encode(content).decode(),
    )


def _fill(folder: Path, evaluation: Evaluation, shown: Sequence[Shown]) -> None:
    drawn = tuple(plots(evaluation))
    (folder / REPORT_FILE).write_text(html(evaluation, drawn, shown), "utf-8")
    (folder / METRICS_FILE).write_text(to_json(evaluation), "utf-8")
    (folder / SCHEMA_FILE).write_text(schema(), "utf-8")
    write_plots(folder, drawn)
