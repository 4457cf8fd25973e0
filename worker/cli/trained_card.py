"""What a command prints of a card that it made: its metrics, and those of each site."""

from worker.cli.output import Format, print_rows
from worker.inference.model_card import ModelCard

METRIC_COLUMNS = (
    "name",
    "version",
    "auc",
    "auc_lower_95",
    "auc_upper_95",
    "auc_image_only",
    "auc_age_only",
    "auc_gain_over_image_p",
    "auc_gain_over_age_p",
    "threshold",
    "sensitivity",
    "specificity",
    "notice",
)
SITE_COLUMNS = (
    "site", "lesions", "positives", "auc", "auc_lower_95", "auc_upper_95", "sensitivity", "specificity", "test_set",
)  # fmt: skip


def print_card(card: ModelCard) -> None:
    """Print a card's metrics as tables, with what they were measured on, if they were."""
    row = card.metrics | {
        "name": card.name, "version": card.version, "threshold": card.threshold, "notice": card.notice or None,
    }  # fmt: skip
    title = f"on {card.metrics['test_set']}" if card.metrics else "not measured"
    print_rows([row], METRIC_COLUMNS, Format.TABLE, title=title)
    print_by_site(card, "the same by site")


def print_by_site(card: ModelCard, title: str) -> None:
    """Print a card's metrics of each site as a table, if there are any."""
    by_site = [{"site": site, **metrics} for site, metrics in card.metrics_by_site.items()]
    if by_site:
        print_rows(by_site, SITE_COLUMNS, Format.TABLE, title=title)
