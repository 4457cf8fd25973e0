"""What a setting needs that is not installed everywhere."""

from importlib.util import find_spec

from worker.errors import Code, SetupRefused


def require_extra(package: str, extra: str, setting: str) -> None:
    """Make sure that a package of an extra is there.

    Raises:
        SetupRefused: ``setting_invalid``; it is not.
    """
    try:
        found = find_spec(package) is not None
    except ModuleNotFoundError:  # one of the packages above it
        found = False
    if not found:
        reason = f"{setting} needs the extra `{extra}`: pip install 'dlr-worker[{extra}]'"
        raise SetupRefused(Code.SETTING_INVALID, reason)
