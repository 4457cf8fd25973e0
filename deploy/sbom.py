"""Write what each image is made of: `build/sbom/IMAGE.cdx.json` (CycloneDX 1.5) and `build/sbom/IMAGE.licences.csv`.

    python deploy/sbom.py [FOLDER]

The distributions, their hashes and who needs whom are the lock's. A licence is what a distribution's own metadata says
(the field License-Expression, else License, else its classifiers), read where it is installed: `make install` first.
"""

import csv
import json
import re
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from deploy.locked import NO_ADDRESS, ROOT, export

DOCKERFILE = ROOT / "Dockerfile"
NOT_SAID = "not said in its metadata"


def images() -> dict[str, list[str]]:
    """Return the extras of each image, as the Dockerfile exports them."""
    exported = re.findall(r"locked\.py export ([a-z ]+?) > /wheels/(\w+)\.txt", DOCKERFILE.read_text("utf-8"))
    return {image: extras.split() for extras, image in exported}


def licence_of(name: str) -> str | None:
    """Return the licence of an installed distribution; ``None``: it is not installed here."""
    try:
        said = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return None
    classified = [
        line.rpartition(" :: ")[2] for line in said.get_all("Classifier", []) if line.startswith("License ::")
    ]
    free_text = said.get("License") or ""
    first_line = free_text.strip().partition("\n")[0] if len(free_text) < 200 else ""
    return said.get("License-Expression") or first_line or "; ".join(classified) or NOT_SAID


def bill_of(extras: Sequence[str]) -> dict[str, Any]:
    """Return the bill of materials of an image, with licences."""
    bill: dict[str, Any] = json.loads(export(extras, "cyclonedx1.5").replace(f"?repository_url={NO_ADDRESS}", ""))
    for component in bill["components"]:
        licence = licence_of(component["name"])
        component["licenses"] = [{"license": {"name": licence or "not installed where this was written"}}]
        for reference in component.get("externalReferences", []):
            reference["url"] = reference["url"].removeprefix(f"{NO_ADDRESS}/")
    return bill


def main(arguments: Sequence[str]) -> int:
    """Write both files of each image."""
    folder = Path(arguments[0]) if arguments else ROOT / "build" / "sbom"
    folder.mkdir(parents=True, exist_ok=True)
    for image, extras in images().items():
        bill = bill_of(extras)
        (folder / f"{image}.cdx.json").write_text(json.dumps(bill, indent=1) + "\n", "utf-8")
        with (folder / f"{image}.licences.csv").open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["distribution", "version", "licence"])
            for one in bill["components"]:
                rows.writerow([one["name"], one["version"], one["licenses"][0]["license"]["name"]])
        print(f"{folder / image}.cdx.json: {len(bill['components'])} distributions")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
