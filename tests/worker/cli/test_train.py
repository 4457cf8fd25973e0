"""`dlr train` as a user types it: on a manifest and on phantoms, and what is refused."""

import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from tests.waiting import patience, until
from tests.worker.dataset.manifests import cohort, row, save_picture
from worker.cli.main import app
from worker.dataset.manifest import ManifestRow, Split
from worker.dataset.manifest_file import read_manifest, write_manifest
from worker.errors import Code, SetupRefused
from worker.evaluation.scores_file import read_scores
from worker.inference.model_card import load_card

pytestmark = pytest.mark.slow

SMALL = 'backbone = "resnet18"\ninit = "random"\ninput_size = 32\nepochs = 1\nbatch = 8\n[age]\nsteps = 5\n'


def run(*arguments: str | Path, status: int = 0) -> tuple[str, str]:
    result = CliRunner().invoke(app, ["train", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result.stdout, result.stderr


def refusal(*arguments: str | Path) -> SetupRefused:
    with pytest.raises(SetupRefused) as refused:
        run(*arguments)
    return refused.value


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "small.toml").write_text(SMALL)
    return tmp_path


def split_manifest(folder: Path, *more: ManifestRow, folds: int = 0) -> Path:
    write_manifest(folder / "m.csv", [*cohort(folder, 40), *more])
    arguments = ["dataset", "split", folder / "m.csv", "-o", folder / "s.csv", "--train", "0.6", "--validation", "0.2",
                 "--test", "0.2", "--folds", folds]  # fmt: skip
    done = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return folder / "s.csv"


def on_manifest(folder: Path, which: str, manifest: Path, *more: str) -> tuple[str | Path, ...]:
    return (
        which,
        "--manifest",
        manifest,
        "--config",
        folder / "small.toml",
        "--device",
        "cpu",
        "-o",
        folder / "run",
        *more,
    )


@pytest.mark.parametrize("which", ["lh", "bm"])
def test_a_manifest_becomes_a_model_whose_card_names_its_data(folder: Path, which: str) -> None:
    manifest = split_manifest(folder, row(image="0-0.png", patient_key="Q", excluded="no_pathology"))
    out, err = run(*on_manifest(folder, which, manifest, "--format", "json"))
    card = json.loads(out)["card"]
    assert card == load_card(folder / "run" / "card.json").model_dump(mode="json")
    done = CliRunner().invoke(app, ["dataset", "validate", str(manifest), "--format", "json"])
    assert card["training"]["data_digest"] == json.loads(done.stdout)["digest"]
    splits = [one.split for one in read_manifest(manifest).rows.values()]
    assert card["training"]["train_images"] == splits.count(Split.TRAIN)
    assert card["training"]["test_images"] == splits.count(Split.TEST)
    assert (card["name"], card["notice"]) == (f"DLR_{which.upper()}", "")
    assert "left out: 1 rows, no_pathology" in err
    assert "dlr models add" in err
    # Two images of a lesion are one lesion where it is judged.
    assert str(card["metrics"]["test_set"]).startswith(f"{splits.count(Split.TEST) // 2} held-out lesions")
    added = CliRunner().invoke(
        app, ["models", "add", str(folder / "run/card.json"), str(folder / "run/weights.safetensors")]
    )
    assert added.exit_code == 0, added.output


def test_the_card_says_how_the_scores_of_a_lesions_images_became_one(folder: Path) -> None:
    manifest = split_manifest(folder)
    run(*on_manifest(folder, "bm", manifest, "--aggregation", "max"))
    card = load_card(folder / "run" / "card.json")
    assert (card.aggregation, card.min_images) == ("max", 1)
    read = read_scores(folder / "run" / "scores.csv").material
    assert {one.images for one in read.lesions} == {2}
    assert refusal(*on_manifest(folder, "bm", manifest)).code is Code.TRAINING_DIFFERS


def test_a_finished_run_says_so_and_another_is_refused(folder: Path) -> None:
    asked = ("bm", "--phantom", "110", "--config", folder / "small.toml", "--device", "cpu", "-o", folder / "run")
    first, _ = run(*asked, "--format", "json")
    again, said = run(*asked, "--format", "json")
    assert json.loads(again) == json.loads(first) | {"was_finished": True}
    assert "nothing was done" in said
    table, _ = run(*asked)
    assert "demo, synthetic, not for clinical use" in table
    assert refusal(*asked, "--seed", "9").code is Code.TRAINING_DIFFERS


def test_rows_without_an_age_are_listed_or_left_out_and_those_whose_category_says_nothing_are_too(
    folder: Path,
) -> None:
    save_picture(folder / "ageless.png", seed=77)
    save_picture(folder / "zero.png", seed=78)
    manifest = split_manifest(
        folder,
        row(image="ageless.png", patient_key="Y", age_years=None),
        row(image="zero.png", patient_key="Z", birads="0", pathology="malignant"),
    )
    with pytest.raises(SetupRefused) as refused:
        run(*on_manifest(folder, "bm", manifest))
    assert (refused.value.code, refused.value.reason[:6]) == (Code.DATASET_INVALID, "1 rows")
    result = CliRunner().invoke(app, ["train", *map(str, on_manifest(folder, "bm", manifest))])
    assert "age_missing" in result.stdout
    result = CliRunner().invoke(app, ["train", *map(str, on_manifest(folder, "bm", manifest, "--format", "json"))])
    assert [one["code"] for one in json.loads(result.stdout)["bad_rows"]] == ["age_missing"]
    assert not (folder / "run").exists()
    _, err = run(*on_manifest(folder, "lh", manifest, "--missing-age", "exclude"))
    assert "left out: 1 rows, age_missing" in err
    assert "left out: 1 rows, of neither class" in err


def test_where_all_are_left_out_it_is_said_why(folder: Path) -> None:
    splits = [Split.TRAIN, Split.VALIDATION, Split.TEST]
    rows = [
        one.model_copy(update={"age_years": None, "split": splits[place // 4]})
        for place, one in enumerate(cohort(folder, 6))
    ]
    write_manifest(folder / "ageless.csv", rows)
    refused = refusal(*on_manifest(folder, "bm", folder / "ageless.csv", "--missing-age", "exclude"))
    assert (refused.code, "12 age_missing" in refused.reason) == (Code.LESIONS_TOO_FEW, True)


def test_ages_that_were_filled_in_where_the_classifier_learns_are_refused_before_an_image_is_read(folder: Path) -> None:
    rows = list(read_manifest(split_manifest(folder)).rows.values())
    alike = [one.model_copy(update={"age_years": 50} if one.split is Split.VALIDATION else {}) for one in rows]
    write_manifest(folder / "alike.csv", alike)
    (folder / "0-0.png").unlink()
    refused = refusal(*on_manifest(folder, "bm", folder / "alike.csv"))
    assert (refused.code, "of validation, from whom" in refused.reason) == (Code.AGE_UNINFORMATIVE, True)
    on_train = refusal(*on_manifest(folder, "bm", folder / "alike.csv", "--age-learns-on", "train"))
    assert on_train.code is Code.DATASET_INVALID, "from train it could learn: the missing image is what is wrong"


def test_the_second_stages_command_is_one_that_can_be_given(folder: Path) -> None:
    manifest = split_manifest(folder)
    asked = ("--stages", "image", "--aggregation", "max", "--test-time-flip", "--label-rule", "pathology")
    _, said = run(*on_manifest(folder, "lh", manifest, *asked, "--exclude-finding", "overlay_in_roi"))
    [line] = [line for line in said.splitlines() if line.startswith("dlr train")]
    options = {"--backbone resnet18", "--input-size 32", "--aggregation max", "--test-time-flip",
               "--label-rule pathology", "--exclude-finding overlay_in_roi"}  # fmt: skip
    assert {option for option in options if option not in line} == set()
    given = line.replace("FILE", str(manifest)).replace("DIR", str(folder / "two"))
    _, said = run(*shlex.split(given)[2:], "--device", "cpu", "--format", "json")
    card = load_card(folder / "two" / "card.json")
    assert (card.input_size, card.backbone, card.aggregation) == (32, "resnet18", "max")
    assert card.training["label_rule"] == load_card(folder / "run" / "card.json").training["label_rule"]
    assert "make sure that none learned" not in said, "both are of one manifest"
    for name in ("run", "two"):
        invoked = ["models", "add", str(folder / name / "card.json"), str(folder / name / "weights.safetensors")]
        assert CliRunner().invoke(app, invoked, catch_exceptions=False).exit_code == 0
    shown = CliRunner().invoke(app, ["models", "show", card.version], catch_exceptions=False)
    assert "weights that its training started from" in shown.stdout


def test_a_leak_is_refused_before_anything_is_trained(folder: Path) -> None:
    manifest = split_manifest(folder)
    rows = list(read_manifest(manifest).rows.values())
    place = next(at for at, one in enumerate(rows) if one.split is Split.TEST)
    rows[place] = rows[place].model_copy(update={"split": Split.TRAIN})
    write_manifest(folder / "leaks.csv", rows)
    assert refusal(*on_manifest(folder, "bm", folder / "leaks.csv")).code is Code.DATASET_INVALID
    assert not (folder / "run").exists()


def test_rows_in_no_split_are_refused(folder: Path) -> None:
    split_manifest(folder)
    assert refusal(*on_manifest(folder, "bm", folder / "m.csv")).code is Code.DATASET_INVALID


def test_a_fold_is_the_validation(folder: Path) -> None:
    manifest = split_manifest(folder, folds=4)
    assert refusal(*on_manifest(folder, "bm", manifest)).code is Code.SPLIT_IMPOSSIBLE
    out, _ = run(*on_manifest(folder, "bm", manifest, "--fold", "3", "--format", "json"))
    folds = [one.fold for one in read_manifest(manifest).rows.values() if one.split is Split.TRAIN]
    training = json.loads(out)["card"]["training"]
    assert training["validation_images"] == folds.count(3)
    assert training["train_images"] == len(folds) - folds.count(3)
    assert refusal(*on_manifest(folder, "bm", manifest, "--fold", "9")).code is Code.SPLIT_IMPOSSIBLE


def test_where_lesions_come_from_is_said_once(folder: Path) -> None:
    run("lh", "-o", folder / "run", status=2)
    run("lh", "-o", folder / "run", "--phantom", "9", "--manifest", folder / "m.csv", status=2)


@pytest.mark.parametrize(
    "options",
    [("--device", "abacus"), ("--version", "a/b"), ("--init", "nowhere.safetensors"), ("--log", "tensorboard")],
)
def test_what_needs_no_lesions_to_be_refused_is_refused_before_they_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    manifest = split_manifest(folder)
    (folder / "0-0.png").unlink()
    assert refusal("bm", "--manifest", manifest, *options, "-o", folder / "run").code is not Code.DATASET_INVALID
    assert not (folder / "run").exists()


@pytest.mark.parametrize("option", [("--low-risk-up-to", "4A"), ("--label-rule", "birads")])
def test_dlr_bm_has_no_label_rule(folder: Path, option: tuple[str, ...]) -> None:
    run("bm", "--phantom", "110", *option, "-o", folder / "run", status=2)
    assert not (folder / "run").exists()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--low-risk-up-to", "7"), Code.CONFIG_INVALID),
        (("--backbone", "vgg16"), Code.CONFIG_INVALID),
        (("--init", "nowhere.safetensors"), Code.WEIGHTS_UNAVAILABLE),
        (("--device", "cuda:99"), Code.SETTING_INVALID),
    ],
)
def test_what_can_not_be_done_is_refused_with_its_code(folder: Path, options: tuple[str, ...], code: Code) -> None:
    asked = ("lh", "--phantom", "110", "--config", folder / "small.toml", "-o", folder / "run")
    assert refusal(*asked, *options).code is code


@pytest.mark.parametrize(
    ("amp", "capability", "warned"),
    [("bfloat16", "AVX2", True), ("bfloat16", "AVX512", False), ("auto", "AVX2", False)],
)
def test_a_processor_on_which_bfloat16_is_slow_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, amp: str, capability: str, *, warned: bool
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    (folder / "amp.toml").write_text(f'amp = "{amp}"\n{SMALL}')
    asked = ("bm", "--phantom", "110", "--config", folder / "amp.toml", "--device", "cpu", "-o", folder / "run")
    _, said = run(*asked)
    assert ("AVX-512" in said) is warned


INTERRUPTIBLE = ("env", "--default-signal=INT")
"""A shell lets what it runs in the background ignore the signal."""


def test_whoever_interrupts_it_is_told_how_it_goes_on(folder: Path) -> None:
    options = ("--phantom", "110", "--config", folder / "small.toml", "--epochs", "1000", "--patience", "1000")
    command = [*INTERRUPTIBLE, sys.executable, "-m", "worker.cli.main", "train", "bm", *options, "--device", "cpu",
               "-o", folder / "run"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as training:
        try:
            until((folder / "run" / "checkpoint" / "state.json").exists, 120)
            training.send_signal(signal.SIGINT)
            _, said = training.communicate(timeout=patience(60))
        finally:
            training.kill()
    assert training.returncode == 130
    assert said.endswith("stopped: run the same command to resume after the last saved epoch\n")
