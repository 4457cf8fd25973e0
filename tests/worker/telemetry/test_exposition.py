"""A worker's metrics: what is counted, what Prometheus reads, and where."""

import threading
import urllib.request
from collections.abc import Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.waiting import patience
from worker.clinical.categories import Outcome, Priority
from worker.errors import Code, SetupRefused
from worker.runtime import measures
from worker.settings import get_settings
from worker.telemetry import metric_catalog
from worker.telemetry.exposition import PrometheusMeasures
from worker.telemetry.measures import Measures
from worker.telemetry.metrics_server import serve


def scraped(port: int) -> dict[str, dict[tuple[str, ...], float]]:
    """Each sample of an address, by its name and the values of its labels, these in the order of their names."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=patience(10)) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for sample in (sample for family in families for sample in family.samples):
        found.setdefault(sample.name, {})[tuple(sample.labels[name] for name in sorted(sample.labels))] = sample.value
    return found


def count_everything(into: Measures) -> None:
    with into.timing_batch(3):
        pass
    into.decoded(0.02, refused=False)
    into.decoded(0.5, refused=True)
    into.ended("partial", Priority.STAT, 1.5)
    into.scored(Outcome.UPGRADED)
    into.failed(Code.AGE_MISSING)
    into.refused(Code.JOB_INVALID)
    into.attempt_failed("defect")


def test_what_is_counted_is_what_is_read() -> None:
    made = PrometheusMeasures()
    count_everything(made)
    found = scraped(serve(made.registry, "127.0.0.1", 0))

    def counted(name: str) -> dict[tuple[str, ...], float]:
        return {labels: count for labels, count in found[name].items() if count}

    assert found["dlr_batch_lesions_sum"] == {(): 3}
    assert found["dlr_device_seconds_count"] == {(): 1}
    assert found["dlr_decode_seconds_sum"] == {("ok",): 0.02, ("refused",): 0.5}
    assert counted("dlr_studies_ended_total") == {("stat", "partial"): 1}
    assert found["dlr_study_seconds_bucket"]["1.0", "stat"] == 0
    assert found["dlr_study_seconds_bucket"]["2.0", "stat"] == 1
    assert counted("dlr_lesions_scored_total") == {("upgraded",): 1}
    assert counted("dlr_lesions_failed_total") == {("age_missing",): 1}
    assert counted("dlr_messages_refused_total") == {("job_invalid",): 1}
    assert counted("dlr_attempts_failed_total") == {("defect",): 1}
    assert found["process_resident_memory_bytes"][()] > 0


def test_the_catalogue_is_all_that_a_worker_exports_and_each_of_it() -> None:
    made = PrometheusMeasures()
    count_everything(made)
    exported = {
        family.name: {name for sample in family.samples for name in sample.labels if name != "le"}
        for family in made.registry.collect()
        if not family.name.startswith("process_")
    }
    assert exported == {metric.name.removesuffix("_total"): set(metric.labels) for metric in metric_catalog.WORKER}


def test_a_counter_with_labels_is_there_from_the_start_at_0() -> None:
    made = PrometheusMeasures()
    began = {
        family.name: {sample.value for sample in family.samples}
        for family in made.registry.collect()
        if family.type == "counter" and not family.name.startswith("process_")
    }
    assert began == {
        metric.name.removesuffix("_total"): {0} for metric in metric_catalog.WORKER if metric.kind == "counter"
    }


def test_a_batch_that_fails_is_timed_too() -> None:
    made = PrometheusMeasures()
    with pytest.raises(RuntimeError), made.timing_batch(2):
        raise RuntimeError
    assert made.registry.get_sample_value("dlr_device_seconds_count") == 1


def test_nothing_is_lost_between_threads() -> None:
    made = PrometheusMeasures()
    threads = [threading.Thread(target=lambda: [made.scored(Outcome.MAINTAINED) for _ in range(500)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made.registry.get_sample_value("dlr_lesions_scored_total", {"outcome": "maintained"}) == 4000


# --- where


new_measures: Callable[[], Measures] = measures.__wrapped__  # type: ignore[attr-defined]
"""As in a new process: `measures` keeps what it made."""


def test_without_a_port_nothing_is_counted_and_nothing_listens() -> None:
    made = new_measures()
    assert type(made) is Measures
    count_everything(made)


def test_two_workers_of_one_machine_take_two_ports() -> None:
    first = serve(PrometheusMeasures().registry, "127.0.0.1", 0)
    second = serve(PrometheusMeasures().registry, "127.0.0.1", first, ports=32)
    assert first < second < first + 32
    assert scraped(first)
    assert scraped(second)


def test_a_machine_without_a_free_port_and_an_address_that_is_not_its_own_are_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = serve(PrometheusMeasures().registry, "127.0.0.1", 0)
    with pytest.raises(SetupRefused) as refused:
        serve(PrometheusMeasures().registry, "127.0.0.1", taken)
    assert f"{taken} is taken" in refused.value.reason
    monkeypatch.setenv("DLR_METRICS_ADDRESS", "203.0.113.1")
    monkeypatch.setenv("DLR_METRICS_PORT", "0")
    get_settings.cache_clear()
    with pytest.raises(SetupRefused, match="setting_invalid") as refused:
        new_measures()
    assert refused.value.reason.startswith("DLR_METRICS_ADDRESS 203.0.113.1")
