"""Plots of an evaluation: black and grey with dashes and marks, so that they are read on any printer.

They are drawn from the document alone, and the same document gives the same bytes on one version of Matplotlib.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from worker.evaluation.document import Evaluation, Judged, Question
from worker.evaluation.formatting import ADVICE, area
from worker.evaluation.resampling import GRID
from worker.evaluation.restratification import Restratification

FORMATS: tuple[Literal["svg", "png"], ...] = ("svg", "png")

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.dpi": 100,
    "savefig.dpi": 150,
    "svg.hashsalt": "dlr-worker",
    "svg.fonttype": "path",
    "text.parse_math": False,
}
SQUARE, WIDE = (4.6, 4.4), (6.4, 3.8)
_LINES = ((0, ()), (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)))
_GREYS = ("0", "0.35", "0.55", "0.2")
_BIOPSY = 0.02
"""BI-RADS 4 starts above a likelihood of malignancy of 2 % (ACR BI-RADS Atlas, 5th edition)."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture of an evaluation.

    Attributes:
        name: of its files, without an ending.
        title: a caption.
        alt: what it shows, for those who do not see it.
        content: the bytes of each of ``FORMATS``.
    """

    name: str
    title: str
    alt: str
    content: Mapping[str, bytes]


def plots(evaluation: Evaluation) -> Iterator[Plot]:
    """Draw an evaluation: the flow of the 4A lesions first, then each question's curves."""
    for place, one in enumerate(evaluation.restratifications, start=1):
        yield _flow_plot(one, f"restratification-{place}")
    for question in evaluation.questions:
        yield _roc_plot(question)
        for judged in question.judged:
            yield from _plots_of(question, judged)


def _plots_of(question: Question, judged: Judged) -> Iterator[Plot]:
    who, of = f"{judged.model} {judged.version}", f"{question.truth.value}-{_file_name(judged)}"
    yield drawn(
        f"scores-{of}", f"Scores of {who}", "How many lesions had each score, by what they turned out to be.",
        WIDE, lambda axes: _histogram(axes, question, judged),
    )  # fmt: skip
    if judged.calibration is not None:
        yield drawn(
            f"reliability-{of}", f"Reliability of {who}", "Observed rate against predicted probability, in ten bins.",
            SQUARE, lambda axes: _reliability(axes, judged),
        )  # fmt: skip
    if judged.decision_curve:
        yield drawn(
            f"decision-{of}", f"Decision curve of {who}", "Net benefit against the probability one would act from.",
            WIDE, lambda axes: _decision(axes, judged),
        )  # fmt: skip


def _file_name(judged: Judged) -> str:
    return f"{judged.model.lower().replace('_', '-')}-{judged.version}"


def drawn(name: str, title: str, alt: str, size: tuple[float, float], draw: Callable[[Axes], None]) -> Plot:
    """Draw one plot in the style of all.

    Args:
        name: of its files, without an ending.
        title: a caption.
        alt: what it shows, for those who do not see it.
        size: inches.
        draw: draws it.
    """
    with _styled():
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.add_subplot())
        return Plot(name, title, alt, {kind: _bytes(figure, kind) for kind in FORMATS})


@contextmanager
def _styled() -> Iterator[None]:
    with rc_context(_STYLE):
        yield


def _bytes(figure: Figure, kind: Literal["svg", "png"]) -> bytes:
    written = io.BytesIO()
    # Without these the picture says when it was drawn, and by what.
    empty = {"svg": {"Date": None, "Creator": None, "Format": None, "Type": None}, "png": {"Software": None}}
    figure.savefig(written, format=kind, metadata=empty[kind])
    return written.getvalue()


def _roc_plot(question: Question) -> Plot:
    def draw(axes: Axes) -> None:
        for judged, line, grey in zip(question.judged, cycle(_LINES), cycle(_GREYS), strict=False):
            _roc(axes, judged, line, grey)
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
        axes.set(xlabel="1 - specificity", ylabel="Sensitivity", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        axes.legend(loc="lower right")

    said = ", ".join(f"{one.model} {one.version}: {area(one.auc)}" for one in question.judged)
    return drawn(f"roc-{question.truth.value}", f"ROC: {question.positive}", f"ROC curves. {said}.", SQUARE, draw)


def _roc(axes: Axes, judged: Judged, line: object, grey: str) -> None:
    rates = [at.false_positive_rate for at in judged.roc], [at.sensitivity for at in judged.roc]
    label = f"{judged.model} {judged.version}\nAUC {area(judged.auc)}"
    axes.plot(*rates, color=grey, linestyle=line, linewidth=1.4, label=label)
    if judged.bootstrap is not None:
        low, high = [one.low for one in judged.bootstrap.band], [one.high for one in judged.bootstrap.band]
        axes.fill_between(GRID, low, high, color=grey, alpha=0.12, linewidth=0)
    used = judged.operating_points[0]
    if used.specificity.rate is not None and used.sensitivity.rate is not None:
        axes.plot(1 - used.specificity.rate, used.sensitivity.rate, marker="o", color=grey, markersize=5)


def _histogram(axes: Axes, question: Question, judged: Judged) -> None:
    histogram = judged.histogram
    edges = np.linspace(0, 1, len(histogram.positives) + 1)
    width = edges[1] / 2
    axes.bar(edges[:-1], histogram.negatives, width, align="edge", color="0.8", edgecolor="0", linewidth=0.6,
             label=f"all others: {sum(histogram.negatives)}")  # fmt: skip
    axes.bar(edges[:-1] + width, histogram.positives, width, align="edge", color="0.35", edgecolor="0", linewidth=0.6,
             hatch="////", label=f"{question.positive}: {sum(histogram.positives)}")  # fmt: skip
    threshold = judged.operating_points[0].threshold
    axes.axvline(threshold, color="0", linewidth=1.2, linestyle=(0, (4, 2)), label=f"threshold {threshold:.3f}")
    axes.set(xlabel="Score", ylabel="Lesions", xlim=(0, 1))
    axes.legend(loc="best")


def _reliability(axes: Axes, judged: Judged) -> None:
    assert judged.calibration is not None  # noqa: S101  the caller looked
    of = ((judged.calibration.as_scored, "o", "0", "as scored"),
          (judged.calibration.scaled, "s", "0.55", f"temperature {judged.calibration.temperature:.2f}"))  # fmt: skip
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
    for measured, mark, grey, label in of:
        filled = [one for one in measured.bins if one.mean_probability is not None and one.observed.rate is not None]
        rates = [one.observed.rate or 0.0 for one in filled]
        reach = [[rate - one.observed.low for rate, one in zip(rates, filled, strict=True)],
                 [one.observed.high - rate for rate, one in zip(rates, filled, strict=True)]]  # fmt: skip
        said = f"{label}: ECE {measured.expected_calibration_error:.3f}, Brier {measured.brier:.3f}"
        means = [one.mean_probability or 0.0 for one in filled]
        axes.errorbar(means, rates, yerr=np.clip(reach, 0, None), fmt=f"{mark}-", color=grey, linewidth=1,
                      markersize=4, elinewidth=0.7, capsize=2, label=said)  # fmt: skip
    axes.set(xlabel="Predicted probability", ylabel="Observed rate", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02),
             aspect="equal")  # fmt: skip
    axes.legend(loc="upper left")


def _decision(axes: Axes, judged: Judged) -> None:
    at = [one.threshold for one in judged.decision_curve]
    axes.plot(at, [one.model for one in judged.decision_curve], color="0", linewidth=1.4,
              label=f"{judged.model} {judged.version}")  # fmt: skip
    axes.plot(at, [one.treat_all for one in judged.decision_curve], color="0.35", linestyle=(0, (5, 2)), linewidth=1,
              label="biopsy all")  # fmt: skip
    axes.axhline(0, color="0.55", linewidth=1, linestyle=(0, (1, 1.5)), label="biopsy none")
    axes.axvline(_BIOPSY, color="0.7", linewidth=0.8, label="2 %: BI-RADS 4 starts above it")
    prevalence = judged.positives / judged.lesions
    axes.set(xlabel="Probability from which one would biopsy", ylabel="Net benefit", xlim=(0, 0.8),
             ylim=(-0.1 * prevalence, 1.1 * prevalence))  # fmt: skip
    axes.legend(loc="best")


def _flow_plot(one: Restratification, name: str) -> Plot:
    def draw(axes: Axes) -> None:
        for place, arm in enumerate(one.arms):
            malignant, benign = arm.malignant.count, arm.malignant.total - arm.malignant.count
            axes.barh(place, malignant, color="0.35", edgecolor="0", hatch="////", linewidth=0.6,
                      label="malignant" if place == 0 else None)  # fmt: skip
            axes.barh(place, benign, left=malignant, color="0.9", edgecolor="0", linewidth=0.6,
                      label="benign" if place == 0 else None)  # fmt: skip
            rate = f", {100 * (arm.malignant.rate or 0):.1f} % malignant" if arm.malignant.total else ""
            words = f" {arm.share.count} ({100 * (arm.share.rate or 0):.1f} %){rate}"
            axes.text(arm.share.count, place, words, va="center", fontsize=8)
        most = max(arm.share.count for arm in one.arms)
        axes.set(xlabel=f"Lesions of BI-RADS 4A ({one.arms[0].share.total})", xlim=(0, 1.6 * most))
        axes.set_yticks(range(len(one.arms)), [ADVICE[arm.outcome] for arm in one.arms])
        axes.invert_yaxis()
        axes.legend(loc="lower right")

    said = "; ".join(f"{ADVICE[arm.outcome]}: {arm.share.count}, {arm.malignant.count} malignant" for arm in one.arms)
    title = f"Re-stratification of BI-RADS 4A: DLR_LH {one.lh_version} with DLR_BM {one.bm_version}"
    return drawn(name, title, f"Bars. {said}.", WIDE, draw)
