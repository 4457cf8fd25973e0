"""A site's own threshold and temperature on a card, chosen on that site's lesions: a choice, and what it costs.

Why: docs/decisions/0052-sites-are-told-apart.md.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from worker.errors import Code, SetupRefused
from worker.evaluation.calibration import scaled
from worker.evaluation.discrimination import Labels, Scores, auc
from worker.evaluation.evaluation_options import SENSITIVITY, Choice, ChosenBy
from worker.evaluation.recalibration import at_temperature, changed, conformal_of, fitted, rescaled
from worker.evaluation.subgroups import FEWEST
from worker.evaluation.thresholds import OperatingPoint, operating_point, sensitivity_threshold, youden_threshold
from worker.inference.card_parts import SiteScale
from worker.inference.model_card import ModelCard

CHOSEN_ON = "the lesions that the site's own scale was chosen on"
"""What a card's metrics of a site with a scale of its own were measured on."""


@dataclass(frozen=True, slots=True)
class SiteScaled:
    """A card with a scale for a site.

    Attributes:
        card: new in its version, its time, and its scale for the site.
        before: what the card's own threshold gives on the site's lesions.
        after: what the site's gives on the same lesions, which it was chosen on: it looks better than it is.
    """

    card: ModelCard
    before: OperatingPoint
    after: OperatingPoint


def with_site(
    card: ModelCard,
    site: str,
    probabilities: Scores,
    labels: Labels,
    version: str,
    *,
    choose: Choice | None,
    sensitivity: float = SENSITIVITY,
    fit_temperature: bool = False,
    coverage: float | None = None,
    created_at: datetime | None = None,
) -> SiteScaled:
    """Give a card a threshold, a temperature or a conformal set of its own for one site.

    The card's metrics of the site become those of these lesions, and say so: those before are of another threshold.

    Args:
        card: of the model whose scores these are, made at the card's temperature.
        site: the ledger's name of it, letter for letter.
        probabilities: of the site's lesions alone, float (N,), 0 to 1.
        labels: bool (N,), whether the positive class was the true one.
        version: of the new card.
        choose: how to choose the threshold; ``None``: the site's on the card, else the card's, carried to the
            temperature.
        sensitivity: that it has to reach with ``Choice.SENSITIVITY``.
        fit_temperature: find the temperature with the least negative log-likelihood; else the site's on the card, else
            the card's.
        coverage: of a conformal set, 0.5 to 0.999; ``None``: the site's set, else the card's, carried likewise.
        created_at: for the card; now, unless given.

    Raises:
        SetupRefused: ``lesions_too_few``: fewer than ten of a class, too few for the coverage, or no temperature fits.
        ModelRefused: ``card_invalid``: the version is no version, or the site's name is too long.
    """
    positives = int(labels.sum())
    if min(positives, len(labels) - positives) < FEWEST:
        reason = f"a site's own scale takes {FEWEST} lesions of either class at least: {positives} of {len(labels)}"
        raise SetupRefused(Code.LESIONS_TOO_FEW, reason)
    before = operating_point(probabilities, labels, card.threshold, ChosenBy.CARD, used=False)
    own = card.at_site(site)
    probabilities = at_temperature(own, probabilities, card.temperature)
    if fit_temperature:
        by = fitted(probabilities, labels)
        own, probabilities = rescaled(own, by), scaled(probabilities, by)
    threshold, chosen_by = own.threshold, ChosenBy.CARD
    if choose is Choice.YOUDEN:
        threshold, chosen_by = youden_threshold(probabilities, labels), ChosenBy.YOUDEN
    elif choose is Choice.SENSITIVITY:
        threshold, chosen_by = sensitivity_threshold(probabilities, labels, sensitivity), ChosenBy.SENSITIVITY
    of_site = own.conformal if site in card.sites and card.sites[site].conformal is not None else None
    conformal = of_site if coverage is None else conformal_of(probabilities, labels, coverage)
    scale = SiteScale(
        threshold=threshold,
        temperature=own.temperature,
        conformal=conformal,
        lesions=len(labels),
        positives=positives,
    )
    sites = {name: one.model_dump(mode="json") for name, one in {**card.sites, site: scale}.items()}
    made: dict[str, Any] = {
        "version": version,
        "created_at": (created_at or datetime.now(UTC)).isoformat(),
        "sites": sites,
    }
    after = operating_point(probabilities, labels, threshold, chosen_by, used=True)
    made["metrics_by_site"] = {**card.metrics_by_site, site: _metrics(probabilities, labels, after)}
    return SiteScaled(changed(card, made), before, after)


def _metrics(probabilities: Scores, labels: Labels, at: OperatingPoint) -> dict[str, int | float | str]:
    area = auc(probabilities, labels)
    rates = {"auc": area.value, "sensitivity": at.sensitivity.rate, "specificity": at.specificity.rate}
    if area.interval is not None:
        rates |= {"auc_lower_95": area.interval.low, "auc_upper_95": area.interval.high}
    known = {name: round(rate, 4) for name, rate in rates.items() if rate is not None}
    return {"lesions": len(labels), "positives": int(labels.sum()), **known, "test_set": CHOSEN_ON}
