"""An old name of a setting works, is told, and never contradicts the new one unseen."""

from pathlib import Path

import pytest

from worker.errors import SetupRefused
from worker.settings import RENAMED, Described, Settings, described, get_settings, old_names
from worker.settings.environment import variable

each = pytest.mark.parametrize(("old", "new"), RENAMED.items(), ids=list(RENAMED))


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr("worker.settings.environment.SECRETS_DIR", tmp_path)
    return tmp_path


def shown(name: str) -> Described:
    [row] = [row for row in described(get_settings()) if row.variable == variable(name)]
    return row


@each
def test_an_old_name_is_no_setting_s_and_leads_to_one(old: str, new: str) -> None:
    assert old not in Settings.model_fields
    assert new in Settings.model_fields


@each
def test_a_variable_s_old_name_sets_it_and_is_told(monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    monkeypatch.setenv(variable(old), "refuse")
    assert getattr(get_settings(), new) == "refuse"
    assert (shown(new).value, shown(new).source, shown(new).old_name) == ("refuse", variable(old), variable(old))
    assert [str(name) for name in old_names()] == [f"{variable(old)} is called {variable(new)} now"]


@each
def test_a_secret_s_old_name_sets_it_and_is_told(secrets: Path, old: str, new: str) -> None:
    file = secrets / variable(old).lower()
    file.write_text("off\n")
    assert getattr(get_settings(), new) == "off"
    assert (shown(new).source, shown(new).old_name) == (str(file), variable(old))


@each
def test_both_names_with_one_value_are_fine(monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    monkeypatch.setenv(variable(old), "off")
    monkeypatch.setenv(variable(new), "off")
    assert getattr(get_settings(), new) == "off"
    assert (shown(new).source, shown(new).old_name) == ("environment", variable(old))


@each
@pytest.mark.parametrize("secret", ["", "old", "new"])
def test_both_names_with_two_values_are_refused(
    monkeypatch: pytest.MonkeyPatch, secrets: Path, old: str, new: str, secret: str
) -> None:
    for which, name, value in (("old", old, "off"), ("new", new, "refuse")):
        if which == secret:
            (secrets / variable(name).lower()).write_text(value)
        else:
            monkeypatch.setenv(variable(name), value)
    with pytest.raises(SetupRefused) as refused:
        get_settings()
    assert refused.value.code == "setting_invalid"
    assert refused.value.reason == (
        f"{variable(old)} is called {variable(new)} now, and the two differ: remove the old one"
    )


@each
def test_a_wrong_value_is_told_with_the_name_that_was_used(monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    monkeypatch.setenv(variable(old), "hunter2")
    with pytest.raises(SetupRefused) as refused:
        get_settings()
    assert refused.value.reason.startswith(f"{variable(new)} (set as {variable(old)}): ")
    assert "hunter2" not in refused.value.reason


def test_an_empty_old_name_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = next(iter(RENAMED.items()))
    monkeypatch.setenv(variable(old), "")
    monkeypatch.setenv(variable(new), "off")
    assert getattr(get_settings(), new) == "off"
    assert old_names() == []


def test_without_old_names_nothing_is_told() -> None:
    assert old_names() == []
    assert {row.old_name for row in described(get_settings())} == {None}
