"""The units of systemd, held against the code, and by systemd's own tools where they are installed."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.commands import command_fault
from tests.test_compose import DICOMWEB, PASSWORD, ROOT, SERVICES
from worker.settings import Settings, get_settings
from worker.tasks import GIVE_BACK_S

SYSTEMD = ROOT / "deploy" / "systemd"
UNITS = {path.name.removesuffix(".service"): path for path in sorted(SYSTEMD.glob("*.service"))}
COMMON = SYSTEMD / "dlr-.service.d" / "common.conf"
INSTALL = (ROOT / "docs" / "install.md").read_text("utf-8")
INSTALLED_AT = "/opt/dlr-worker/.venv/bin/dlr"
OF_COMPOSE = {f"dlr-{name}": service for name, service in SERVICES.items()}
REQUIRED = os.environ.get("DLR_TEST_TOOLS") == "required"

units = pytest.mark.parametrize("unit", UNITS)


def directives(path: Path) -> dict[str, list[str]]:
    """Each directive of a file with its values."""
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", path.read_text("utf-8"), re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


def credentials(unit: str) -> list[str]:
    loaded = [value.partition(":") for value in directives(UNITS[unit]).get("LoadCredential", [])]
    assert all(file == f"/etc/dlr/secrets/{name}" for name, _, file in loaded)
    return [name for name, _, _ in loaded]


def settings_of_the_file() -> dict[str, str]:
    return dict(re.findall(r"^(\w+)=(.*)$", (SYSTEMD / "dlr.env").read_text("utf-8"), re.MULTILINE))


def test_there_is_a_unit_for_each_process_of_compose_and_for_a_watched_folder() -> None:
    by_hand_or_a_server = {"dlr-postgres", "dlr-redis", "dlr-accounts", "dlr-admin"}
    assert set(UNITS) == {*OF_COMPOSE, "dlr-watch@"} - by_hand_or_a_server


@units
def test_a_unit_runs_a_command_that_exists(unit: str) -> None:
    [line] = directives(UNITS[unit])["ExecStart"]
    assert line.startswith(f"{INSTALLED_AT} ")
    words = ["dlr", *shlex.split(line)[1:]]
    assert command_fault(words) is None
    if unit in OF_COMPOSE:
        assert words == OF_COMPOSE[unit]["command"]


@units
def test_a_unit_has_the_secrets_that_its_service_has_with_compose(unit: str) -> None:
    like = OF_COMPOSE.get(unit, OF_COMPOSE["dlr-receive"])
    assert sorted(credentials(unit)) == sorted(like["secrets"])


@units
def test_the_settings_of_the_file_and_of_a_unit_are_accepted_with_its_credentials(
    unit: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = settings_of_the_file()
    for line in directives(UNITS[unit]).get("Environment", []):
        given |= dict(pair.split("=", 1) for pair in shlex.split(line))
    for variable, value in given.items():
        assert variable.removeprefix("DLR_").lower() in Settings.model_fields, variable
        monkeypatch.setenv(variable, value)
    for name in credentials(unit):
        (tmp_path / name).write_text(json.dumps(DICOMWEB) if name == "dlr_dicomweb_servers" else f"{PASSWORD}\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    settings = get_settings()
    for name in credentials(unit):
        url = getattr(settings, name.removeprefix("dlr_").replace("_password", "_url"), None)
        if name.endswith("_password") and url is not None:
            assert make_url(url.get_secret_value()).password == PASSWORD


def test_the_addresses_for_a_failover_replace_those_of_the_file_and_are_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = (SYSTEMD / "dlr.env").read_text("utf-8")
    given = dict(re.findall(r"^#(DLR_\w+)=(.*)$", text, re.MULTILINE))
    assert given.keys() == settings_of_the_file().keys()
    for variable, value in given.items():
        monkeypatch.setenv(variable, value)
    settings = get_settings()
    assert "db2.hospital.example" in settings.require_database_url()
    assert settings.is_behind_sentinels


def test_there_is_no_password_in_a_file() -> None:
    for path in [file for file in SYSTEMD.rglob("*") if file.is_file()]:
        assert not re.search(r"://[^/@\s:]+:[^@\s]+@|PASSWORD=|SECRET=", path.read_text("utf-8")), path


def test_every_unit_is_closed() -> None:
    common = {key: values[-1] for key, values in directives(COMMON).items()}
    assert common["User"] not in ("", "root")
    for key in ("NoNewPrivileges", "PrivateTmp", "PrivateDevices", "ProtectHome", "ProtectKernelTunables",
                "ProtectKernelModules", "ProtectControlGroups", "RestrictNamespaces", "RestrictSUIDSGID"):  # fmt: skip
        assert common[key] == "yes"
    assert common["ProtectSystem"] == "strict"
    assert common["CapabilityBoundingSet"] == ""


@units
def test_a_unit_opens_nothing_of_what_is_closed_but_the_folders_that_it_writes(unit: str) -> None:
    own = directives(UNITS[unit])
    assert not set(own) & (set(directives(COMMON)) - {"Environment", "After", "Wants"})
    assert own.get("ReadWritePaths", []) == {
        "dlr-flower": ["/var/lib/dlr/flower"],
        "dlr-receive": ["/var/lib/dlr/storage"],
        "dlr-api": ["/var/lib/dlr/storage"],
        "dlr-perform": ["/var/lib/dlr/storage"],
        "dlr-watch@": ["%f /var/lib/dlr/storage"],
    }.get(unit, [])


def test_a_worker_ends_as_it_does_with_compose() -> None:
    common = directives(COMMON)
    assert common["KillMode"] == ["mixed"], "its decoders would be ended before their studies are"
    assert float(common["TimeoutStopSec"][0]) > Settings.model_fields["stop_s"].default + GIVE_BACK_S
    assert float(common["TimeoutStopSec"][0]) > Settings.model_fields["send_timeout_s"].default


@units
def test_a_lasting_process_starts_again_and_the_migration_until_it_has_worked(unit: str) -> None:
    assert directives(UNITS[unit])["Restart"] == ["on-failure" if unit == "dlr-migrate" else "always"]


def test_the_target_starts_what_compose_starts_without_a_profile() -> None:
    wanted = directives(SYSTEMD / "dlr.target")["Wants"][0].split()
    without_profile = {name for name, service in OF_COMPOSE.items() if "profiles" not in service}
    assert {name.removesuffix(".service") for name in wanted} == set(UNITS) & without_profile - {"dlr-migrate"}
    for unit in set(UNITS) - without_profile:
        assert directives(UNITS[unit])["WantedBy"] == ["dlr.target"], "enabled by hand"


def test_the_page_names_each_unit_and_the_folder_of_the_installation() -> None:
    for unit in UNITS:
        assert f"`{unit}" in INSTALL, unit
    assert INSTALLED_AT.removesuffix("/.venv/bin/dlr") in INSTALL
    for file in ("dlr.env", "journald.conf", "gpu.conf"):
        assert file in INSTALL


# --- with systemd's own tools


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units as they are installed, with a `dlr` that is there."""
    if shutil.which("systemd-analyze") is None and not REQUIRED:
        pytest.skip("systemd-analyze is not installed")
    shutil.copytree(SYSTEMD, tmp_path, dirs_exist_ok=True)
    for name in UNITS:
        path = tmp_path / f"{name}.service"
        path.write_text(path.read_text().replace(INSTALLED_AT, sys.executable))
    return tmp_path


def analyze(*arguments: str | Path) -> str:
    command = ["systemd-analyze", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("device", ["processor", "gpu"])
def test_systemd_takes_every_unit_and_finds_nothing_to_say(installed: Path, device: str) -> None:
    if device == "gpu":
        (installed / "dlr-inference.service.d").mkdir()
        shutil.copy(SYSTEMD / "gpu" / "gpu.conf", installed / "dlr-inference.service.d")
    for file in [installed / "dlr.target", *installed.glob("*.service")]:
        assert "dlr" not in analyze("verify", "--man=no", file)


def test_systemd_names_a_directive_that_it_does_not_know(installed: Path) -> None:
    unit = installed / "dlr-intake.service"
    unit.write_text(unit.read_text().replace("[Service]\n", "[Service]\nProtectEverything=yes\n"))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert "ProtectEverything" in done.stderr


@units
def test_systemd_finds_a_unit_little_exposed(unit: str, installed: Path) -> None:
    """Its own measure: 0 is closed, 10 is open; what is above 2.0 fails."""
    analyze("security", "--offline=true", "--threshold=20", "--no-pager", installed / f"{unit}.service")
