"""`dlr dataset` as a user types it: what is printed, what is written, and the exit status."""

import json
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.places import ROOT
from tests.worker.dataset.importers import test_breast, test_bus_bra, test_busi, test_dicom, test_medmnist
from tests.worker.dataset.manifests import cohort, save_picture, with_calipers
from tests.worker.intake.reports import Finding, rectangle, write_report
from worker.cli.main import app
from worker.cli.sentences import sentence_of
from worker.dataset.manifest import Split
from worker.dataset.manifest_file import read_manifest, write_manifest
from worker.errors import Code, SetupRefused


def dlr(*arguments: str | Path, status: int = 0) -> str:
    result = CliRunner().invoke(app, ["dataset", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result.stdout


def refusal(*arguments: str | Path) -> SetupRefused:
    with pytest.raises(SetupRefused) as refused:
        dlr(*arguments)
    return refused.value


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    write_manifest(tmp_path / "m.csv", cohort(tmp_path, 40, sites=("A", "B", "C", "D")))
    return tmp_path / "m.csv"


def test_a_manifest_is_validated_counted_and_split(manifest: Path) -> None:
    summary = json.loads(dlr("validate", manifest, "--format", "json"))
    assert (summary["rows"], summary["bad"], summary["bad_rows"], len(summary["digest"])) == (80, 0, [], 64)
    steps = json.loads(dlr("flow", manifest, "--format", "json"))
    assert [(step["step"], step["rows"]) for step in steps][:2] == [("found", 80), ("included", 80)]

    made = manifest.with_name("split.csv")
    told = json.loads(dlr("split", manifest, "--output", made, "--seed", "7", "--format", "json"))
    assert [(part["split"], part["rows"] > 0) for part in told["splits"]] == [
        ("train", True), ("validation", True), ("test", True),
    ]  # fmt: skip
    again = json.loads(dlr("validate", made, "--format", "json"))
    assert (again["digest"], again["bad"]) == (told["digest"], 0)
    resplit = json.loads(dlr("split", made, "-o", manifest.with_name("again.csv"), "--seed", "7", "-f", "json"))
    assert resplit == told


@pytest.mark.parametrize(
    "arguments",
    [
        ("busi",),
        ("ledger",),
        ("ledger", "folder", "--key", "k"),
        ("busi", "folder", "--label-from-verdicts"),
        ("dicom", "folder", "--key", "k"),
        ("dicom", "folder", "--table", "t.csv"),
        ("dicom", "--table", "t.csv", "--key", "k"),
        ("busi", "folder", "--table", "t.csv"),
        ("busi", "folder", "--key", "k"),
    ],
)
def test_stored_lesions_and_a_public_data_set_have_options_of_their_own(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    dlr("import", *arguments, "-o", tmp_path / "m.csv", status=2)
    assert not (tmp_path / "m.csv").exists()


def test_sites_are_kept_for_external_validation(manifest: Path) -> None:
    made = manifest.with_name("split.parquet")
    dlr("split", manifest, "-o", made, "--by", "site", "--external", "C", "--external", "D")
    rows = read_manifest(made).rows.values()
    assert {row.site for row in rows if row.split is Split.EXTERNAL} == {"C", "D"}
    assert {row.site for row in rows if row.split is not Split.EXTERNAL} == {"A", "B"}
    for wrong in (("--by", "site"), ("--external", "C")):
        assert refusal("split", manifest, "-o", manifest.with_name("x.csv"), *wrong).code == Code.SPLIT_IMPOSSIBLE


def test_a_patient_of_an_external_site_and_another_is_listed_and_nothing_is_written(tmp_path: Path) -> None:
    rows = cohort(tmp_path, 40, sites=("A", "B", "C", "D"))
    rows[-1] = rows[-1].model_copy(update={"patient_key": "P0", "pathology": rows[0].pathology})
    write_manifest(tmp_path / "m.csv", rows)
    made = tmp_path / "split.csv"
    result = CliRunner().invoke(
        app, ["dataset", "split", str(tmp_path / "m.csv"), "-o", str(made), "--by", "site", "--external", "D"]
    )
    assert isinstance(result.exception, SetupRefused)
    assert result.exception.code == Code.SPLIT_LEAKS
    assert "81" in result.stdout
    assert not made.exists()


def test_bad_rows_are_listed_and_nothing_is_split(manifest: Path) -> None:
    text = manifest.read_text().replace("0-1.png", "Example.png", 1)
    manifest.write_text(text)
    told = json.loads(dlr("validate", manifest, "--format", "json", status=3))
    assert [(one["line"], one["code"]) for one in told["bad_rows"]] == [(3, "file_not_found")]
    shown = dlr("validate", manifest, status=3)
    assert "file_not_found" in shown
    assert "Example" not in shown
    made = manifest.with_name("split.csv")
    assert refusal("split", manifest, "-o", made).code == Code.DATASET_INVALID
    assert not made.exists()
    split = CliRunner().invoke(app, ["dataset", "split", str(manifest), "-o", str(made), "--format", "json"])
    assert json.loads(split.stdout) == {"bad_rows": told["bad_rows"]}


def test_a_manifest_may_be_elsewhere_than_its_images(manifest: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = manifest.rename(elsewhere / "m.csv")
    assert json.loads(dlr("validate", moved, "--root", tmp_path, "-f", "json"))["bad"] == 0
    dlr("split", moved, "--root", tmp_path, "-o", tmp_path / "s.csv")
    assert refusal("split", tmp_path / "s.csv", "-o", elsewhere / "s.csv").code == Code.DATASET_INVALID


def test_each_public_layout_is_imported_and_what_is_left_out_is_said(tmp_path: Path) -> None:
    for name in ("benign", "malignant", "normal"):
        test_busi.add(tmp_path / "busi", name, 1)
    test_bus_bra.save(tmp_path / "bus-bra", [test_bus_bra.line("1", "1"), test_bus_bra.line("2", "2", BBOX="")])
    test_breast.save(tmp_path / "breast", [test_breast.line(1), test_breast.line(2, Mask_tumor_filename=None)])
    np_source = tmp_path / "breastmnist.npz"
    test_medmnist.save(np_source)
    sources = {name: tmp_path / name for name in ("busi", "bus-bra", "breast")} | {"medmnist": np_source}
    for name, source in sources.items():
        made = tmp_path / f"{name}.csv"
        told = json.loads(dlr("import", name, source, "--output", made, "--format", "json"))
        rows = read_manifest(made)
        assert rows.faults == ()
        assert told["rows"] == len(rows.rows)
        assert len(told["excluded"]) == len(rows.rows) - len(rows.included)
        assert told["notes"]
        assert json.loads(dlr("validate", made, "-f", "json"))["bad"] == 0, name
        found, *_ = json.loads(dlr("flow", made, "-f", "json"))
        assert found["rows"] == told["rows"]
    assert "no_lesion" in dlr("import", "busi", sources["busi"], "-o", tmp_path / "again.csv")


def test_the_recipe_of_the_page_leads_from_a_pacs_export_to_splits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = []
    for study in range(1, 31):
        test_dicom.add(tmp_path / "export", study)
        malignant = study % 3 == 0
        said = {"pathology": "malignant", "BI-RADS": "5"} if malignant else {}
        lines.append(test_dicom.line(**{"Accession Number": f"ACC{study}"}, **test_dicom.ROI, **said))
    test_dicom.save(tmp_path / "lesions.csv", lines)
    page = (ROOT / "docs" / "model-owner.md").read_text("utf-8")
    recipe = page.split("### From a PACS export", 1)[1].split("```sh\n", 1)[1].split("```", 1)[0]
    for command in recipe.splitlines():
        dlr(*shlex.split(command)[2:])
    rows = read_manifest(tmp_path / "split.csv").rows.values()
    assert [row.age_years for row in rows] == [47.0] * 30
    assert {row.split for row in rows} == {Split.TRAIN, Split.VALIDATION, Split.TEST}


def test_a_report_in_the_export_says_where_a_lesion_is_and_bad_rows_of_the_table_are_folded(tmp_path: Path) -> None:
    export = test_dicom.export(tmp_path / "export")
    first = export / "Hopper^Grace-1"
    write_report(export / "sr.dcm", [Finding(first / "IM1", rectangle(3, 4, 20, 10), ["4A"], "left 3h")])
    lines = [{"accession_number": "ACC1", "pathology": "benign"}]
    lines += [{"accession_number": f"ACC{number}", "pathology": "benign"} for number in range(10, 20)]
    table = test_dicom.save(tmp_path / "lesions.csv", lines)
    options = ("--table", table, "--key", tmp_path / "key")
    told = json.loads(dlr("import", "dicom", export, *options, "-o", tmp_path / "m.csv", "--format", "json", status=3))
    assert [fault["line"] for fault in told["bad_rows"]] == [*range(3, 13)]
    (row,) = read_manifest(tmp_path / "m.csv").included.values()
    assert row.roi is not None
    assert ((row.roi.x, row.roi.y, row.roi.width, row.roi.height), row.birads) == ((3, 4, 20, 10), "4A")
    assert "3 to 12" in dlr("import", "dicom", export, *options, "-o", tmp_path / "again.csv", status=3)

    (export / "sr.dcm").unlink()
    two = [
        Finding(first / f"IM{at}", rectangle(3, 4, 20, 10), [birads], "a", tracked="a")
        for at, birads in ((1, "3"), (2, "5"))
    ]
    write_report(export / "sr.dcm", two)
    told = json.loads(dlr("import", "dicom", export, *options, "-o", tmp_path / "c.csv", "-f", "json", status=3))
    assert told["bad_rows"][0]["code"] == Code.BIRADS_UNKNOWN


def test_the_schema_is_printed() -> None:
    assert "roi_width" in json.loads(dlr("schema"))["properties"]


def test_what_goes_together_with_pathology_is_said_and_a_finding_excludes(manifest: Path) -> None:
    rows = [
        row.model_copy(update={"scanner_model": "X" if row.malignant else "Y", "split": None})
        for row in read_manifest(manifest).rows.values()
    ]
    write_manifest(manifest.with_name("s.csv"), rows)
    told = json.loads(dlr("validate", manifest.with_name("s.csv"), "-f", "json"))
    of = {one["label"]: one for one in told["associations"] if one["feature"] == "scanner_model"}
    assert set(of) == {"pathology", "birads"}
    scanner = of["pathology"]
    assert (scanner["significant"], scanner["effect"], told["not_tested"]) == (True, "Cramér's V", None)
    assert told["ages_filled_in"] is None
    assert "scanner_model" in dlr("validate", manifest.with_name("s.csv"))


def test_ages_that_were_filled_in_are_said_of_all_and_of_a_class(tmp_path: Path) -> None:
    rows = cohort(tmp_path, 30, views=1)
    for of, said in ((rows, "30 of 30 patients have the age 50"), (rows[::3], "10 of 10 patients with a malignant")):
        made = [row.model_copy(update={"age_years": 50.5 if row in of else 55 + at}) for at, row in enumerate(rows)]
        manifest = tmp_path / f"{len(of)}.csv"
        write_manifest(manifest, made)
        assert json.loads(dlr("validate", manifest, "-f", "json"))["ages_filled_in"].startswith(said)
    told = CliRunner().invoke(app, ["dataset", "validate", str(manifest)])
    assert "it seems to be filled in" in " ".join(told.output.split())


def test_rows_with_a_finding_are_left_out_of_a_split(manifest: Path) -> None:
    with_calipers(manifest.with_name("0-1.png"))
    made, option = manifest.with_name("split.csv"), ("--exclude-finding", "overlay_in_roi")
    dlr("split", manifest, "-o", made, *option)
    (left_out,) = [row for row in read_manifest(made).rows.values() if row.excluded is not None]
    assert (left_out.image, left_out.excluded) == ("0-1.png", "overlay_in_roi")
    steps = json.loads(dlr("flow", manifest, "-f", "json", *option))
    assert [step["rows"] for step in steps if step["of"] == "overlay_in_roi"] == [1]


def test_rows_that_are_bad_alike_are_one_line(manifest: Path) -> None:
    for picture in manifest.parent.glob("*.png"):
        picture.unlink()
    assert "2 to 81" in dlr("validate", manifest, status=3)
    assert len(json.loads(dlr("validate", manifest, "-f", "json", status=3))["bad_rows"]) == 80


def two_manifests(folder: Path) -> tuple[Path, Path]:
    """Each in a folder of its own, with the same patients' keys and other images."""
    for name, first in (("a", 0), ("b", 50)):
        inner = folder / name
        rows = cohort(inner, 6, views=1)
        for number, row in enumerate(rows):
            save_picture(inner / row.image, seed=7_000 + first + number)
        write_manifest(
            folder / f"{name}.csv", [row.model_copy(update={"image": f"{name}/{row.image}"}) for row in rows]
        )
    return folder / "a.csv", folder / "b.csv"


def test_manifests_are_joined_and_whose_patients_are_whose_is_asked(tmp_path: Path) -> None:
    one, other = two_manifests(tmp_path)
    assert refusal("join", one, other, "-o", tmp_path / "no.csv").code == Code.DATASET_INVALID
    assert not (tmp_path / "no.csv").exists()
    told = json.loads(dlr("join", one, other, "-o", tmp_path / "c.csv", "--keys", "apart", "-f", "json"))
    assert [part["from_line"] for part in told["joined"]] == [2, 8]
    rows = list(read_manifest(tmp_path / "c.csv").rows.values())
    assert [row.image for row in rows[::6]] == ["a/0-0.png", "b/0-0.png"]
    assert [row.patient_key for row in rows[::6]] == ["a-P0", "b-P0"]
    assert json.loads(dlr("validate", tmp_path / "c.csv", "-f", "json"))["digest"] == told["digest"]
    dlr("join", one, "-o", tmp_path / "d.csv", status=2)


def test_manifests_of_images_that_lie_elsewhere_are_joined_by_their_root(tmp_path: Path) -> None:
    one, other = two_manifests(tmp_path / "share")
    moved = [path.rename(tmp_path / path.name) for path in (one, other)]
    refusal("join", *moved, "-o", tmp_path / "c.csv", "--keys", "same", "--root", tmp_path / "nowhere")
    told = json.loads(
        dlr("join", *moved, "-o", tmp_path / "c.csv", "--keys", "same", "--root", tmp_path / "share", "-f", "json")
    )
    assert [part["rows"] for part in told["joined"]] == [6, 6]
    assert read_manifest(tmp_path / "c.csv").rows[2].image == "a/0-0.png"
    dlr("validate", tmp_path / "c.csv", "--root", tmp_path / "share")


def test_manifests_of_one_name_have_no_names_that_keep_their_keys_apart(tmp_path: Path) -> None:
    one, other = two_manifests(tmp_path)
    moved = []
    for path in (one, other):
        (tmp_path / f"of-{path.stem}").mkdir()
        moved.append(path.rename(tmp_path / f"of-{path.stem}" / "m.csv"))
    refused = refusal("join", *moved, "-o", tmp_path / "c.csv", "--keys", "apart", "--root", tmp_path)
    assert (refused.code, "rename" in refused.reason) == (Code.DATASET_INVALID, True)


def test_the_next_command_of_an_import_finds_the_images(tmp_path: Path) -> None:
    test_bus_bra.save(tmp_path / "share", [test_bus_bra.line("1", "1")])
    said = CliRunner().invoke(
        app,
        ["dataset", "import", "bus-bra", str(tmp_path / "share"), "-o", str(tmp_path / "m.csv"), "--root",
         str(tmp_path / "share")],
    )  # fmt: skip
    (following,) = [line.removeprefix("next: ") for line in said.stderr.splitlines() if line.startswith("next: ")]
    assert CliRunner().invoke(app, shlex.split(following)[1:]).exit_code == 0


def test_an_image_of_two_manifests_in_two_splits_is_found(tmp_path: Path) -> None:
    one, other = two_manifests(tmp_path)
    (tmp_path / "b" / "0-0.png").write_bytes((tmp_path / "a" / "0-0.png").read_bytes())
    for path, split in ((one, Split.TRAIN), (other, Split.TEST)):
        rows = [row.model_copy(update={"split": split}) for row in read_manifest(path).rows.values()]
        path.unlink()
        write_manifest(path, rows)
    result = CliRunner().invoke(
        app,
        ["dataset", "join", str(one), str(other), "-o", str(tmp_path / "c.csv"), "--keys", "apart", "-f", "json"],
    )
    bad = json.loads(result.stdout)["bad_rows"]
    assert {(fault["line"], fault["code"]) for fault in bad} == {(8, Code.SPLIT_LEAKS), (8, Code.IMAGE_REPEATED)}


def test_images_that_are_not_below_the_joined_manifest_are_refused(tmp_path: Path) -> None:
    one, other = two_manifests(tmp_path)
    (tmp_path / "inner").mkdir()
    assert "--root" in refusal("join", one, other, "-o", tmp_path / "inner" / "c.csv", "--keys", "same").reason


def test_a_name_that_no_disk_takes_is_told_in_a_sentence(manifest: Path) -> None:
    with pytest.raises(OSError, match="name too long") as raised:
        dlr("split", manifest, "-o", manifest.parent / f"{'n' * 300}.csv")
    told = sentence_of(raised.value)
    assert told is not None
    assert told[0] == "setting_invalid"
