"""Imports point one way: scripts -> extract -> macros, without a circle; bench may use all of them."""

from __future__ import annotations

import ast
from pathlib import Path

from extract.settings import PROJECT

RANK = {"macros": 0, "extract": 1, "scripts": 2, "bench": 3}
"""A package imports from its own rank or a lower one."""

COMMAND_LINES = ("scripts.command",)
"""The command line: nothing but an entry point imports it."""


def test_no_package_imports_one_above_it() -> None:
    upwards = [
        f"{module} imports {imported}"
        for module, found in imports().items()
        for imported in found
        if RANK[package(imported)] > RANK[package(module)] and not is_entry_point(module)
    ]
    assert not upwards


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = imports()
    assert not circle(graph), f"a circle: {' -> '.join(circle(graph))}"
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


def test_nothing_but_an_entry_point_imports_the_command_line() -> None:
    wrong = [
        f"{module} imports {imported}"
        for module, found in imports().items()
        for imported in found
        if imported.startswith(COMMAND_LINES) and not imported_by_an_entry_point(module)
    ]
    assert not wrong


def imports() -> dict[str, set[str]]:
    """Module -> the project's modules that it imports, at its top or within a function."""
    files = {module_of(file): file for name in RANK for file in sorted((PROJECT / name).rglob("*.py"))}
    return {module: imported(file, files.keys()) for module, file in files.items()}


def imported(file: Path, known: object) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import, which this test does not follow"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return {name for name in names if name in known}  # type: ignore[operator]


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")


def package(module: str) -> str:
    return module.split(".")[0]


def is_entry_point(module: str) -> bool:
    return module.endswith(".__main__")


def imported_by_an_entry_point(module: str) -> bool:
    """An entry point itself, or a module of the command line."""
    return is_entry_point(module) or module.startswith(COMMAND_LINES)


def circle(graph: dict[str, set[str]]) -> list[str]:
    """The first circle found, its first module again at its end; empty without one. Entry points close none."""
    done: set[str] = set()

    def search(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done or is_entry_point(module):
            return []
        for following in sorted(graph.get(module, ())):
            if found := search(following, [*path, module]):
                return found
        done.add(module)
        return []

    return next((found for module in graph if (found := search(module, []))), [])
