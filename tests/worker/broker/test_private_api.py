"""Which private names of kombu and Celery the broker relies on: with another release, each is read again."""

import ast
import inspect
import re
import tomllib
from pathlib import Path
from types import ModuleType

import celery.worker.consumer.consumer as celery_consumer
import celery.worker.request as celery_request
import kombu.transport.redis as kombu_redis
import kombu.transport.virtual.base as kombu_virtual
import pytest

import worker
from worker.broker import consumer, transport

KOMBU = {
    "_brpop_read": "reads the answer to what `_brpop_start` asked",
    "_brpop_sent_at": "when it asked, by which kombu tells a connection that hangs",
    "_brpop_start": "asks for the next messages",
    "_connparams": "how a client connects",
    "_create_client": "makes a client",
    "_deliver": "hands a message to who consumes its queue",
    "_delivered": "the messages that are not acknowledged, by their tags",
    "_flush_brpop_reauth": "signs in anew what had to wait for the answer",
    "_in_poll": "the connection on which an answer is waited for",
    "_q_for_pri": "the list of a queue and a priority",
    "_queue_bind": "writes down who reads a queue",
    "_queue_cycle": "whose turn it is, of the queues",
    "_refresh_bindings": "writes it down again",
}
CELERY = {"_flush_events": "sends the events that have gathered"}
UNDOCUMENTED = {
    kombu_redis.Channel: ["conn_or_acquire", "priority_steps", "active_queues", "connection_class_ssl"],
    kombu_redis.QoS: ["restore_visible", "restore_unacked_once", "unacked_index_key", "visibility_timeout"],
    kombu_redis.Transport: ["register_with_event_loop"],
    celery_consumer.Consumer: [
        "ensure_connected",
        "on_connection_error_after_connected",
        "on_connection_error_before_connected",
        "on_send_event_buffered",
    ],
    celery_request.Request: ["send_event"],
}
"""Public by their names, and in no documentation."""

PACKAGE = Path(worker.__file__).parent


def private_names(module: ModuleType) -> set[str]:
    """The private names that a module uses on an object, but for those that its own classes make."""
    tree = ast.parse(inspect.getsource(module))
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    made = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    made |= {
        target.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for whole in (node.targets if isinstance(node, ast.Assign) else [node.target])
        for target in ast.walk(whole)
        if isinstance(target, ast.Attribute)
    }
    theirs = inspect.getsource(kombu_redis) + inspect.getsource(celery_consumer)
    ours = {name for name in made if not re.search(rf"\b{name}\b", theirs)}
    return {name for name in used - ours if name.startswith("_") and not name.startswith("__")}


def test_no_other_private_name_is_relied_on() -> None:
    assert private_names(transport) == set(KOMBU)
    assert private_names(consumer) == set(CELERY)


@pytest.mark.parametrize("name", KOMBU)
def test_kombu_has_it(name: str) -> None:
    assert name in inspect.getsource(kombu_redis) + inspect.getsource(kombu_virtual)


@pytest.mark.parametrize("name", CELERY)
def test_celery_has_it(name: str) -> None:
    assert hasattr(celery_consumer.Consumer, name)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in UNDOCUMENTED.items() for name in names])
def test_what_no_documentation_names_is_there(kind: type, name: str) -> None:
    assert hasattr(kind, name)


def test_the_releases_that_have_them_are_bounded() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text("utf-8"))["project"]
    assert {"celery[redis]>=5.7,<5.8", "kombu>=5.7,<5.8"} <= set(project["dependencies"])


def test_one_room_alone_knows_how_celery_and_kombu_work_inside() -> None:
    inside = ("kombu.transport", "celery.worker")
    rooms = {
        file.relative_to(PACKAGE).parts[0]
        for file in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(inside)
    }
    assert rooms == {"broker"}
