"""Torch is first imported through the package, as in service."""

import worker.inference  # noqa: F401
