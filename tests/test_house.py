"""The house rules that a reader of the code relies on, each checked over all of its modules."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

from link.model.backends import BACKENDS
from link.model.states import DELETE, FLAGS, NONE, PULL

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
MODULES = {".".join(path.relative_to(SRC).with_suffix("").parts): path for path in sorted(SRC.rglob("*.py"))}
TREES = {module: ast.parse(path.read_text()) for module, path in MODULES.items()}
#: The floors, from the ground up.
FLOORS = (
    *(
        "link.errors",
        "link.signals",
        "link.lazy",
        "link.logs",
        "link.progress",
        "link.tls",
        "link.host",
        "link.typed",
        "link.queries",
        "link.mends",
        "link.model",
        "link.addresses",
        "link.links_file",
        "link.links_writing",
        "link.telling",
        "link.accounts",
        "link.config",
        "link.servers",
    ),
    *(
        "link.files",
        "link.holds",
        "link.ends",
        "link.work",
        "link.travelling",
        "link.selections",
        "link.admin",
        "link.captions",
        "link.sharing",
        "link.view",
        "link.bodies",
        "link.api",
        "link.drawing",
        "link.theirs",
        "link.ours",
        "link.choosing",
        "link.pipeline",
        "link.loading",
        "link.__init__",
    ),
    *("dj_link", "link.demo_steps", "link.demo", "link.cli", "link.__main__"),
)


def floor(module: str) -> int:
    """The floor that a module is on."""
    return next(number for number, name in enumerate(FLOORS) if f"{module}.".startswith(f"{name}."))


def imports(module: str) -> Iterator[tuple[str, int]]:
    """The modules of ours that a module imports, at its top or later, with the lines."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*above, node.module or ""]).strip(".")
            named = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in named:
            base = name.rpartition(".")[0]
            found = next((m for m in (name, base, f"{name}.__init__", f"{base}.__init__") if m in MODULES), module)
            if found != module:
                yield found, node.lineno


def place(module: str, line: int) -> str:
    return f"{MODULES[module].relative_to(ROOT)}:{line}"


def test_imports_run_down_only() -> None:
    upward = [
        f"{place(module, line)} imports {imported}, which is above it"
        for module in MODULES
        for imported, line in imports(module)
        if floor(imported) > floor(module)
    ]
    assert not upward, "\n".join(upward)
    # No circle, on one floor either: the sorter names it.
    TopologicalSorter({module: {name for name, _ in imports(module)} for module in MODULES}).prepare()


def constants(module: str) -> Iterator[tuple[str, int]]:
    """The texts in a module that are not documentation."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    prose = {
        id(node.body[0].value)
        for node in ast.walk(TREES[module])
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.value, node.lineno


def test_the_states_are_written_down_once() -> None:
    """What helper rows say is spelled in one module; all others use its names. DELETE is also a right and a verb."""
    labels = [PULL, NONE, *FLAGS, f"'{DELETE}'"]
    spelled = [
        f"{place(module, line)} spells {text!r}"
        for module in MODULES
        if module != "link.model.states"
        for text, line in constants(module)
        if any(text == label or re.search(rf"'{label}'", text) for label in labels)
    ]
    assert not spelled, "\n".join(spelled)


def test_the_kind_of_server_is_asked_in_one_place() -> None:
    """But for the demo, which starts servers of one kind, and for what a person may type."""
    kinds = {*BACKENDS, "mariadb", "postgres"}
    asked = [
        f"{place(module, line)} says {text!r}"
        for module in MODULES
        if not module.startswith(("link.servers.", "link.model.backends", "link.demo"))
        for text, line in constants(module)
        if text in kinds
    ]
    assert not asked, "\n".join(asked)


def test_the_insides_of_datajoint_are_in_one_place() -> None:
    """Elsewhere there is `import datajoint as dj`, and its public names."""
    drivers = ("link.servers.mysql_session", "link.servers.mysql_wire", "link.servers.postgresql_session")
    inside = []
    for module in MODULES.keys() - {"link.host", "link.queries", "link.mends"}:
        for node in ast.walk(TREES[module]):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("datajoint."):
                inside.append(f"{place(module, node.lineno)} imports from {node.module}")
            # Their connections are those of the drivers.
            if isinstance(node, ast.Attribute) and re.match("_[^_]", node.attr) and module not in drivers:
                owner = ast.unparse(node.value).rpartition(".")[2]
                if owner in ("dj", "connection", "expression", "heading", "backend", "adapter"):
                    inside.append(f"{place(module, node.lineno)} uses {ast.unparse(node)}")
    assert not inside, "\n".join(inside)


def test_the_map_is_the_tree() -> None:
    """CONTRIBUTING names every module, and none that is not there."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = {name for name in re.findall(r"`([a-z0-9_/]+\.py)`", text) if not name.startswith("tests/")}
    there = {
        str(path.relative_to(SRC / "link" if path.is_relative_to(SRC / "link") else SRC)) for path in MODULES.values()
    }
    there = {name for name in there if not name.endswith("__init__.py")}
    assert named == there
