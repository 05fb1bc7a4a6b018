"""The walls of the house: who may import whom, what is public, how long a file may be.

Imports under ``if TYPE_CHECKING`` are exempt from the rules on doorways (they bring no code in), but not from
the direction: a type that points upwards is a dependency all the same.
"""

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import attrs
import pytest

import koodrive_async
from koodrive_async.core import operations
from koodrive_async.core.operations import Operation

ROOT = Path(koodrive_async.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
PACKAGE = "koodrive_async"
MOST_LINES = 400

#: From the ground up; a file may import from its own floor and from those below.
FLOORS = {"core": 0, "shell": 1, "api": 2, "client": 3, "": 4, "contrib": 5, "testing": 5, "cli": 6}
ON_TOP = {"contrib", "testing", "cli"}

#: What the pure core must not touch: effects, clocks, chance, and whoever brings them.
IMPURE = frozenset(
    [
        "anyio",
        "asyncio",
        "concurrent",
        "httpcore",
        "httpx",
        "http",
        "io",
        "logging",
        "multiprocessing",
        "os",
        "pathlib",
        "queue",
        "random",
        "sched",
        "secrets",
        "select",
        "selectors",
        "shutil",
        "signal",
        "sniffio",
        "socket",
        "sqlite3",
        "subprocess",
        "sys",
        "tempfile",
        "tenacity",
        "threading",
        "time",
        "trio",
        "urllib.request",
        "uuid",
    ]
)

#: The one file through which each dependency comes in.
DOORWAYS = {
    "httpx": "shell/transport.py",
    "tenacity": "shell/call.py",
    "cattrs": "core/codec.py",
    "httpcore": None,
    "orjson": "core/jsontext.py",
    "asyncio": None,
    "trio": None,
}


@attrs.frozen
class Import:
    module: str
    line: int
    typing_only: bool

    def of(self, name: str) -> bool:
        return self.module == name or self.module.startswith(f"{name}.")


def imports(source: str) -> list[Import]:
    """All imports of a file, wherever they stand."""
    tree = ast.parse(source)
    exempt = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for statement in node.body
        for child in ast.walk(statement)
    }
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                modules = [alias.name for alias in names]
            case ast.ImportFrom(module=module, names=names, level=0):
                # `from package import name`: the name may be a module, so look at both.
                modules = [f"{module}.{alias.name}" for alias in names]
            case ast.ImportFrom():
                modules = ["<relative>"]
            case _:
                continue
        found += [Import(module, node.lineno, node in exempt) for module in modules]
    return found


def floor_of(path: str) -> str:
    """The floor of a file (relative to the package) or of a module of ours."""
    first = path.removeprefix(PACKAGE).lstrip(".").replace(".py", "").split("/")[0].split(".")[0]
    if first in FLOORS:
        return first
    return ""


def violations(path: str, source: str) -> Iterator[str]:
    """What a file does that the house forbids; `path` is relative to the package."""
    for found in imports(source):
        where = f"{path}:{found.line} imports {found.module}"
        yield from (f"{where}: {why}" for why in _direction(path, found))
        if not found.typing_only:
            yield from (f"{where}: {why}" for why in _doorways(path, found))
    yield from _calls(path, floor_of(path), ast.parse(source))


def _direction(path: str, found: Import) -> Iterator[str]:
    floor = floor_of(path)
    if found.module == "<relative>":
        yield "relative imports hide what they point at"
    if found.of(PACKAGE):
        other = floor_of(found.module)
        if FLOORS[other] > FLOORS[floor] or (other != floor and FLOORS[other] == FLOORS[floor]):
            yield "that points upwards"
        if floor == "testing" and other != "testing":
            yield "the emulator is an independent reading of the rules"


def _doorways(path: str, found: Import) -> Iterator[str]:
    floor = floor_of(path)
    if floor == "core" and any(found.of(name) for name in IMPURE):
        yield "the core is pure"
    if floor not in ON_TOP:
        for name, doorway in DOORWAYS.items():
            if found.of(name) and path != doorway:
                yield f"{doorway or 'nobody'} may"
        if found.of("importlib") and path != "__init__.py":  # which loads its names when they are asked for
            yield "an import that nobody can see"


def _calls(path: str, floor: str, tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            if floor == "core" and name in ("now", "utcnow", "today", "open", "print", "input", "getenv"):
                yield f"{path}:{node.lineno} calls {name}: the core is pure"
            if floor not in ON_TOP and name in ("create_task", "gather", "ensure_future", "__import__"):
                yield f"{path}:{node.lineno} calls {name}: tasks belong to task groups"
        if isinstance(node, ast.FunctionDef) and node.name == "__del__":
            yield f"{path}:{node.lineno} has __del__"
        if isinstance(node, ast.AsyncFunctionDef) and not _is_context_manager(node):
            yield from (f"{path}:{line} yields inside a scope" for line in _yields_in_scope(node))


def _is_context_manager(node: ast.AsyncFunctionDef) -> bool:
    return any(ast.unparse(decorator).endswith("contextmanager") for decorator in node.decorator_list)


def _yields_in_scope(function: ast.AsyncFunctionDef) -> Iterator[int]:
    scopes = ("create_task_group", "CancelScope", "move_on_after", "fail_after", "open_nursery")
    for node in ast.walk(function):
        if isinstance(node, ast.With | ast.AsyncWith) and any(
            scope in ast.unparse(item.context_expr) for item in node.items for scope in scopes
        ):
            yield from (
                child.lineno for child in ast.walk(node) if isinstance(child, ast.Yield | ast.YieldFrom)
            )


def relative(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("file", FILES, ids=relative)
def test_imports_point_downwards_and_come_through_their_doorways(file):
    assert list(violations(relative(file), file.read_text())) == []


@pytest.mark.parametrize("name", [name for name, doorway in DOORWAYS.items() if doorway])
def test_each_doorway_is_in_use(name):
    doorway = DOORWAYS[name]
    assert doorway is not None
    assert any(found.of(name) for found in imports((ROOT / doorway).read_text()))


@pytest.mark.parametrize(
    ("path", "source", "complaint"),
    [
        ("core/x.py", "import time", "pure"),
        ("core/x.py", "from time import monotonic", "pure"),
        ("core/x.py", "def f():\n import logging.handlers", "pure"),
        ("core/x.py", "from urllib import request", "pure"),
        ("core/x.py", "when = datetime.now(UTC)", "pure"),
        ("core/x.py", "from koodrive_async.shell import gate", "upwards"),
        ("core/x.py", "from koodrive_async import shell", "upwards"),
        ("core/x.py", "from koodrive_async import Pace", "upwards"),
        ("shell/x.py", "from koodrive_async.client import AsyncShareClient", "upwards"),
        ("shell/x.py", "if TYPE_CHECKING:\n from koodrive_async.client import A", "upwards"),
        ("client.py", "import koodrive_async.testing", "upwards"),
        ("client.py", "import httpx", "transport"),
        ("shell/gate.py", "from httpx import URL", "transport"),
        ("shell/gate.py", "import tenacity", "call"),
        ("shell/gate.py", "import asyncio", "nobody"),
        ("core/models.py", "from cattrs.gen import make", "codec"),
        ("shell/gate.py", "from . import call", "relative"),
        ("shell/gate.py", "import importlib", "nobody can see"),
        ("testing/x.py", "from koodrive_async.core.signing import sign", "independent"),
        ("testing/x.py", "import koodrive_async.contrib.fastapi", "upwards"),
        ("shell/x.py", "asyncio.create_task(f())", "task groups"),
        ("shell/x.py", "class A:\n def __del__(self): ...", "__del__"),
        ("shell/x.py", "async def f():\n async with create_task_group():\n  yield 1", "yields"),
    ],
)
def test_the_rules_can_be_broken(path, source, complaint):
    assert any(complaint in text for text in violations(path, source))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("core/x.py", "if TYPE_CHECKING:\n import ssl, httpx"),
        ("core/x.py", "from urllib.parse import quote"),
        ("client.py", "from koodrive_async.shell.call import Caller"),
        ("cli/main.py", "from koodrive_async.testing import Emulator\nimport asyncio"),
        ("shell/x.py", "async def f():\n async with create_task_group() as tasks:\n  tasks.start_soon(g)"),
    ],
)
def test_the_rules_allow_what_they_should(path, source):
    assert list(violations(path, source)) == []


@pytest.mark.parametrize("file", FILES, ids=relative)
def test_no_file_is_too_long(file):
    assert len(file.read_text().splitlines()) <= MOST_LINES


@pytest.mark.parametrize("file", FILES, ids=relative)
def test_whatever_is_public_has_a_docstring(file):
    tree = ast.parse(file.read_text())
    bare = [] if ast.get_docstring(tree) else ["the file itself"]

    def look(owner: ast.AST, prefix: str) -> None:
        for node in ast.iter_child_nodes(owner):
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
            is_twin = any(name.endswith(("overload", ".setter", ".deleter")) for name in decorators)
            if node.name.startswith("_") or is_twin:
                continue
            if not ast.get_docstring(node):
                bare.append(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                look(node, f"{node.name}.")

    look(tree, "")
    assert bare == []


# -- the public surface ---------------------------------------------------------------------------

#: design.md, section 4.
PROMISED = [
    "AsyncShareClient",
    "Timeout",
    "RetryPolicy",
    "Pace",
    "Network",
    "Middleware",
    "Request",
    "Reply",
    "Send",
    "Hook",
    "Credentials",
    "TokenCredentials",
    "AppCredentials",
    "Status",
    "ShareOutcome",
    "CancelReport",
    "CancelSummary",
    "CancelStream",
    "CancelReply",
    "CommonShareLink",
    "ShareByMeLink",
    "ShareWithMeLink",
    "ShareFile",
    "ShareTask",
    "LinkAccess",
    "Listing",
    "FoundShares",
    "CancelPlan",
    "AccessToken",
    "EnterpriseSession",
    "CarrierLogin",
    "PublicAccess",
    "CursorRepeated",
    "Progress",
    "KooDriveError",
    "UsageError",
    "InvalidShareId",
    "ClientClosed",
    "WrongEventLoop",
    "ConfigurationError",
    "TransportFailure",
    "Sent",
    "ConnectFailed",
    "AttemptTimeout",
    "ConnectionLost",
    "ApiError",
    "AuthFailed",
    "ClockSkewed",
    "Forbidden",
    "NotFound",
    "InvalidRequest",
    "Throttled",
    "ServerFault",
    "BadReply",
    "CancelIncomplete",
]


def test_all_is_sorted_and_complete():
    found = {
        alias.asname or alias.name: node.module
        for node in ast.walk(ast.parse((ROOT / "__init__.py").read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("koodrive_async")
        for alias in node.names
    }
    assert koodrive_async.__all__ == sorted(found)
    for name, home in found.items():
        assert getattr(koodrive_async, name) is getattr(import_module(home), name)
        assert home.removeprefix("koodrive_async.") in koodrive_async._HOMES
    assert set(koodrive_async.__all__) <= set(dir(koodrive_async))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = koodrive_async.nothing


def test_importing_it_loads_no_more_than_what_is_asked_for():
    code = "import sys, koodrive_async as k; k.Status, k.NotFound; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"httpx", "tenacity", "koodrive_async.client"} & set(said.stdout.split())


def test_all_can_be_read_without_running_it():
    """Type checkers take a literal list only: with anything else a user's `mypy --strict` knows no name."""
    assigned = [
        node.value
        for node in ast.parse((ROOT / "__init__.py").read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    assert [type(value) for value in assigned] in ([ast.List], [ast.Tuple])


@pytest.mark.parametrize("name", PROMISED)
def test_what_the_design_promises_is_there(name):
    assert name in koodrive_async.__all__
    assert hasattr(koodrive_async, name)


@pytest.mark.parametrize("name", koodrive_async.__all__)
def test_public_classes_and_their_methods_explain_themselves(name):
    found = getattr(koodrive_async, name)
    if not inspect.isclass(found):
        return
    assert (found.__doc__ or "").strip()
    for method, value in vars(found).items():
        if not method.startswith("_") and (inspect.isroutine(value) or isinstance(value, property)):
            assert (value.__doc__ or "").strip(), method


def test_the_version_is_there():
    assert re.fullmatch(r"\d+\.\d+\.\d+([a-z.]+\d+)?", koodrive_async.__version__)


def test_types_are_shipped():
    assert (ROOT / "py.typed").is_file()


# -- operations -----------------------------------------------------------------------------------

OPERATIONS = [value for value in vars(operations).values() if isinstance(value, Operation)]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_operation_names_its_page(operation):
    assert re.fullmatch(r"[A-Za-z]+\.html|koodrive_05_\d{4}(\.html)?", operation.page)
    assert operation.path.startswith("/")


def test_operations_are_distinct():
    assert OPERATIONS
    assert len({operation.name for operation in OPERATIONS}) == len(OPERATIONS)
    assert len({(operation.method, operation.path) for operation in OPERATIONS}) == len(OPERATIONS)
