"""The report on waiting times: one HTML file that stands alone, the document, its schema, and the plot beside it."""

from pathlib import Path

from matplotlib.axes import Axes

from worker.evaluation.formatting import SOURCES
from worker.evaluation.plots import WIDE, Plot, drawn
from worker.evaluation.report_folder import REPORT_FILE, page, write_folder, write_plots
from worker.waiting_times import formatting
from worker.waiting_times.comparison import Estimate, Figures
from worker.waiting_times.document import WaitingTimes, schema, to_json

DOCUMENT_FILE, SCHEMA_FILE = "waiting-times.json", "waiting-times.schema.json"

TITLE = "How long studies wait: the mean, a bar for its 95 % interval, and dashes to the 90th percentile"

_TEMPLATE = Path(__file__).parent / "templates" / "waiting-times.html"
_ROW = 0.18
"""How far cancers stand above the others of an order, in rows."""


def write_report(found: WaitingTimes, folder: Path) -> None:
    """Write a report into a folder that is not there yet, or is empty; all of it appears at once, or nothing does.

    Raises:
        SetupRefused: ``setting_invalid``: the folder holds something, or cannot be written.
    """
    write_folder(folder, lambda staging: _fill(staging, found))


def html(found: WaitingTimes, plot: Plot) -> str:
    """Return the report as one page."""
    return page(_TEMPLATE, [plot], w=found, formatting=formatting, sources=SOURCES)


def plot_of(found: WaitingTimes) -> Plot:
    """Draw the waits under each order: means with their intervals, and up to where 90 % are opened."""

    def draw(axes: Axes) -> None:
        for place, figures in enumerate(found.orders.values()):
            label = place == 0
            _line(axes, place - _ROW, figures.cancers_mean, figures.cancers_p90, "0", "o", "cancers" if label else None)
            _line(axes, place + _ROW, figures.others_mean, figures.others_p90, "0.55", "s", "others" if label else None)
        axes.set_yticks(range(len(found.orders)), [formatting.order_name(order) for order in found.orders])
        axes.set(xlabel="Minutes until a study is opened")
        axes.set_xlim(left=0)
        axes.set_ylim(len(found.orders) - 0.5, -0.5)
        axes.legend(loc="best")

    said = "; ".join(f"{formatting.order_name(order)}: {_said(one)}" for order, one in found.orders.items())
    return drawn("waits", TITLE, f"Mean waits. {said}.", WIDE, draw)


def _line(axes: Axes, at: float, mean: Estimate, most: Estimate, grey: str, mark: str, label: str | None) -> None:
    axes.plot([mean.value, most.value], [at, at], color=grey, linewidth=0.8, linestyle=(0, (4, 2)))
    axes.plot(most.value, at, marker="|", color=grey, markersize=8)
    axes.plot(mean.value, at, marker=mark, color=grey, markersize=5, linestyle="none", label=label)
    if mean.low is not None and mean.high is not None:
        axes.plot([mean.low, mean.high], [at, at], color=grey, linewidth=2.4, solid_capstyle="butt")


def _said(one: Figures) -> str:
    return f"cancers {formatting.minutes(one.cancers_mean)}, others {formatting.minutes(one.others_mean)} minutes"


def _fill(folder: Path, found: WaitingTimes) -> None:
    plot = plot_of(found)
    (folder / REPORT_FILE).write_text(html(found, plot), "utf-8")
    (folder / DOCUMENT_FILE).write_text(to_json(found), "utf-8")
    (folder / SCHEMA_FILE).write_text(schema(), "utf-8")
    write_plots(folder, [plot])
