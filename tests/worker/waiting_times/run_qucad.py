"""Runs the FDA's QuCAD on settings, and prints its figures as JSON: ``qucad.json`` is made of them.

QuCAD is not part of this repository. It needs an interpreter with the packages that its ``requirements.txt`` names::

    git clone https://github.com/DIDSR/QuCAD
    PYTHON run_qucad.py QuCAD SETTINGS.json > qucad.json

SETTINGS.json: a list of what ``qucad.json`` has under ``setting``.
"""

import json
import math
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

CLASSES = ("interrupting", "positive", "negative")


def figures(setting: dict[str, Any]) -> dict[str, Any]:
    """Return what QuCAD calculates for a setting, and what it finds in one of its trials: mean waits in minutes."""
    import AI
    import numpy as np
    from tools import inputHandler, simulator

    # On Python 3.10 and above factorials of floats, which QuCAD's closed forms take, are errors.
    np.math = types.SimpleNamespace(factorial=lambda number: math.factorial(int(number)))
    np.random.seed(setting["seed"])
    device = AI.AI.build_from_opThresh("a device", setting["sensitivity"], setting["specificity"])
    minutes = {"diseased": "diseased_minutes", "non-diseased": "other_minutes", "interrupting": "interrupting_minutes"}
    params = inputHandler.add_params(device, {
        "traffic": setting["traffic"], "prevalence": setting["prevalence"], "nRadiologists": setting["readers"],
        "fractionED": setting["interrupting"], "TPFThresh": setting["sensitivity"],
        "meanServiceTimes": {name: setting[key] for name, key in minutes.items()},
        "nTrials": 1, "nPatientsTarget": setting["patients"], "qtypes": inputHandler.qtypes,
        "nPatientsPads": inputHandler.nPatientsPads, "startTime": inputHandler.startTime, "verbose": False,
    })  # fmt: skip
    trial = simulator.simulator()
    trial.set_params(params)
    trial.track_log = False
    trial.simulate_queue(device)
    theory = params["theory"]
    return {
        "setting": setting,
        "without_device": {
            "calculated": {
                "interrupting": theory["interrupting"]["waitTimeWithoutCADt"],
                "positive": theory["non-interrupting"]["waitTimeWithoutCADt"],
                "negative": theory["non-interrupting"]["waitTimeWithoutCADt"],
            },
            "simulated": means(trial.waiting_time_dataframe, "fifo"),
        },
        "with_device": {
            "calculated": {name: theory[name]["waitTimeWithCADt"] for name in CLASSES},
            "simulated": means(trial.waiting_time_dataframe, "preresume"),
        },
    }


def means(waits: Any, scenario: str) -> dict[str, float]:
    """Return the mean wait of each class in a scenario."""
    rest = waits[~waits.is_interrupting]
    of_class = (waits[waits.is_interrupting], rest[rest.is_positive], rest[~rest.is_positive])
    return {name: float(rows[scenario].mean()) for name, rows in zip(CLASSES, of_class, strict=True) if len(rows)}


def main(checkout: Path, settings: Path) -> None:
    """Run QuCAD from its own folder, as it asks to be run."""
    scripts = checkout / "scripts"
    sys.path[:0] = [str(scripts), str(scripts / "tools")]
    commit = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    )
    found = [figures(setting) for setting in json.loads(settings.read_text("utf-8"))]
    for one in found:
        for scenario in ("without_device", "with_device"):
            one[scenario]["calculated"] = {
                name: value for name, value in one[scenario]["calculated"].items() if name in one[scenario]["simulated"]
            }
    document = {"software": "https://github.com/DIDSR/QuCAD", "commit": commit.stdout.strip(), "figures": found}
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
