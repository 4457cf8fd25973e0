"""The Kubernetes manifests, as `kubectl kustomize` makes them, held against the schemas of their kinds and the code."""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from sqlalchemy import make_url

from tests.commands import command_fault
from tests.test_compose import DICOMWEB, PASSWORD, ROOT, SERVICES, instructions
from tests.test_watching import JOBS, RULES, faults, promtool, run  # noqa: F401  promtool is a fixture
from worker.api.serve import check as check_api
from worker.api.tokens import Scope, Tokens
from worker.orders.listener_config import listener_config_of
from worker.orders.order_map import default_map
from worker.performing.from_settings import manager_of, terms_of
from worker.sending.destinations_file import read_destinations
from worker.settings import Settings, get_settings
from worker.tasks import GIVE_BACK_S
from worker.web.serve import check as check_page
from worker.web.serve import hosts_of

KUBERNETES = ROOT / "deploy" / "kubernetes"
OWN_SCHEMAS = {
    schema["properties"]["kind"]["const"]: schema
    for file in (ROOT / "tests" / "kubernetes").glob("*.schema.json")
    for schema in [json.loads(file.read_text("utf-8"))]
}
OLDEST, NEWEST = "1.25", kubernetes_validate.latest_version()
PAGE = (ROOT / "docs" / "kubernetes.md").read_text("utf-8")
FILES = dict(re.findall(r"<!-- file: (\S+) -->\n```(?:yaml|toml)\n(.*?)```", PAGE, re.DOTALL))
WHOLE = [*sorted((KUBERNETES / "overlays").iterdir())]
OPTIONAL = [*sorted((KUBERNETES / "optional").iterdir())]
REQUIRED = os.environ.get("DLR_TEST_TOOLS") == "required"

Resource = dict[str, Any]


@cache
def built(folder: Path) -> list[Resource]:
    """What a kustomization makes."""
    kubectl = shutil.which("kubectl")
    if kubectl is None and not REQUIRED:
        pytest.skip("kubectl is not installed")
    assert kubectl is not None, "kubectl is not installed, and DLR_TEST_TOOLS=required"
    done = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [resource for resource in yaml.safe_load_all(done.stdout) if resource]


@pytest.fixture(scope="session")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example of the page: a site's own folder, beside a checkout."""
    place = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "deploy", place / "dlr-worker" / "deploy")
    for name, text in FILES.items():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(text)
    return place / "hospital"


def named(folders: list[Path]) -> Any:
    return pytest.mark.parametrize("folder", folders, ids=lambda folder: folder.name)


def of_kind(resources: list[Resource], *kinds: str) -> dict[str, Resource]:
    return {one["metadata"]["name"]: one for one in resources if one["kind"] in kinds}


def pods(resources: list[Resource]) -> dict[str, Resource]:
    """The templates of all pods, by the names of what makes them."""
    makers = of_kind(resources, "Deployment", "StatefulSet", "Job")
    return {name: maker["spec"]["template"] for name, maker in makers.items()}


def containers(template: Resource) -> list[Resource]:
    return [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]


def ours(resources: list[Resource]) -> dict[str, Resource]:
    return {name: one for name, one in pods(resources).items() if "dlr-worker" in containers(one)[0]["image"]}


def everything() -> list[Resource]:
    """The whole service and each optional part, whose processes have names of their own."""
    return [*built(KUBERNETES / "overlays" / "nvidia"), *(one for folder in OPTIONAL for one in built(folder))]


def variables(container: Resource, resources: list[Resource]) -> dict[str, str]:
    """The environment of a container, its references resolved."""
    maps = of_kind(resources, "ConfigMap")
    bare = {re.sub(r"-[a-z0-9]{10}$", "", name): one["data"] for name, one in maps.items()}

    def resolve(name: str) -> dict[str, str]:
        return maps[name]["data"] if name in maps else bare[name]

    found = {}
    for source in container.get("envFrom", []):
        found |= resolve(source["configMapRef"]["name"])
    for one in container.get("env", []):
        reference = one.get("valueFrom", {}).get("configMapKeyRef")
        found[one["name"]] = resolve(reference["name"])[reference["key"]] if reference else one["value"]
    return found


def secrets(template: Resource) -> dict[str, list[str]]:
    """The keys that a pod is given of each Secret."""
    given = [volume["secret"] for volume in template["spec"]["volumes"] if "secret" in volume]
    assert all(item["key"] == item["path"] for secret in given for item in secret["items"])
    return {secret["secretName"]: [item["key"] for item in secret["items"]] for secret in given}


def commands(template: Resource) -> Iterator[list[str]]:
    """Each command line of a pod: of its containers, and of their probes."""
    for container in containers(template):
        yield container.get("command") or container["args"]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            words = container.get(probe, {}).get("exec", {}).get("command")
            if words is not None and words[:2] == ["sh", "-c"]:
                yield from (shlex.split(part.strip(" !")) for part in words[2].split("||"))
            elif words is not None:
                yield words


# --- the schemas


def validate(resource: Resource, version: str) -> None:
    if resource["kind"] in OWN_SCHEMAS:
        jsonschema.validate(resource, OWN_SCHEMAS[resource["kind"]])
    else:
        kubernetes_validate.validate(resource, version, strict=True)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_each_resource_is_what_the_schema_of_its_kind_says(version: str) -> None:
    distinct = {json.dumps(resource) for folder in (*WHOLE, *OPTIONAL) for resource in built(folder)}
    assert len(distinct) > 50
    for resource in distinct:
        validate(json.loads(resource), version)


def test_a_field_that_a_kind_does_not_have_is_a_fault() -> None:
    [deployment] = of_kind(built(KUBERNETES / "optional" / "shadow"), "Deployment").values()
    wrong = json.loads(json.dumps(deployment))
    wrong["spec"]["template"]["spec"]["containers"][0]["livelinessProbe"] = {}
    with pytest.raises(jsonschema.ValidationError):
        validate(wrong, NEWEST)
    scaled = json.loads(json.dumps(of_kind(built(KUBERNETES / "optional" / "nights"), "ScaledObject")["inference"]))
    scaled["spec"]["triggers"][0]["metadata"]["treshold"] = "1"
    with pytest.raises(jsonschema.ValidationError):
        validate(scaled, NEWEST)


def test_the_hospital_of_the_page_is_built_and_has_what_is_its_own(hospital: Path) -> None:
    resources = built(hospital)
    for resource in resources:
        if resource not in everything():
            validate(resource, NEWEST)
    images = {container["image"] for one in ours(resources).values() for container in containers(one)}
    assert images == {f"registry.hospital.example/{name}:0.1.0" for name in ("dlr-worker", "dlr-worker-client")}
    assert of_kind(resources, "PersistentVolumeClaim")["storage"]["spec"]["volumeName"] == "dicom-archive"
    [receive] = containers(pods(resources)["receive"])
    assert variables(receive, resources)["DLR_RECEIVE_CALLERS"] == "US1,US2,PACS"
    assert variables(containers(pods(resources)["listen"])[0], resources)["DLR_LISTEN_SENDERS"] == "198.51.100.30"
    [web] = containers(pods(resources)["web"])
    assert variables(web, resources)["DLR_WEB_HOSTS"] == "dlr.hospital.example"
    assert variables(web, resources)["DLR_WEB_BEHIND_PROXY"], "what a site does not say stays as it was"
    host = of_kind(resources, "Ingress")["page"]["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert host["name"] in of_kind(resources, "Service")
    assert {one["metadata"].get("namespace") for one in resources if one["kind"] != "Namespace"} == {"dlr"}


def test_the_hospital_of_the_page_fetches_from_its_pacs_and_has_its_own_destinations(
    hospital: Path, tmp_path: Path
) -> None:
    resources = built(hospital)
    of_hospital = pods(resources)
    [intake] = of_hospital["intake"]["spec"]["containers"]
    [listen] = containers(of_hospital["listen"])
    servers = {variables(one, resources)["DLR_PACS_SERVERS"] for one in (intake, listen)}
    assert len(servers) == 1, "whoever queues and whoever fetches know the same server"
    [pacs] = json.loads(servers.pop()).values()
    [way_out] = of_kind(resources, "NetworkPolicy")["to-pacs"]["spec"]["egress"]
    assert selects(of_kind(resources, "NetworkPolicy")["to-pacs"]["spec"]["podSelector"], of_hospital["intake"])
    assert way_out["to"] == [{"ipBlock": {"cidr": f"{pacs['host']}/32"}}]
    assert [port["port"] for port in way_out["ports"]] == [pacs["port"]]
    [storage] = [mount for mount in intake["volumeMounts"] if mount["name"] == "storage"]
    [volume] = [one for one in of_hospital["intake"]["spec"]["volumes"] if one["name"] == "storage"]
    assert not storage["readOnly"]
    assert not volume["persistentVolumeClaim"]["readOnly"]
    [send] = containers(of_hospital["send"])
    given = variables(send, resources)
    assert "DLR_SEND_PACS" not in given, "a site's file is instead of the example"
    [mounted] = [one["configMap"]["name"] for one in of_hospital["send"]["spec"]["volumes"] if "configMap" in one]
    path = Path(given["DLR_SEND_DESTINATIONS"])
    assert {"name": "destinations", "mountPath": str(path.parent), "readOnly": True} in send["volumeMounts"]
    (tmp_path / path.name).write_text(of_kind(resources, "ConfigMap")[mounted]["data"][path.name])
    assert set(read_destinations(tmp_path / path.name)) == {"archive"}


@pytest.mark.parametrize("folder", [*WHOLE, *OPTIONAL], ids=lambda folder: folder.name)
def test_the_page_names_each_kustomization(folder: Path) -> None:
    assert f"`{folder.relative_to(KUBERNETES)}`" in PAGE


def test_the_commands_of_the_page_name_what_there_is() -> None:
    resources = everything()
    named_there = re.findall(
        r"\b(deployment|service|job)[/ ]([a-z]+)\b", "".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
    )
    assert len(named_there) > 5
    for kind, name in named_there:
        assert name in of_kind(resources, kind.capitalize()), f"{kind} {name}"


# --- what runs


@cache
def processes() -> dict[str, Resource]:
    return ours(everything())


NAMES = [
    "migrate",
    "intake",
    "inference",
    "web",
    "flower",
    "metrics",
    "admin",
    "receive",
    "send",
    "shadow",
    "api",
    "listen",
    "perform",
]


def test_the_processes_are_those_of_compose() -> None:
    assert sorted(processes()) == sorted(NAMES)
    # Accounts are made elsewhere, and are a Secret here.
    assert set(SERVICES) - set(NAMES) == {"postgres", "redis", "accounts"}


@pytest.mark.parametrize("name", NAMES)
def test_each_command_and_each_probe_exists(name: str) -> None:
    for command in commands(processes()[name]):
        assert command == ["sleep", "infinity"] if name == "admin" else command_fault(command) is None, command


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"admin"}))
def test_a_process_runs_what_it_runs_with_compose_and_on_the_same_image(name: str) -> None:
    container = processes()[name]["spec"]["containers"][0]
    assert container["command"] == SERVICES[name]["command"]
    assert container["image"] == SERVICES[name]["image"]


@pytest.mark.parametrize("name", NAMES)
def test_each_variable_is_a_setting_and_the_settings_accept_them_with_the_secrets(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    template = processes()[name]
    for container in containers(template):
        for variable, value in variables(container, everything()).items():
            assert variable.removeprefix("DLR_").lower() in Settings.model_fields, variable
            monkeypatch.setenv(variable, value)
    for key in secrets(template)["dlr-secrets"]:
        assert key.removeprefix("dlr_") in Settings.model_fields
        (tmp_path / key).write_text(json.dumps(DICOMWEB) if key == "dlr_dicomweb_servers" else f"{PASSWORD}\n")
    monkeypatch.setattr("worker.settings.environment.SECRETS_DIR", tmp_path)
    settings = get_settings()
    urls = {field for field in Settings.model_fields if f"DLR_{field.upper()}" in os.environ and field.endswith("_url")}
    for field in urls:
        assert make_url(getattr(settings, field).get_secret_value()).password == PASSWORD, field


@pytest.mark.parametrize("name", NAMES)
def test_a_process_has_the_secrets_that_it_has_with_compose(name: str) -> None:
    assert sorted(secrets(processes()[name])["dlr-secrets"]) == sorted(SERVICES[name]["secrets"])


def test_the_servers_are_those_of_compose() -> None:
    for name in ("postgres", "redis"):
        template, service = pods(everything())[name], SERVICES[name]
        [container] = containers(template)
        assert container["image"] == service["image"]
        assert container.get("command", container.get("args")) == service["command"]
        assert sorted(secrets(template)["dlr-secrets"]) == sorted(service["secrets"])
        assert variables(container, everything()) == {
            key: value.strip() for key, value in service.get("environment", {}).items()
        }
        kind, *words = service["healthcheck"]["test"]
        asked = [word.replace("$$", "$") for word in words]
        for probe in ("startupProbe", "readinessProbe"):
            assert container[probe]["exec"]["command"] == (asked if kind == "CMD" else ["sh", "-c", *asked])
        mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert {volume["target"].removesuffix("/roles.sql") for volume in service["volumes"]} <= mounted


def test_the_servers_read_the_files_of_the_repository() -> None:
    maps = of_kind(everything(), "ConfigMap")
    for name, folder, files in (
        ("postgres", "postgres", ["roles.sql"]),
        ("redis", "valkey", ["start.sh", "users.acl", "valkey.conf"]),
    ):
        [found] = [one["data"] for key, one in maps.items() if key.startswith(f"{name}-")]
        assert found == {file: (ROOT / "deploy" / folder / file).read_text("utf-8") for file in files}


def test_a_secret_is_named_and_never_part_of_a_manifest() -> None:
    assert of_kind(everything(), "Secret") == {}
    for template in pods(everything()).values():
        for container in containers(template):
            for variable, value in variables(container, everything()).items():
                assert not re.search("PASSWORD|SECRET|TOKEN", variable) or value.startswith("/run/secrets/")
                assert not re.search(r"://[^/@\s:]+:[^@\s]+@", value)


def test_the_secret_has_each_key_once_the_folder_of_compose_is_made() -> None:
    wanted = {key for template in pods(everything()).values() for key in secrets(template).get("dlr-secrets", [])}
    assert wanted == {key for service in SERVICES.values() for key in service["secrets"]}
    assert "create secret generic dlr-secrets --from-file=secrets\n" in PAGE
    assert "create secret generic dlr-web-accounts --from-file=web-accounts.json\n" in PAGE


# --- as closed as it can be


@named([*WHOLE, *OPTIONAL])
def test_each_pod_keeps_to_the_restricted_standard_of_pod_security(folder: Path) -> None:
    """kubernetes.io/docs/concepts/security/pod-security-standards, and more: a read-only root, no API token."""
    allowed = {"configMap", "emptyDir", "persistentVolumeClaim", "secret"}
    for template in pods(built(folder)).values():
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert all(set(volume) - {"name"} <= allowed for volume in spec["volumes"])
        for container in containers(template):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"].get("requests", {}).keys() == {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]
            assert not any("hostPort" in port for port in container.get("ports", []))


def test_the_namespace_refuses_what_does_not_keep_to_it() -> None:
    labels = of_kind(everything(), "Namespace")["dlr"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("name", NAMES)
def test_a_pod_runs_as_the_user_of_its_image_and_writes_where_compose_lets_it(name: str) -> None:
    template = processes()[name]
    users = [rest for word, rest in instructions()["client"] if word == "USER"]
    context = template["spec"]["securityContext"]
    assert f"{context['runAsUser']}:{context['runAsGroup']}" == users[-1]
    volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
    for container in template["spec"]["containers"]:
        writes = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
        with_compose = {one["target"] for one in SERVICES[name].get("volumes", []) if not one.get("read_only")}
        assert writes == {*with_compose, *SERVICES[name]["tmpfs"]}
        for mount in container["volumeMounts"]:
            claim = volumes[mount["name"]].get("persistentVolumeClaim")
            if claim is not None:
                assert claim.get("readOnly", False) == mount.get("readOnly", False)
                assert claim["claimName"] in of_kind(everything(), "PersistentVolumeClaim")


# --- who may talk to whom


def policies(resources: list[Resource]) -> list[Resource]:
    return [one["spec"] for one in of_kind(resources, "NetworkPolicy").values()]


def selects(selector: Resource, template: Resource) -> bool:
    labels = template["metadata"]["labels"]
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


@named(WHOLE)
def test_nothing_is_allowed_that_no_policy_names(folder: Path) -> None:
    assert {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} in policies(built(folder))


def server_ports(url: str) -> set[int]:
    """The ports that an address leads to: of each of its hosts, and of the Redis that its Sentinels name."""
    ports = {int(port) for port in re.findall(r":(\d+)(?=[,/])", url)}
    return ports | {6379} if "+sentinel://" in url else ports


def test_the_overlay_for_a_failover_names_a_standby_and_three_sentinels() -> None:
    [servers] = [
        one["data"] for name, one in of_kind(built(KUBERNETES / "overlays" / "failover"), "ConfigMap").items()
        if name.startswith("servers-")
    ]  # fmt: skip
    for key, url in servers.items():
        assert url.count(".hospital.example:") == (3 if key == "DLR_REDIS_URL" else 2)
    assert server_ports(servers["DLR_DATABASE_URL"]) == {5432}
    assert server_ports(servers["DLR_REDIS_URL"]) == {26379, 6379}


@named(WHOLE)
def test_a_process_reaches_the_servers_that_its_addresses_name_and_no_other(folder: Path) -> None:
    resources = [*built(folder), *(one for optional in OPTIONAL for one in built(optional))]
    for name, template in ours(resources).items():
        wanted = {
            port
            for container in containers(template)
            for key, value in variables(container, resources).items()
            if key.endswith(("DATABASE_URL", "OWNER_URL", "READER_URL", "REDIS_URL"))
            for port in server_ports(value)
        }
        reached = {
            port["port"]
            for policy in policies(resources)
            if "Egress" in policy["policyTypes"] and policy["podSelector"] and selects(policy["podSelector"], template)
            for rule in policy["egress"]
            for port in rule["ports"]
        }
        assert reached - {104} == wanted, name
        assert (104 in reached) == (name in ("send", "perform"))


def test_who_may_call_a_server_is_let_in_there_and_nobody_is_let_into_a_port_that_is_not_there() -> None:
    resources = everything()
    for policy in policies(resources):
        for rule in policy.get("ingress", []):
            chosen = [one for one in pods(resources).values() if selects(policy["podSelector"], one)]
            assert chosen
            for template in chosen:
                open_ports = {p["containerPort"] for c in containers(template) for p in c.get("ports", [])}
                assert {port["port"] for port in rule["ports"]} <= open_ports
    for label, server in (("postgres-client", "postgres"), ("redis-client", "redis")):
        [spec] = [one for one in policies(resources) if selects(one["podSelector"], pods(resources)[server])
                  and one["podSelector"]]  # fmt: skip
        assert spec["ingress"][0]["from"] == [{"podSelector": {"matchLabels": {label: "true"}}}]


def test_each_service_leads_to_a_port_that_its_pods_have() -> None:
    resources = everything()
    for name, service in of_kind(resources, "Service").items():
        chosen = [t for t in pods(resources).values() if selects({"matchLabels": service["spec"]["selector"]}, t)]
        assert chosen, name
        for template in chosen:
            by_name = {port["name"] for container in containers(template) for port in container.get("ports", [])}
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= by_name
    hosts = {
        make_url(value).host
        for template in ours(resources).values()
        for container in containers(template)
        for key, value in variables(container, resources).items()
        if key.endswith("_URL")
    }
    assert hosts == {"postgres", "redis"}


PORTS = {
    "web": "web_port", "api": "api_port", "listen": "listen_port", "flower": "flower_port", "receive": "receive_port",
    "metrics": "exporter_port", "intake": "metrics_port", "inference": "metrics_port",
}  # fmt: skip


@pytest.mark.parametrize(("name", "setting"), PORTS.items(), ids=list(PORTS))
def test_a_port_is_the_one_at_which_the_process_listens(name: str, setting: str) -> None:
    container = processes()[name]["spec"]["containers"][0]
    [port] = container["ports"]
    assert str(port["containerPort"]) == variables(container, everything())[f"DLR_{setting.upper()}"]
    assert setting in Settings.model_fields


def test_the_page_starts_with_what_it_is_given_and_answers_the_probe(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from worker.web.accounts import Accounts, WebRole

    template = processes()["web"]
    container = template["spec"]["containers"][0]
    for variable, value in variables(container, everything()).items():
        monkeypatch.setenv(variable, value)
    settings = get_settings()
    Accounts(settings.web_accounts).put("anna", WebRole.READER, PASSWORD)
    check_page(settings)
    for probe in ("readinessProbe", "livenessProbe"):
        [host] = container[probe]["httpGet"]["httpHeaders"]
        assert host["value"] in hosts_of(settings)
    assert secrets(template)["dlr-web-accounts"] == [settings.web_accounts.name]
    assert {"/var/lib/dlr/secrets"} <= {mount["mountPath"] for mount in container["volumeMounts"]}


def test_the_http_interface_starts_with_what_it_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    template = processes()["api"]
    container = template["spec"]["containers"][0]
    for variable, value in variables(container, everything()).items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("DLR_API_TOKENS", str(tmp_path / Settings.model_fields["api_tokens"].default.name))
    settings = get_settings()
    Tokens(settings.api_tokens).create("ris", [Scope.JOBS_WRITE], None)
    check_api(settings)
    assert secrets(template)["dlr-api-tokens"] == [settings.api_tokens.name]
    assert "/var/lib/dlr/secrets" in {mount["mountPath"] for mount in container["volumeMounts"]}


def test_the_listener_starts_with_what_it_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable, value in variables(processes()["listen"]["spec"]["containers"][0], everything()).items():
        monkeypatch.setenv(variable, value)
    (tmp_path / "dlr_dicomweb_servers").write_text(json.dumps(DICOMWEB))
    (tmp_path / "dlr_redis_password").write_text(f"{PASSWORD}\n")
    monkeypatch.setattr("worker.settings.environment.SECRETS_DIR", tmp_path)
    config = listener_config_of(get_settings(), default_map())
    assert config.images == {"kind": "dicomweb", "server": "pacs"}
    assert [str(network) for network in config.networks] == ["192.0.2.0/24"]


def test_the_performer_starts_with_what_it_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable, value in variables(processes()["perform"]["spec"]["containers"][0], everything()).items():
        monkeypatch.setenv(variable, value)
    (tmp_path / "dlr_dicomweb_servers").write_text(json.dumps(DICOMWEB))
    for name in ("dlr_database_password", "dlr_redis_password"):
        (tmp_path / name).write_text(f"{PASSWORD}\n")
    monkeypatch.setattr("worker.settings.environment.SECRETS_DIR", tmp_path)
    settings = get_settings()
    assert manager_of(settings).where == "RIS@192.0.2.40:104"
    terms = terms_of(settings)
    assert (terms.station.value, terms.images) == ("DLR1", {"kind": "dicomweb", "server": "pacs"})


# --- what restarts a worker, and when it goes


@pytest.mark.parametrize("name", ["intake", "inference"])
def test_a_worker_is_restarted_when_it_is_silent_and_the_servers_are_not(name: str, tmp_path: Path) -> None:
    *_, liveness = processes()[name]["spec"]["containers"][0]["livenessProbe"]["exec"]["command"]
    stands_for_dlr = tmp_path / "dlr"

    def restarts(worker: int, servers: int) -> bool:
        stands_for_dlr.write_text(f'#!/bin/sh\n[ "$*" = health ] && exit {servers}\nexit {worker}\n')
        stands_for_dlr.chmod(0o755)
        path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        return subprocess.run(["sh", "-c", liveness], env=path, check=False).returncode != 0

    assert not restarts(worker=0, servers=0)
    assert restarts(worker=1, servers=0)
    assert not restarts(worker=1, servers=1), "an outage of a server is waited for"


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"migrate", "admin"}))
def test_a_pod_that_stops_has_the_time_that_it_has_with_compose(name: str) -> None:
    grace = processes()[name]["spec"].get("terminationGracePeriodSeconds", 30)
    assert grace >= int(SERVICES[name].get("stop_grace_period", "10s").removesuffix("s"))
    if name in ("intake", "inference"):
        assert grace > Settings.model_fields["stop_s"].default + GIVE_BACK_S


def test_a_drain_takes_one_worker_of_a_queue_at_a_time() -> None:
    budgets = of_kind(everything(), "PodDisruptionBudget")
    for name in ("intake", "inference"):
        assert budgets[name]["spec"]["maxUnavailable"] == 1
        chosen = [key for key, one in pods(everything()).items() if selects(budgets[name]["spec"]["selector"], one)]
        assert chosen == [name]


def test_only_the_overlay_for_nvidia_asks_for_a_gpu() -> None:
    for folder in WHOLE:
        [container] = pods(built(folder))["inference"]["spec"]["containers"]
        gpus = container["resources"]["limits"].get("nvidia.com/gpu", 0)
        device = variables(container, built(folder))["DLR_DEVICE"]
        assert (gpus, device) == ((1, "cuda") if folder.name == "nvidia" else (0, "cpu"))


def test_the_servers_are_in_the_cluster_but_for_the_overlay_with_ones_outside() -> None:
    for folder in WHOLE:
        assert of_kind(built(folder), "StatefulSet").keys() == (
            set() if folder.name in {"external", "failover"} else {"postgres", "redis"}
        )


# --- scaling and Prometheus


def scaled(name: str) -> dict[str, Resource]:
    return of_kind(built(KUBERNETES / "optional" / name), "ScaledObject")


def queries() -> dict[str, str]:
    return {
        f"{name} {trigger['name']}": trigger["metadata"]["query"]
        for name, one in scaled("nights").items()
        for trigger in one["spec"]["triggers"]
        if trigger["type"] == "prometheus"
    }


def test_inference_scales_by_length_and_age_and_intake_by_length() -> None:
    assert queries().keys() == {"inference length", "inference age", "intake length"}
    makers = of_kind(everything(), "Deployment")
    for name, one in scaled("autoscaling").items():
        assert one["spec"]["scaleTargetRef"]["name"] == name
        assert "replicas" not in makers[name]["spec"], "what is applied again would undo what KEDA did"
        assert one["spec"]["minReplicaCount"] == 1
        assert one["spec"]["fallback"]["replicas"] > 0


def test_a_query_asks_for_what_is_exported() -> None:
    for query in queries().values():
        assert list(faults(query.replace("max(", "sum("))) == []


def test_only_at_night_and_only_inference_goes_to_zero() -> None:
    by_day, by_night = scaled("autoscaling"), scaled("nights")
    assert by_night["intake"] == by_day["intake"]
    assert by_night["inference"]["spec"]["minReplicaCount"] == 0
    *others, cron = by_night["inference"]["spec"]["triggers"]
    assert others == by_day["inference"]["spec"]["triggers"]
    assert (cron["type"], cron["metadata"]["desiredReplicas"]) == ("cron", "1")


def test_a_worker_more_is_called_for_when_half_of_an_alert_s_limit_has_passed(
    promtool: str,  # noqa: F811
    tmp_path: Path,
) -> None:
    """The queries, evaluated by Prometheus's own tool."""
    [alert] = [rule["expr"] for rule in RULES if rule["alert"] == "DlrStudyWaitsTooLong"]
    limits = {priority: int(limit) for priority, limit in re.findall(r'priority="(\w+)"} > (\d+)', alert)}
    assert len(limits) == 3
    cases = [({}, 0.0), *(({priority: limit / 2}, 1.0) for priority, limit in limits.items()),
             ({"stat": 180, "routine": 1800}, 3.0)]  # fmt: skip
    length = {"intake": 12, "inference": 7}
    tests = [
        {
            "interval": "1m",
            "input_series": [
                *({"series": f'dlr_oldest_study_seconds{{priority="{priority}"}}', "values": str(ages.get(priority, 0))}
                  for priority in limits),
                *({"series": f'dlr_queue_messages{{queue="{queue}",priority="{priority}"}}', "values": str(count)}
                  for queue, count in length.items() for priority in limits),
            ],
            "promql_expr_test": [
                {"expr": queries()["inference age"], "eval_time": "0m", "exp_samples": [{"value": called}]},
                *({"expr": queries()[f"{queue} length"], "eval_time": "0m", "exp_samples": [{"value": 3 * count}]}
                  for queue, count in length.items()),
            ],
        }
        for ages, called in cases
    ]  # fmt: skip
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"tests": tests}))
    run(promtool, "test", "rules", file)


def test_prometheus_scrapes_under_the_jobs_that_alerts_and_dashboard_name() -> None:
    monitors = of_kind(built(KUBERNETES / "optional" / "monitoring"), "ServiceMonitor")
    services = of_kind(everything(), "Service").values()
    for name, monitor in monitors.items():
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        [service] = [one for one in services if wanted <= one["metadata"].get("labels", {}).items()]
        [endpoint] = monitor["spec"]["endpoints"]
        assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
        assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": name}]
    assert monitors.keys() == JOBS.keys()


def test_the_alerts_become_a_resource_by_the_page_s_command(tmp_path: Path) -> None:
    [command] = re.findall(r"<!-- makes: PrometheusRule -->\n```sh\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    subprocess.run(["sh", "-ec", command], cwd=tmp_path, check=True)
    made = yaml.safe_load((tmp_path / "alerts-of-the-operator.yaml").read_text("utf-8"))
    jsonschema.validate(made, OWN_SCHEMAS["PrometheusRule"])
    assert [rule for group in made["spec"]["groups"] for rule in group["rules"]] == RULES
