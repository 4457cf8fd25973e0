"""Policies of two tiers, for the tests to change."""

HEAD = """\
name = "site"
version = 3
title = "Of our site"
description = "Ours."
before_all = ["stat"]
"""

FIRST = """
[[tier]]
name = "first"
title = "First"
step_priority = "HIGH"
order = ["priority", "probability"]

[[tier.rule]]
category = ["5"]
reason = "its category"
"""

REST = """
[[tier]]
name = "rest"
title = "The rest"
step_priority = "MEDIUM"
order = []

[[tier.rule]]
reason = "it is none of the others"
"""

SITE = HEAD + FIRST + REST


def first_rule(conditions: str, *, order: str = '["priority", "probability"]') -> str:
    """The site's policy, with other conditions of the first rule."""
    changed = FIRST.replace('category = ["5"]', conditions).replace('["priority", "probability"]', order)
    return HEAD + changed + REST
