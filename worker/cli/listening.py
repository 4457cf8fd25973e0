"""``dlr listen``: orders and notifications by HL7."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from worker.cli.incoming import ready
from worker.cli.output import print_json, say
from worker.cli.services import look_at_redis
from worker.errors import Code, SetupRefused
from worker.extras import require_extra
from worker.orders.order_map import OrderMap, default_map, default_text, read_map
from worker.settings import get_settings


def listen(
    map_file: Annotated[
        Path | None, typer.Option("--map", help="TOML file: which field means what (default: DLR_LISTEN_MAP)")
    ] = None,
    check: Annotated[
        Path | None, typer.Option("--check", help="Say what a message in a file would become, and exit", metavar="FILE")
    ] = None,
    print_map: Annotated[bool, typer.Option("--default-map", help="Print the default map, to copy, and exit")] = False,
) -> None:
    """Receive orders and notifications by HL7 v2 over MLLP, and queue the study that each asks for.

    ORM^O01, OMI^O23 and ORU^R01 are read. A message that says that a study is ready becomes a job, by which the study
    is fetched from its PACS by accession number; it is answered AA once the job is in Redis. What cannot be read is
    answered AR, and its record is in `dlr failed list`. SIGTERM or Ctrl-C stops the listener.
    """
    if print_map:
        sys.stdout.write(default_text())
        return
    settings = get_settings()
    path = map_file or settings.listen_map
    told = default_map() if path is None else read_map(path)
    if check is not None:
        _check(check, told)
        return
    from worker.broker.connections import connect
    from worker.orders.inbound_queue import InboundQueue
    from worker.orders.listener import Listener
    from worker.orders.listener import listen as serve
    from worker.orders.listener_config import listener_config_of
    from worker.outages.retry import stopping

    config = listener_config_of(settings, told)
    url = settings.require_redis_url()
    ready()
    look_at_redis(settings)
    queue = InboundQueue(connect(url), settings.redis_key_prefix)
    where = lambda host, port: say(f"listening at {host}:{port}")  # noqa: E731
    asyncio.run(serve(Listener(config, queue), where, stopping.is_set))


def _check(file: Path, told: OrderMap) -> None:
    from worker.orders.order import header_of, is_read, job_of, read_message

    require_extra("listen", "`dlr listen`")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise SetupRefused(Code.SETTING_INVALID, f"{file}: the message cannot be read: {error.strerror}") from None
    message = read_message(content.strip(b"\x0b\x1c\r\n"))
    kind = header_of(message).kind
    if not is_read(kind):
        raise SetupRefused(Code.SETTING_INVALID, f"{file}: this type of message is not read")
    job = job_of(message, kind, {"kind": "pacs", "server": "SERVER"}, told)
    if job is None:
        say("acknowledged, and nothing follows: the message does not say that a study is ready")
    else:
        print_json(job)
