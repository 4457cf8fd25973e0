"""Whom an OpenID provider or a proxy vouches for: their name, and the role that a group of theirs has."""

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from worker.errors import Code, SetupRefused
from worker.web.accounts import WebRole

LONGEST_NAME: Final = 64


class Vouched(NamedTuple):
    """Somebody whom another system knows.

    Attributes:
        name: as it stands beside their verdicts.
        role: ``None``: none of their groups has one, and they see nothing.
    """

    name: str
    role: WebRole | None


def roles_of(setting: str) -> Mapping[str, WebRole]:
    """Read ``DLR_WEB_ROLES``: ``GROUP=ROLE``, separated by commas; of somebody in several, the first one counts.

    Raises:
        SetupRefused: ``setting_invalid``.
    """
    roles: dict[str, WebRole] = {}
    for pair in filter(None, (part.strip() for part in setting.split(","))):
        group, _, role = (part.strip() for part in pair.rpartition("="))
        if not group or role not in set(WebRole):
            reason = f"DLR_WEB_ROLES: {pair!r} is not GROUP=ROLE, with one of the roles {', '.join(WebRole)}"
            raise SetupRefused(Code.SETTING_INVALID, reason)
        roles.setdefault(group, WebRole(role))
    return roles


def vouched(name: object, groups: Collection[str], roles: Mapping[str, WebRole]) -> Vouched | None:
    """Return who it is; ``None``: what is said to be a name is none."""
    if not isinstance(name, str) or not (name := name.strip()) or not name.isprintable() or len(name) > LONGEST_NAME:
        return None
    return Vouched(name, next((role for group, role in roles.items() if group in groups), None))
