"""A registry holds whole, sound versions, never changes one, and says which is active."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.worker.inference.samples import registry_with_both, sample_card, write_model
from worker.errors import Code, ModelRefused, SetupRefused
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
    registry = registry_with_both(tmp_path)
    newer = registry.add(*write_model(tmp_path / "newer", 5, version="2.0"))
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
    registry = registry_with_both(tmp_path)
    registry.add(*write_model(tmp_path / "newer", 5, version="2.0"))

    def disk_full(_source: Path, _target: Path) -> None:
        raise OSError

    monkeypatch.setattr(Path, "replace", disk_full)
    with pytest.raises(SetupRefused) as refused:
        registry.activate("DLR_BM", "2.0")
    assert "DLR_MODELS_DIR" in refused.value.reason
    assert registry.active("DLR_BM").card.version == "1.0"
    assert registry.is_ready()


def test_a_check_tells_of_each_version_what_is_wrong(tmp_path: Path) -> None:
    registry = registry_with_both(tmp_path)
    folder = tmp_path / "registry"
    for version in ("2.0", "3.0", "4.0"):
        registry.add(*write_model(tmp_path / version, 5, version=version))
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
