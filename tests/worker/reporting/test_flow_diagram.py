"""The diagram of Fig. S5: what a reader finds in it, with and without eyes."""

import re
from xml.etree import ElementTree as ET

from tests.worker.reporting.test_restratification_flow import DEMO, scored, study_arms
from worker.reporting.flow_diagram import svg_of, text_of
from worker.reporting.restratification_flow import flows

SVG = "{http://www.w3.org/2000/svg}"


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314 -- our own


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in parsed(svg).iter(f"{SVG}text")]


def test_the_text_is_the_studys_flow() -> None:
    [flow] = flows(study_arms())
    assert text_of(flow) == [
        "148 lesions in BI-RADS 4A",
        "├─ DLR_LH low risk: 91 (61.5 %)",
        "│  ├─ DLR_BM benign: 41 (27.7 %) → downgraded to BI-RADS 3",
        "│  └─ DLR_BM malignant: 50 (33.8 %) → kept in BI-RADS 4A",
        "└─ DLR_LH high risk: 57 (38.5 %)",
        "   ├─ DLR_BM benign: 30 (20.3 %) → kept in BI-RADS 4A",
        "   └─ DLR_BM malignant: 27 (18.2 %) → upgraded above 4A",
        "downgraded to BI-RADS 3: 41 (27.7 %); cancer in 0 of 41 (0.0 %)",
        "kept in BI-RADS 4A: 80 (54.1 %); pathology not known",
        "upgraded above 4A: 27 (18.2 %); cancer in 22 of 27 (81.5 %)",
    ]


def test_lesions_of_which_a_model_is_not_certain_are_said_in_text_and_picture() -> None:
    found = flows([scored(0.1, 0.1, bm_set=("benign",)), scored(0.9, 0.9, bm_set=())])
    assert text_of(found[0])[7] == "   a model not certain: 1 (50.0 %) → kept in BI-RADS 4A"
    assert "not certain, kept: 1 (50.0 %)" in texts(svg_of(found))


def test_the_picture_says_it_in_its_boxes_and_in_its_description() -> None:
    svg = svg_of(flows(study_arms()))
    root = parsed(svg)
    shown = texts(svg)
    for text in ("148 lesions", "41 (27.7 %)", "80 (54.1 %)", "27 (18.2 %)", "cancer in 22 of 27 (81.5 %)"):
        assert text in shown
    assert (root.get("role"), root.get("aria-labelledby")) == ("img", "title desc")
    title, described = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None
    assert title.text == "Re-stratification of BI-RADS 4A lesions"
    assert described is not None
    assert "upgraded above 4A: 27 (18.2 %)" in (described.text or "")
    assert not [text for text in shown if "ALERT" in text]


def test_a_missed_cancer_is_written_above_the_boxes_and_names_nobody() -> None:
    missed = scored(0.1, 0.1, malignant=True, name="a lesion's name")
    svg = svg_of(flows([missed, scored(0.9, 0.9)]))
    assert "ALERT: 1 malignant among the 1 downgraded" in texts(svg)
    assert str(missed.study_id) not in svg
    assert "a lesion's name" not in svg


def test_each_notice_has_its_own_diagram_under_its_name() -> None:
    svg = svg_of(flows([scored(0.1, 0.1), scored(0.9, 0.9, notice=DEMO), scored(0.9, 0.9, notice="<b>&")]))
    shown = texts(svg)
    assert [text for text in shown if text.startswith("Re-strat")] == [
        "Re-stratification of BI-RADS 4A lesions",
        "Re-stratification of BI-RADS 4A lesions – <b>&",
        f"Re-stratification of BI-RADS 4A lesions – {DEMO}",
    ]
    assert parsed(svg).get("viewBox") == "0 0 900 1590"


def test_no_lesion_at_all_is_said_too() -> None:
    assert texts(svg_of([])) == ["no 4A lesion has scores"]


def test_every_text_is_within_its_picture_and_no_box_covers_another() -> None:
    svg = svg_of(
        flows(scored(0.9 if place % 3 else 0.1, 0.9 if place % 2 else 0.1, place % 5 == 0) for place in range(12345))
    )
    boxes = [tuple(map(float, found)) for found in
             re.findall(r'x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)" rx', svg)]  # fmt: skip
    assert len(boxes) == 10
    for place, (x, y, width, height) in enumerate(boxes):
        assert x >= 0
        assert x + width <= 900
        assert y + height <= 530
        for other_x, other_y, other_width, other_height in boxes[:place]:
            assert (
                x >= other_x + other_width
                or other_x >= x + width
                or y >= other_y + other_height
                or other_y >= y + height
            )
    assert max(len(text) for text in texts(svg) if text.startswith("cancer in")) * 6.6 < 206
