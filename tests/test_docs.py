"""What the documentation says, held against the code; `python -m tests.test_docs` renews its tables."""

import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast, get_args
from uuid import uuid4

import pytest
import yaml
from annotated_types import Ge, Gt, Le, Lt
from kombu.transport import redis as kombu_redis
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from redis import Redis
from sqlalchemy import NullPool

from benchmarks import duplicates, phantom_cohort, real_aged, real_lesions
from benchmarks.__main__ import ROWS
from benchmarks.cost import cost_table
from benchmarks.gpu import __main__ as gpu
from benchmarks.machine import PACKAGES
from benchmarks.measuring import Figure, as_markdown
from db.outages import OUTAGES
from db.session import make_engine
from tests.commands import command_fault
from tests.conftest import Database
from tests.floors import floors_table
from tests.test_compose import COMPOSE, PASSWORD, ROOT, composed_redis
from tests.waiting import patience
from worker.broker import reconciler, transport
from worker.broker.message_gate import read_message
from worker.broker.queues import QUEUE_OF_TASK, SUBMIT_STUDY
from worker.contract import StudyJob, StudyRequest, parse_job, parse_pushed, version_2
from worker.doctor.postgresql import SILENT_S
from worker.errors import MEANINGS
from worker.exporter import exporter
from worker.imaging import age
from worker.intake import quarantine
from worker.intake.lesions_file import in_version, name_lesions, on_instance
from worker.network import http_connections as connections
from worker.outages import retry as waiting
from worker.reporting import concepts, hl7
from worker.reporting.concepts import Concept
from worker.sending import sender, terms
from worker.services.embedded_redis import RULES, USER
from worker.settings import GROUPS, RENAMED, Settings
from worker.telemetry.metric_catalog import SERVICE, WORKER
from worker.training.config import TrainingConfig
from worker.web import accounts

DOCS = ROOT / "docs"
PAGES = {str(path.relative_to(ROOT)): path for path in [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]}
INTEGRATOR, ADMINISTRATOR, INSTALL, PERFORMANCE, WATCHING, CONFORMANCE = (
    DOCS / f"{name}.md" for name in ("integrator", "administrator", "install", "performance", "watching", "conformance")
)
ARCHITECTURE = DOCS / "architecture.md"
OLD_NAMES_TOLD = (ROOT / "CHANGELOG.md", DOCS / "decisions" / "0041-an-old-name-is-told.md")
OUTAGE_DECISION = DOCS / "decisions" / "0034-an-outage-is-told-from-a-defect.md"
LOOK_DECISION = DOCS / "decisions" / "0049-an-image-is-found-again-by-its-look.md"
MODEL_OWNER, MODELS = DOCS / "model-owner.md", DOCS / "models.md"
FIGURES: dict[str, Any] = json.loads((ROOT / "benchmarks" / "figures.json").read_text("utf-8"))
PHANTOM_COHORT: dict[str, Any] = json.loads((ROOT / "benchmarks" / "phantom_cohort.json").read_text("utf-8"))
REAL_LESIONS: dict[str, Any] = json.loads((ROOT / "benchmarks" / "real_lesions.json").read_text("utf-8"))
REAL_LESIONS_BFLOAT16: dict[str, Any] = json.loads(
    (ROOT / "benchmarks" / "real_lesions_bfloat16.json").read_text("utf-8")
)
REAL_AGED: dict[str, Any] = json.loads((ROOT / "benchmarks" / "real_aged.json").read_text("utf-8"))
DUPLICATES: dict[str, Any] = json.loads((ROOT / "benchmarks" / "duplicates.json").read_text("utf-8"))
GPU = ROOT / "benchmarks" / "gpu.json"
"""What `make gpu` wrote; it is there once a GPU has run it."""
LIMIT = Settings.model_fields["max_message_bytes"].default

pages = pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


# --- tables that are written from the code


def codes_table() -> str:
    rows = [f"| `{code.value}` | {meaning} |" for code, meaning in MEANINGS.items()]
    return "\n".join(["| code | meaning, and what to do |", "| --- | --- |", *rows])


MADE_DEFAULTS = {
    "home": "`dlr-worker` in the user's data folder",
    "decoders": "one a core, 8 at most",
    "dicomweb_servers": "none",
    "pacs_servers": "none",
}


def settings_table() -> str:
    return "\n\n".join(f"**{title}**\n\n{_settings_of(group)}" for title, group in GROUPS.items())


def _settings_of(group: type[BaseModel]) -> str:
    rows = [f"| `DLR_{name.upper()}` | {_default(name)} | {_meaning(name)} |" for name in group.model_fields]
    return "\n".join(["| variable | default | meaning |", "| --- | --- | --- |", *rows])


def _default(name: str) -> str:
    default = Settings.model_fields[name].default
    if default is PydanticUndefined:
        return MADE_DEFAULTS[name]
    return "" if default in (None, "") else f"`{default}`"


def _meaning(name: str) -> str:
    field = Settings.model_fields[name]
    signs = {Ge: ("ge", "from"), Gt: ("gt", "above"), Le: ("le", "to"), Lt: ("lt", "below")}
    limits = [f"{signs[type(rule)][1]} {getattr(rule, signs[type(rule)][0]):,}" for rule in field.metadata
              if type(rule) in signs]  # fmt: skip
    patterns = [rule.pattern.strip("^$()").replace("|", ", ") for rule in field.metadata if getattr(rule, "pattern", 0)]
    return "; ".join(filter(None, [field.description, " ".join(limits), *patterns]))


def figures_table() -> str:
    machine = FIGURES["machine"]
    versions = ", ".join(f"{name} {machine[name]}" for name in PACKAGES)
    said = f"{machine['cores']} cores, {machine['memory_gib']} GiB; Python {machine['python']}, {versions}."
    figures = [Figure(**figure) for figure in FIGURES["figures"]]
    measured: dict[tuple[str, str], list[str]] = {}
    for one in figures:
        measured.setdefault((one.commit, one.processor), []).append(one.row)
    where = [f"- Commit {commit}, {processor}: {', '.join(rows)}" for (commit, processor), rows in measured.items()]
    return "\n".join([said, "", *where, "", as_markdown(figures).rstrip()])


def metrics_table() -> str:
    rows = []
    for metric, where in [(one, "a worker") for one in WORKER] + [(one, "`dlr metrics`") for one in SERVICE]:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows.append(f"| `{metric.name}` | {where} | {metric.kind} | {labels} | {metric.help} |")
    return "\n".join(["| metric | from | kind | labels | meaning |", "| --- | --- | --- | --- | --- |", *rows])


def own_codes_table() -> str:
    """Each code of the scheme 99DLR: the concepts, and then the values of those that have some."""
    of_lesion = {
        concepts.RECOMMENDED: concepts.RECOMMENDATIONS.values(),
        concepts.OUTCOME: concepts.OUTCOMES.values(),
        concepts.LH_CLASS: concepts.LH_CLASSES,
        concepts.BM_CLASS: concepts.BM_CLASSES,
        concepts.AGE_SOURCE: concepts.AGE_SOURCES.values(),
        concepts.REGION_SOURCE: concepts.REGION_SOURCES.values(),
        concepts.QUALITY_FINDING: concepts.QUALITY_FINDINGS.values(),
        concepts.VIEW: [plane for plane in concepts.PLANES.values() if plane.scheme == concepts.OWN],
    }
    named = [one for one in vars(concepts).values() if isinstance(one, Concept) and one.scheme == concepts.OWN]
    rows = [f"| | {one.value} | {one.meaning} |" for one in named]
    rows += [f"| {name.value} | {one.value} | {one.meaning} |" for name, values in of_lesion.items() for one in values]
    return "\n".join(["| value of | code value | code meaning |", "| --- | --- | --- |", *rows])


def configuration_table() -> str:
    """Each field of a training's configuration, those of its parts with a dot."""
    rows = []
    for name, field in TrainingConfig.model_fields.items():
        default = field.default
        parts = type(default).model_fields if isinstance(default, BaseModel) else {}
        rows += [_configured(f"{name}.{part}", one) for part, one in parts.items()] or [_configured(name, field)]
    return "\n".join(["| name | default | meaning |", "| --- | --- | --- |", *rows])


def _configured(name: str, field: FieldInfo) -> str:
    default, words = field.default, [arg for arg in get_args(field.annotation) if isinstance(arg, str)]
    shown = "" if default is None else str(list(default)) if isinstance(default, tuple) else str(default)
    # The backbones are listed where a card's are.
    known = f" ({', '.join(words)})" if 0 < len(words) < 4 else ""
    return f"| `{name}` | {f'`{shown}`' if shown else ''} | {field.description}{known} |"


def phantom_cohort_table() -> str:
    machine = PHANTOM_COHORT["machine"]
    commits = ", ".join(dict.fromkeys(run["commit"] for run in PHANTOM_COHORT["seeds"]))
    said = f"Commit {commits}; {machine['cores']} cores of {machine['processor']}; torch {machine['torch']}."
    return "\n".join([said, "", phantom_cohort.as_markdown(PHANTOM_COHORT).rstrip()])


def real_lesions_table(figures: Mapping[str, Any]) -> str:
    machine = figures["machine"]
    commits = ", ".join(dict.fromkeys(commit for one in figures["recipes"] for commit in one["commits"]))
    said = f"Commit {commits}; one core of {machine['processor']}; torch {machine['torch']}."
    return "\n".join([said, "", real_lesions.as_markdown(figures).rstrip()])


def real_aged_table() -> str:
    machine = REAL_AGED["machine"]
    commits = ", ".join(dict.fromkeys(commit for one in REAL_AGED["models"] for commit in one["commits"]))
    said = f"Commit {commits}; one core of {machine['processor']}; torch {machine['torch']}."
    return "\n".join([said, "", real_aged.as_markdown(REAL_AGED).rstrip()])


def duplicates_table() -> str:
    return duplicates.as_markdown(DUPLICATES).rstrip()


def gpu_table() -> str:
    return gpu.as_markdown(json.loads(GPU.read_text("utf-8"))) if GPU.exists() else "No GPU has run it so far."


def outages_table() -> str:
    rows = [f"| {'class ' if len(state) == 2 else ''}{state} | {meaning} |" for state, meaning in OUTAGES.items()]
    return "\n".join(["| SQLSTATE | what it means |", "| --- | --- |", *rows])


def what_a_study_costs_table() -> str:
    [figure] = [Figure(**figure) for figure in FIGURES["figures"] if figure["row"] == "cost"]
    return cost_table(cast("dict[str, Any]", figure.detail["milliseconds"]))


TABLES = {
    "floors": (ARCHITECTURE, floors_table),
    "outages": (OUTAGE_DECISION, outages_table),
    "configuration": (MODEL_OWNER, configuration_table),
    "phantom cohort": (MODELS, phantom_cohort_table),
    "real lesions": (MODELS, partial(real_lesions_table, REAL_LESIONS)),
    "real lesions in bfloat16": (MODELS, partial(real_lesions_table, REAL_LESIONS_BFLOAT16)),
    "real aged": (MODELS, real_aged_table),
    "duplicates": (LOOK_DECISION, duplicates_table),
    "99DLR": (CONFORMANCE, own_codes_table),
    "codes": (INTEGRATOR, codes_table),
    "settings": (ADMINISTRATOR, settings_table),
    "figures": (PERFORMANCE, figures_table),
    "gpu": (PERFORMANCE, gpu_table),
    "cost": (PERFORMANCE, what_a_study_costs_table),
    "metrics": (WATCHING, metrics_table),
}
"""The page of each table, and what writes it."""


def between_markers(name: str) -> tuple[str, str, str]:
    page = TABLES[name][0]
    found = re.fullmatch(rf"(.*<!-- {name}: [^\n]*-->\n)(.*?)(<!-- end of {name} -->\n.*)", page.read_text(), re.DOTALL)
    assert found, f"{page.name} has lost its markers"
    return found[1], found[2], found[3]


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_what_the_code_says(name: str) -> None:
    table = between_markers(name)[1].strip()
    assert table == TABLES[name][1](), "run: python -m tests.test_docs"


def test_every_row_of_the_benchmarks_has_its_figure_and_its_goal() -> None:
    assert {figure["row"]: figure["goal"] for figure in FIGURES["figures"]} == {
        name: row.goal for name, row in ROWS.items()
    }


# --- what every page names


def command_lines(page: Path) -> list[list[str]]:
    """Each `dlr ...` of a page, as words: in shell blocks on lines of their own, elsewhere between backticks."""
    shell = "\n".join(blocks(page, "sh") + blocks(page, "bash") + blocks(page, "console")).replace("\\\n", " ")
    lines = re.findall(r"(?:^|[\s\"(/])(dlr(?: [^\n|)>;#]*)?)", shell, re.MULTILINE)
    lines = [line for line in lines if re.match(r"dlr (--)?[a-z]", line)]
    lines += re.findall(r"`(?:docker [a-z -]+ )?(?:\.venv/bin/)?(dlr [^`]+)`", prose(page))
    return [words for line in lines for words in _alternatives(shlex.split(line.replace('"', "")))]


def _alternatives(words: list[str]) -> list[list[str]]:
    """`dlr failed list|show` names two commands."""
    for place, word in enumerate(words):
        if "|" in word:
            return [[*words[:place], one, *words[place + 1 :]] for one in word.split("|")]
    return [words]


@pages
def test_every_command_exists_with_its_options(page: Path) -> None:
    faults = [fault for words in command_lines(page) if (fault := command_fault(words)) is not None]
    assert not faults


def test_the_command_lines_are_found_and_a_wrong_one_is_a_fault(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text('`dlr failed list|vanish`\n```sh\nDLR_X=1 dlr worklist --no-such\npsql "$(dlr db url)"\n```\n')
    found = command_lines(page)
    assert [" ".join(words) for words in found] == [
        "dlr worklist --no-such", "dlr db url", "dlr failed list", "dlr failed vanish",
    ]  # fmt: skip
    assert [command_fault(words) is None for words in found] == [False, True, True, False]
    assert sum(len(command_lines(path)) for path in (INTEGRATOR, ADMINISTRATOR, INSTALL)) > 30


@pages
def test_every_variable_is_a_setting(page: Path) -> None:
    named = set(re.findall(r"\bDLR_[A-Z][A-Z_]*[A-Z]\b", page.read_text("utf-8")))
    models = {"DLR_LH", "DLR_BM", "DLR_TEST_TOOLS"}
    known = {*Settings.model_fields, *(RENAMED if page in OLD_NAMES_TOLD else ())}
    assert {name for name in named - models if name.removeprefix("DLR_").lower() not in known} == set()


@pages
def test_every_relative_link_resolves(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        if not linked.exists() or (anchor and anchor not in anchors(linked)):
            broken.append(target)
    assert not broken


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pages
def test_no_page_names_a_folder_of_a_developers_machine(page: Path) -> None:
    assert not re.findall(r"(?:/home/|/root\b|/Users/|/tmp/|[A-Z]:\\)\S*", page.read_text("utf-8"))


@pages
def test_an_error_code_in_backticks_after_a_code_option_exists(page: Path) -> None:
    assert set(re.findall(r"--code (\w+)", page.read_text("utf-8"))) <= set(MEANINGS)


def test_the_page_of_alerts_names_each_rule() -> None:
    rules = set(re.findall(r"- alert: (\w+)", (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text("utf-8")))
    named = WATCHING.read_text("utf-8").split("## Alerts")[1].split("## Drift")[0]
    assert set(re.findall(r"`(Dlr\w+)`", named)) == rules


def test_what_is_where_names_each_room() -> None:
    rooms = {f"worker/{init.parent.name}/" for init in ROOT.glob("worker/*/__init__.py")}
    assert {room for room in rooms if room not in ARCHITECTURE.read_text("utf-8")} == set()


@pytest.mark.parametrize(("page", "heading"), [("README.md", "## What is where"), ("CONTRIBUTING.md", "## The house")])
def test_a_page_says_where_the_rooms_are_and_names_each_folder_with_code(page: str, heading: str) -> None:
    map_of_folders = (ROOT / page).read_text("utf-8").split(heading)[1].split("\n## ")[0]
    assert "(docs/architecture.md#rooms-and-floors)" in map_of_folders
    folders = {f"`{python.relative_to(ROOT).parts[0]}/`" for python in ROOT.glob("[a-z]*/**/*.py")}
    assert {folder for folder in folders if folder not in map_of_folders} == set()


def test_the_house_names_each_module_that_is_in_no_room() -> None:
    modules = {f"`worker/{module.name}`" for module in ROOT.glob("worker/[a-z]*.py")}
    text = ARCHITECTURE.read_text("utf-8")
    assert {module for module in modules if module not in text} == set()


def test_the_readers_views_are_counted() -> None:
    counts = {"ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14}
    text = (DOCS / "sql.md").read_text("utf-8")
    [sees] = re.findall(r"`dlr_reader` sees (\w+) views", text)
    views = {path.name.split(".")[0] for path in (ROOT / "db" / "views").glob("*.sql")}
    of_the_page = set(
        re.findall(r"`(\w+)`", text.split("| `dlr_web` |")[1].split(" and `worklist_place`")[1].split("|")[0])
    )
    assert counts[sees] == len(views - of_the_page - {"worklist_place"})


# --- the integrator's page


def example_job(version: int = 1) -> dict[str, Any]:
    jobs = [json.loads(block) for block in blocks(INTEGRATOR, "json")]
    [job] = [job for job in jobs if isinstance(job, dict) and "lesions" in job and job["schema_version"] == version]
    return job


def test_the_example_of_a_study_to_be_fetched_and_its_servers_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [json.loads(block) for block in blocks(INTEGRATOR, "json")]
    [request] = [one for one in found if isinstance(one, dict) and "lesions" not in one and "schema_version" in one]
    assert isinstance(parse_pushed(request), StudyRequest)
    [servers] = [one for one in found if isinstance(one, dict) and "schema_version" not in one]
    monkeypatch.setenv("DLR_PACS_SERVERS", json.dumps({name: servers[name] for name in ("pacs", "old")}))
    assert Settings().pacs.servers["old"].move_to == "DLR"


def test_the_example_job_follows_the_contract_and_shows_every_field() -> None:
    job = example_job()
    parse_job(job)
    assert set(job) == set(StudyJob.model_fields)
    text = INTEGRATOR.read_text()
    for path in ("sop_instance_uid", "frame", "roi", "birads", "descriptors"):
        assert f"| `lesions[].{path}` |" in text
    for name in set(StudyJob.model_fields):
        assert f"| `{name}` |" in text


def test_the_example_of_version_2_follows_it_and_shows_every_field() -> None:
    job = example_job(2)
    first, second = parse_job(job).marked
    assert set(job) == set(StudyJob.model_fields)
    assert set(job["lesions"][0]) == set(version_2.LesionJob.model_fields)
    assert (len(first.images), len(second.images)) == (2, 3)
    text = INTEGRATOR.read_text()
    for name in version_2.LesionJob.model_fields:
        assert f"| `lesions[].{name}` |" in text
    for name in version_2.ImageJob.model_fields:
        assert f"| `lesions[].images[].{name}` |" in text


def test_the_examples_of_a_lesions_file_become_jobs() -> None:
    files = [found for block in blocks(INTEGRATOR, "json") if isinstance(found := json.loads(block), list)]
    versions = []
    for file in files:
        version, lesions = in_version([on_instance(lesion, "1.2.3") for lesion in name_lesions(file)])
        parse_job({**example_job(), "schema_version": version, "lesions": lesions})
        versions.append(version)
    assert versions == [1, 2]


def run_example(code: str, redis_url: str, folder: Path) -> None:
    (folder / "job.json").write_text(json.dumps(example_job()))
    nothing_of_ours = "\nimport sys\nassert not {'worker', 'db'} & set(sys.modules)\n"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code + nothing_of_ours],
        env={**os.environ, "REDIS_URL": redis_url},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=patience(30),
        check=False,
    )
    assert done.returncode == 0, done.stderr


pushing = [block for block in blocks(INTEGRATOR, "python") if "REDIS_URL" in block]
examples = pytest.mark.parametrize("code", pushing, ids=["celery", "raw"])


@examples
def test_an_example_pushes_a_job_that_the_worker_reads(code: str, redis_url: str, tmp_path: Path) -> None:
    run_example(code, redis_url, tmp_path)
    with Redis.from_url(redis_url) as redis:
        [item] = redis.lrange("intake", 0, -1)
    message = read_message(item, LIMIT)
    assert (message.task, message.args, set(message.kwargs)) == (SUBMIT_STUDY, [], {"job"})
    assert parse_job(message.kwargs["job"]) == parse_job(example_job())


@examples
def test_an_example_works_as_the_sender_that_may_only_push(code: str, tmp_path: Path) -> None:
    [line] = [line for block in blocks(ADMINISTRATOR, "text") for line in block.splitlines() if "user sender" in line]
    password = "s" * 32
    hashed = hashlib.sha256(password.encode()).hexdigest()
    with composed_redis(tmp_path, more_users=line.replace("SHA256-OF-THE-PASSWORD", hashed) + "\n") as port:
        run_example(code, f"redis://sender:{password}@127.0.0.1:{port}/0", tmp_path)
        with Redis(port=port, username=USER, password=PASSWORD) as redis:
            assert redis.llen("intake") == 1
        with Redis(port=port, username="sender", password=password) as sender:
            for forbidden in (
                lambda: sender.lrange("intake", 0, -1),
                lambda: sender.rpop("intake"),
                lambda: sender.lpush("inference", "x"),
            ):
                with pytest.raises(Exception, match=r"(?i)no permission"):
                    forbidden()


def test_the_lists_of_the_priorities_are_the_brokers() -> None:
    channel = kombu_redis.Channel
    lists = dict(re.findall(r"^\| (\d)(?: to \d)? \| `(intake[^`]*)` \|$", INTEGRATOR.read_text(), re.MULTILINE))
    separator = channel.sep.encode("unicode_escape").decode()
    assert lists == {str(step): f"intake{separator}{step}" if step else "intake" for step in kombu_redis.PRIORITY_STEPS}


def test_the_queues_are_the_services() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(dlr\.\w+)`", INTEGRATOR.read_text(), re.MULTILINE)
    assert {task: queue for queue, task in rows}.items() <= QUEUE_OF_TASK.items()
    assert {queue for queue, _ in rows} == set(QUEUE_OF_TASK.values())


# --- numbers in words


@pytest.mark.parametrize(
    ("page", "sentence", "holds"),
    [
        ("docs/decisions/0006-no-celery-retries.md", "doubling up to 10 s", waiting.LONGEST_WAIT_S == 10),
        ("docs/administrator.md", "doubled up to five minutes", terms.LONGEST_WAIT_S == 300),
        ("docs/conformance.md", "doubles up to five minutes", terms.LONGEST_WAIT_S == 300),
        ("docs/administrator.md", "each destination within three minutes", SILENT_S == 180),
        ("docs/administrator.md", "back on the queue, after 5 seconds", reconciler.UNQUEUED_AFTER_S == 5),
        ("docs/administrator.md", "after 10 s is ended", connections.REQUEST_S == 10),
        ("docs/administrator.md", "not taken in two minutes", connections.ANSWER_S == 120),
        ("docs/integrator.md", "eventually every five minutes", quarantine.LONGEST_S == 300),
        ("docs/integrator.md", "asked again after 30 s", sender.UNASKED_S == 30),
        ("docs/integrator.md", "199 characters", hl7._LONGEST_STRING == 199),
        ("docs/integrator.md", "more than 20 characters", hl7._LONGEST_NAMESPACE == 20),
        ("docs/integrator.md", "more than a year away", age.TOLERANCE_YEARS == 1),
        ("docs/watching.md", "7 seconds at most", exporter.SCRAPE_S == 7),
        ("docs/watching.md", "once a minute (`totals`), drift every five", exporter.TOTALS_KEPT_S == 60),
        ("docs/decisions/0010-a-message-is-taken-in-one-step.md", "every 20 ms", transport.LOOK_INTERVAL_S == 0.02),
        ("SECURITY.md", "Argon2, twelve characters", accounts.SHORTEST_PASSWORD == 12),
        (
            "SECURITY.md",
            "a quarter of the 256 places",
            connections.CONNECTIONS == 4 * connections.OF_ONE_ADDRESS == 256,
        ),
    ],
)
def test_a_number_in_words_is_the_code_s(page: str, sentence: str, holds: bool) -> None:
    assert sentence in " ".join((ROOT / page).read_text("utf-8").split())
    assert holds, sentence


def test_no_module_of_the_database_says_that_it_holds_every_read_or_write() -> None:
    """Each names what it is for; a sentence about all of them is soon not true."""
    first = {path.name: path.read_text("utf-8").split("\n", 1)[0] for path in (ROOT / "db").glob("*.py")}
    assert not [name for name, line in first.items() if re.search(r"(?i)every (read|write) of the ledger", line)]


# --- the administrator's and the installation page


def test_the_rights_of_the_redis_user_are_the_ones_that_are_tested() -> None:
    [line] = [line for block in blocks(ADMINISTRATOR, "text") for line in block.splitlines() if f"user {USER} " in line]
    assert line == f"user {USER} on #SHA256-OF-THE-PASSWORD {RULES}"


def test_the_commands_for_the_secrets_make_each_secret_of_the_compose_file_once(tmp_path: Path) -> None:
    [block] = [block for block in blocks(INSTALL, "sh") if "openssl" in block]
    runs = []
    for _ in range(2):
        subprocess.run(["sh", "-euc", block], cwd=tmp_path, check=True)
        runs.append({path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()})
    made = runs[0]
    assert made == runs[1]
    assert set(made) == set(COMPOSE["secrets"])
    assert made.pop("dlr_dicomweb_servers") == "{}\n"
    assert len(set(made.values())) == len(made)
    assert all(len(text.strip()) >= 32 for text in made.values())
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700


def test_the_page_names_each_secret() -> None:
    rows = re.findall(r"^\| `(\w+_(?:password|secret|servers))` \|", INSTALL.read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(COMPOSE["secrets"])


def test_the_page_names_each_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    rows = INSTALL.read_text("utf-8").split("| extra | for |")[1].split("\n\n")[0]
    named = set(re.findall(r"`([a-z]+)`", " ".join(row.split("|")[1] for row in rows.splitlines() if "|" in row)))
    assert named == set(project["optional-dependencies"])


def test_the_ports_are_the_settings() -> None:
    rows = re.findall(r"^\| [^|]+ \| (\d+) \| `DLR_(\w+)` \|$", ADMINISTRATOR.read_text("utf-8"), re.MULTILINE)
    assert len(rows) == 6
    assert all(Settings.model_fields[name.lower()].default == int(port) for port, name in rows)


def test_each_compose_variable_that_is_named_is_in_the_file() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    variables = r"\b(?:BIND_[A-Z]+|STORAGE_DIR|RECEIVE_CALLERS|LISTEN_[A-Z]+|PERFORM_[A-Z_]+|WEB_HOSTS|WEB_TIME_ZONE)\b"
    named = set(re.findall(variables, INSTALL.read_text()))
    assert named == set(re.findall(r"\$\{([A-Z_]+)", text))


def test_each_service_that_a_docker_command_names_is_in_the_file() -> None:
    for page in (INSTALL, ADMINISTRATOR):
        named = re.findall(r"docker compose (?:exec|run --rm|restart|logs --since \w+) ([a-z]+)", page.read_text())
        assert set(named) <= set(COMPOSE["services"])


def test_the_services_for_several_gpus_are_one_a_gpu() -> None:
    [block] = [one for one in blocks(INSTALL, "yaml") if "device_ids" in one]
    text = (ROOT / "docker-compose.yml").read_text()
    services = yaml.safe_load(text.split("\nservices:\n")[0] + "\nservices:\n" + block)["services"]
    gpus = [one["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"] for one in services.values()]
    assert gpus == [["0"], ["1"]]
    usual = COMPOSE["services"]["inference"]
    for service in services.values():
        assert {**service, "deploy": usual["deploy"]} == usual


def test_the_service_that_fetches_is_one_that_there_is_with_what_it_lacks() -> None:
    [block] = [yaml.safe_load(one) for one in blocks(INSTALL, "yaml") if one.startswith("services:")]
    [(name, changed)] = block["services"].items()
    assert json.loads(changed["environment"]["DLR_PACS_SERVERS"])
    assert set(changed["secrets"]) <= set(COMPOSE["secrets"])
    assert changed["networks"] == ["outside"]
    [storage], [usual] = changed["volumes"], COMPOSE["services"][name]["volumes"]
    assert (storage["target"], usual["read_only"]) == (usual["target"], True)


def write_tables() -> None:
    for name, (page, table) in TABLES.items():
        before, _, after = between_markers(name)
        page.write_text(f"{before}{table()}\n{after}", "utf-8")


if __name__ == "__main__":
    write_tables()


QUERY = re.compile(r"^((?: {4})?)(SELECT\b.*?;)$", re.MULTILINE | re.DOTALL)
QUERIES = [
    pytest.param(found[2], page.read_text("utf-8")[: found.start()], id=f"{page.name}: {found[2][:60]}")
    for page in sorted(DOCS.glob("*.md"))
    for found in QUERY.finditer(page.read_text("utf-8"))
]


def role_of(before: str) -> str:
    """Return the role that a query is for: the one that the paragraph before it names, or else readers'."""
    paragraph = before.removesuffix("```sql\n").rstrip().rpartition("\n\n")[2]
    named = re.findall(r"is for\s+`(dlr_\w+)`", paragraph)
    return named[-1] if named else "dlr_reader"


@pytest.mark.parametrize(("query", "before"), QUERIES)
def test_every_query_is_allowed_to_the_role_that_it_is_for(database: Database, query: str, before: str) -> None:
    url = {"dlr_reader": database.reader_url, "dlr_writer": database.writer_url}[role_of(before)]
    engine = make_engine(url, role=None, poolclass=NullPool)
    with engine.connect() as connection:
        for statement in query.replace("'...'", f"'{uuid4()}'").split(";\n"):
            connection.exec_driver_sql(statement)


def test_the_queries_are_found_and_one_that_readers_may_not_run_says_for_whom_it_is() -> None:
    assert len(QUERIES) > 10
    assert {role_of(str(one.values[1])) for one in QUERIES if "study_event" in str(one.values[0])} == {"dlr_writer"}
