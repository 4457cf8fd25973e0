"""The two models: networks, cards with their thresholds, the registry, and the engine that runs both on a device."""

import os
import sys

# Torch's threads spin while they wait for each other. On a machine that has anything else to do, such as PostgreSQL
# beside the worker, they then wait for threads that are not running, which measured four times slower. Asleep they do
# not. libgomp reads this once, when torch is first imported, which is always after this package.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# OpenVINO reports to its maker that it was imported, where this package is there; without it, it does not.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
