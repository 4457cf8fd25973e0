"""Which findings are one lesion: those that are tracked as one, and nothing that has to be guessed."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.schema.vocabulary import Laterality, Plane
from tests.worker.test_contract import JOB
from worker.clinical.categories import Birads
from worker.contract import parse_job
from worker.contract.version_2 import MAX_IMAGES
from worker.errors import Code, StudyRefused
from worker.intake.finding_site import FindingSite
from worker.intake.lesions_file import in_version
from worker.intake.markings import Finding, Region
from worker.intake.tracked_lesions import as_before_tracking, as_in_a_job, lesions_of
from worker.study import Roi

ROI = Roi(3, 4, 20, 10)
OTHER_ROI = Roi(30, 4, 9, 9)


def on(image: str, roi: Roi = ROI, frame: int | None = None) -> tuple[Region, ...]:
    return (Region(image, frame, roi),)


def found(number: int, regions: tuple[Region, ...], birads: Birads | None = Birads.LOW_SUSPICION, **said: Any) -> Any:
    named = {"tracked_as": "", "tracking_uid": ""} | said
    return Finding(number, f"finding {number}", birads=birads, regions=regions, **named)


def refusal(*findings: Finding[Region]) -> StudyRefused:
    with pytest.raises(StudyRefused) as refused:
        lesions_of(findings)
    return refused.value


def images(*findings: Finding[Region], objects: tuple[int, ...] = ()) -> list[list[str]]:
    """The images of each lesion."""
    return [[view.region.sop_instance_uid for view in one.views] for one in lesions_of(findings, objects)]


# --- which findings are one lesion


def test_two_planes_that_have_one_tracking_unique_identifier_are_one_lesion_with_two_images() -> None:
    findings = found(1, on("1.1"), tracking_uid="1.9"), found(2, on("1.2", OTHER_ROI), tracking_uid="1.9")
    assert as_in_a_job(lesions_of(findings)) == [
        {
            "lesion_id": "L1",
            "birads": "4A",
            "images": [
                {"sop_instance_uid": "1.1", "frame": None, "roi": {"x": 3, "y": 4, "width": 20, "height": 10}},
                {"sop_instance_uid": "1.2", "frame": None, "roi": {"x": 30, "y": 4, "width": 9, "height": 9}},
            ],
        }
    ]


@pytest.mark.parametrize(
    ("one", "other", "is_one"),
    [
        ({"tracking_uid": "1.9"}, {"tracking_uid": "1.9"}, True),
        ({"tracking_uid": "1.9", "tracked_as": "L"}, {"tracking_uid": "1.9", "tracked_as": "M"}, True),
        ({"tracking_uid": "1.9", "tracked_as": "L"}, {"tracking_uid": "1.8", "tracked_as": "L"}, False),
        ({"tracked_as": "L"}, {"tracked_as": "L"}, True),
        ({"tracked_as": "L"}, {"tracked_as": "M"}, False),
        ({"tracked_as": "L"}, {"tracking_uid": "1.9", "tracked_as": "L"}, False),
        ({}, {}, False),
    ],
)
def test_a_lesion_is_told_by_its_unique_identifier_else_by_its_identifier(
    one: dict[str, str], other: dict[str, str], *, is_one: bool
) -> None:
    expected = [["1.1", "1.2"]] if is_one else [["1.1"], ["1.2"]]
    assert images(found(1, on("1.1"), **one), found(2, on("1.2"), **other)) == expected


def test_an_identifier_holds_within_its_object_and_a_unique_identifier_in_all() -> None:
    named = found(1, on("1.1"), tracked_as="L"), found(2, on("1.2"), tracked_as="L")
    assert images(*named, objects=(1, 2)) == [["1.1"], ["1.2"]]
    unique = [replace(one, tracking_uid="1.9") for one in named]
    assert images(*unique, objects=(1, 2)) == [["1.1", "1.2"]]


def test_lesions_are_in_the_order_of_their_first_findings() -> None:
    findings = [
        found(1, on("1.1"), tracked_as="B"),
        found(2, on("1.1"), tracked_as="A"),
        found(3, on("1.2"), tracked_as="B"),
    ]
    assert [one["lesion_id"] for one in as_in_a_job(lesions_of(findings))] == ["B", "A"]


@given(st.permutations(range(6)))
def test_in_whatever_order_findings_come_the_lesions_have_the_same_images(order: list[int]) -> None:
    marked = [on(f"1.{number}") for number in range(6)]
    findings = [
        found(place, marked[number], tracked_as="AB"[number % 2]) for place, number in enumerate(order, start=1)
    ]
    assert {frozenset(one) for one in images(*findings)} == {
        frozenset({"1.0", "1.2", "1.4"}),
        frozenset({"1.1", "1.3", "1.5"}),
    }


# --- what is refused, with both places


def test_two_categories_of_one_lesion_are_refused_with_both_places() -> None:
    refused = refusal(found(1, on("1.1"), tracked_as="L"), found(4, on("1.2"), Birads.PROBABLY_BENIGN, tracked_as="L"))
    assert refused.code is Code.BIRADS_UNKNOWN
    assert "finding 1 and finding 4" in refused.reason


def test_4_without_a_letter_is_another_category_than_4a() -> None:
    refused = refusal(found(1, on("1.1"), tracked_as="L"), found(2, on("1.2"), Birads.SUSPICIOUS, tracked_as="L"))
    assert refused.code is Code.BIRADS_UNKNOWN


def test_two_regions_on_one_frame_are_refused_with_both_places_and_the_same_region_counts_once() -> None:
    one, same = found(1, on("1.1"), tracked_as="L"), found(2, on("1.1", frame=1), tracked_as="L")
    assert images(one, same) == [["1.1"]]
    refused = refusal(one, found(3, on("1.1", OTHER_ROI), tracked_as="L"))
    assert refused.code is Code.REPORT_UNSUPPORTED
    assert "finding 1 and finding 3" in refused.reason


def test_a_lesion_in_both_breasts_is_refused_with_both_places() -> None:
    left, right = (FindingSite(Laterality(side)) for side in ("left", "right"))
    refused = refusal(found(1, on("1.1"), tracked_as="L", site=left), found(2, on("1.2"), tracked_as="L", site=right))
    assert refused.code is Code.REPORT_INVALID
    assert "finding 1 and finding 2" in refused.reason


def test_more_images_than_a_job_may_have_are_refused() -> None:
    frames = tuple(Region("1.1", frame, ROI) for frame in range(1, MAX_IMAGES + 2))
    assert len(images(found(1, frames[:-1]))[0]) == MAX_IMAGES
    assert refusal(found(1, frames)).code is Code.REPORT_UNSUPPORTED


# --- findings that were never assessed


def test_a_finding_without_a_category_adds_its_image_to_the_lesion_that_it_is_tracked_as() -> None:
    assessed, other = found(1, on("1.1"), tracked_as="L"), found(2, on("1.2"), None, tracked_as="L")
    assert images(assessed, other) == images(replace(other, number=1), replace(assessed, number=2)) == [["1.1", "1.2"]]
    assert images(assessed, replace(other, tracked_as="M")) == [["1.1"]]


def test_it_refuses_nothing_where_it_marks_the_same_frame_in_another_way() -> None:
    assessed = found(1, on("1.1"), tracked_as="L")
    line = found(2, on("1.1", OTHER_ROI), None, tracked_as="L")
    assert images(assessed, line) == [["1.1"]]
    outline, caliper = (
        found(number, on("1.2", roi), None, tracked_as="L") for number, roi in ((3, ROI), (4, OTHER_ROI))
    )
    assert images(assessed, outline, caliper) == [["1.1"]]


def test_it_refuses_nothing_and_adds_nothing_where_it_is_in_the_other_breast() -> None:
    left, right = (FindingSite(Laterality(side)) for side in ("left", "right"))
    assessed = found(1, on("1.1"), tracked_as="L", site=left)
    there, here = (found(2, on("1.2"), None, tracked_as="L", site=site) for site in (right, left))
    assert images(assessed, there) == [["1.1"]]
    assert [one.site.laterality for one in lesions_of((assessed, there))] == [Laterality.LEFT]
    assert images(assessed, here) == [["1.1", "1.2"]]


# --- its place in the breast


def test_what_the_findings_of_a_lesion_say_of_its_place_is_put_together_and_left_out_where_they_differ() -> None:
    first = FindingSite(Laterality.LEFT, clock_position=2, distance_to_nipple_mm=40.0)
    second = FindingSite(clock_position=3, depth_mm=8.0)
    findings = found(1, on("1.1"), tracked_as="L", site=first), found(2, on("1.2"), tracked_as="L", site=second)
    (lesion,) = as_in_a_job(lesions_of(findings))
    assert {
        name: lesion.get(name) for name in ("laterality", "clock_position", "distance_to_nipple_mm", "depth_mm")
    } == {
        "laterality": "left",
        "clock_position": None,
        "distance_to_nipple_mm": 40.0,
        "depth_mm": 8.0,
    }


def test_each_image_has_its_own_plane() -> None:
    findings = [found(1, on("1.1"), tracked_as="L", plane=Plane.TRANSVERSE), found(2, on("1.2"), tracked_as="L")]
    (lesion,) = as_in_a_job(lesions_of(findings))
    assert [one.get("plane") for one in lesion["images"]] == ["transverse", None]


# --- what was taken before is taken as before


REGIONS = st.builds(
    Region, st.from_regex(r"1\.[1-9]{1,3}", fullmatch=True), st.none() | st.integers(1, 99), st.just(ROI)
)
SITES = st.builds(
    FindingSite,
    st.none() | st.sampled_from([Laterality.LEFT, Laterality.RIGHT]),
    st.none() | st.integers(1, 12),
    st.none() | st.floats(0, 300),
    st.none() | st.floats(0, 300),
)
LETTERED = st.sampled_from([birads for birads in Birads if birads is not Birads.SUSPICIOUS])


@given(st.lists(st.tuples(REGIONS, LETTERED, st.text(max_size=80)), min_size=1, max_size=8))
def test_lesions_of_one_image_without_a_place_are_those_of_version_1(
    marked: list[tuple[Region, Birads, str]],
) -> None:
    findings = [
        found(number, (region,), birads, tracked_as=name, tracking_uid=f"1.{number}")
        for number, (region, birads, name) in enumerate(marked, start=1)
    ]
    lesions = lesions_of(findings)
    assert as_in_a_job(lesions) == as_before_tracking(lesions)
    version, said = in_version(as_in_a_job(lesions))
    parse_job({**JOB, "schema_version": version, "lesions": said})
    assert version == 1
    assert [set(one) for one in said] == [{"lesion_id", "birads", "sop_instance_uid", "frame", "roi"}] * len(findings)


@given(st.lists(st.tuples(REGIONS, SITES, st.none() | st.sampled_from(Plane)), min_size=1, max_size=8))
def test_a_place_changes_the_job_and_not_what_the_study_was_known_by(
    marked: list[tuple[Region, FindingSite, Plane | None]],
) -> None:
    findings = [
        found(number, (region,), tracking_uid=f"1.{number}", site=site, plane=plane)
        for number, (region, site, plane) in enumerate(marked, start=1)
    ]
    lesions, bare = lesions_of(findings), [replace(one, site=FindingSite(), plane=None) for one in findings]
    assert as_before_tracking(lesions) == as_in_a_job(lesions_of(bare))
    version, said = in_version(as_in_a_job(lesions))
    parsed = parse_job({**JOB, "schema_version": version, "lesions": said})
    assert [one.clock_position for one in parsed.marked] == [site.clock_position for _, site, _ in marked]


def test_lesions_that_were_others_before_have_no_former_job() -> None:
    tracked = found(1, on("1.1"), tracked_as="L"), found(2, on("1.2"), tracked_as="L")
    assert as_before_tracking(lesions_of(tracked)) is None
    assert as_before_tracking(lesions_of([found(1, (*on("1.1"), *on("1.2")))])) is None
