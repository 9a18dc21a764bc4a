"""Imports point one way: scripts -> extract -> macros, without a circle; bench may use all of them."""

from __future__ import annotations

import ast
from pathlib import Path

from extract.settings import PROJECT

RANK = {"macros": 0, "extract": 1, "scripts": 2, "bench": 3}
"""A package imports from its own rank or a lower one."""

COMMAND_LINE = ("scripts.cli", "scripts.commands", "scripts.outcome")
"""Nothing but an entry point imports the command line."""

PLAYS_A_SOURCE = ("scripts.demo", "scripts.commands.demo", "scripts.commands.simulate")
"""These show the project with a simulated source, which bench makes."""


def test_no_package_imports_one_above_it() -> None:
    upwards = [
        f"{module} imports {imported}"
        for module, found in imports().items()
        for imported in found
        if RANK[package(imported)] > RANK[package(module)]
        and not is_entry_point(module)
        and not (module in PLAYS_A_SOURCE and package(imported) == "bench")
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
        if is_command_line(imported) and not is_entry_point(module) and not is_command_line(module)
    ]
    assert not wrong


def imports() -> dict[str, set[str]]:
    """Module -> the project's modules that it imports, at its top or within a function; what it does when it is
    started is an entry point.
    """
    files = {module_of(file): file for name in RANK for file in sorted((PROJECT / name).rglob("*.py"))}
    return {module: imported(file, files.keys()) for module, file in files.items()}


def imported(file: Path, known: object) -> set[str]:
    names = set()
    tree = ast.parse(file.read_text())
    tree.body = [each for each in tree.body if not is_main_block(each)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import, which this test does not follow"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return {name for name in names if name in known}  # type: ignore[operator]


def is_main_block(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")


def package(module: str) -> str:
    return module.split(".")[0]


def is_entry_point(module: str) -> bool:
    return module.endswith(".__main__")


def is_command_line(module: str) -> bool:
    return any(module == each or module.startswith(f"{each}.") for each in COMMAND_LINE)


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
