"""`dlr models calibrate`, as a user types it."""

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from scipy.special import expit
from typer.testing import CliRunner

from tests.worker.dataset.manifests import cohort
from tests.worker.inference.samples import write_image_stage, write_model
from worker.cli.main import app
from worker.clinical.categories import Birads
from worker.dataset.manifest import Split
from worker.dataset.manifest_file import write_manifest
from worker.errors import Code, DlrError, ModelRefused, SetupRefused
from worker.evaluation.recalibration import rescaled
from worker.evaluation.site_scale import CHOSEN_ON
from worker.inference.calibration_checks import Check, Covered, Part, keep, kept
from worker.inference.model_card import ModelCard, load_card
from worker.inference.registry import Registry
from worker.settings import get_settings
from worker.training.labels import LabelRule


def dlr(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["models", "calibrate", *map(str, arguments)], catch_exceptions=True)


def answer(*arguments: object) -> Any:
    done = dlr(*arguments, "--format", "json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def refused(*arguments: object) -> DlrError:
    error = dlr(*arguments).exception
    assert isinstance(error, DlrError), error
    return error


def sentence(done: Result) -> str:
    """What standard error says, out of the frame that it is in."""
    return " ".join(done.stderr.replace("│", " ").split())


def write_scores(
    path: Path, *, split: bool = True, column: str = "malignant_probability", sites: tuple[str, ...] = ()
) -> Path:
    rng = np.random.default_rng(7)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        more = [*(["split"] if split else []), *(["site"] if sites else [])]
        writer.writerow(["lesion_id", "pathology", "birads", column, *more])
        for place in range(400):
            true = rng.normal(0, 2)
            said = "malignant" if rng.random() < expit(true) else "benign"
            # What may have been learned from is of no use for calibration: here, it would give another temperature.
            part = "validation" if place % 4 == 0 else "test"
            score = expit((0.3 if part == "validation" else 3) * true)
            row = [f"L{place}", said, "4A" if place % 2 else "3", score, *([part] if split else [])]
            writer.writerow([*row, *([sites[place % len(sites)]] if sites else [])])
    return path


@pytest.fixture
def card_path(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model", threshold=0.4)[0]


def test_a_calibrated_card_goes_into_the_registry_with_the_same_weights(card_path: Path, tmp_path: Path) -> None:
    table = write_scores(tmp_path / "scores.csv")
    row = answer(
        card_path, "--scores", table, "--temperature", "--coverage", 0.9, "--version", "2.0", "-o", tmp_path / "new"
    )
    card = load_card(tmp_path / "new" / "card.json")
    assert 2 < card.temperature < 4.5
    assert (row["version"], row["temperature"], row["threshold"]) == ("2.0", card.temperature, card.threshold)
    assert 0.4 < card.threshold < 0.5
    assert card.conformal is not None
    assert (card.conformal.coverage, card.conformal.lesions, row["lesions"]) == (0.9, 300, 300)
    assert set(row["sets"]) == {"all", "malignant", "benign", "4A"}
    assert row["sets"]["4A"]["covered"]["total"] == 200
    assert row["sets"]["all"]["covered"]["count"] == 271
    registry = Registry(tmp_path / "registry")
    registry.add(card_path, card_path.with_name("weights.safetensors"))
    registry.add(tmp_path / "new" / "card.json", card_path.with_name("weights.safetensors"))
    assert [entry.card.version for entry in registry.list()] == ["1.0", "2.0"]


def test_another_split_can_be_used_and_never_what_was_learned_from(card_path: Path, tmp_path: Path) -> None:
    table = write_scores(tmp_path / "scores.csv")
    asked = (card_path, "--scores", table, "--temperature", "--version", "2.0", "-o", tmp_path / "new.json")
    assert dlr(*asked, "--split", "train").exit_code == 2
    row = answer(*asked, "--split", "validation")
    assert (row["lesions"], row["temperature"] < 1) == (100, True)


@pytest.mark.parametrize(
    ("training", "learned"),
    [
        ({}, False),
        ({"stages": "two", "age_learns_on": "train"}, False),
        ({"stages": "two", "age_learns_on": "validation"}, True),
        ({"stages": "two", "age_learns_on": "both"}, True),
        ({"stages": "joint", "age_learns_on": "validation"}, False),
    ],
)
def test_the_lesions_that_the_classifier_with_age_learned_from_are_refused(
    tmp_path: Path, training: dict[str, str], learned: bool
) -> None:
    card_path, _ = write_model(tmp_path / "model", training=training)
    table = write_scores(tmp_path / "scores.csv")
    asked = (card_path, "--scores", table, "--coverage", 0.9, "--version", "2.0", "-o", tmp_path / "new.json")
    done = dlr(*asked, "--split", "validation")
    assert (done.exit_code, "was trained on this split" in sentence(done)) == ((2, True) if learned else (0, False))
    (tmp_path / "new.json").unlink(missing_ok=True)
    assert answer(*asked)["lesions"] == 300


def test_scores_of_another_temperature_than_the_cards_are_never_mixed_up(card_path: Path, tmp_path: Path) -> None:
    table, warmed = write_scores(tmp_path / "scores.csv"), tmp_path / "warmed.json"
    warmed.write_text(rescaled(load_card(card_path), 2).to_json())
    asked = ("--scores", table, "--temperature", "--coverage", 0.9, "--version", "2.0", "-o")
    unsaid = dlr(warmed, *asked, tmp_path / "0.json")
    assert (unsaid.exit_code, "the card's temperature is 2: give that of the scores" in sentence(unsaid)) == (2, True)
    assert dlr(warmed, *asked, tmp_path / "0.json", "--scores-temperature", 0).exit_code == 2
    plain = answer(card_path, *asked, tmp_path / "1.json")
    moved = answer(warmed, *asked, tmp_path / "2.json", "--scores-temperature", 1)
    for name in ("temperature", "quantile", "threshold"):
        assert moved[name] == pytest.approx(plain[name], rel=1e-4), name
    untouched = answer(warmed, *asked, tmp_path / "3.json", "--scores-temperature", 2)
    assert untouched["temperature"] == pytest.approx(2 * plain["temperature"], rel=1e-4)


def test_what_is_not_asked_for_stays_as_it_is(card_path: Path, tmp_path: Path) -> None:
    table, before = write_scores(tmp_path / "scores.csv"), load_card(card_path)
    answer(card_path, "--scores", table, "--coverage", 0.9, "--version", "2.0", "-o", tmp_path / "set.json")
    only_set = load_card(tmp_path / "set.json")
    changed = {name for name in ModelCard.model_fields if getattr(only_set, name) != getattr(before, name)}
    assert changed == {"version", "created_at", "conformal"}
    answer(card_path, "--scores", table, "--temperature", "--version", "3.0", "-o", tmp_path / "warm.json")
    warm = load_card(tmp_path / "warm.json")
    changed = {name for name in ModelCard.model_fields if getattr(warm, name) != getattr(before, name)}
    assert changed == {"version", "created_at", "temperature", "threshold"}


def test_people_read_how_often_a_model_is_certain_and_how_to_use_the_card(card_path: Path, tmp_path: Path) -> None:
    table = write_scores(tmp_path / "scores.csv", split=False)
    done = dlr(card_path, "--scores", table, "--coverage", 0.9, "--version", "2.0", "-o", tmp_path / "new.json")
    assert done.exit_code == 0, done.output
    assert "conformal sets of these lesions" in done.stdout
    assert "361 of 400" in done.stdout
    assert "dlr models activate DLR_BM 2.0" in done.stderr


def test_dlr_lh_is_held_against_what_it_learnt_or_against_pathology(tmp_path: Path) -> None:
    card_path, _ = write_model(tmp_path / "model", name="DLR_LH")
    table = write_scores(tmp_path / "scores.csv", column="high_risk_probability")
    asked = (card_path, "--scores", table, "--coverage", 0.9, "--version", "2.0")
    learnt = answer(*asked, "-o", tmp_path / "1.json")
    assert (learnt["question"], learnt["positives"]) == ("birads", 200)
    told = answer(*asked, "-o", tmp_path / "2.json", "--by-pathology")
    assert (told["question"], told["lesions"]) == ("pathology", 300)


@pytest.mark.parametrize(
    ("rule", "refused"),
    [
        (LabelRule("DLR_LH", "birads", Birads.PROBABLY_BENIGN), False),
        (LabelRule("DLR_LH", "birads", Birads.LOW_SUSPICION), True),
        (LabelRule("DLR_LH", "pathology", Birads.PROBABLY_BENIGN), True),
    ],
)
def test_dlr_lh_is_never_held_against_a_line_that_it_did_not_learn(
    tmp_path: Path, rule: LabelRule, refused: bool
) -> None:
    card_path, _ = write_model(tmp_path / "model", name="DLR_LH", training={"label_rule": str(rule)})
    table = write_scores(tmp_path / "scores.csv", column="high_risk_probability")
    asked = (card_path, "--scores", table, "--coverage", 0.9, "--version", "2.0")
    done = dlr(*asked, "-o", tmp_path / "1.json")
    assert (done.exit_code, str(rule) in sentence(done)) == ((2, True) if refused else (0, False))
    assert answer(*asked, "-o", tmp_path / "2.json", "--by-pathology")["question"] == "pathology"


def test_what_can_not_be_is_refused_and_nothing_is_written(card_path: Path, tmp_path: Path) -> None:
    table, new = write_scores(tmp_path / "scores.csv"), tmp_path / "new.json"
    asked = (card_path, "--scores", table, "-o", new)
    assert dlr(*asked, "--version", "2.0").exit_code == 2
    assert dlr(*asked, "--version", "1.0", "--temperature").exit_code == 2
    assert dlr(*asked, "--version", "2.0", "--coverage", "1").exit_code == 2
    over = refused(card_path, "--scores", table, "--version", "2.0", "--temperature", "-o", card_path.parent)
    assert (type(over), over.code) == (SetupRefused, Code.SETTING_INVALID)
    bad = refused(*asked, "--version", "../2", "--temperature")
    assert (type(bad), bad.code) == (ModelRefused, Code.CARD_INVALID)
    (tmp_path / "bad.csv").write_text(table.read_text().replace("L1,", "L0,"))
    repeated = refused(card_path, "--scores", tmp_path / "bad.csv", "--version", "2", "--temperature", "-o", new)
    assert repeated.code is Code.SCORES_INVALID
    other = write_scores(tmp_path / "other.csv", column="high_risk_probability")
    none = refused(card_path, "--scores", other, "--version", "2", "--temperature", "-o", new)
    assert (none.code, "malignant_probability" in none.reason) == (Code.LESIONS_TOO_FEW, True)
    assert not new.exists()


def test_a_site_gets_its_own_scale_from_its_own_lesions_and_the_others_keep_the_cards(
    card_path: Path, tmp_path: Path
) -> None:
    table, before = write_scores(tmp_path / "scores.csv", sites=("North", "South", "")), load_card(card_path)
    asked = (card_path, "--scores", table, "--version", "2.0", "--site", "North", "--temperature")
    row = answer(*asked, "--threshold", "sensitivity", "--sensitivity", 0.9, "-o", tmp_path / "1.json")
    card = load_card(tmp_path / "1.json")
    changed = {name for name in ModelCard.model_fields if getattr(card, name) != getattr(before, name)}
    assert changed == {"version", "created_at", "sites", "metrics_by_site"}
    scale = card.sites["North"]
    assert (row["threshold"], row["temperature"], row["lesions"]) == (scale.threshold, scale.temperature, scale.lesions)
    assert scale.lesions == 100
    assert scale.temperature > 1.5
    assert row["after"]["sensitivity"]["rate"] >= 0.9
    assert row["before"]["threshold"] == 0.4
    measured = card.metrics_by_site["North"]
    assert (measured["lesions"], measured["test_set"]) == (100, CHOSEN_ON)
    for name in ("sensitivity", "specificity"):
        assert measured[name] == round(row["after"][name]["rate"], 4)
    assert 0.5 < float(measured["auc_lower_95"]) < float(measured["auc"]) < 1
    assert (card.at_site("South"), card.at_site(None)) == (card, card)
    carried = answer(*asked, "-o", tmp_path / "2.json")
    assert carried["after"]["true_positives"] == carried["before"]["true_positives"], "no class changes by it"
    shown = dlr(*asked, "-o", tmp_path / "3.json")
    assert "the site's own was chosen on" in shown.stdout


def test_a_second_site_joins_the_first(card_path: Path, tmp_path: Path) -> None:
    table = write_scores(tmp_path / "scores.csv", sites=("North", "South"))
    asked = ("--scores", table, "--threshold", "youden", "--site")
    answer(card_path, *asked, "North", "--version", "2.0", "-o", tmp_path / "1.json")
    answer(tmp_path / "1.json", *asked, "South", "--version", "3.0", "-o", tmp_path / "2.json")
    card = load_card(tmp_path / "2.json")
    assert list(card.sites) == list(card.metrics_by_site) == ["North", "South"]
    registry = Registry(get_settings().models_dir)
    registry.add(tmp_path / "2.json", card_path.with_name("weights.safetensors"))
    shown = CliRunner().invoke(app, ["models", "show", "DLR_BM/3.0"]).stdout
    assert "{" not in shown, "no Python is shown to people"
    own = shown.partition("of single sites, in place of the card's")[2]
    assert f"{card.sites['South'].threshold:.4g}" in own.partition("metrics by site")[0]
    assert CHOSEN_ON[:11] in own.partition("metrics by site")[2]


def test_what_a_site_has_of_its_own_stays_where_only_the_rest_is_asked_for(card_path: Path, tmp_path: Path) -> None:
    table = write_scores(tmp_path / "scores.csv", sites=("North", "South"))
    asked = ("--scores", table, "--site", "North", "--scores-temperature", 1)
    ways = (("--threshold", "sensitivity", "--temperature"), ("--coverage", 0.9), ("--temperature",))
    scales, present = [], card_path
    for number, way in enumerate(ways, start=2):
        made = tmp_path / f"{number}.json"
        answer(present, *asked, *way, "--version", f"{number}.0", "-o", made)
        scales.append(load_card(made).at_site("North"))
        present = made
    first, second, third = scales
    assert (second.threshold, second.temperature) == (first.threshold, first.temperature)
    assert second.conformal is not None
    assert third.conformal is not None
    assert third.conformal.quantile == pytest.approx(second.conformal.quantile, abs=1e-3)
    assert (third.temperature, third.threshold) == pytest.approx((first.temperature, first.threshold), rel=1e-3)


def test_a_site_with_few_lesions_or_none_is_refused(card_path: Path, tmp_path: Path) -> None:
    table = write_scores(tmp_path / "scores.csv", sites=("North",) * 39 + ("Small",))
    asked = (card_path, "--scores", table, "--threshold", "youden", "--version", "2.0", "-o", tmp_path / "new.json")
    for site in ("Small", "Nowhere"):
        assert refused(*asked, "--site", site).code is Code.LESIONS_TOO_FEW
    assert dlr(*asked).exit_code == 2
    assert not (tmp_path / "new.json").exists()


FAR_TOO_SURE = {"coverage": 0.9, "quantile": 0.0, "lesions": 50}
ANYTHING = {"coverage": 0.9, "quantile": 1.0, "lesions": 50}


def registered(folder: Path, **changes: Any) -> Path:
    """A registry with DLR_BM 1.0; return the folder that `DLR_MODELS_DIR` names by default in tests."""
    registry = Registry(get_settings().models_dir)
    registry.add(*write_model(folder / "model", **changes))
    return get_settings().models_dir


@pytest.mark.slow
def test_a_check_says_where_coverage_falls_short_and_activation_warns_of_it(tmp_path: Path) -> None:
    folder = registered(tmp_path, conformal=FAR_TOO_SURE)
    write_manifest(tmp_path / "m.csv", cohort(tmp_path, 12, views=1, sites=("North", "South")))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    done = dlr("DLR_BM/1.0", "--check", tmp_path / "m.csv", "--format", "json")
    assert done.exit_code == 3, done.output
    found = json.loads(done.stdout)
    assert found["short"] == ["all", "North", "South"]
    assert {part: found["sites"][part]["lesions"] for part in ("North", "South")} == {"North": 6, "South": 6}
    assert found["pooled"]["covered"] | {"low": 0, "high": 0} == {
        "lesions": 12, "count": 0, "low": 0, "high": 0, "promised": 0.9,
    }  # fmt: skip
    assert 0 <= found["pooled"]["expected_calibration_error"] <= 1
    assert "no row has a split" in done.stderr
    assert {path: path.read_bytes() for path in before} == before, "card and weights stay as they are"
    activated = CliRunner().invoke(app, ["models", "activate", "DLR_BM", "1.0"])
    assert activated.exit_code == 0, activated.output
    assert "warning: checked" in activated.stderr
    assert "at North: the conformal sets hold the true class of 0.0 %" in activated.stderr


@pytest.mark.slow
def test_a_check_that_finds_nothing_takes_the_warning_of_its_own_site_away_and_of_no_other(tmp_path: Path) -> None:
    registered(tmp_path, conformal=ANYTHING)
    write_manifest(tmp_path / "m.csv", cohort(tmp_path, 12, views=1))
    [entry] = Registry(get_settings().models_dir).list()
    keep(short_check("A"), entry.folder)
    keep(short_check("B"), entry.folder)
    done = dlr("1.0", "--check", tmp_path / "m.csv")
    assert done.exit_code == 0, done.output
    assert "DLR_BM 1.0, held against pathology" in done.stdout
    activated = CliRunner().invoke(app, ["models", "activate", "DLR_BM", "1.0"])
    [warning] = [line for line in activated.stderr.splitlines() if line.startswith("warning")]
    assert warning.startswith("warning: checked 2026-11-29 against pathology, at B: the conformal sets hold the true")
    assert "of 70.0 %" in warning
    assert "90.0% was promised" in warning


@pytest.mark.slow
def test_lesions_without_an_age_are_checked_by_the_image_alone_and_it_is_said_and_kept(tmp_path: Path) -> None:
    registered(tmp_path, conformal=FAR_TOO_SURE)
    registry = Registry(get_settings().models_dir)
    registry.add(*write_image_stage(tmp_path / "image", version="image", conformal=FAR_TOO_SURE))
    rows = [one.model_copy(update={"age_years": None}) for one in cohort(tmp_path, 12, views=1)]
    write_manifest(tmp_path / "m.csv", rows)
    assert refused("1.0", "--check", tmp_path / "m.csv").code is Code.LESIONS_TOO_FEW
    of_image = dlr("image", "--check", tmp_path / "m.csv", "--format", "json")
    found = json.loads(of_image.stdout)
    assert (of_image.exit_code, found["image_only"], found["short"]) == (3, True, ["all", "A"])
    assert "note: DLR_BM image: scored by the image alone" in of_image.stderr
    assert "by the image alone against pathology, at A" in of_image.stderr
    whole = dlr("1.0", "--check", tmp_path / "m.csv", "--image-only")
    assert (whole.exit_code, "coverage is not measured" in whole.stderr) == (0, True), whole.output
    assert "DLR_BM 1.0 by the image alone, held against pathology" in whole.stdout
    [of_whole] = kept(registry.entry("DLR_BM", "1.0").folder)
    assert (of_whole.image_only, of_whole.pooled.lesions, of_whole.pooled.covered) == (True, 12, None)


@pytest.mark.slow
def test_every_row_of_a_checked_manifest_is_counted_once(tmp_path: Path) -> None:
    registered(tmp_path, name="DLR_LH")
    rows = cohort(tmp_path, 12, views=2)
    parts = [Split.TEST] * 6 + [Split.VALIDATION] * 3 + [Split.TRAIN] * 3
    said: list[dict[str, Any]] = [{"split": parts[place // 2]} for place in range(24)]
    said[0] = {"split": None, "excluded": "poor_image"}
    said[2] = said[3] = {"split": Split.TEST, "age_years": None}
    said[4] = said[5] = {"split": Split.TEST, "birads": Birads.INCOMPLETE}
    write_manifest(tmp_path / "m.csv", [one.model_copy(update=cells) for one, cells in zip(rows, said, strict=True)])
    found = answer("1.0", "--check", tmp_path / "m.csv")
    assert found["left_out"] == {
        "rows that are excluded": 1, "rows of splits that are not scored": 12, "rows: age_missing": 2,
        "rows without an answer (birads)": 2,
    }  # fmt: skip
    assert (found["rows"], found["rows_scored"], found["pooled"]["lesions"]) == (24, 7, 4)
    assert sum(found["left_out"].values()) + found["rows_scored"] == found["rows"]
    assert "scored: 7 of 24 rows" in dlr("1.0", "--check", tmp_path / "m.csv").stderr


def test_a_check_makes_no_card(tmp_path: Path) -> None:
    done = dlr("DLR_BM/1.0", "--check", tmp_path / "m.csv", "--temperature")
    assert (done.exit_code, "makes no card" in sentence(done)) == (2, True)
    unknown = refused("DLR_BM/1.0", "--check", tmp_path / "m.csv")
    assert unknown.code is Code.MODEL_NOT_FOUND


def test_only_a_check_is_made_by_the_image_alone(card_path: Path, tmp_path: Path) -> None:
    done = dlr(card_path, "--scores", tmp_path / "s.csv", "--image-only")
    assert (done.exit_code, "--image-only: needs --check" in sentence(done)) == (2, True)


def short_check(site: str) -> Check:
    covered = Covered(lesions=100, count=70, low=0.6, high=0.8, promised=0.9)
    part = Part(
        lesions=100, positives=40, mean_probability=0.5, observed=0.4, brier=0.2, expected_calibration_error=0.1,
        covered=covered,
    )  # fmt: skip
    return Check(
        at=datetime(2026, 11, 29, tzinfo=UTC),
        data_digest=site * 64,
        split=None,
        truth="pathology",
        pooled=part,
        sites={site: part},
    )
