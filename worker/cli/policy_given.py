"""A policy of reading order as it is given to a command: the label of one that is built in, or a file."""

from pathlib import Path

from worker.clinical.reading_order.policy import (
    BUILT_IN,
    LARGEST_FILE,
    Policy,
    PolicyRefused,
    built_in_document,
    parse_policy,
)
from worker.errors import Code, SetupRefused


def policy_given(policy: str) -> tuple[Policy, str]:
    """Return the policy that a label names, or that a TOML file holds, and the document.

    Raises:
        SetupRefused: ``reading_order_invalid``: there is no such file, or it is no policy; every problem is named.
    """
    if policy in BUILT_IN:
        document = built_in_document(policy)
        return parse_policy(document), document
    try:
        with Path(policy).open("rb") as file:
            document = file.read(LARGEST_FILE + 1).decode("utf-8-sig")
        return parse_policy(document), document
    except (OSError, UnicodeDecodeError) as error:
        kind = getattr(error, "strerror", None) or "it is not UTF-8"
        built_in = ", ".join(BUILT_IN)
        reason = f"{policy} cannot be read: {kind}; built in are {built_in}"
        raise SetupRefused(Code.READING_ORDER_INVALID, reason) from None
    except PolicyRefused as refused:
        raise SetupRefused(Code.READING_ORDER_INVALID, f"{policy}: {'; '.join(refused.problems)}") from None
