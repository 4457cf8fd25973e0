"""Which server has the studies that an order or a work item names."""

from worker.errors import Code, SetupRefused
from worker.settings import Settings


def fetched_from(settings: Settings, variable: str, named: str | None) -> dict[str, str]:
    """Return the server as a job has it: the one that is named, else the only one that there is.

    Args:
        settings: what is set.
        variable: which names it.
        named: its value.

    Raises:
        SetupRefused: ``setting_invalid``; there is none of that name, or several and none is named.
    """
    servers = [("pacs", name) for name in settings.pacs_servers]
    servers += [("dicomweb", name) for name in settings.dicomweb_servers]
    found = [one for one in servers if named in (None, one[1])]
    if len(found) != 1:
        reason = f"{variable}: name one server of DLR_PACS_SERVERS or DLR_DICOMWEB_SERVERS to fetch studies from"
        raise SetupRefused(Code.SETTING_INVALID, reason)
    return {"kind": found[0][0], "server": found[0][1]}
