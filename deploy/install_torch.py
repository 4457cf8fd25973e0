"""Install PyTorch ahead of the rest: on a machine without an NVIDIA GPU the build for CPUs, which leaves CUDA out.

PyPI's torch brings CUDA, gigabytes that such a machine never uses; PyTorch's own index has a build without it. Where
that index does not answer in time nothing is installed here, and torch comes from pip's usual index, with the rest.
A torch that is installed and new enough stays.

    python deploy/install_torch.py            # keep what is installed, or decide
    python deploy/install_torch.py default    # leave it to pip's usual index
    python deploy/install_torch.py URL        # take it from this index

Run it with the interpreter of the environment to install into. It needs the standard library and pip.
"""

import os
import platform
import re
import shutil
import ssl
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from http.client import HTTPException
from importlib import metadata
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import NamedTuple
from urllib.request import Request, urlopen

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
USUAL_INDEX = "pip's usual index"
PROBE_S = 5.0
PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
LOCK = PYPROJECT.with_name("uv.lock")
GPU_DRIVER = Path("/dev/nvidiactl")


class Choice(NamedTuple):
    """Where torch comes from."""

    index: str | None
    """``None``: pip's usual index."""
    reason: str


def requirements() -> dict[str, str]:
    """Return what the extra ``worker`` asks of torch and torchvision: each name with its requirement."""
    lines = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]["optional-dependencies"]["worker"]
    return {name: line for line in lines if (name := line.partition(">=")[0]) in ("torch", "torchvision")}


def locked() -> list[str]:
    """Return both packages in the versions that the lock has."""
    packages = tomllib.loads(LOCK.read_text("utf-8"))["package"]
    return [f"{one['name']}=={one['version']}" for one in packages if one["name"] in requirements()]


def installed() -> str | None:
    """Return the version of torch if it and torchvision are installed, both new enough."""
    versions = {}
    for name, requirement in requirements().items():
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            return None
        if _numbers(versions[name]) < _numbers(requirement.partition(">=")[2]):
            return None
    return versions["torch"]


def choose(asked: str | None, cpu_index: str = CPU_INDEX, within_s: float = PROBE_S) -> Choice:
    """Choose the index; one that was asked for is not probed."""
    if asked:
        return Choice(None if asked == "default" else asked, "as asked")
    if GPU_DRIVER.exists() or shutil.which("nvidia-smi"):
        return Choice(None, "there is an NVIDIA GPU")
    fault = probe(cpu_index, within_s)
    if fault:
        return Choice(None, f"no NVIDIA GPU, but {cpu_index}: {fault}")
    return Choice(cpu_index, "no NVIDIA GPU")


def probe(index: str, within_s: float) -> str | None:
    """Return why an index cannot be used, or ``None``: it lists a torch that fits, for this Python and processor.

    The time covers the whole answer, the look-up of the name included, which no timeout of a socket does.
    """
    answers: Queue[str | Exception] = Queue()
    Thread(target=_ask, args=(f"{index.rstrip('/')}/torch/", within_s, answers), daemon=True).start()
    try:
        answer = answers.get(timeout=within_s)
    except Empty:
        return f"no answer within {within_s:g} s"
    if isinstance(answer, Exception):
        reason = str(answer).removeprefix("<urlopen error ").removesuffix(">")
        return " ".join(reason.split()) or type(answer).__name__
    wanted = requirements()["torch"]
    return None if lists_wheel(answer, wanted) else f"no wheel of {wanted} for this Python"


def _ask(url: str, timeout_s: float, answers: "Queue[str | Exception]") -> None:
    try:
        # A site's proxy may have a certificate that pip alone was told of.
        context = ssl.create_default_context(cafile=os.environ.get("PIP_CERT"))
        request = Request(url, headers={"User-Agent": "dlr-worker", "Accept": "text/html"})  # noqa: S310
        with urlopen(request, timeout=timeout_s, context=context) as answer:  # noqa: S310  an index, as pip reads it
            answers.put(answer.read().decode("utf-8", "replace"))
    except (OSError, HTTPException, ValueError) as error:
        answers.put(error)


def lists_wheel(page: str, requirement: str) -> bool:
    """Whether a page of an index has a link to a build for CPUs that this interpreter can install."""
    name, _, least = requirement.partition(">=")
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    wheel = rf"{name}-([\d.]+)(?:\+|%2B)cpu-{python}-{python}-\w*{platform.machine()}\.whl"
    return any(_numbers(version) >= _numbers(least) for version in re.findall(wheel, page))


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version.partition("+")[0])]


def install(index: str) -> bool:
    """Install torch and torchvision from an index, in the lock's versions and alone; whether that worked.

    What they need comes with the rest, by its hash. Their own files are not in the lock, which has the usual index's.
    """
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off", "--no-deps"]
    return subprocess.run([*pip, "--index-url", index, *locked()], check=False).returncode == 0


def main(arguments: Sequence[str]) -> int:
    """Choose, say so in one line, and install. A choice of our own that fails is no error: pip goes on without it."""
    asked = arguments[0] if arguments else None
    if not asked and (version := installed()):
        print(f"torch: {version} is installed", flush=True)
        return 0
    choice = choose(asked)
    print(f"torch: from {choice.index or USUAL_INDEX} ({choice.reason})", flush=True)
    if choice.index is None or install(choice.index):
        return 0
    if asked:
        return 1
    print(f"torch: from {USUAL_INDEX} ({choice.index} failed)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
