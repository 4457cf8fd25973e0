"""What the documentation names: files, folders, names of the code and tests, each of which has to be there."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("worker", "db", "migrations", "tests", "benchmarks")
_FOLDERS = (*ROOMS, "docs", "deploy", "examples", ".ci")
_PATH = re.compile(
    rf"(?:(?:{'|'.join(map(re.escape, _FOLDERS))})/[\w./{{}}*-]*|[\w.-]+\.(?:md|toml|yml|json))(?:::\w+)?"
)
_NAME = re.compile(rf"(?:{'|'.join(ROOMS)})(?:\.\w+)+")


def named(text: str) -> Iterator[str]:
    """Yield each path, ``path::test`` and dotted name of the code that stands between backticks."""
    for quoted in re.findall(r"`([^`\n]+)`", text):
        if _PATH.fullmatch(quoted) or _NAME.fullmatch(quoted):
            yield quoted


def missing(text: str) -> list[str]:
    """Return what a text names and the repository does not have."""
    return [name for name in named(text) if not is_there(name)]


def is_there(name: str) -> bool:
    """Whether the repository has a path, a ``path::test`` or a dotted name."""
    if "/" not in name and _NAME.fullmatch(name):
        return _resolves(name.split("."))
    path, _, test = name.partition("::")
    if test:
        return (ROOT / path).is_file() and test in _names(ROOT / path)
    return _is_file(path.rstrip("/"))


@cache
def files() -> tuple[str, ...]:
    """Return every file of the repository, as paths from its root, without what tools leave behind."""
    found = [path for path in ROOT.glob("*") if path.is_file()]
    found += [path for folder in _FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    left = ("__pycache__", "node_modules")
    return tuple(sorted(str(path.relative_to(ROOT)) for path in found if not {*path.parts} & {*left}))


def _is_file(path: str) -> bool:
    return any(one == path or one.startswith(f"{path}/") for one in files())


def _resolves(parts: list[str]) -> bool:
    """Whether a dotted name is a module, or a name in one, or a name in a class of one."""
    for count in range(len(parts), 0, -1):
        module = ROOT.joinpath(*parts[:count])
        file = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
        if file.is_file():
            rest = parts[count:]
            return not rest or ".".join(rest) in _names(file)
    return False


@cache
def _names(file: Path) -> frozenset[str]:
    return frozenset(_defined(ast.parse(file.read_text("utf-8")).body, ""))


def _defined(body: list[ast.stmt], prefix: str) -> Iterator[str]:
    for node in body:
        match node:
            case ast.FunctionDef(name=name):
                yield prefix + name
            case ast.ClassDef(name=name, body=inner):
                yield prefix + name
                yield from _defined(inner, f"{prefix}{name}.")
            case ast.Assign(targets=targets):
                yield from (
                    prefix + one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)
                )
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield prefix + name
            case ast.ImportFrom(names=names):
                yield from (prefix + (one.asname or one.name) for one in names)
            case ast.If(body=inner, orelse=other):
                yield from _defined([*inner, *other], prefix)
