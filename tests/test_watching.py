"""The dashboard, the alert rules and Prometheus's configuration, held against the metrics that the code exports."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from db.schema.vocabulary import Outcome, Priority, StudyState
from tests.commands import command_fault
from tests.test_compose import ROOT
from worker.broker.queues import QUEUES
from worker.settings import Settings
from worker.telemetry.metric_catalog import SERVICE, WORKER, Metric
from worker.telemetry.metrics_server import PORTS

DEPLOY = ROOT / "deploy"
ALERTS, PROMETHEUS = DEPLOY / "prometheus" / "alerts.yml", DEPLOY / "prometheus" / "prometheus.yml"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "dlr-worker.json").read_text("utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
RULES = [rule for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"] for rule in group["rules"]]
JOBS = {job["job_name"]: job for job in yaml.safe_load(PROMETHEUS.read_text("utf-8"))["scrape_configs"]}

REQUIRED = os.environ.get("DLR_TEST_TOOLS") == "required"
"""Read now: the environment of a test has no DLR_ variable."""

OF_PROMETHEUS = {"up": {"job", "instance"}, "process_resident_memory_bytes": {"job", "instance"}}
TARGET_LABELS = {"job", "instance"}
WORDS = {
    "state": set(StudyState),
    "priority": {*Priority, "low"},
    "outcome": set(Outcome),
    "queue": set(QUEUES),
    "component": {"postgresql", "redis", "workers", "totals", "drift"},
    "reason": {"defect", "away"},
    "job": set(JOBS),
}
"""What a label can be, where an expression names it."""


def series() -> dict[str, set[str]]:
    """Each name that can be asked for, with its labels."""
    found = dict(OF_PROMETHEUS)
    for metric in (*WORKER, *SERVICE):
        labels = {*metric.labels, *TARGET_LABELS}
        if metric.kind == "histogram":
            found |= {f"{metric.name}_sum": labels, f"{metric.name}_count": labels}
            found[f"{metric.name}_bucket"] = {*labels, "le"}
        else:
            found[metric.name] = labels
    return found


FUNCTIONS = {"sum", "by", "rate", "increase", "histogram_quantile", "scalar", "vector", "abs", "sqrt", "absent", "or",
             "and"}  # fmt: skip


def faults(expression: str) -> Iterator[str]:
    """Say what of a PromQL expression the code does not export."""
    known = series()
    outside = re.sub(r"\{[^}]*\}|\[[^]]*\]|\bby \([^)]*\)", " ", expression)
    names = set(re.findall(r"\b[a-z_]{2,}\b", outside)) - FUNCTIONS
    yield from (f"no metric {name}" for name in names - known.keys())
    labels = set().union(*(known.get(name, set()) for name in names))
    grouped = {label.strip() for group in re.findall(r"\bby \(([^)]*)\)", expression) for label in group.split(",")}
    yield from (f"no label {label}" for label in grouped - labels)
    for name, selectors in re.findall(r"([a-z_]+)\{([^}]*)\}", expression):
        for label, values in re.findall(r'(\w+)(?:=~|!=|=)"([^"]*)"', selectors):
            if label not in known.get(name, set()):
                yield f"{name} has no label {label}"
            yield from (f"{label} is never {value}" for value in set(values.split("|")) - WORDS.get(label, set()))


EXPRESSIONS = {f"{panel['title']} {target['refId']}": target["expr"] for panel in PANELS for target in panel["targets"]}
EXPRESSIONS |= {rule["alert"]: rule["expr"] for rule in RULES}


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_an_expression_asks_for_what_is_exported(expression: str) -> None:
    assert list(faults(expression)) == []


@pytest.mark.parametrize(
    "wrong",
    [
        "dlr_no_such",
        'dlr_workers{queue="x"}',
        'dlr_workers{code="x"}',
        "sum by (code) (dlr_workers)",
        "dlr_study_seconds",
    ],
)
def test_one_that_asks_for_anything_else_is_a_fault(wrong: str) -> None:
    assert list(faults(wrong))


def test_each_metric_is_on_the_dashboard() -> None:
    text = " ".join(EXPRESSIONS.values())
    assert [metric.name for metric in (*WORKER, *SERVICE) if metric.name not in text] == []


def test_legends_name_labels_that_the_panel_has() -> None:
    known = series()
    for panel in PANELS:
        for target in panel["targets"]:
            names = set(re.findall(r"\b[a-z_]{2,}\b", target["expr"])) & known.keys()
            labels = set().union(*(known[name] for name in names))
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= labels, panel["title"]


def test_the_dashboard_is_whole() -> None:
    assert DASHBOARD["schemaVersion"] >= 39
    assert DASHBOARD["uid"]
    assert "id" not in DASHBOARD  # Grafana gives it
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    assert all(panel["description"] and panel["datasource"]["uid"] == "${datasource}" for panel in PANELS)
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_happened_and_what_to_do(rule: dict[str, Any]) -> None:
    assert set(rule["annotations"]) == {"summary", "description", "action"}
    assert rule["labels"]["severity"] in {"page", "ticket"}
    text = " ".join(rule["annotations"].values())
    for command in re.findall(r"`(dlr [^`]+)`", text):
        assert command_fault(command.split()) is None
    for page in re.findall(r"docs/\w+\.md", text):
        assert (ROOT / page).is_file()
    for variable in re.findall(r"\bDLR_[A-Z]+_[A-Z_]+\b", text):
        assert variable.removeprefix("DLR_").lower() in Settings.model_fields


def test_what_has_to_be_watched_has_an_alert() -> None:
    assert {rule["alert"] for rule in RULES} >= {
        "DlrExporterDown", "DlrPostgresDown", "DlrRedisDown", "DlrNoWorker", "DlrStudyWaitsTooLong",
        "DlrFailedStudiesPileUp", "DlrDrift", "DlrSiteDrift", "DlrDowngradedShare",
    }  # fmt: skip


def test_prometheus_looks_where_the_defaults_are() -> None:
    [exporter] = JOBS["dlr"]["static_configs"][0]["targets"]
    assert exporter == f"127.0.0.1:{Settings.model_fields['exporter_port'].default}"
    first = re.search(r"DLR_METRICS_PORT=(\d+)", PROMETHEUS.read_text())
    assert first is not None
    ports = [int(target.split(":")[1]) for target in JOBS["dlr-worker"]["static_configs"][0]["targets"]]
    assert ports == list(range(int(first[1]), int(first[1]) + len(ports)))
    assert len(ports) <= PORTS


def test_a_label_has_few_values_and_none_is_an_identifier() -> None:
    bounded = {"result", "state", "priority", "outcome", "code", "reason", "component", "worklist_class", "queue"}
    of_models = {"model", "version", "variable", "lh_version", "bm_version"}
    of_institutions = {"site"}  # those with enough lesions to tell drift alone, as `dlr monitor --by site` names them
    assert {label for metric in (*WORKER, *SERVICE) for label in metric.labels} == bounded | of_models | of_institutions


@pytest.mark.parametrize("metric", [*WORKER, *SERVICE], ids=lambda metric: metric.name)
def test_a_name_says_its_unit(metric: Metric) -> None:
    assert re.fullmatch(r"dlr_[a-z_]+", metric.name)
    assert (metric.kind == "counter") == metric.name.endswith("_total")
    assert metric.help
    assert (metric.kind == "histogram") == bool(metric.buckets)
    assert list(metric.buckets) == sorted(metric.buckets)


# --- with Prometheus's own tool


@pytest.fixture
def promtool() -> str:
    """The tool of the Debian package `prometheus`; without it these tests are left out, unless they have to run."""
    found = shutil.which("promtool")
    if found is None and not REQUIRED:
        pytest.skip("promtool is not installed")
    assert found is not None, "promtool is not installed, and DLR_TEST_TOOLS=required"
    return found


def run(*command: str | Path) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_rules_and_the_configuration(promtool: str) -> None:
    run(promtool, "check", "rules", ALERTS)
    run(promtool, "check", "config", PROMETHEUS)


def test_each_alert_is_raised_when_it_has_to_be_and_else_is_not(promtool: str) -> None:
    run(promtool, "test", "rules", ROOT / "tests" / "alerts.yml")


def test_each_alert_is_tried() -> None:
    tried = set(re.findall(r'alertname="(\w+)"', (ROOT / "tests" / "alerts.yml").read_text("utf-8")))
    assert tried == {rule["alert"] for rule in RULES}
