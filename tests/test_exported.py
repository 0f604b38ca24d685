"""The public face is a list: what is in it can be imported and is documented, and nothing else is public."""

from __future__ import annotations

import inspect
import pkgutil
import re
from typing import Any

import datajoint as dj
import pytest

import dj_link
import link
from link import errors

PACKAGES = [link, dj_link]
PUBLIC = [getattr(package, name) for package in PACKAGES for name in package.__all__]
ERRORS = [member for _, member in inspect.getmembers(errors, inspect.isclass) if issubclass(member, link.LinkError)]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_public_list_is_what_can_be_imported(package: Any) -> None:
    names = {name for name in vars(package) if not name.startswith("_")}
    modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    assert names - modules == set(package.__all__)
    assert list(package.__all__) == sorted(package.__all__)


@pytest.mark.parametrize("package", PACKAGES)
def test_public_objects_come_from_this_package(package: Any) -> None:
    for name in package.__all__:
        public = getattr(package, name)
        assert public.__module__.partition(".")[0] == package.__name__, public


STARS: dict[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


def members() -> list[Any]:
    """Every public function, class and method, as test parameters."""
    found = []
    for public in PUBLIC:
        found.append(pytest.param(public, id=public.__name__))
        if not inspect.isclass(public):
            continue
        for name, member in vars(public).items():
            function = member.fget if isinstance(member, property) else member
            # By the function's own name: one private method stands for all that the source refuses.
            if not name.startswith("_") and inspect.isfunction(function) and not function.__name__.startswith("_"):
                found.append(pytest.param(function, id=f"{public.__name__}.{name}"))
    return found


@pytest.mark.parametrize("member", members())
def test_every_public_object_has_a_docstring(member: Any) -> None:
    assert vars(member).get("__doc__") if inspect.isclass(member) else member.__doc__


@pytest.mark.parametrize("member", [m for m in members() if not inspect.isclass(m.values[0])])
def test_docstrings_name_every_parameter_in_order(member: Any) -> None:
    text = inspect.getdoc(member) or ""
    names = [
        f"{STARS.get(p.kind, '')}{name}" for name, p in inspect.signature(member).parameters.items() if name != "self"
    ]
    section = re.search(r"Parameters\n-+\n(.*?)(\n\n[A-Z]\w+\n-+\n|\Z)", text, re.DOTALL)
    heads = re.findall(r"^(\S.*?)(?: : .*)?$", section[1], re.MULTILINE) if section else []
    assert [name for head in heads for name in head.split(", ")] == names


def test_every_error_is_exported() -> None:
    assert {error.__name__ for error in ERRORS} <= set(link.__all__)
    assert issubclass(link.LinkError, dj.DataJointError)


def test_the_tree_of_errors_is_the_one_that_is_drawn() -> None:
    drawn = re.findall(r"^ {4}([│ ]*)(?:[├└]── )?(\w+)", (errors.__doc__ or "").partition("::")[2], re.MULTILINE)
    path: list[str] = []
    parents = {}
    for indent, name in drawn[1:]:
        depth = len(indent) // 4
        path[depth:] = [name]
        parents[name] = path[depth - 1] if depth else "DataJointError"
    assert parents == {error.__name__: error.__bases__[0].__name__ for error in ERRORS}


def test_an_error_prints_what_happened_and_the_hint() -> None:
    error = link.NotFoundError("There is no such table.", "Look again.")
    assert (error.what, error.hint) == ("There is no such table.", "Look again.")
    assert str(error) == "There is no such table.\n  → Look again."
    assert str(link.LinkError("Only this.")) == "Only this."
