"""Looks at the components: all of them for a person, or those that a probe asks for.

Every look is bounded: a server that hangs is as good as none after a few seconds.
"""

from collections.abc import Sequence

from worker import __version__
from worker.doctor.component import Component, Health, Look, look_at
from worker.doctor.installation import device, flower, models, page, performer, receiver, storage
from worker.doctor.postgresql import delivery, postgres, postgres_and_pooler, reading_order, schema, studies
from worker.doctor.redis import queues, redis, worker_called, workers
from worker.settings import Settings


def servers(settings: Settings) -> list[Component]:
    """Look at what a study needs to be accepted and kept: PostgreSQL, its schema, Redis."""
    return _servers(settings, postgres)


def everything(settings: Settings) -> list[Component]:
    """Look at all components, the software itself first."""
    others: Sequence[tuple[str, Look]] = (
        ("queues", queues),
        ("studies", studies),
        ("reading order", reading_order),
        ("workers", workers),
        ("models", models),
        ("device", device),
        ("storage", storage),
        ("Flower", flower),
        ("worklist page", page),
        ("delivery", delivery),
        ("work items", performer),
    )
    software = Component("dlr-worker", Health.OK, __version__, f"DLR_HOME {settings.home}")
    return [
        software,
        *_servers(settings, postgres_and_pooler),
        *(look_at(name, look, settings) for name, look in others),
    ]


def _servers(settings: Settings, of_postgres: Look) -> list[Component]:
    looks: Sequence[tuple[str, Look]] = (("PostgreSQL", of_postgres), ("schema", schema), ("Redis", redis))
    return [look_at(name, look, settings) for name, look in looks]


def worker_answers(name: str, settings: Settings) -> Component:
    """Ask a worker of this host, by its name, whether it is at its work; it answers through Redis."""
    return look_at(f"worker {name}", lambda _: worker_called(name, settings), settings)


def receiver_answers(settings: Settings) -> Component:
    """Ask the `dlr receive` of this host whether it answers."""
    return look_at("receiver", receiver, settings)
