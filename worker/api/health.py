"""``/healthz``: this process answers. ``/readyz``: studies can be taken and asked for."""

from fastapi import APIRouter, Response
from redis.exceptions import RedisError
from sqlalchemy import text

from db.outages import DATABASE_AWAY
from worker.api.answers import Ready
from worker.api.service import Service, ServiceDep

router = APIRouter(tags=["probes"])


@router.get("/healthz", status_code=204, summary="Whether the process answers")
def alive() -> Response:
    """Answer, whatever is away."""
    return Response(status_code=204)


@router.get("/readyz", summary="Whether studies can be taken", responses={503: {"model": Ready}})
def ready(response: Response, service: ServiceDep) -> Ready:
    """Ask both servers. Without Redis, studies are taken all the same."""
    found = Ready(postgresql=_postgresql(service), redis=_redis(service))
    response.status_code = 200 if found.postgresql else 503
    return found


def _postgresql(service: Service) -> bool:
    try:
        for sessions in (service.writing, service.reading):
            with sessions() as session:
                session.execute(text("SELECT 1"))
    except DATABASE_AWAY:
        return False
    return True


def _redis(service: Service) -> bool:
    try:
        return bool(service.keys.redis.ping())
    except RedisError:
        return False
