"""Where models looked, lesion by lesion: what is drawn, and why something is not."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.worker.reporting.samples import COLUMNS, DEMO, ROWS, failed, mixed, scored, source_of, study, write_image
from worker.errors import Code, LesionRefused, ModelRefused
from worker.imaging.heat_map import HeatMap
from worker.reporting.explanation import NO_DIAGNOSIS, Seen, caption, explanations, lesions_of
from worker.reporting.result import LesionResult, ModelScore, StudyResult
from worker.reporting.source_study import SourceImage
from worker.study import Roi

BOTH = ("DLR_LH", "DLR_BM")


def heat(value: float = 1) -> HeatMap:
    return HeatMap(np.full((ROWS, COLUMNS), value, np.float32), Roi(0, 0, COLUMNS, ROWS), grey=True, cells=7)


def frames(_image: SourceImage, _lesion: LesionResult) -> np.ndarray:
    return np.full((ROWS, COLUMNS), 60, np.uint8)


def look(_lesion: LesionResult, _score: ModelScore, _frame: np.ndarray) -> HeatMap:
    return heat()


def seen(result: StudyResult, root: Path, **changes: object) -> Seen:
    return replace(Seen(source_of(result, root), True, frames, look), **changes)  # type: ignore[arg-type]


def codes(result: StudyResult, at: Seen, models: tuple[str, ...] = BOTH) -> list[tuple[int, str, Code | None]]:
    made = list(explanations(result.lesions, models, at))
    assert all((one.png is None) is (one.refused is not None) for one in made)
    return [(one.lesion.ordinal, one.model, one.refused and one.refused.code) for one in made]


def test_there_is_a_picture_of_each_lesion_and_model_and_a_reason_for_the_others(tmp_path: Path) -> None:
    result = mixed(tmp_path)
    assert codes(result, seen(result, tmp_path)) == [
        (1, "DLR_LH", None), (1, "DLR_BM", None), (2, "DLR_LH", None), (2, "DLR_BM", None),
        (3, "DLR_LH", Code.RESULT_MISSING), (3, "DLR_BM", Code.RESULT_MISSING),
    ]  # fmt: skip
    (one, *_) = explanations(result.lesions[:1], ("DLR_BM",), seen(result, tmp_path))
    assert one.png is not None
    assert Image.open(BytesIO(one.png)).format == "PNG"
    assert one.score is result.lesions[0].bm


def test_a_lesion_that_was_not_scored_says_with_which_code(tmp_path: Path) -> None:
    result = study(failed(write_image(tmp_path / "a.dcm"), code="age_missing"))
    [one] = explanations(result.lesions, ("DLR_BM",), seen(result, tmp_path))
    assert one.refused is not None
    assert "age_missing" in one.refused.reason


def test_what_is_not_what_was_scored_is_not_shown(tmp_path: Path) -> None:
    result = mixed(tmp_path)
    (tmp_path / "b.dcm").unlink()
    changed = seen(result, tmp_path, unchanged=False)
    assert codes(result, changed, ("DLR_BM",)) == [
        (1, "DLR_BM", Code.IMAGE_CHANGED),
        (2, "DLR_BM", Code.SOP_INSTANCE_NOT_FOUND),
        (3, "DLR_BM", Code.RESULT_MISSING),
    ]
    [one, *_] = explanations(result.lesions, ("DLR_BM",), changed)
    assert one.refused is not None
    assert "submit it again" in one.refused.reason
    unknown = seen(result, tmp_path, unchanged=None)
    assert codes(result, unknown, ("DLR_BM",))[0] == (1, "DLR_BM", None)


def test_a_refusal_of_one_does_not_stop_the_others(tmp_path: Path) -> None:
    result = mixed(tmp_path)

    def looks_in_one(lesion: LesionResult, score: ModelScore, _frame: np.ndarray) -> HeatMap:
        if score.model == "DLR_LH":
            raise ModelRefused(Code.MODEL_NOT_FOUND)
        if lesion.ordinal == 1:
            raise LesionRefused(Code.IMAGE_CHANGED)
        return heat()

    assert codes(result, seen(result, tmp_path, look=looks_in_one))[:4] == [
        (1, "DLR_LH", Code.MODEL_NOT_FOUND), (1, "DLR_BM", Code.IMAGE_CHANGED),
        (2, "DLR_LH", Code.MODEL_NOT_FOUND), (2, "DLR_BM", None),
    ]  # fmt: skip


def test_what_is_written_names_the_version_and_nobody(tmp_path: Path) -> None:
    lesion = scored(write_image(tmp_path / "a.dcm"), bm=0.49998)
    assert lesion.bm is not None
    first, second, third, notice = caption(lesion.bm, heat())
    assert first == "DLR_BM 1.0: malignant 0.49998, from 0.5 on"
    assert second.startswith("Colour: what weighed for malignant, by Grad-CAM, in 7 x 7 cells.")
    assert (third, notice) == (NO_DIAGNOSIS, f"Notice: {DEMO}")
    assert caption(replace(lesion.bm, notice=None), heat())[-1] == NO_DIAGNOSIS
    assert caption(lesion.bm, heat(0))[1].startswith("No colour: nothing in the image weighed for malignant.")


def test_a_senders_name_of_a_lesion_is_on_no_picture(tmp_path: Path) -> None:
    sop = write_image(tmp_path / "a.dcm")
    one, other = (study(scored(sop, lesion_id=name), accession_number=name) for name in ("L1", "Mrs Miller"))
    made = [next(explanations(each.lesions, BOTH, seen(each, tmp_path))).png for each in (one, other)]
    assert made[0] == made[1]


def test_a_lesion_is_found_by_the_senders_name_in_each_study(tmp_path: Path) -> None:
    one, other = study(scored("1.2"), scored("1.2", 2)), study(scored("1.3", lesion_id="X"))
    assert lesions_of([one, other], None) == [(one, list(one.lesions)), (other, list(other.lesions))]
    assert lesions_of([one, other], "L2") == [(one, [one.lesions[1]])]
    with pytest.raises(LesionRefused) as refusal:
        lesions_of([one, other], "L9")
    assert refusal.value.code is Code.LESION_NOT_FOUND
