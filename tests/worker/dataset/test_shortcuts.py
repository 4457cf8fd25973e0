"""What goes together with a label is found, tested by what fits it, and said; what does not is not."""

from collections.abc import Mapping, Sequence

import pytest
from scipy import stats

from db.schema.vocabulary import QualityFinding
from tests.shared import real_set
from tests.worker.dataset.manifests import row
from worker.dataset.check import check
from worker.dataset.importers.bus_bra import import_bus_bra
from worker.dataset.manifest import Manifest, ManifestRow
from worker.dataset.manifest_image import Appearance
from worker.dataset.shortcuts import Association, Label, associations

CALIPERS = (QualityFinding.OVERLAY_IN_ROI,)


def shown(*findings: QualityFinding, mm: float | None = None, px: float = 50, scanner: str | None = None) -> Appearance:
    return Appearance(findings, px, mm, 400, scanner)


def held_against_pathology(benign: Sequence[Appearance], malignant: Sequence[Appearance]) -> Mapping[str, Association]:
    rows: dict[int, ManifestRow] = {}
    seen: dict[int, Appearance] = {}
    for pathology, all_of_them in (("benign", benign), ("malignant", malignant)):
        for appearance in all_of_them:
            line = len(rows) + 2
            rows[line], seen[line] = row(patient_key=f"P{line}", pathology=pathology), appearance
    return {one.feature: one for one in associations(rows, seen, {})}


def test_calipers_on_more_malignant_lesions_than_benign_ones_are_said() -> None:
    found = held_against_pathology(
        [shown(*CALIPERS)] * 31 + [shown()] * 69,
        [shown(*CALIPERS)] * 55 + [shown()] * 45,
    )["overlay_in_roi"]
    expected = stats.chi2_contingency([[55, 45], [31, 69]])
    assert (found.test, found.p_value, found.p_holm) == ("chi-squared", expected.pvalue, expected.pvalue)
    assert found.effect_size == pytest.approx(55 * 69 / (45 * 31))
    assert found.sentence == (
        "overlay_in_roi: 55% of malignant lesions, 31% of benign ones "
        "(P = 0.001, 0.001 by Holm's correction; odds ratio 2.72)"
    )


def test_calipers_on_the_lesion_or_beside_it_are_tested_by_lesion() -> None:
    rows = {
        line: row(patient_key=f"P{line // 2}", pathology="malignant" if line < 40 else "benign") for line in range(80)
    }
    calipers = {line: line % 2 == 0 and (line < 40 or line % 8 == 0) for line in rows}
    (found,) = associations(rows, dict.fromkeys(rows, shown()), calipers)
    assert (found.feature, found.lesions, found.malignant, found.benign) == ("calipers", 40, 1, 0.25)
    assert found.sentence.startswith("calipers: 100% of malignant lesions, 25% of benign ones ")


def test_a_rare_finding_is_tested_exactly_and_its_ratio_is_finite() -> None:
    found = held_against_pathology([shown()] * 12, [shown(*CALIPERS)] * 3 + [shown()] * 3)["overlay_in_roi"]
    assert (found.test, found.p_value) == ("Fisher", stats.fisher_exact([[3, 3], [0, 12]]).pvalue)
    assert found.effect_size == pytest.approx(3.5 * 12.5 / (3.5 * 0.5))


def test_a_lesion_counts_once_however_many_images_it_has() -> None:
    rows = {
        line: row(patient_key=f"P{line // 4}", pathology="malignant" if line < 16 else "benign") for line in range(32)
    }
    seen = {line: shown(*(CALIPERS if line % 8 == 0 else ()), px=line) for line in rows}
    found = {one.feature: one for one in associations(rows, seen, {})}
    assert (found["overlay_in_roi"].lesions, found["overlay_in_roi"].malignant) == (8, 0.5)
    assert found["lesion_px"].malignant == 9
    assert "images" not in found


def test_sizes_are_compared_by_rank_and_only_where_they_are_known() -> None:
    found = held_against_pathology(
        [shown(mm=mm) for mm in (5, 6, 7, 8)] + [shown()], [shown(mm=mm) for mm in (9, 10, 11, 900)]
    )
    size = found["lesion_mm"]
    assert (size.test, size.lesions, size.benign, size.malignant, size.effect_size) == ("Mann-Whitney", 8, 6.5, 10.5, 1)
    assert "lesion_px" not in found


def test_the_scanner_that_is_furthest_from_its_share_is_named() -> None:
    found = held_against_pathology(
        [shown(scanner="A")] * 30 + [shown(scanner="B")] * 10, [shown(scanner="A")] * 10 + [shown(scanner="C")] * 30
    )["scanner_model"]
    assert (found.level, found.malignant, found.benign) == ("C", 0.75, 0)
    assert found.is_significant
    assert 0 < found.effect_size <= 1


def test_holms_correction_never_lessens_and_keeps_the_order() -> None:
    found = list(
        held_against_pathology(
            [shown(*CALIPERS, mm=number, px=number % 7, scanner="AB"[number % 2]) for number in range(30)],
            [shown(mm=number + 9, px=number % 5, scanner="A") for number in range(20)],
        ).values()
    )
    assert [one.p_value for one in found] == sorted(one.p_value for one in found)
    assert [one.p_holm for one in found] == sorted(one.p_holm for one in found)
    assert found[0].p_holm == min(1, len(found) * found[0].p_value)
    assert all(one.p_value <= one.p_holm <= 1 for one in found)


def test_what_goes_together_with_the_category_alone_is_said_as_that() -> None:
    """Half of each pathology is of high risk, and the calipers are on those: DLR_LH can learn them, DLR_BM cannot."""
    rows: dict[int, ManifestRow] = {}
    seen: dict[int, Appearance] = {}
    for line in range(80):
        high = line % 2 == 0
        pathology = "malignant" if line % 4 < 2 else "benign"
        rows[line] = row(patient_key=f"P{line}", pathology=pathology, birads="4" if high else "3")
        seen[line] = shown(*(CALIPERS if high and line % 40 >= 8 else ()))
    rows[80] = row(patient_key="P80", birads=None)
    rows |= {81: row(patient_key="P81", birads="3"), 82: row(patient_key="P81", birads="4A")}
    seen |= {line: shown(*CALIPERS) for line in (80, 81, 82)}
    of = {one.label: one for one in associations(rows, seen, {}) if one.feature == "overlay_in_roi"}
    assert {label: (one.lesions, one.is_significant) for label, one in of.items()} == {
        Label.PATHOLOGY: (82, False), Label.BIRADS: (80, True),
    }  # fmt: skip
    found = of[Label.BIRADS]
    assert found.p_holm == pytest.approx(3 * found.p_value)
    assert found.sentence.startswith("overlay_in_roi: 80% of high-risk lesions, 0% of low-risk ones by BI-RADS (P")


@pytest.mark.parametrize("pathology", ["benign", "malignant"])
def test_of_one_class_alone_nothing_is_tested(pathology: str) -> None:
    looks = [shown(*CALIPERS, scanner="A"), shown(scanner="B"), shown(mm=4), shown(mm=5)]
    benign, malignant = (looks, []) if pathology == "benign" else ([], looks)
    assert held_against_pathology(benign, malignant) == {}


@pytest.mark.slow
def test_the_calipers_of_bus_bra_are_said() -> None:
    source = real_set("bus-bra")
    rows = import_bus_bra(source, source, lambda _done, _total: None).rows
    checked = check(Manifest(source, dict(enumerate(rows, start=2))))
    of = {
        one.label: one
        for one in associations(checked.sound, checked.seen, checked.calipers)
        if one.feature == "overlay_in_roi"
    }
    assert of[Label.PATHOLOGY].is_significant
    assert of[Label.PATHOLOGY].malignant > of[Label.PATHOLOGY].benign
    assert of[Label.BIRADS].lesions == of[Label.PATHOLOGY].lesions
    without = check(Manifest(source, dict(enumerate(rows, start=2))), excluding=CALIPERS)
    assert "overlay_in_roi" not in {one.feature for one in associations(without.sound, without.seen, {})}
    assert sum(row.excluded == "overlay_in_roi" for row in without.manifest.rows.values()) >= 40
