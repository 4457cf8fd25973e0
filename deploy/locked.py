"""Install what `uv.lock` names, each file by its hash, with pip and from whichever index a site uses.

    python deploy/locked.py install all           # into the environment of this interpreter, and the product with it
    python deploy/locked.py export web metrics    # print the requirements of some extras, for an image
    python deploy/locked.py update                # renew the lock: the newest releases that pyproject.toml allows

uv resolves and reads the lock, pip installs: it knows a site's mirror, proxy and certificate. The lock holds no
address, so no index is preferred. A torch of another index than pip's usual one (deploy/install_torch.py) stays as it
is: its file is not in the lock, its version is.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "uv.lock"
TOOLS = ROOT / "deploy" / "build-tools.txt"
"""uv, and what builds the wheel, with their hashes."""

NO_ADDRESS = "https://index.invalid"
PIP = [sys.executable, "-m", "pip"]
QUIETLY = ["--disable-pip-version-check", "--progress-bar", "off", "--no-deps"]
OF_TORCH = re.compile(r"(torch|torchvision|triton|nvidia-.+|cuda-.+)==")
"""What a build of torch for CPUs leaves out or brings itself."""


def uv(*arguments: str) -> str:
    """Run uv in the project; return what it prints."""
    return subprocess.run(
        [sys.executable, "-m", "uv", *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def export(extras: Sequence[str], form: str = "requirements.txt") -> str:
    """Return what the lock has for some extras, all of it with markers and hashes. No network is needed."""
    return _export("--format", form, *(word for extra in extras for word in ("--extra", extra)))


def _export(*chosen: str) -> str:
    given = ("--frozen", "--offline", "--quiet", "--no-header", "--no-annotate", "--no-emit-project")
    return uv("export", *given, *chosen)


def entries(requirements: str) -> Iterator[str]:
    """Yield each requirement with its hashes, which are lines of their own."""
    yield from re.findall(r"^[^\s#].*(?:\n[ \t].*)*\n?", requirements, re.MULTILINE)


def to_install(requirements: str) -> str:
    """Leave torch and what it needs of CUDA out where a build of another index is installed: ``2.14.1+cpu``."""
    try:
        is_another_build = "+" in metadata.version("torch")
    except metadata.PackageNotFoundError:
        is_another_build = False
    return "".join(one for one in entries(requirements) if not (is_another_build and OF_TORCH.match(one)))


def install(extras: Sequence[str]) -> None:
    """Install the lock's distributions for some extras, and the product itself, editable."""
    _pip("--require-hashes", "-r", str(TOOLS))
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(to_install(export(extras)))
        file.flush()
        _pip("--require-hashes", "-r", file.name)
    _pip("--no-build-isolation", "--editable", str(ROOT))
    subprocess.run([*PIP, "--disable-pip-version-check", "check"], check=True, stdout=subprocess.DEVNULL)


def update() -> None:
    """Resolve anew, and take every address out of the lock: an index is the site's choice."""
    before = LOCK.read_text("utf-8") if LOCK.exists() else ""
    LOCK.unlink(missing_ok=True)
    try:
        uv("lock", "--quiet")
    except subprocess.CalledProcessError:
        LOCK.write_text(before, "utf-8")
        raise
    LOCK.write_text(without_addresses(LOCK.read_text("utf-8")), "utf-8")
    TOOLS.write_text(
        f"# Written by `make update` from uv.lock: the group `build`.\n{_export('--only-group', 'build')}", "utf-8"
    )


def without_addresses(lock: str) -> str:
    """Keep of each address the name of the file; sizes and times go with it."""
    lock = re.sub(r'(registry = )"[^"]+"', rf'\1"{NO_ADDRESS}"', lock)
    lock = re.sub(r'(url = )"[^"]*/([^/"]+)"', rf'\1"{NO_ADDRESS}/\2"', lock)
    return re.sub(r", (size = \d+|upload-time = \"[^\"]*\")", "", lock)


def _pip(*arguments: str) -> None:
    subprocess.run([*PIP, "install", *QUIETLY, *arguments], check=True)


def main(arguments: Sequence[str]) -> int:
    """Do what the first word says. A failure of pip or uv has said why itself."""
    match arguments:
        case ["install", *extras] if extras:
            work = lambda: install(extras)  # noqa: E731
        case ["export", *extras] if extras:
            work = lambda: print(export(extras), end="")  # noqa: E731
        case ["update"]:
            work = update
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    try:
        work()
    except subprocess.CalledProcessError as failed:
        return failed.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
