"""The flow of inclusion and exclusion: every row is in it once."""

from dataclasses import asdict
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.worker.dataset.manifests import cohort, row
from worker.dataset.check import Checked, check
from worker.dataset.inclusion_flow import flow_of, parts_of
from worker.dataset.manifest import Fault, Manifest, Split
from worker.dataset.manifest_file import read_manifest
from worker.errors import Code

HEADER = "image,pathology,patient_key,lesion_id,birads,age_years,excluded\n"


def test_the_flow_is_that_of_the_file(tmp_path: Path) -> None:
    cohort(tmp_path, 3, views=2)
    content = (
        "0-0.png,malignant,P0,L1,5,61,\n0-1.png,malignant,P0,L1,5,61,\n1-0.png,benign,P1,L1,4A,,\n"
        "2-0.png,benign,P2,L1,,30,\nx.png,benign,P3,L1,3,40,\ny.png,,P4,L1,,,declined\nz.png,,P5,L1,,,declined\n"
        "a.png,unclear,P6,L1,,,\n"
    )
    (tmp_path / "m.csv").write_text(HEADER + content)
    steps = flow_of(check(read_manifest(tmp_path / "m.csv")))
    assert [tuple(asdict(step).values()) for step in steps] == [
        ("found", "", 8, 6, 6, 3, 1),
        ("excluded", "declined", 2, 2, 2, 0, 0),
        ("excluded", "file_not_found", 1, 1, 1, 1, 0),
        ("excluded", "row_invalid", 1, 0, 0, 0, 0),
        ("included", "", 4, 3, 3, 2, 1),
        ("included", "BI-RADS 4A", 1, 1, 1, 1, 0),
        ("included", "BI-RADS 5", 2, 1, 1, 0, 1),
        ("included", "BI-RADS not known", 1, 1, 1, 1, 0),
        ("included", "without an age", 1, 1, 1, 1, 0),
    ]  # fmt: skip


FATES = st.sampled_from(["sound", "excluded", "unread", "bad", "bad twice", "excluded too"])


@given(st.lists(FATES, min_size=1, max_size=12))
def test_each_row_is_counted_once_whatever_is_wrong_with_it(fates: list[str]) -> None:
    rows, unread, faults = {}, [], []
    for line, fate in enumerate(fates, start=2):
        if fate == "unread":
            unread.append(Fault(line, Code.ROW_INVALID, ""))
            continue
        rows[line] = row(patient_key=f"P{line}", excluded="declined" if fate.startswith("excluded") else None)
        faults += [Fault(line, Code.FILE_NOT_FOUND, "")] if fate.startswith("bad") else []
        faults += [Fault(line, Code.LABEL_CONTRADICTORY, "")] if fate == "bad twice" else []
    manifest = Manifest(Path(), rows, tuple(unread))
    steps = flow_of(Checked(manifest, (*unread, *faults), (), {}, dict.fromkeys(rows, 47.0), (), {}, {}))
    whole = {step.step: step.rows for step in steps if step.of == ""}
    assert whole["found"] == len(fates)
    assert whole["included"] == fates.count("sound")
    assert sum(step.rows for step in steps if step.step == "excluded") == len(fates) - fates.count("sound")
    assert sum(step.rows for step in steps if step.of.startswith("BI-RADS")) == whole["included"]


def test_a_lesion_has_the_result_that_any_row_of_it_has() -> None:
    rows = {2: row(pathology="benign"), 3: row(image="2.png", pathology=None, excluded="blurred")}
    steps = flow_of(Checked(Manifest(Path(), rows), (), (), {}, dict.fromkeys(rows, 47.0), (), {}, {}))
    assert [(one.step, one.lesions, one.benign) for one in steps if one.of in ("", "blurred")] == [
        ("found", 1, 1), ("excluded", 1, 0), ("included", 1, 1),
    ]  # fmt: skip


def test_the_parts_of_a_split_are_counted_with_their_folds() -> None:
    rows = [
        row(split="train", fold=1),
        row(split="train", fold=2, patient_key="P2"),
        row(split="test", patient_key="P3"),
        row(),
    ]
    assert [(part.split, part.fold, part.rows, part.share) for part in parts_of(rows)] == [
        (Split.TRAIN, None, 2, 2 / 3),
        (Split.TRAIN, 1, 1, None),
        (Split.TRAIN, 2, 1, None),
        (Split.TEST, None, 1, 1 / 3),
    ]
