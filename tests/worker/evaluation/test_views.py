"""How far the images of a lesion agree: counted by lesions, never by images."""

import pytest

from tests.worker.evaluation.samples import BM, LH, lesion
from worker.evaluation.lesions import JudgedLesion
from worker.evaluation.views import views


def seen(*probabilities: float) -> JudgedLesion:
    return lesion(image_scores={BM: probabilities})


@pytest.mark.parametrize(
    ("lesions", "disagree", "several", "spread"),
    [
        ([seen(0.4, 0.6)], 1, 1, 0.2),
        ([seen(0.1, 0.2), seen(0.4, 0.5, 0.9)], 1, 2, 0.3),
        ([seen(0.1, 0.2), seen(0.9)], 0, 1, 0.1),
        ([seen(*[0.9] * 40, 0.1), seen(0.9, 0.9)], 1, 2, 0.4),
    ],
)
def test_lesions_whose_images_lie_on_both_sides_of_the_threshold_are_counted(
    lesions: list[JudgedLesion], disagree: int, several: int, spread: float
) -> None:
    found = views(lesions, BM, 0.5)
    assert found is not None
    assert (found.disagree.count, found.disagree.total) == (disagree, several)
    assert found.spread == pytest.approx(spread)


def test_where_no_lesion_is_on_several_images_there_is_nothing_to_say() -> None:
    assert views([seen(0.9), lesion()], BM, 0.5) is None
    assert views([seen(0.1, 0.9)], LH, 0.5) is None
