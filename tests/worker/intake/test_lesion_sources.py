"""Which object says where a study's lesions are, and that each way of saying it gives the same lesions."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

from tests.worker.imaging.dicom_files import LIMITS, SOP_UID, picture, write
from tests.worker.intake.breast_reports import BASIC_TEXT, Coded, write_breast_report
from tests.worker.intake.presentations import Annotation, write_presentation
from tests.worker.intake.reports import Finding, rectangle, write_report
from tests.worker.intake.segmentations import Drawn, write_segmentation
from worker.errors import Code, Refused
from worker.imaging.identity import read_identity
from worker.intake.lesion_sources import Instance, find_lesions
from worker.intake.markings import LARGEST
from worker.intake.tracked_lesions import as_in_a_job
from worker.reporting.identifiers import DEVICE

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
    return as_in_a_job(find_lesions(instances(*paths), LIMITS).lesions)


def refusal(*paths: Path) -> Refused:
    with pytest.raises(Refused) as refused:
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


# --- one lesion in two planes


IN_TWO_PLANES = [
    {"sop_instance_uid": SOP_UID, "frame": None, "roi": {"x": 3, "y": 4, "width": 20, "height": 10}},
    {"sop_instance_uid": MULTI_UID, "frame": 4, "roi": {"x": 1, "y": 2, "width": 33, "height": 44}},
]
PLANES = ((3, 4, 20, 10), (1, 2, 33, 44))


def two_segmentations(folder: Path, images: list[Path], second: str = "4A", **said: Any) -> list[Path]:
    first, other = (
        Drawn(plane, birads=[birads], tracked="L", **said) for plane, birads in zip(PLANES, ("4A", second), strict=True)
    )
    return [
        write_segmentation(folder / "s1.dcm", images[0], [first]),
        write_segmentation(folder / "s2.dcm", images[1], [other], frame=4),
    ]


def two_presentation_states(folder: Path, images: list[Path], second: str = "4A") -> list[Path]:
    first, other = (
        Annotation([rectangle(*plane)], [f"BI-RADS {birads}"], name="left upper outer", tracked="L")
        for plane, birads in zip(PLANES, ("4A", second), strict=True)
    )
    return [
        write_presentation(folder / "p1.dcm", images[0], [first]),
        write_presentation(folder / "p2.dcm", images[1], [other], frame=4),
    ]


def two_groups(folder: Path, images: list[Path], second: str = "4A") -> list[Path]:
    findings = [
        Finding(images[0], rectangle(*PLANES[0]), ["4A"], tracked="L"),
        Finding(images[1], rectangle(*PLANES[1]), [second], tracked="L", frame=4),
    ]
    return [write_report(folder / "sr.dcm", findings)]


def two_groups_that_refer_to_segments(folder: Path, images: list[Path], second: str = "4A") -> list[Path]:
    segmentations = [
        write_segmentation(folder / "s1.dcm", images[0], [Drawn(PLANES[0])]),
        write_segmentation(folder / "s2.dcm", images[1], [Drawn(PLANES[1])], frame=4),
    ]
    findings = [
        Finding(images[0], (), ["4A"], segmentation=segmentations[0], tracked="L"),
        Finding(images[1], (), [second], segmentation=segmentations[1], tracked="L", frame=4),
    ]
    return [write_report(folder / "sr.dcm", findings), *segmentations]


WAYS = pytest.mark.parametrize(
    "way", [two_segmentations, two_presentation_states, two_groups, two_groups_that_refer_to_segments]
)


@WAYS
def test_a_lesion_that_is_tracked_in_two_planes_is_one_lesion_whichever_objects_mark_it(
    tmp_path: Path, images: list[Path], way: Callable[..., list[Path]]
) -> None:
    objects = way(tmp_path, images)
    for order in (objects, objects[::-1]):
        (lesion,) = lesions(*order, *images)
        assert (lesion["lesion_id"], lesion["birads"]) == ("left upper outer", "4A")
        assert sorted(lesion["images"], key=lambda image: str(image["sop_instance_uid"])) == IN_TWO_PLANES


@WAYS
def test_two_categories_of_one_lesion_are_refused_and_both_places_are_named(
    tmp_path: Path, images: list[Path], way: Callable[..., list[Path]]
) -> None:
    objects = way(tmp_path, images, second="3")
    refused = refusal(*images, *objects)
    assert refused.code is Code.BIRADS_UNKNOWN
    if way in (two_groups, two_groups_that_refer_to_segments):
        assert refused.reason.startswith("file 3 of the study: finding 1 and finding 2 are tracked as one lesion")
    else:
        assert all(f" 1 of file {file} of the study" in refused.reason for file in (3, 4))


def test_a_segment_on_several_frames_is_a_lesion_with_as_many_images(tmp_path: Path, images: list[Path]) -> None:
    path = write_segmentation(
        tmp_path / "s.dcm", images[1], [Drawn((3, 4, 5, 5), birads=["4A"]), Drawn((9, 9, 6, 6))], frame=2
    )
    made = dcmread(path)
    other = made.PerFrameFunctionalGroupsSequence[1]
    other.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 1
    other.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber = 3
    made.save_as(path)
    (lesion,) = lesions(*images, path)
    assert [(one["frame"], one["roi"]["x"]) for one in lesion["images"]] == [(2, 3), (3, 9)]


def _on_both_images(folder: Path, images: list[Path], tracked: bool) -> Path:
    """A segmentation of one segment on two images."""
    path = write_segmentation(
        folder / "s.dcm", images[0], [Drawn((3, 4, 20, 10), birads=["4A"], tracked="L"), Drawn((9, 9, 6, 6))]
    )
    made = dcmread(path)
    other = made.PerFrameFunctionalGroupsSequence[1]
    other.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 1
    source = other.DerivationImageSequence[0].SourceImageSequence[0]
    source.ReferencedSOPInstanceUID, source.ReferencedFrameNumber = MULTI_UID, 4
    if not tracked:
        del made.SegmentSequence[0].TrackingID, made.SegmentSequence[0].TrackingUID
    made.ContentTime = "080000"
    made.save_as(path)
    return path


@pytest.mark.parametrize("tracked", [True, False])
def test_an_image_of_a_lesion_that_is_marked_anew_takes_the_place_of_the_former_where_that_is_certain(
    tmp_path: Path, images: list[Path], *, tracked: bool
) -> None:
    former = _on_both_images(tmp_path, images, tracked)
    (lesion,) = lesions(*images, former)
    assert len(lesion["images"]) == 2
    anew = [Drawn((4, 4, 20, 11), birads=["4A"], tracked="L")]
    later = write_segmentation(tmp_path / "later.dcm", images[0], anew, ContentTime="090000")
    if tracked:
        (lesion,) = lesions(*images, former, later)
        assert sorted(one["roi"]["x"] for one in lesion["images"]) == [4, 9]
    else:
        refused = refusal(*images, former, later)
        assert refused.code is Code.REPORT_UNSUPPORTED
        assert "segment 1 of file 3 of the study" in refused.reason


def test_a_finding_without_a_category_refuses_nothing_where_its_segment_can_not_be_read(
    tmp_path: Path, images: list[Path]
) -> None:
    segmentation = write_segmentation(tmp_path / "s.dcm", images[1], [Drawn((1, 2, 3, 4))], frame=4)
    assessed = Finding(images[0], rectangle(*PLANES[0]), ["4A"], tracked="L")
    other = Finding(images[1], (), [], segmentation=segmentation, tracked="L", frame=4)
    report = write_report(tmp_path / "sr.dcm", [assessed, other])
    (lesion,) = lesions(*images, report, segmentation)
    assert len(lesion["images"]) == 2
    report = write_report(tmp_path / "sr.dcm", [assessed, replace(other, segment=2)])
    assert lesions(*images, report, segmentation)[0]["sop_instance_uid"] == SOP_UID


def test_a_segment_with_another_category_than_its_lesion_is_refused(tmp_path: Path, images: list[Path]) -> None:
    segmentation = write_segmentation(tmp_path / "s.dcm", images[1], [Drawn((1, 2, 3, 4), birads=["5"])], frame=4)
    findings = [
        Finding(images[0], rectangle(*PLANES[0]), ["4A"], tracked="L"),
        Finding(images[1], (), [], segmentation=segmentation, tracked="L", frame=4),
    ]
    refused = refusal(*images, write_report(tmp_path / "sr.dcm", findings), segmentation)
    assert (refused.code, "finding 1 and finding 2" in refused.reason) == (Code.BIRADS_UNKNOWN, True)


# --- a Breast Imaging Report beside other objects


@pytest.mark.parametrize("sop_class", [None, BASIC_TEXT], ids=["Enhanced SR", "Basic Text SR"])
@pytest.mark.parametrize("findings", [[], [Coded()]], ids=["a narrative alone", "without a region"])
def test_a_breast_imaging_report_without_regions_has_a_code_of_its_own_and_leaves_lesions_to_others(
    tmp_path: Path, images: list[Path], findings: list[Coded], sop_class: str | None
) -> None:
    elements = {} if sop_class is None else {"SOPClassUID": sop_class}
    breast = write_breast_report(tmp_path / "breast.dcm", images[0], findings, ContentDate="20300101", **elements)
    refused = refusal(*images, breast)
    assert refused.code is Code.BREAST_REPORT_UNSUPPORTED
    assert refused.reason.startswith("file 3 of the study is a Breast Imaging Report")
    for way in (by_report, by_segmentations_alone, by_presentation_states):
        (tmp_path / way.__name__).mkdir()
        assert lesions(*images, breast, *way(tmp_path / way.__name__, images)) == JOB


def test_of_a_measurement_report_and_a_breast_imaging_report_with_regions_the_later_counts(
    tmp_path: Path, images: list[Path]
) -> None:
    measured = reported(tmp_path / "sr.dcm", images[0])
    for date, x in (("20250101", 3), ("20270101", 30)):
        marked = [Coded([(images[0], rectangle(30, 4, 9, 9))])]
        breast = write_breast_report(tmp_path / "breast.dcm", images[0], marked, ContentDate=date, ContentTime="100000")
        assert [one["roi"]["x"] for one in lesions(*images, measured, breast)] == [x]


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


# --- objects that cannot be used


def without_content(path: Path) -> None:
    report = dcmread(path)
    del report.ContentSequence
    report.save_as(path)


def cut_in_its_content(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def larger_than_any_report(path: Path) -> None:
    report = dcmread(path)
    report.add_new(0x00990010, "LO", "SOMEBODY")
    report.add_new(0x00991001, "OB", b"\0" * LARGEST)
    report.save_as(path)


def of_no_known_category(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content.replace(b"MA.II.A.5.4A", b"MA.II.A.5.9Z"))


def marked_by_a_point(path: Path) -> None:
    content = path.read_bytes()
    assert content.count(b"POLYLINE") == 1
    path.write_bytes(content.replace(b"POLYLINE", b"POINT   "))


UNUSABLE = {
    without_content: Code.REPORT_INVALID,
    cut_in_its_content: Code.FILE_TRUNCATED,
    larger_than_any_report: Code.FILE_TOO_LARGE,
    of_no_known_category: Code.BIRADS_UNKNOWN,
    marked_by_a_point: Code.REPORT_UNSUPPORTED,
}
Spoil = Callable[[Path], None]
spoilt = pytest.mark.parametrize("spoil", UNUSABLE, ids=lambda spoil: spoil.__name__)


def reported(path: Path, image: Path, x: int = 3, **elements: Any) -> Path:
    dated = {"ContentDate": "20260102", "ContentTime": "100000"} | elements
    return write_report(path, [Finding(image, rectangle(x, 4, 20, 10))], **dated)


@spoilt
@pytest.mark.parametrize("older", [{"ContentDate": "20200101"}, {"ContentTime": "095959.999"}], ids=str)
def test_a_report_that_a_later_one_outweighs_may_be_anything(
    tmp_path: Path, images: list[Path], spoil: Spoil, older: dict[str, str]
) -> None:
    spoil(former := reported(tmp_path / "former.dcm", images[0], 30, **older))
    latest = reported(tmp_path / "latest.dcm", images[0])
    for order in ((former, latest), (latest, former)):
        assert [one["roi"]["x"] for one in lesions(*images, *order)] == [3]


@spoilt
@pytest.mark.parametrize(
    "time",
    [{}, {"ContentTime": "100001"}, {"ContentDate": ""}, {"ContentDate": "2020.1.1"}, {"ContentTime": ""}],
    ids=["the same", "later", "no date", "no date at all", "no time"],
)
def test_a_report_that_may_be_the_latest_is_refused_where_it_can_not_be_read_and_named_by_its_place(
    tmp_path: Path, images: list[Path], spoil: Spoil, time: dict[str, str]
) -> None:
    spoil(other := reported(tmp_path / "other.dcm", images[0], 30, **time))
    refused = refusal(*images, reported(tmp_path / "good.dcm", images[0]), other)
    assert refused.code is UNUSABLE[spoil]
    assert refused.reason.startswith("file 4 of the study: ")
    assert refusal(other, *images).reason.startswith("file 1 of the study: ")


@spoilt
def test_what_is_spoilt_in_a_report_of_another_kind_or_of_ours_is_nothing_to_a_study(
    tmp_path: Path, images: list[Path], spoil: Spoil
) -> None:
    if spoil in (of_no_known_category, marked_by_a_point):
        return
    good = reported(tmp_path / "good.dcm", images[0])
    for number, elements in enumerate(({"DeviceSerialNumber": DEVICE}, {"template": "5200"})):
        later = reported(tmp_path / f"{number}.dcm", images[0], 30, ContentDate="20270101")
        dataset = dcmread(later)
        dataset.ContentTemplateSequence[0].TemplateIdentifier = elements.get("template", "1500")
        dataset.DeviceSerialNumber = elements.get("DeviceSerialNumber", "1")
        dataset.save_as(later)
        spoil(later)
        assert [one["roi"]["x"] for one in lesions(*images, good, later)] == [3]


@pytest.mark.parametrize("time", [{}, {"ContentDate": ""}, {"ContentTime": "10"}], ids=["the same", "none", "an hour"])
def test_where_nobody_can_say_which_report_is_later_they_have_to_mark_the_same(
    tmp_path: Path, images: list[Path], time: dict[str, str]
) -> None:
    one, same = (reported(tmp_path / f"{name}.dcm", images[0]) for name in ("one", "same"))
    assert len(lesions(*images, one, same)) == 1
    other = reported(tmp_path / "other.dcm", images[0], 30, **time)
    if time == {"ContentTime": "10"}:  # of which the other one is later, as texts and as times
        assert [found["roi"]["x"] for found in lesions(*images, one, other)] == [3]
        return
    refused = refusal(*images, one, other)
    assert refused.code is Code.REPORT_UNSUPPORTED
    assert "files 3 and 4 of the study mark different lesions" in refused.reason


@pytest.mark.parametrize("kind", ["segmentation", "presentation state"])
@pytest.mark.parametrize("time", ["", "100000"], ids=["none", "the same"])
def test_where_nobody_can_say_which_mark_of_an_image_is_later_they_have_to_be_the_same(
    tmp_path: Path, images: list[Path], kind: str, time: str
) -> None:
    def written(name: str, birads: str) -> Path:
        path = tmp_path / f"{name}.dcm"
        if kind == "segmentation":
            drawn = [Drawn((3, 4, 20, 10), birads=[birads])]
            return write_segmentation(path, images[0], drawn, ContentDate="20260101", ContentTime=time)
        outline = [Annotation([rectangle(3, 4, 20, 10)], [f"BI-RADS {birads}"])]
        dated = {"PresentationCreationDate": "20260101", "PresentationCreationTime": time}
        return write_presentation(path, images[0], outline, **dated)

    one, same, other = written("one", "4A"), written("same", "4A"), written("other", "4B")
    assert [found["birads"] for found in lesions(*images, one, same)] == ["4A"]
    assert "mark different lesions" in refusal(*images, one, other).reason


@pytest.mark.parametrize("kind", ["segmentation", "presentation state"])
def test_a_mark_of_an_image_that_can_not_be_read_is_refused_though_a_later_one_can(
    tmp_path: Path, images: list[Path], kind: str
) -> None:
    """It may mark a lesion that the later one leaves out."""
    if kind == "segmentation":
        drawn = [Drawn((3, 4, 20, 10), birads=["4A"])]
        older = write_segmentation(tmp_path / "1.dcm", images[0], drawn, ContentDate="20200101")
        later = write_segmentation(tmp_path / "2.dcm", images[0], drawn)
    else:
        outline = [Annotation([rectangle(3, 4, 20, 10)], ["BI-RADS 4A"])]
        older = write_presentation(tmp_path / "1.dcm", images[0], outline, PresentationCreationDate="20200101")
        later = write_presentation(tmp_path / "2.dcm", images[0], outline)
    assert len(lesions(*images, older, later)) == 1
    cut_in_its_content(older)
    refused = refusal(*images, later, older)
    assert (refused.code, refused.reason.startswith("file 4 of the study: ")) == (Code.FILE_TRUNCATED, True)


def test_objects_that_a_report_outweighs_and_does_not_refer_to_may_be_anything(
    tmp_path: Path, images: list[Path]
) -> None:
    unread = [
        write_segmentation(tmp_path / "1.dcm", images[0], [Drawn((3, 4, 20, 10), birads=["4B"])]),
        write_presentation(tmp_path / "2.dcm", images[0], [Annotation([rectangle(3, 4, 9, 9)], ["BI-RADS 4"])]),
    ]
    for path in unread:
        cut_in_its_content(path)
    report, segmentation = _segmented(tmp_path, images[0])
    assert len(lesions(*images, *unread, report, segmentation)) == 1
    cut_in_its_content(segmentation)
    assert refusal(*images, *unread, report, segmentation).reason.startswith("file 6 of the study: ")


CASE = Path(__file__).parents[4] / "shared" / "cases" / "13-second-report-without-content-older"


@pytest.mark.skipif(not CASE.is_dir(), reason="the shared cases are not here")
def test_the_case_of_an_older_report_without_content_is_taken_from_the_later_one() -> None:
    found = lesions(*sorted(CASE.glob("*.dcm")))
    assert found == lesions(CASE / "image.dcm", CASE / "report.dcm")
