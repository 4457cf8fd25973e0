"""A registry holds whole, sound versions, never changes one, and says which is active."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.worker.inference.samples import (
    copied_registry,
    registry_with_both,
    sample_card,
    write_ensemble,
    write_image_stage,
    write_model,
)
from worker.errors import MEANINGS, Code, ModelRefused, SetupRefused
from worker.inference.registry import Registry


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def test_an_added_version_is_listed_and_not_active(registry: Registry, tmp_path: Path) -> None:
    card = registry.add(*write_model(tmp_path / "new"))
    (entry,) = registry.list()
    assert (entry.card, entry.active) == (card, False)
    assert _files(tmp_path / "registry") == {"DLR_BM/1.0/card.json", "DLR_BM/1.0/weights.safetensors"}


def test_adding_the_same_again_changes_nothing(registry: Registry, tmp_path: Path) -> None:
    paths = write_model(tmp_path / "new")
    registry.add(*paths)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "registry" / "DLR_BM" / "1.0").iterdir()}
    registry.add(*paths)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(registry.list()) == 1


def test_a_version_is_named_of_both_models_or_of_one(tmp_path: Path) -> None:
    registry = with_versions(tmp_path, "2.0")
    assert [(one.model, one.card.version) for one in registry.named("1.0")] == [("DLR_BM", "1.0"), ("DLR_LH", "1.0")]
    assert [one.folder for one in registry.named("DLR_LH/1.0")] == [tmp_path / "registry" / "DLR_LH" / "1.0"]
    for unknown in ("DLR_LH/2.0", "3.0", "../1.0"):
        with pytest.raises(ModelRefused) as refused:
            registry.named(unknown)
        assert (refused.value.code, unknown in refused.value.reason) == (Code.MODEL_NOT_FOUND, True)


@pytest.mark.parametrize(
    ("seed", "changes", "differs"), [(1, {}, "weights_sha256"), (0, {"threshold": 0.4}, "threshold")]
)
def test_other_content_under_a_known_version_is_refused(
    registry: Registry, tmp_path: Path, seed: int, changes: dict[str, float], differs: str
) -> None:
    known = registry.add(*write_model(tmp_path / "new"))
    with pytest.raises(ModelRefused) as refused:
        registry.add(*write_model(tmp_path / "other", seed, **changes))
    assert refused.value.code is Code.MODEL_EXISTS
    assert differs in refused.value.reason
    assert [entry.card for entry in registry.list()] == [known]


def test_a_model_that_is_not_sound_leaves_nothing_behind(registry: Registry, tmp_path: Path) -> None:
    card_path, weights_path = write_model(tmp_path / "new")
    weights_path.write_bytes(weights_path.read_bytes()[:-1])
    with pytest.raises(ModelRefused) as refused:
        registry.add(card_path, weights_path)
    assert refused.value.code is Code.WEIGHTS_HASH_MISMATCH
    assert _files(tmp_path / "registry") == set()
    assert registry.list() == ()


def test_weights_that_are_not_there_are_refused(registry: Registry, tmp_path: Path) -> None:
    card_path, _ = write_model(tmp_path / "new")
    with pytest.raises(ModelRefused) as refused:
        registry.add(card_path, tmp_path / "nowhere")
    assert refused.value.code is Code.WEIGHTS_MISSING


def test_adding_it_again_mends_damaged_weights(registry: Registry, tmp_path: Path) -> None:
    paths = write_model(tmp_path / "new")
    registry.add(*paths)
    (tmp_path / "registry/DLR_BM/1.0/weights.safetensors").write_bytes(b"damaged")
    assert not registry.is_sound(registry.list()[0])
    registry.add(*paths)
    assert registry.is_sound(registry.list()[0])


@pytest.mark.slow
def test_an_ensembles_files_may_be_given_in_any_order_and_are_kept_in_the_cards(
    registry: Registry, tmp_path: Path
) -> None:
    card_path, weights = write_ensemble(tmp_path / "new", (0, 1, 2))
    registry.add(card_path, *weights[::-1])
    (entry,) = registry.list()
    assert _files(tmp_path / "registry") == {
        f"DLR_BM/ensemble/{name}"
        for name in ("card.json", "weights-01.safetensors", "weights-02.safetensors", "weights-03.safetensors")
    }
    assert [path.read_bytes() for path in entry.weights_paths] == [path.read_bytes() for path in weights]
    assert registry.check()[0].code is None


@pytest.mark.slow
def test_of_an_ensemble_every_file_is_verified_and_mended(registry: Registry, tmp_path: Path) -> None:
    card_path, weights = write_ensemble(tmp_path / "new", (0, 1))
    registry.add(card_path, *weights)
    for damage in (lambda path: path.write_bytes(b"damaged"), Path.unlink):
        damage(tmp_path / "registry/DLR_BM/ensemble/weights-02.safetensors")
        (finding,) = registry.check()
        assert finding.code in (Code.WEIGHTS_HASH_MISMATCH, Code.WEIGHTS_MISSING)
        registry.add(card_path, *weights)
        assert registry.check()[0].code is None


@pytest.mark.slow
def test_an_ensemble_without_one_of_its_files_or_with_anothers_is_refused(registry: Registry, tmp_path: Path) -> None:
    card_path, weights = write_ensemble(tmp_path / "new", (0, 1))
    _, other = write_model(tmp_path / "other", 2)
    for given, code, words in (
        (weights[:1], Code.WEIGHTS_MISSING, "takes 2 files of weights, and 1 are given"),
        ([*weights, other], Code.WEIGHTS_MISSING, "and 3 are given"),
        ([weights[0], other], Code.WEIGHTS_HASH_MISMATCH, "of the member member-1"),
        ([weights[0], weights[0]], Code.WEIGHTS_HASH_MISMATCH, "of the member member-1"),
    ):
        with pytest.raises(ModelRefused) as refused:
            registry.add(card_path, *given)
        assert (refused.value.code, words in refused.value.reason) == (code, True), refused.value.reason
    assert _files(tmp_path / "registry") == set()


def test_a_version_that_later_code_made_again_mends_weights_and_leaves_the_card(
    registry: Registry, tmp_path: Path
) -> None:
    known = registry.add(*write_model(tmp_path / "new", training={"code_version": "1+a", "seed": 1}))
    (tmp_path / "registry/DLR_BM/1.0/weights.safetensors").write_bytes(b"damaged")
    added = registry.add(*write_model(tmp_path / "again", training={"code_version": "1+b", "seed": 1}))
    (entry,) = registry.list()
    assert entry.card == added == known
    assert registry.is_sound(entry)


def test_a_registry_that_can_not_be_written_is_the_installations_fault(tmp_path: Path) -> None:
    (tmp_path / "registry").write_text("a file where a folder should be")
    with pytest.raises(SetupRefused) as refused:
        Registry(tmp_path / "registry").add(*write_model(tmp_path / "new"))
    assert refused.value.code is Code.SETTING_INVALID


def test_what_an_interrupted_add_left_is_no_version(registry: Registry, tmp_path: Path) -> None:
    registry.add(*write_model(tmp_path / "new"))
    (tmp_path / "registry" / "DLR_BM" / ".adding-x").mkdir()
    assert len(registry.list()) == 1
    assert len(registry.check()) == 1


def test_one_version_of_each_model_is_active(tmp_path: Path) -> None:
    registry = with_versions(tmp_path, "2.0")
    newer = registry.named("DLR_BM/2.0")[0].card
    assert registry.active("DLR_BM").card.version == "1.0"
    registry.activate("DLR_BM", "2.0")
    assert registry.active("DLR_BM").card == newer
    assert registry.active("DLR_LH").card.version == "1.0"
    assert [(entry.card.name, entry.card.version) for entry in registry.list() if entry.active] == [
        ("DLR_BM", "2.0"),
        ("DLR_LH", "1.0"),
    ]


@pytest.mark.parametrize(
    ("name", "version"), [("DLR_BM", "9"), ("DLR_XY", "1.0"), ("DLR_BM", "../DLR_BM/1.0"), ("..", "registry")]
)
def test_what_is_not_there_can_not_be_activated(tmp_path: Path, name: str, version: str) -> None:
    registry = registry_with_both(tmp_path)
    before = (tmp_path / "registry" / "active.json").read_text()
    with pytest.raises(ModelRefused) as refused:
        registry.activate(name, version)
    assert refused.value.code is Code.MODEL_NOT_FOUND
    assert (tmp_path / "registry" / "active.json").read_text() == before


def test_damaged_weights_can_not_be_activated(registry: Registry, tmp_path: Path) -> None:
    registry.add(*write_model(tmp_path / "new"))
    (tmp_path / "registry/DLR_BM/1.0/weights.safetensors").write_bytes(b"")
    with pytest.raises(ModelRefused) as refused:
        registry.activate("DLR_BM", "1.0")
    assert refused.value.code is Code.WEIGHTS_HASH_MISMATCH


def test_nothing_is_active_in_the_beginning(registry: Registry) -> None:
    assert not registry.is_ready()
    assert registry.list() == ()
    assert registry.check() == ()
    with pytest.raises(ModelRefused) as refused:
        registry.active("DLR_LH")
    assert refused.value.code is Code.MODEL_NOT_ACTIVE
    assert "DLR_LH" in refused.value.reason


def test_it_is_ready_when_both_are_active_and_there(tmp_path: Path) -> None:
    registry = registry_with_both(tmp_path)
    assert registry.is_ready()
    (tmp_path / "registry/DLR_LH/1.0/weights.safetensors").unlink()
    assert not registry.is_ready()


@pytest.mark.parametrize("content", ["", "[]", '{"DLR_LH": 1}', "\udcff"])
def test_a_damaged_list_of_active_versions_says_that_none_is_and_activating_mends_it(
    tmp_path: Path, content: str
) -> None:
    registry = registry_with_both(tmp_path)
    (tmp_path / "registry/active.json").write_bytes(content.encode(errors="surrogateescape"))
    assert not registry.is_ready()
    for name in ("DLR_LH", "DLR_BM"):
        registry.activate(name, "1.0")
    assert registry.is_ready()


def test_a_failed_activation_leaves_what_was_active(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = with_versions(tmp_path, "2.0")

    def disk_full(_source: Path, _target: Path) -> None:
        raise OSError

    monkeypatch.setattr(Path, "replace", disk_full)
    with pytest.raises(SetupRefused) as refused:
        registry.activate("DLR_BM", "2.0")
    assert "DLR_MODELS_DIR" in refused.value.reason
    assert registry.active("DLR_BM").card.version == "1.0"
    assert registry.is_ready()


def test_a_check_tells_of_each_version_what_is_wrong(tmp_path: Path) -> None:
    registry = with_versions(tmp_path, "2.0", "3.0", "4.0")
    folder = tmp_path / "registry"
    (folder / "DLR_BM/2.0/weights.safetensors").write_bytes(b"other")
    (folder / "DLR_BM/3.0/card.json").write_text("{}")
    (folder / "DLR_BM/4.0/card.json").write_text(sample_card(version="5.0").to_json())
    chosen = json.loads((folder / "active.json").read_text())
    (folder / "active.json").write_text(json.dumps(chosen | {"DLR_LH": "gone"}))
    found = {(finding.name, finding.version): finding for finding in registry.check()}
    assert registry.count_unreadable() == 2
    assert {place: finding.code for place, finding in found.items()} == {
        ("DLR_LH", "1.0"): None,
        ("DLR_LH", "gone"): Code.MODEL_NOT_FOUND,
        ("DLR_BM", "1.0"): None,
        ("DLR_BM", "2.0"): Code.WEIGHTS_HASH_MISMATCH,
        ("DLR_BM", "3.0"): Code.CARD_INVALID,
        ("DLR_BM", "4.0"): Code.CARD_INVALID,
    }
    assert [place for place, finding in found.items() if finding.active] == [("DLR_BM", "1.0"), ("DLR_LH", "gone")]
    assert "5.0" in found["DLR_BM", "4.0"].reason


def test_listing_and_readiness_need_no_torch(tmp_path: Path) -> None:
    registry_with_both(tmp_path)
    program = (
        "import sys; from pathlib import Path; from worker.inference.registry import Registry;"
        f"registry = Registry(Path({str(tmp_path / 'registry')!r}));"
        "assert registry.is_ready() and len(registry.list()) == 2;"
        "assert not {'torch', 'torchvision', 'safetensors'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def with_versions(folder: Path, *versions: str, **changes: object) -> Registry:
    """A registry with both models active in 1.0, and more versions of DLR_BM."""

    def make(made: Path) -> None:
        registry = registry_with_both(made)
        for seed, version in enumerate(versions, start=5):
            registry.add(*write_model(made / version, seed, version=version, **changes))
            shutil.rmtree(made / version)

    return copied_registry(folder, [versions, changes], make)


def told(registry: Registry) -> list[tuple[str, str, str, str | None, bool]]:
    return [(one.event.value, one.name, one.version, one.replaced, one.forced) for one in registry.history()]


def test_a_version_that_nobody_measured_is_not_activated_unless_forced_and_that_is_on_record(tmp_path: Path) -> None:
    registry = with_versions(tmp_path, "2.0", metrics={})
    with pytest.raises(ModelRefused) as refused:
        registry.activate("DLR_BM", "2.0")
    assert refused.value.code is Code.MODEL_UNMEASURED
    for said in (refused.value.reason, MEANINGS[Code.MODEL_UNMEASURED]):
        assert "under a new version" in said
        assert "--force" in said
    assert registry.active("DLR_BM").card.version == "1.0"
    registry.activate("DLR_BM", "2.0", force=True)
    assert told(registry)[-1] == ("activated", "DLR_BM", "2.0", "1.0", True)
    assert [entry.forced for entry in registry.list()] == [False, True, False], "by name, then by version"


@pytest.mark.parametrize(
    "changes",
    [
        {"notice": ""},
        {"notice": " "},
        {"intended_use": " "},
        {"intended_use": "Not stated yet: research only"},
        {"intended_use": "not said yet; research only"},
    ],
    ids=str,
)
def test_a_version_whose_use_or_notice_nobody_stated_is_not_activated_unless_forced(
    tmp_path: Path, changes: dict[str, str]
) -> None:
    registry = with_versions(tmp_path, "2.0", **changes)
    with pytest.raises(ModelRefused) as refused:
        registry.activate("DLR_BM", "2.0")
    assert refused.value.code is Code.MODEL_UNSTATED
    assert "--force" in refused.value.reason
    registry.activate("DLR_BM", "2.0", force=True)
    assert told(registry)[-1] == ("activated", "DLR_BM", "2.0", "1.0", True)


def test_a_version_of_the_image_stage_is_kept_but_never_serves_nor_shadows(tmp_path: Path) -> None:
    registry = registry_with_both(tmp_path)
    registry.add(*write_image_stage(tmp_path / "new", version="2.0"))
    assert {finding.code for finding in registry.check()} == {None}
    for ask in (
        lambda: registry.activate("DLR_BM", "2.0"),
        lambda: registry.activate("DLR_BM", "2.0", force=True),
        lambda: registry.shadow("DLR_BM", "2.0"),
    ):
        with pytest.raises(ModelRefused) as refused:
            ask()
        assert refused.value.code is Code.MODEL_IMAGE_ONLY
        assert "--stages age --init" in refused.value.reason
    assert registry.active("DLR_BM").card.version == "1.0"


def test_the_files_and_the_stage_on_the_card_have_to_agree(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    whole, part = write_model(tmp_path / "whole", stage="image"), write_image_stage(tmp_path / "part", stage="age")
    for said, (card, weights) in {"unexpected: age.": whole, "missing: age.": part}.items():
        with pytest.raises(ModelRefused) as refused:
            registry.add(card, weights)
        assert refused.value.code is Code.WEIGHTS_SHAPE_MISMATCH
        assert said in refused.value.reason


def test_force_says_nothing_of_a_version_that_was_measured(tmp_path: Path) -> None:
    registry = with_versions(tmp_path, "2.0")
    registry.activate("DLR_BM", "2.0", force=True)
    assert told(registry)[-1] == ("activated", "DLR_BM", "2.0", "1.0", False)


def test_no_force_activates_damaged_weights(tmp_path: Path) -> None:
    registry = with_versions(tmp_path, "2.0")
    (tmp_path / "registry/DLR_BM/2.0/weights.safetensors").write_bytes(b"")
    with pytest.raises(ModelRefused) as refused:
        registry.activate("DLR_BM", "2.0", force=True)
    assert refused.value.code is Code.WEIGHTS_HASH_MISMATCH


def test_going_back_goes_one_version_further_back_each_time_and_then_says_that_there_is_none(tmp_path: Path) -> None:
    registry = with_versions(tmp_path, "2.0", "3.0")
    registry.activate("DLR_BM", "2.0")
    registry.activate("DLR_BM", "3.0")
    for wanted, left in (("2.0", "3.0"), ("1.0", "2.0")):
        (made,) = registry.rollback("DLR_BM")
        assert (made.version, made.replaced) == (wanted, left)
        assert registry.active("DLR_BM").card.version == wanted
    with pytest.raises(ModelRefused) as refused:
        registry.rollback("DLR_BM")
    assert refused.value.code is Code.NO_EARLIER_VERSION
    registry.activate("DLR_BM", "3.0")
    registry.rollback("DLR_BM")
    assert registry.active("DLR_BM").card.version == "1.0"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("DLR_BM", "DLR_BM has no version on record that was active before"),
        (None, "neither model has a version on record that was active before"),
    ],
)
def test_where_nothing_was_in_service_there_is_nothing_to_go_back_to(
    tmp_path: Path, name: str | None, said: str
) -> None:
    with pytest.raises(ModelRefused) as refused:
        Registry(tmp_path / "nowhere").rollback(name)
    assert (refused.value.code, refused.value.reason) == (Code.NO_EARLIER_VERSION, said)


def test_going_back_without_a_name_is_for_each_model_that_can(tmp_path: Path) -> None:
    registry = with_versions(tmp_path, "2.0")
    with pytest.raises(ModelRefused) as refused:
        registry.rollback()
    assert refused.value.code is Code.NO_EARLIER_VERSION
    registry.activate("DLR_BM", "2.0")
    assert [made.name for made in registry.rollback()] == ["DLR_BM"]
    registry.add(*write_model(tmp_path / "lh", 9, name="DLR_LH", version="2.0"))
    registry.activate("DLR_LH", "2.0")
    registry.activate("DLR_BM", "2.0")
    assert [(made.name, made.version) for made in registry.rollback()] == [("DLR_LH", "1.0"), ("DLR_BM", "1.0")]
    assert registry.is_ready()


def test_what_went_into_service_unmeasured_comes_back_without_force(tmp_path: Path) -> None:
    registry = with_versions(tmp_path, "2.0", "3.0", metrics={})
    registry.activate("DLR_BM", "2.0", force=True)
    registry.activate("DLR_BM", "3.0", force=True)
    registry.rollback("DLR_BM")
    assert told(registry)[-1] == ("rolled_back", "DLR_BM", "2.0", "3.0", True)


def test_no_model_goes_back_to_a_version_that_is_not_sound_any_more_and_neither_does_the_other(tmp_path: Path) -> None:
    registry = with_versions(tmp_path, "2.0")
    registry.add(*write_model(tmp_path / "lh", 9, name="DLR_LH", version="2.0"))
    for name in ("DLR_LH", "DLR_BM"):
        registry.activate(name, "2.0")
    (tmp_path / "registry/DLR_BM/1.0/weights.safetensors").write_bytes(b"")
    before = told(registry)
    with pytest.raises(ModelRefused) as refused:
        registry.rollback()
    assert refused.value.code is Code.WEIGHTS_HASH_MISMATCH
    assert registry.active("DLR_LH").card.version == "2.0"
    assert told(registry) == before


def test_a_change_that_was_written_down_and_never_made_is_not_gone_back_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = with_versions(tmp_path, "2.0", "3.0")

    def killed(_source: Path, _target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            registry.activate("DLR_BM", "2.0")
    assert told(registry)[-1][2] == "2.0"
    with pytest.raises(ModelRefused):
        registry.rollback("DLR_BM")
    registry.activate("DLR_BM", "3.0")
    registry.rollback("DLR_BM")
    assert registry.active("DLR_BM").card.version == "1.0"


@pytest.mark.parametrize("cut", [b"{", b'{"at": "2026', b"\xff\xfe"])
def test_a_line_of_the_history_that_was_cut_short_costs_no_other(tmp_path: Path, cut: bytes) -> None:
    registry = with_versions(tmp_path, "2.0")
    before = registry.history()
    with (tmp_path / "registry/history.jsonl").open("ab") as file:
        file.write(cut)
    registry.activate("DLR_BM", "2.0")
    assert registry.history()[:-1] == before
    assert told(registry)[-1] == ("activated", "DLR_BM", "2.0", "1.0", False)


def test_a_version_that_was_active_before_there_was_a_history_is_gone_back_to(tmp_path: Path) -> None:
    registry = with_versions(tmp_path, "2.0")
    (tmp_path / "registry/history.jsonl").unlink()
    registry.activate("DLR_BM", "2.0")
    assert [made.version for made in registry.rollback("DLR_BM")] == ["1.0"]


def test_several_shadows_come_and_go_and_change_nothing_that_is_active(tmp_path: Path) -> None:
    registry = with_versions(tmp_path, "2.0", "3.0")
    active = (tmp_path / "registry/active.json").read_bytes()
    assert registry.shadows() == ()
    for version in ("2.0", "3.0", "3.0"):
        registry.shadow("DLR_BM", version)
    assert [entry.card.version for entry in registry.shadows()] == ["2.0", "3.0"]
    registry.unshadow("DLR_BM", "2.0")
    assert [(entry.card.version, entry.shadow_since is not None) for entry in registry.list()] == [
        ("1.0", False), ("2.0", False), ("3.0", True), ("1.0", False),
    ]  # fmt: skip
    assert (tmp_path / "registry/active.json").read_bytes() == active
    assert [line[0] for line in told(registry)[2:]] == ["shadowed", "shadowed", "unshadowed"]
    with pytest.raises(ModelRefused) as refused:
        registry.unshadow("DLR_BM", "2.0")
    assert refused.value.code is Code.MODEL_NOT_FOUND


def test_the_active_version_is_no_shadow_and_a_shadow_that_is_activated_is_none_any_more(tmp_path: Path) -> None:
    registry = with_versions(tmp_path, "2.0")
    with pytest.raises(ModelRefused) as refused:
        registry.shadow("DLR_BM", "1.0")
    assert refused.value.code is Code.MODEL_IS_ACTIVE
    registry.shadow("DLR_BM", "2.0")
    registry.activate("DLR_BM", "2.0")
    assert registry.shadows() == ()
    registry.shadow("DLR_BM", "1.0")
    registry.rollback("DLR_BM")
    assert registry.shadows() == ()


def test_a_check_tells_of_a_shadow_that_is_gone(tmp_path: Path) -> None:
    registry = with_versions(tmp_path, "2.0")
    registry.shadow("DLR_BM", "2.0")
    (tmp_path / "registry/DLR_BM/2.0").rename(tmp_path / "elsewhere")
    assert registry.shadows() == ()
    assert [(one.version, one.code) for one in registry.check() if one.code] == [("2.0", Code.MODEL_NOT_FOUND)]


@pytest.mark.parametrize("content", ["", "[]", '{"DLR_XY": {}}', '{"DLR_BM": {"2.0": "yesterday"}}'])
def test_a_damaged_list_of_shadows_says_that_there_are_none(tmp_path: Path, content: str) -> None:
    registry = with_versions(tmp_path, "2.0")
    (tmp_path / "registry/shadow.json").write_text(content)
    assert registry.shadows() == ()
    registry.shadow("DLR_BM", "2.0")
    assert len(registry.shadows()) == 1


def test_a_version_has_a_share_beside_the_active_one_until_one_of_them_is_activated(tmp_path: Path) -> None:
    registry = with_versions(tmp_path, "2.0")
    registry.shadow("DLR_BM", "2.0")
    registry.give_share("DLR_BM", "2.0", 0.1)
    registry.give_share("DLR_BM", "2.0", 0.25)
    assert [(entry.card.version, entry.active, entry.share) for entry in registry.named("DLR_BM/2.0")] == [
        ("2.0", False, 0.25)
    ]
    assert registry.shadows() == ()
    assert registry.division().active == ("1.0", "1.0")
    registry.activate("DLR_BM", "1.0")
    assert registry.shares() == {}
    registry.give_share("DLR_BM", "2.0", 0.1)
    registry.activate("DLR_BM", "2.0")
    assert (registry.shares(), registry.division().active) == ({}, ("1.0", "2.0"))
    assert [(one.event, one.version, one.share) for one in registry.history()[3:]] == [
        ("shared", "2.0", 0.1), ("unshadowed", "2.0", None), ("shared", "2.0", 0.25),
        ("activated", "1.0", None), ("unshared", "2.0", None),
        ("shared", "2.0", 0.1), ("activated", "2.0", None), ("unshared", "2.0", None),
    ]  # fmt: skip


def test_going_back_ends_a_share_and_only_then_what_is_active(tmp_path: Path) -> None:
    registry = with_versions(tmp_path, "2.0", "3.0")
    registry.activate("DLR_BM", "2.0")
    registry.give_share("DLR_BM", "3.0", 0.1)
    assert [(made.event, made.version) for made in registry.rollback()] == [("unshared", "3.0")]
    assert registry.active("DLR_BM").card.version == "2.0"
    assert [made.version for made in registry.rollback("DLR_BM")] == ["1.0"]


def test_a_second_version_takes_the_share_of_the_first(tmp_path: Path) -> None:
    registry = with_versions(tmp_path, "2.0", "3.0")
    registry.give_share("DLR_BM", "2.0", 0.1)
    registry.give_share("DLR_BM", "3.0", 0.1)
    assert registry.shares()["DLR_BM"].version == "3.0"
    assert [line[0] for line in told(registry)[2:]] == ["shared", "unshared", "shared"]


def test_neither_the_active_version_nor_one_that_may_not_serve_has_a_share(tmp_path: Path) -> None:
    registry = with_versions(tmp_path, "2.0")
    with pytest.raises(ModelRefused) as refused:
        registry.give_share("DLR_BM", "1.0", 0.1)
    assert refused.value.code is Code.MODEL_IS_ACTIVE
    registry.add(*write_model(tmp_path / "unmeasured", 3, version="3.0", metrics={}))
    with pytest.raises(ModelRefused) as refused:
        registry.give_share("DLR_BM", "3.0", 0.1)
    assert refused.value.code is Code.MODEL_UNMEASURED
    registry.give_share("DLR_BM", "3.0", 0.1, force=True)
    (entry,) = registry.named("DLR_BM/3.0")
    assert (entry.forced, entry.share) == (True, 0.1)


def test_a_check_tells_of_a_version_with_a_share_that_is_gone(tmp_path: Path) -> None:
    registry = with_versions(tmp_path, "2.0")
    registry.give_share("DLR_BM", "2.0", 0.1)
    (tmp_path / "registry/DLR_BM/2.0").rename(tmp_path / "elsewhere")
    assert [(one.version, one.code) for one in registry.check() if one.code] == [("2.0", Code.MODEL_NOT_FOUND)]


@pytest.mark.parametrize(
    "content", ["", "[]", '{"DLR_BM": {"version": "2.0", "share": 1.5}}', '{"DLR_BM": {"2.0": 1}}']
)
def test_a_damaged_list_of_shares_says_that_there_are_none(tmp_path: Path, content: str) -> None:
    registry = with_versions(tmp_path, "2.0")
    (tmp_path / "registry/share.json").write_text(content)
    assert registry.shares() == {}
    registry.give_share("DLR_BM", "2.0", 0.1)
    assert len(registry.shares()) == 1


def test_an_older_release_can_read_what_is_written_of_a_change_without_a_share(tmp_path: Path) -> None:
    with_versions(tmp_path, "2.0")
    for line in (tmp_path / "registry/history.jsonl").read_text().splitlines():
        assert set(json.loads(line)) <= {"at", "event", "name", "version", "replaced", "forced", "actor"}
