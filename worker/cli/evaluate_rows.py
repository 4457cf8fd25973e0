"""The rows of the tables that ``dlr evaluate`` prints."""

from typing import TYPE_CHECKING

from worker.cli.proportion_cells import percent

if TYPE_CHECKING:
    from worker.evaluation.document import Evaluation, Judged

RATES = ("sensitivity", "specificity", "ppv", "npv", "accuracy")
"""Of a threshold."""


def auc_row(question: str, one: "Judged") -> dict[str, object]:
    """Return what one version's AUC is."""
    from worker.evaluation import formatting

    by = one.bootstrap
    return {
        "question": question,
        "model": f"{one.model} {one.version}",
        "lesions": one.lesions,
        "positives": one.positives,
        "auc": formatting.area(one.auc),
        "logit_interval": formatting.interval(one.auc.logit_interval),
        "bootstrap": None if by is None else f"{formatting.interval(by.auc)} ({by.units} {by.unit}s)",
        "notice": one.notice,
    }


def site_rows(question: str, judged: "Judged") -> list[dict[str, object]]:
    """Return the same of each site."""
    from worker.evaluation import formatting
    from worker.evaluation.subgroups import By

    return [
        {
            "question": question,
            "model": f"{judged.model} {judged.version}",
            "site": part.value,
            "lesions": part.lesions,
            "positives": part.positives,
            "auc": None if part.auc is None else formatting.area(part.auc),
            "sensitivity": None if part.sensitivity is None else percent(part.sensitivity),
            "specificity": None if part.specificity is None else percent(part.specificity),
        }
        for part in judged.subgroups
        if part.by is By.SITE
    ]


def views_rows(found: "Evaluation") -> list[dict[str, object]]:
    """Return how far the images of lesions agree."""
    from worker.evaluation import formatting

    return [
        {
            "question": question.truth.value,
            "model": f"{one.model} {one.version}",
            "views_disagree": formatting.percent(one.views.disagree),
            "mean_spread": one.views.spread,
        }
        for question in found.questions
        for one in question.judged
        if one.views is not None
    ]


def compared_rows(found: "Evaluation") -> list[dict[str, object]]:
    """Return which versions are told apart by their AUC."""
    from worker.evaluation import formatting

    return [
        {
            "question": question.truth.value,
            "first": one.first,
            "second": one.second,
            "lesions": one.lesions,
            "first_less_second": formatting.difference(one.difference),
            "p_value": formatting.p_value(one.difference.p_value),
        }
        for question in found.questions
        for one in question.comparisons
    ]


def point_rows(question: str, judged: "Judged") -> list[dict[str, object]]:
    """Return what each threshold gives."""
    from worker.evaluation import formatting

    return [
        {
            "question": question,
            "model": f"{judged.model} {judged.version}",
            "threshold": f"{at.threshold:.6g}",
            "chosen": formatting.CHOSEN[at.chosen_by] + (", used" if at.used else ""),
            **{name: percent(getattr(at, name)) for name in RATES},
        }
        for at in judged.operating_points
    ]


def calibration_rows(judged: "Judged") -> list[dict[str, object]]:
    """Return what the probabilities mean."""
    if judged.calibration is None:
        return []
    by = judged.calibration
    return [
        {
            "model": f"{judged.model} {judged.version}",
            "probabilities": said,
            "brier": measured.brier,
            "ece": measured.expected_calibration_error,
            "log_loss": measured.log_loss,
        }
        for said, measured in (("as scored", by.as_scored), (f"temperature {by.temperature:.3f}", by.scaled))
    ]
