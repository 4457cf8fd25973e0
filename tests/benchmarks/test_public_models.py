"""The recipe of the public models: what it would run, that it goes on where it stopped, and what its cards say."""

import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from benchmarks import public_models
from benchmarks.public_models import INTENDED_USE, NOTICE, Step, main, report_steps, run, state, training_steps
from tests.commands import command_fault
from tests.shared import real_set


def test_each_step_is_a_command_of_dlr_and_makes_another_file(tmp_path: Path) -> None:
    for name in ("lh", "bm", "lh-image", "bm-image"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "card.json").write_text(json.dumps({"version": name}))
    steps = [*training_steps(tmp_path / "sets", tmp_path, 1, ("--device", "cpu")), *report_steps(tmp_path, tmp_path)]
    assert [command_fault(["dlr", *map(str, step.arguments)]) for step in steps] == [None] * len(steps)
    assert len({step.makes for step in steps}) == len(steps)
    assert [step.name for step in steps if "image stage" in step.name] == ["lh: the image stage", "bm: the image stage"]


@pytest.mark.parametrize(("stage", "learned_from_breast"), [("image", False), ("age", True)])
def test_a_card_says_that_it_is_for_research_and_which_sets_it_learned_from_and_what_it_fails_at(
    tmp_path: Path, stage: str, learned_from_breast: bool
) -> None:
    learned = "a manifest's lesions; images: train 391, validation 84; label: pathology; data digest 154b"
    made = {"version": "1", "notice": "", "stage": stage, "training_data": learned}
    (tmp_path / "card.json").write_text(json.dumps(made))
    state(tmp_path)
    card = json.loads((tmp_path / "stated-card.json").read_text())
    assert (card["version"], card["notice"], card["intended_use"]) == ("1", NOTICE, INTENDED_USE)
    assert len(NOTICE) <= 200
    assert card["training_data"].startswith(learned)
    for said in ("BUS-BRA", "4A", "BI-RADS 3 and below"):
        assert said in card["training_data"]
    assert ("CC BY 4.0" in card["training_data"], "10.7937/9WKK-Q141" in card["training_data"]) == (
        learned_from_breast,
        learned_from_breast,
    )


def test_a_step_that_was_done_by_other_options_is_refused_wherever_its_files_are_now(tmp_path: Path) -> None:
    made = tmp_path / "card.json"
    made.write_text("{}")

    def step(epochs: str, folder: str = "a") -> Step:
        return Step("lh", made, ("train", "lh", "--epochs", epochs, "--output", tmp_path / folder))

    kept = tmp_path / "steps.json"
    kept.write_text(json.dumps([{"step": "lh", "arguments": ["train", "lh", "--epochs", "1", "--output", "PATH"]}]))
    run(step("1", "b"), tmp_path)
    with pytest.raises(SystemExit, match="other options"):
        run(step("2"), tmp_path)
    kept.write_text('[{"step": "lh", "commit": "1", "seconds": 1}]')
    run(step("2"), tmp_path)


def test_the_second_stage_starts_from_the_first_whatever_the_first_starts_from(tmp_path: Path) -> None:
    for step in training_steps(tmp_path / "sets", tmp_path, 1, ("--init", "random")):
        if "with age" in step.name:
            starts = [str(value) for name, value in pairwise(step.arguments) if name == "--init"]
            assert starts[-1].endswith("-image/weights.safetensors")


@pytest.mark.long
def test_two_models_and_their_reports_are_made_from_real_sets_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = tmp_path / "sets"
    shutil.copytree(real_set("bus-bra"), sets)
    shutil.copytree(real_set("breast"), sets / "breast")
    small = ("--backbone", "resnet18", "--input-size", "32", "--epochs", "1", "--init", "random")
    asked = [str(sets), str(tmp_path / "out"), "--", *small]
    assert main(asked) == 0
    steps: list[dict[str, Any]] = json.loads((tmp_path / "out" / "steps.json").read_text())
    assert len(steps) == 14
    with pytest.raises(SystemExit, match="other options"):
        main([*asked[:-1], "imagenet"])
    for report in ("report-external-image", "report-internal"):
        assert (tmp_path / "out" / report / "report.html").exists()

    def never(*_arguments: object, **_options: object) -> None:
        pytest.fail("what was done is done again")

    monkeypatch.setattr(public_models.subprocess, "run", never)
    assert main(asked) == 0
