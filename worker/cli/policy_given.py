"""A policy of reading order as it is given to a command: the label of one that is built in, or a file."""

from pathlib import Path

from worker.clinical.reading_order.policy import BUILT_IN, LARGEST_FILE, Policy, PolicyRefused, built_in, parse_policy
from worker.errors import Code, SetupRefused


def policy_given(given: str) -> Policy:
    """Return the policy that a label names, or that a TOML file holds.

    Raises:
        SetupRefused: ``policy_invalid``: there is no such file, or it is no policy; every problem is named.
    """
    if given in BUILT_IN:
        return built_in(given)
    try:
        with Path(given).open("rb") as file:
            content = file.read(LARGEST_FILE + 1).decode("utf-8")
    except (OSError, UnicodeDecodeError):
        reason = f"{given} is neither {' nor '.join(BUILT_IN)}, nor a file that can be read"
        raise SetupRefused(Code.POLICY_INVALID, reason) from None
    try:
        return parse_policy(content)
    except PolicyRefused as refused:
        raise SetupRefused(Code.POLICY_INVALID, "; ".join(refused.problems)) from None
