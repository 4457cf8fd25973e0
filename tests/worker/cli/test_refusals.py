"""Lesions that a model learned from are no lesions to measure it on, as far as its card tells."""

import pytest
import typer

from tests.worker.inference.samples import sample_card
from worker.cli.refusals import refuse_learned
from worker.dataset.manifest import Split


@pytest.mark.parametrize(
    ("own", "first", "said"),
    [
        ({"stages": "age", "age_learns_on": "train"}, {"stages": "image", "age_learns_on": "none"}, None),
        ({"stages": "age", "age_learns_on": "validation"}, None, "classifier of DLR_BM 2 was trained"),
        ({"stages": "age", "age_learns_on": "train"}, {"stages": "two", "age_learns_on": "validation"},
         "classifier of the weights that DLR_BM 2 started from was trained"),
    ],
)  # fmt: skip
def test_validation_is_refused_where_an_age_classifier_learned_from_it_now_or_before(
    own: dict[str, str], first: dict[str, str] | None, said: str | None
) -> None:
    started = [] if first is None else [{"weights_sha256": "f" * 64, "training": first}]
    card = sample_card(version="2", training=own, initial_weights=started)
    refuse_learned(Split.TEST, card)
    if said is None:
        refuse_learned(Split.VALIDATION, card)
        return
    with pytest.raises(typer.BadParameter, match=said):
        refuse_learned(Split.VALIDATION, card)
