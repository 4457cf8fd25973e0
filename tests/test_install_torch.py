"""Where torch is installed from (deploy/install_torch.py), whether indexes answer, refuse, lack it or are silent."""

import os
import platform
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from threading import Event, Thread

import pip
import pytest

from deploy import install_torch
from deploy.install_torch import PYPROJECT, Choice, choose, lists_wheel, locked, probe, requirements
from tests.waiting import patience

PYTHON = f"cp{sys.version_info.major}{sys.version_info.minor}"
MACHINE = platform.machine()
FITTING = f'<a href="torch-2.14.1%2Bcpu-{PYTHON}-{PYTHON}-manylinux_2_28_{MACHINE}.whl#sha256=0">torch</a>'


@contextmanager
def serving(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/whl/cpu"
        server.shutdown()
        thread.join()


def answering(page: str, status: int = 200) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = page.encode() if self.path == "/whl/cpu/torch/" else b"not the page of torch"
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    return Handler


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(install_torch, "GPU_DRIVER", tmp_path / "nvidiactl")
    monkeypatch.setattr(install_torch.shutil, "which", lambda _: None)


def test_without_a_gpu_torch_comes_from_the_index_that_has_it_for_cpus() -> None:
    with serving(answering(FITTING)) as index:
        assert choose(None, index, patience(5)) == Choice(index, "no NVIDIA GPU")
        assert choose(None, f"{index}/", patience(5)) == Choice(f"{index}/", "no NVIDIA GPU")


@pytest.mark.parametrize("sign", ["device", "nvidia-smi"])
def test_beside_a_gpu_it_comes_from_the_usual_index_and_no_other_is_asked(
    sign: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install_torch, "probe", lambda *_: pytest.fail("asked"))
    if sign == "device":
        install_torch.GPU_DRIVER.touch()
    else:
        monkeypatch.setattr(install_torch.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert choose(None) == Choice(None, "there is an NVIDIA GPU")


def test_what_is_asked_for_is_taken_and_not_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install_torch, "probe", lambda *_: pytest.fail("asked"))
    assert choose("default") == Choice(None, "as asked")
    assert choose("https://mirror.example/cpu") == Choice("https://mirror.example/cpu", "as asked")


@pytest.mark.parametrize(
    ("handler", "fault"),
    [
        (answering("<h1>Blocked by the proxy</h1>", 403), "HTTP Error 403: Forbidden"),
        (answering(FITTING, 503), "HTTP Error 503: Service Unavailable"),
        (answering("<h1>Sign in to go on</h1>"), "no wheel of torch>="),
        (answering(FITTING.replace("2.14.1", "2.13.0")), "no wheel of torch>="),
    ],
    ids=["error page", "unavailable", "sign-in page", "only an older version"],
)
def test_an_index_that_refuses_or_lacks_the_wheel_is_passed_over_with_the_reason(
    handler: Callable[..., BaseHTTPRequestHandler], fault: str
) -> None:
    with serving(handler) as index:
        choice = choose(None, index, patience(5))
    assert choice.index is None
    assert choice.reason.startswith(f"no NVIDIA GPU, but {index}: {fault}")


def test_an_index_that_nobody_serves_is_passed_over() -> None:
    with serving(answering(FITTING)) as index:
        pass
    assert probe(index, patience(5)) == "[Errno 111] Connection refused"
    assert probe("no address", 5) is not None


@pytest.mark.parametrize("begun", [False, True], ids=["silent", "a byte at a time"])
def test_an_index_that_has_not_answered_in_time_is_passed_over(begun: bool) -> None:
    """A timeout of a socket would be for each byte anew."""
    over = Event()

    class Slow(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if begun:
                self.send_response(200)
                self.send_header("Content-Length", "100000")
                self.end_headers()
            while not over.wait(0.05):
                if begun:
                    self.wfile.write(b" ")

        def log_message(self, *_: object) -> None: ...

    with serving(Slow) as index:
        assert probe(index, 0.3) == "no answer within 0.3 s"
        over.set()


@pytest.mark.parametrize(
    ("link", "fits"),
    [
        (FITTING, True),
        (FITTING.replace("%2B", "+"), True),
        (FITTING.replace("2.14.1", "2.14.0"), True),
        (FITTING.replace("2.14.1", "2.101.0"), True),
        (FITTING.replace("2.14.1", "3.0"), True),
        (FITTING.replace("2.14.1", "2.9.1"), False),
        (FITTING.replace("2.14.1", "2.15.0rc1"), False),
        (FITTING.replace("%2Bcpu", "%2Bcu130"), False),
        (FITTING.replace("%2Bcpu", ""), False),
        (FITTING.replace("torch-", "torchvision-"), False),
        (FITTING.replace(PYTHON, "cp27"), False),
        (FITTING.replace(f"-{PYTHON}-many", f"-{PYTHON}t-many"), False),
        (FITTING.replace(MACHINE, "s390x"), False),
        (FITTING.replace(f"manylinux_2_28_{MACHINE}", "win_amd64"), False),
        (FITTING.replace(".whl", ".tar.gz"), False),
    ],
)
def test_a_wheel_fits_this_python_and_processor_and_is_new_enough(link: str, fits: bool) -> None:
    assert lists_wheel(f"<a href='x'>x</a>\n{link}\n", "torch>=2.14") is fits


def test_both_packages_are_asked_for_as_the_product_asks_for_them() -> None:
    assert set(requirements()) == {"torch", "torchvision"}
    text = PYPROJECT.read_text("utf-8")
    assert all(f'"{line}"' in text for line in requirements().values())


def test_they_are_installed_in_the_versions_of_the_lock() -> None:
    assert [one.partition("==")[0] for one in locked()] == ["torch", "torchvision"]
    for one, wanted in zip(locked(), requirements().values(), strict=True):
        least, version = wanted.partition(">=")[2], one.partition("==")[2]
        assert install_torch._numbers(version) >= install_torch._numbers(least)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, list[str]]]:
    """Run `main` where installing works or does not: its exit status, and its lines."""

    def run(arguments: list[str], choice: Choice, works: bool = True) -> tuple[int, list[str]]:
        monkeypatch.setattr(install_torch, "installed", lambda: None)
        monkeypatch.setattr(install_torch, "choose", lambda _: choice)
        monkeypatch.setattr(install_torch, "install", lambda _: works)
        return install_torch.main(arguments), capsys.readouterr().out.splitlines()

    return run


def test_the_choice_is_one_line(said: Callable[..., tuple[int, list[str]]]) -> None:
    assert said([], Choice("URL", "no NVIDIA GPU")) == (0, ["torch: from URL (no NVIDIA GPU)"])
    assert said([], Choice(None, "as asked")) == (0, ["torch: from pip's usual index (as asked)"])


def test_an_index_of_our_choice_that_fails_fails_no_installation_and_one_that_was_asked_for_does(
    said: Callable[..., tuple[int, list[str]]],
) -> None:
    status, lines = said([], Choice("URL", "no NVIDIA GPU"), works=False)
    assert (status, lines[1]) == (0, "torch: from pip's usual index (URL failed)")
    assert said(["URL"], Choice("URL", "as asked"), works=False) == (1, ["torch: from URL (as asked)"])


@pytest.mark.parametrize(
    ("torch", "torchvision", "stays"),
    [
        ("2.14.1+cpu", "0.29.1+cpu", True),
        ("2.14.0", "0.29.0", True),
        ("2.13.0+cpu", "0.29.1", False),
        ("2.14.1+cpu", "0.28.0+cpu", False),
        ("2.14.1+cpu", None, False),
        (None, None, False),
    ],
)
def test_what_is_installed_and_new_enough_stays_and_no_index_is_asked(
    torch: str | None,
    torchvision: str | None,
    stays: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One without the other is an installation that was cut short: both have to come from one index."""
    versions = {"torch": torch, "torchvision": torchvision}

    def version(name: str) -> str:
        if (found := versions[name]) is None:
            raise metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(install_torch.metadata, "version", version)
    monkeypatch.setattr(install_torch, "choose", lambda _: Choice(None, "chosen"))
    assert install_torch.main([]) == 0
    line = capsys.readouterr().out
    assert line == (f"torch: {torch} is installed\n" if stays else "torch: from pip's usual index (chosen)\n")


def write_wheel(index: Path, name: str, version: str, *needs: str) -> None:
    """An empty package, on the page of an index that lists it."""
    folder = index / name
    folder.mkdir(parents=True)
    info = f"{name}-{version}.dist-info"
    wheel = f"{name}-{version}-{PYTHON}-{PYTHON}-linux_{MACHINE}.whl"
    requires = "".join(f"Requires-Dist: {need}\n" for need in needs)
    with zipfile.ZipFile(folder / wheel, "w") as archive:
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}")
        archive.writestr(
            f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {PYTHON}-{PYTHON}-linux_{MACHINE}\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    (folder / "index.html").write_text(f'<a href="{wheel.replace("+", "%2B")}">{wheel}</a>')


@pytest.mark.slow
def test_pip_installs_the_build_for_cpus_and_the_product_after_it_keeps_it(tmp_path: Path) -> None:
    torch, torchvision = (one.partition("==")[2] for one in locked())
    for index, local in (("whl/cpu", "+cpu"), ("usual", "")):
        write_wheel(tmp_path / index, "torch", f"{torch}{local}")
        write_wheel(tmp_path / index, "torchvision", f"{torchvision}{local}", f"torch=={torch}")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    [packages] = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (packages / "pip").symlink_to(Path(pip.__file__).parent)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}

    class Files(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path))

        def log_message(self, *_: object) -> None: ...

    with serving(Files) as index:
        usual = index.replace("/whl/cpu", "/usual")
        assert choose(None, index, patience(5)).index == index
        for command in (
            [python, install_torch.__file__, index],
            [python, "-m", "pip", "install", "--index-url", usual, *requirements().values()],
        ):
            subprocess.run(command, env={**clean, "PIP_CONFIG_FILE": os.devnull}, check=True, timeout=patience(60))
    listed = subprocess.run([python, "-m", "pip", "freeze"], capture_output=True, text=True, check=True).stdout
    assert listed.split() == [f"torch=={torch}+cpu", f"torchvision=={torchvision}+cpu"]
