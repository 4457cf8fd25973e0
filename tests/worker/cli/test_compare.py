"""`dlr models compare --manifest`, as a user types it; on the lesions on record: `test_rescoring`."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tests import command_line
from tests.worker.dataset.manifests import row, save_picture
from tests.worker.inference.samples import write_model
from worker.cli.main import app
from worker.dataset.manifest import ManifestRow, Split
from worker.dataset.manifest_file import read_manifest, write_manifest
from worker.errors import Code, DlrError
from worker.evaluation.paired_aucs import paired_aucs, paired_on_category
from worker.inference.registry import Registry
from worker.settings import get_settings
from worker.training.manifest_comparison import Match, compare_on_manifest

pytestmark = pytest.mark.slow

NOTICE = "a test's, not for clinical use"
LEARNED = {"stages": "two", "age_learns_on": "validation"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DLR_LH says low risk of all lesions. DLR_BM 1.0 says malignant of all, and 2.0 benign."""
    folder = tmp_path_factory.mktemp("models")
    registry = Registry(folder / "registry")
    added: dict[tuple[str, str], dict[str, Any]] = {
        ("DLR_LH", "1.0"): {"threshold": 1.0, "notice": NOTICE},
        ("DLR_LH", "2.0"): {"threshold": 1.0, "input_size": 48},
        ("DLR_BM", "1.0"): {"threshold": 0.0, "notice": ""},
        ("DLR_BM", "2.0"): {"threshold": 1.0, "notice": "", "training": LEARNED},
    }
    for seed, ((name, version), changes) in enumerate(added.items()):
        registry.add(*write_model(folder / name / version, seed % 2, name=name, version=version, **changes))
    for name in ("DLR_LH", "DLR_BM"):
        registry.activate(name, "1.0", force=True)
    return folder / "registry"


@pytest.fixture(autouse=True)
def _registry(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLR_MODELS_DIR", str(models))
    get_settings.cache_clear()


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Of the test three cancers, two of them 4A, and three benign lesions, one of them 4A and one without an age."""
    said = [("malignant", "4A"), ("malignant", "4A"), ("malignant", "5"), ("benign", "4A"), ("benign", "3"),
            ("benign", "0"), ("benign", "2")]  # fmt: skip
    rows = []
    for place, (pathology, birads) in enumerate(said):
        save_picture(tmp_path / f"{place}.png", seed=place)
        age = None if place == 6 else 47
        rows.append(row(image=f"{place}.png", pathology=pathology, birads=birads, split=Split.TEST, age_years=age,
                        patient_key=f"P{place}", lesion_id=f"L{place}"))  # fmt: skip
    save_picture(tmp_path / "t.png", seed=99)
    return written(tmp_path / "manifest.csv", *rows, row(image="t.png", patient_key="T", split=Split.TRAIN))


def written(path: Path, *rows: ManifestRow) -> Path:
    write_manifest(path, rows)
    return path


def dlr(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["models", "compare", *map(str, arguments)], catch_exceptions=True)


def answer(*arguments: object, status: int = 3) -> Any:
    done = dlr(*arguments, "--format", "json")
    assert done.exit_code == status, done.output
    return json.loads(done.stdout)


def sentence(done: Result) -> str:
    """What standard error says, out of the frame that it is in."""
    return " ".join(done.stderr.replace("│", " ").split())


def test_two_versions_are_compared_on_a_manifest_and_missed_cancers_are_told(manifest: Path, models: Path) -> None:
    said = answer("DLR_BM/1.0", "DLR_BM/2.0", "--manifest", manifest)
    [found] = said["models"]
    assert (said["source"], said["since"], said["split"]) == ("manifest", None, "test")
    assert (found["model"], found["a"], found["b"], found["other"]) == ("DLR_BM", "1.0", "2.0", "1.0")
    assert found["notice"] == NOTICE, "the advice rests on the active DLR_LH too"
    assert found["coverage"] == {"lesions": 7, "a": 6, "b": 6, "both": 6}
    assert {reason: count for reason, count in said["left_out"].items() if count} == {
        "rows of splits that are not scored": 1, "rows: age_missing": 1,
    }  # fmt: skip
    assert [one["lesion_id"] for one in found["missed_cancers"]["b"]] == ["L0", "L1"]
    assert found["missed_cancers"]["a"] == []
    assert [one["lesion_id"] for one in found["newly_downgraded"]] == ["L0", "L1", "L3"]
    assert found["moves"]["maintained"] == {"downgraded": 3, "maintained": 0, "upgraded": 0}
    sides = [found["pathology"][side] for side in ("a", "b")]
    assert [(side["sensitivity"]["count"], side["specificity"]["count"]) for side in sides] == [(3, 0), (0, 3)]
    assert found["category"] is None
    registry = Registry(models)
    match = Match(*(registry.named(one)[0] for one in ("DLR_BM/1.0", "DLR_BM/2.0", "DLR_LH/1.0")))
    lesions = compare_on_manifest(read_manifest(manifest), Split.TEST, [match], lambda *_: None).compared[0].lesions
    expected = paired_aucs([(one.malignant is True, one.a_probability, one.b_probability) for one in lesions])
    assert expected is not None
    assert found["pathology"]["auc"]["difference"]["value"] == expected.difference.value
    assert (found["pathology"]["auc"]["lesions"], found["pathology"]["auc"]["positives"]) == (6, 3)


def test_where_b_misses_no_cancer_the_exit_status_is_0(manifest: Path) -> None:
    [found] = answer("DLR_BM/2.0", "DLR_BM/1.0", "--manifest", manifest, status=0)["models"]
    assert len(found["missed_cancers"]["a"]) == 2
    assert found["moves"]["downgraded"]["maintained"] == 3


def test_people_read_the_same_in_tables_and_what_to_know(manifest: Path) -> None:
    done = dlr("DLR_BM/1.0", "2.0", "--manifest", manifest)
    assert done.exit_code == 3, done.output
    assert "DLR_BM: A is 1.0, B is 2.0\nof 7 lesions, 1 are left out\nALERT downgraded_cancer" in done.stdout
    assert "left out: 1 rows of splits that are not scored, 1 rows: age_missing\n" in done.stdout
    assert "note: DLR_BM: the advice under each version uses the score of the active DLR_LH 1.0." in done.stdout
    assert "against pathology, on 6 lesions" in done.stdout
    assert "against the radiologist's category" not in done.stdout
    assert "(DeLong, paired)" in done.stdout
    assert "study id" not in done.stdout
    assert "lesions" in done.stderr, "a bar"


def test_each_site_has_its_own_row_and_aucs_where_it_has_enough_lesions(tmp_path: Path) -> None:
    rows = []
    for place in range(26):
        save_picture(tmp_path / f"{place}.png", seed=place)
        pathology = "malignant" if place % 2 else "benign"
        site = "north" if place < 20 else "south" if place < 25 else None
        rows.append(row(image=f"{place}.png", pathology=pathology, birads="4A", age_years=50, split=Split.TEST,
                        patient_key=f"P{place}", site=site))  # fmt: skip
    path = written(tmp_path / "sites.csv", *rows)
    [found] = answer("DLR_BM/1.0", "DLR_BM/2.0", "--manifest", path)["models"]
    north, south, unknown = found["sites"]
    assert [(one["site"], one["lesions"]) for one in (north, south, unknown)] == [
        ("north", 20), ("south", 5), ("unknown", 1),
    ]  # fmt: skip
    assert sum(one["missed_cancers"]["b"] for one in found["sites"]) == len(found["missed_cancers"]["b"]) == 13
    assert (north["pathology"]["auc"]["lesions"], north["pathology"]["auc"]["positives"]) == (20, 10)
    assert south["pathology"]["auc"] is None, "too few of either class"
    assert south["pathology"]["b"]["sensitivity"]["total"] == 2
    told = dlr("DLR_BM/1.0", "DLR_BM/2.0", "--manifest", path).stdout
    assert "the same by site" in told
    assert "north" in told.partition("the same by site")[2]


def test_of_scores_of_the_image_alone_nothing_is_said_that_advice_alone_can_say(manifest: Path) -> None:
    rows = [one.model_copy(update={"site": "north"}) for one in read_manifest(manifest).rows.values()]
    path = written(manifest.with_name("sites.csv"), *rows)
    asked = ("DLR_BM/1.0", "DLR_BM/2.0", "--manifest", path, "--image-only")
    [found] = answer(*asked, status=0)["models"]
    assert [found[name] for name in ("newly_downgraded", "missed_cancers", "moves", "arms")] == [None] * 4
    assert [one["missed_cancers"] for one in found["sites"]] == [None]
    assert found["pathology"]["lesions"] == found["coverage"]["both"] == 7
    told = dlr(*asked).stdout
    assert "There is no advice of such scores." in told
    assert "against pathology, on 7 lesions" in told
    for word in ("advises down", "missed", "downgraded", "4A lesions", "not certain"):
        assert word not in told, word


def test_a_manifest_without_sites_has_no_table_of_them(manifest: Path) -> None:
    assert answer("DLR_BM/1.0", "DLR_BM/2.0", "--manifest", manifest)["models"][0]["sites"] == []
    assert "by site" not in dlr("DLR_BM/1.0", "DLR_BM/2.0", "--manifest", manifest).stdout


def test_dlr_lh_is_held_against_the_category_too(manifest: Path, models: Path) -> None:
    registry = Registry(models)
    both = answer("1.0", "2.0", "--manifest", manifest)["models"]
    assert [(one["model"], one["other"]) for one in both] == [("DLR_LH", "1.0"), ("DLR_BM", "1.0")]
    found = both[0]
    match = Match(*(registry.named(one)[0] for one in ("DLR_LH/1.0", "DLR_LH/2.0", "DLR_BM/1.0")))
    lesions = compare_on_manifest(read_manifest(manifest), Split.TEST, [match], lambda *_: None).compared[0].lesions
    expected = paired_on_category([(one.birads or "", one.a_probability, one.b_probability) for one in lesions])
    assert expected is not None
    category = found["category"]["auc"]
    assert (category["lesions"], category["positives"]) == (5, 4), "category 0 says neither"
    assert category["difference"]["value"] == expected.difference.value
    assert found["pathology"]["auc"]["lesions"] == 6
    alone = dlr("1.0", "2.0", "--manifest", manifest, "--model", "DLR_LH")
    assert (alone.exit_code, "DLR_BM: A is" in alone.stdout) == (0, False)
    assert re.search(r"against the radiologist's category, 4A and above, on 5 lesions: AUC of A [01]\.\d", alone.stdout)


def test_what_advises_together_must_be_there(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry(tmp_path / "registry")
    for version in ("1.0", "2.0"):
        registry.add(*write_model(tmp_path / version, version=version))
    monkeypatch.setenv("DLR_MODELS_DIR", str(tmp_path / "registry"))
    get_settings.cache_clear()
    refused = dlr("1.0", "2.0", "--manifest", manifest).exception
    assert isinstance(refused, DlrError)
    assert refused.code is Code.MODEL_NOT_ACTIVE
    assert "no version of DLR_LH is active: dlr models activate DLR_LH VERSION" in refused.reason


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("DLR_BM/1.0", "DLR_BM/9.0"), Code.MODEL_NOT_FOUND, "the registry has no DLR_BM/9.0"),
        (("9.0", "1.0", "--model", "DLR_LH"), Code.MODEL_NOT_FOUND, "the registry has no DLR_LH/9.0"),
        (("DLR_LH/1.0", "DLR_BM/2.0"), Code.MODEL_NOT_FOUND, "versions of different models"),
        (("DLR_BM/1.0", "DLR_BM/2.0", "--model", "DLR_LH"), Code.MODEL_NOT_FOUND, "are not both versions of DLR_LH"),
        (("DLR_BM/1.0", "2.0", "--split", "external"), Code.LESIONS_TOO_FEW, "of the split external: see --split"),
        (("DLR_BM/1.0", "2.0", "--root", "none"), Code.DATASET_INVALID, "does not exist"),
    ],
)
def test_what_is_not_there_is_refused(manifest: Path, arguments: tuple[str, ...], code: Code, said: str) -> None:
    refused = dlr(*arguments, "--manifest", manifest).exception
    assert isinstance(refused, DlrError)
    assert (refused.code, said in refused.reason) == (code, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--root", "folder"), "--root: needs --manifest"),
        (("--split", "test"), "--split: needs --manifest"),
        (("--skip-bad",), "--skip-bad: needs --manifest"),
        (("--manifest", "m.csv", "--since", "30d"), "--since: needs the lesions on record, without --manifest"),
        (("--manifest", "m.csv", "--split", "train"), "--split: a model was trained on this split"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(arguments: tuple[str, ...], said: str) -> None:
    done = dlr("1.0", "2.0", *arguments)
    assert (done.exit_code, said in sentence(done)) == (2, True), done.output


def test_lesions_that_a_version_learned_from_are_refused_as_its_card_says(manifest: Path, tmp_path: Path) -> None:
    rows = [one.model_copy(update={"split": Split.VALIDATION}) for one in read_manifest(manifest).rows.values()]
    asked = ("--manifest", written(tmp_path / "validation.csv", *rows), "--split", "validation")
    done = dlr("DLR_BM/1.0", "2.0", *asked)
    assert done.exit_code == 2
    assert "the age classifier of DLR_BM 2.0 was trained on this split" in sentence(done)
    assert answer("DLR_BM/1.0", "DLR_BM/1.0", *asked, status=0)["split"] == "validation"
    unsplit = [one.model_copy(update={"split": None}) for one in rows]
    said = answer("DLR_BM/1.0", "2.0", "--manifest", written(tmp_path / "unsplit.csv", *unsplit))
    assert said["split"] is None
    assert any("Make sure that no model was trained on any of them" in notice for notice in said["notices"])


def test_bad_rows_stop_it_unless_they_are_to_be_left_out(manifest: Path) -> None:
    (manifest.parent / "5.png").unlink()
    with manifest.open("a") as file:
        file.write("SECRET.png,,,,,,,47,4A,perhaps\n")
    done = command_line.dlr("models", "compare", "DLR_BM/2.0", "1.0", "--manifest", manifest)
    assert (done.returncode, done.stdout) == (1, "")
    assert "line 7: file_not_found: " in done.stderr
    assert "line 10: row_invalid: " in done.stderr
    assert "error: dataset_invalid: 2 rows are bad, so nothing was compared: fix them or use --skip-bad" in done.stderr
    assert "SECRET" not in done.stderr
    said = answer("DLR_BM/2.0", "1.0", "--manifest", manifest, "--skip-bad", status=3)
    assert said["models"][0]["missed_cancers"]["b"] == []
    assert said["left_out"]["rows that are bad"] == 2
