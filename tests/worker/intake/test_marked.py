"""Which object says where a study's lesions are, and that each way of saying it gives the same lesions."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

from tests.worker.imaging.dicom_files import LIMITS, SOP_UID, picture, write
from tests.worker.intake.presentations import Annotation, write_presentation
from tests.worker.intake.reports import Finding, rectangle, write_report
from tests.worker.intake.segmentations import Drawn, write_segmentation
from worker.errors import Code, StudyRefused
from worker.imaging.identity import read_identity
from worker.intake.marked import Instance, find_lesions

MULTI_UID = SOP_UID + ".2"

JOB: list[dict[str, Any]] = [
    {
        "lesion_id": "left, 2 o'clock",
        "birads": "4A",
        "sop_instance_uid": SOP_UID,
        "frame": None,
        "roi": {"x": 3, "y": 4, "width": 20, "height": 10},
    },
    {
        "lesion_id": "left, 3 o'clock",
        "birads": "3",
        "sop_instance_uid": SOP_UID,
        "frame": None,
        "roi": {"x": 30, "y": 4, "width": 9, "height": 9},
    },
    {
        "lesion_id": "right",
        "birads": "5",
        "sop_instance_uid": MULTI_UID,
        "frame": 4,
        "roi": {"x": 1, "y": 2, "width": 33, "height": 44},
    },
]


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    multi = np.stack([picture()] * 5)
    return [
        write(tmp_path / "a.dcm", picture()),
        write(tmp_path / "b.dcm", multi, NumberOfFrames=5, SOPInstanceUID=MULTI_UID),
    ]


def instances(*paths: Path) -> list[Instance]:
    return [Instance(path, read_identity(path, LIMITS)) for path in paths]


def lesions(*paths: Path) -> list[dict[str, Any]]:
    return find_lesions(instances(*paths), LIMITS).lesions()


def refusal(*paths: Path) -> StudyRefused:
    with pytest.raises(StudyRefused) as refused:
        lesions(*paths)
    return refused.value


def drawn(*, coded: bool) -> tuple[list[Drawn], list[Drawn]]:
    made = [
        Drawn(
            tuple(lesion["roi"].values()),
            lesion["lesion_id"],
            [lesion["birads"]] if coded else [],
        )
        for lesion in JOB
    ]
    return made[:2], made[2:]


def by_report(folder: Path, images: list[Path]) -> list[Path]:
    findings = [
        Finding(images[place // 2], rectangle(*one.rectangle), one.birads, one.name, frame=4 if place == 2 else None)
        for place, one in enumerate((*drawn(coded=True)[0], *drawn(coded=True)[1]))
    ]
    return [write_report(folder / "sr.dcm", findings)]


def by_report_and_segmentations(kind: str, *, in_frame: bool) -> Callable[[Path, list[Path]], list[Path]]:
    def made(folder: Path, images: list[Path]) -> list[Path]:
        flat, deep = drawn(coded=False)
        first = write_segmentation(folder / "s1.dcm", images[0], flat, kind=kind)
        second = write_segmentation(folder / "s2.dcm", images[1], deep, frame=4, kind=kind)
        findings = [
            Finding(images[0], (), ["4A"], flat[0].name, segmentation=first, segment=1),
            Finding(images[0], (), ["3"], flat[1].name, segmentation=first, segment=2),
            Finding(images[1], (), ["5"], deep[0].name, frame=4, segmentation=second, segment=1),
        ]
        frames = [1, 1 if kind == "LABELMAP" else 2, 1] if in_frame else [None] * 3
        findings = [replace(one, in_frame=frame) for one, frame in zip(findings, frames, strict=True)]
        return [write_report(folder / "sr.dcm", findings), first, second]

    return made


def by_segmentations_alone(folder: Path, images: list[Path]) -> list[Path]:
    flat, deep = drawn(coded=True)
    first = write_segmentation(folder / "s1.dcm", images[0], flat, ContentTime="100000")
    return [first, write_segmentation(folder / "s2.dcm", images[1], deep, frame=4, ContentTime="110000")]


def by_presentation_states(folder: Path, images: list[Path]) -> list[Path]:
    def annotations(drawn: list[Drawn]) -> list[Annotation]:
        return [Annotation([rectangle(*one.rectangle)], [f"BI-RADS {one.birads[0]}"], name=one.name) for one in drawn]

    flat, deep = map(annotations, drawn(coded=True))
    first = write_presentation(folder / "p1.dcm", images[0], flat, PresentationCreationTime="100000")
    second = write_presentation(folder / "p2.dcm", images[1], deep, frame=4, PresentationCreationTime="110000")
    return [first, second]


@pytest.mark.parametrize(
    "way",
    [
        by_report,
        by_report_and_segmentations("BINARY", in_frame=True),
        by_report_and_segmentations("BINARY", in_frame=False),
        by_report_and_segmentations("FRACTIONAL", in_frame=True),
        by_report_and_segmentations("LABELMAP", in_frame=True),
        by_segmentations_alone,
        by_presentation_states,
    ],
)
def test_whichever_object_marks_them_the_lesions_are_those_of_the_job(
    tmp_path: Path, images: list[Path], way: Callable[[Path, list[Path]], list[Path]]
) -> None:
    objects = way(tmp_path, images)
    assert lesions(*images, *objects) == JOB
    assert lesions(*reversed(objects), *images) == JOB


def test_a_report_outweighs_a_segmentation_and_a_segmentation_a_presentation_state(
    tmp_path: Path, images: list[Path]
) -> None:
    image = images[0]
    said = {
        "2": write_report(tmp_path / "sr.dcm", [Finding(image, rectangle(3, 4, 20, 10), ["4A"])], ContentTime="01"),
        "1": write_segmentation(tmp_path / "seg.dcm", image, [Drawn((3, 4, 20, 10), birads=["4B"])], ContentTime="02"),
        "0": write_presentation(tmp_path / "pr.dcm", image, [Annotation([rectangle(3, 4, 20, 10)], ["BI-RADS 5"])]),
    }
    report, segmentation, presentation = said.values()
    assert lesions(image, presentation, segmentation, report)[0]["birads"] == "4A"
    assert lesions(image, presentation, segmentation)[0]["birads"] == "4B"
    assert lesions(image, presentation)[0]["birads"] == "5"


def test_a_report_without_lesions_leaves_them_to_the_segmentation(tmp_path: Path, images: list[Path]) -> None:
    report = write_report(tmp_path / "sr.dcm", [Finding(images[0], rectangle(3, 4, 20, 10), [])])
    segmentation = write_segmentation(tmp_path / "seg.dcm", images[0], [Drawn((1, 2, 3, 4), birads=["4B"])])
    (lesion,) = lesions(images[0], report, segmentation)
    assert lesion["birads"] == "4B"


def test_nothing_marks_a_lesion_where_no_object_has_a_category(tmp_path: Path, images: list[Path]) -> None:
    segmentation = write_segmentation(tmp_path / "seg.dcm", images[0], [Drawn((1, 2, 3, 4))])
    presentation = write_presentation(tmp_path / "pr.dcm", images[0], [Annotation([rectangle(3, 4, 5, 5)], ["12 mm"])])
    assert refusal(*images, segmentation, presentation).code is Code.LESIONS_MISSING


def test_of_two_on_one_image_the_later_counts_and_each_image_has_its_own(tmp_path: Path, images: list[Path]) -> None:
    flat, deep = drawn(coded=True)
    earlier = write_segmentation(tmp_path / "1.dcm", images[0], flat, ContentTime="090000")
    moved = [Drawn((4, 4, 20, 11), flat[0].name, ["4B"]), Drawn((29, 4, 9, 9), flat[1].name, ["3"])]
    later = write_segmentation(tmp_path / "2.dcm", images[0], moved, ContentTime="100000")
    other = write_segmentation(tmp_path / "3.dcm", images[1], deep, frame=4, ContentTime="080000")
    found = lesions(*images, later, earlier, other)
    assert [(one["lesion_id"], one["birads"], one["roi"]["x"]) for one in found] == [
        ("right", "5", 1),
        (flat[0].name, "4B", 4),
        (flat[1].name, "3", 29),
    ]


@pytest.mark.parametrize("where", [(3, 30, 20, 10), (30, 4, 20, 10)])
def test_a_lesion_that_the_later_one_leaves_out_is_not_lost_in_silence(
    tmp_path: Path, images: list[Path], where: tuple[int, int, int, int]
) -> None:
    earlier = write_segmentation(
        tmp_path / "1.dcm", images[0], [Drawn((3, 4, 20, 10), birads=["4A"])], ContentTime="09"
    )
    later = write_segmentation(tmp_path / "2.dcm", images[0], [Drawn(where, birads=["4A"])], ContentTime="10")
    assert refusal(*images, earlier, later).code is Code.REPORT_UNSUPPORTED


def test_lesions_of_two_objects_with_one_name_are_told_apart(tmp_path: Path, images: list[Path]) -> None:
    for place, image in enumerate(images):
        annotations = [Annotation([rectangle(3, 4, 5, 5)], ["BI-RADS 4A"], name="L1")]
        write_presentation(tmp_path / f"p{place}.dcm", image, annotations, frame=place or None)
    found = lesions(*images, tmp_path / "p0.dcm", tmp_path / "p1.dcm")
    assert sorted(one["lesion_id"] for one in found) == ["L1", "L1 (2)"]


def _segmented(folder: Path, image: Path, *, birads: tuple[str, ...] = (), **finding: Any) -> tuple[Path, Path]:
    segmentation = write_segmentation(folder / "seg.dcm", image, [Drawn((3, 4, 20, 10), birads=birads)])
    said: dict[str, Any] = {"image": image, "points": (), "segmentation": segmentation} | finding
    return write_report(folder / "sr.dcm", [Finding(**said)]), segmentation


def test_a_segmentation_that_has_not_come_is_named_as_what_is_missing(tmp_path: Path, images: list[Path]) -> None:
    report, segmentation = _segmented(tmp_path, images[0])
    refused = refusal(*images, report)
    assert refused.code is Code.SOP_INSTANCE_NOT_FOUND
    assert "finding 1 refers to a segmentation" in refused.reason
    assert len(lesions(*images, report, segmentation)) == 1


@pytest.mark.parametrize("finding", [{"segment": 2}, {"in_frame": 2}])
def test_a_segment_that_is_not_in_the_segmentation_is_refused(
    tmp_path: Path, images: list[Path], finding: dict[str, int]
) -> None:
    refused = refusal(*images, *_segmented(tmp_path, images[0], **finding))
    assert refused.code is Code.REPORT_UNSUPPORTED
    assert "finding 1" in refused.reason


def test_a_report_and_its_segmentation_do_not_contradict_each_other(tmp_path: Path, images: list[Path]) -> None:
    assert refusal(*images, *_segmented(tmp_path, images[0], birads=("5",))).code is Code.BIRADS_UNKNOWN
    report, segmentation = _segmented(tmp_path, images[0])
    report = write_report(tmp_path / "sr.dcm", [Finding(images[1], (), segmentation=segmentation)])
    assert refusal(*images, report, segmentation).code is Code.REPORT_INVALID


def test_a_segmentation_has_the_rows_and_columns_of_its_image(tmp_path: Path, images: list[Path]) -> None:
    report, segmentation = _segmented(tmp_path, images[0])
    smaller = write(tmp_path / "smaller.dcm", picture(40, 64))
    refused = refusal(smaller, report, segmentation)
    assert refused.code is Code.REPORT_UNSUPPORTED
    assert "rows and columns" in refused.reason


def test_two_segmentations_that_claim_one_uid_are_not_chosen_from(tmp_path: Path, images: list[Path]) -> None:
    report, segmentation = _segmented(tmp_path, images[0])
    uid = dcmread(segmentation).SOPInstanceUID
    other = write_segmentation(tmp_path / "other.dcm", images[0], [Drawn((1, 1, 5, 5))], SOPInstanceUID=uid)
    assert refusal(*images, report, segmentation, other).code is Code.SOP_INSTANCE_AMBIGUOUS
    assert len(lesions(*images, report, segmentation, segmentation)) == 1
