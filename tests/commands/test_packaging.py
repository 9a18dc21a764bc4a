"""What a user installs is enough to run the project: no module comes in only with the development tools."""

from __future__ import annotations

import ast
import sys
import tomllib
from importlib import metadata

from packaging.requirements import Requirement

from extract.settings import PROJECT

OURS = ("extract", "macros", "scripts", "bench")


def test_every_module_that_the_project_imports_comes_with_its_dependencies() -> None:
    distributions = metadata.packages_distributions()
    installed = with_what_they_need("order-tracking")
    missing = {
        module
        for module in imported_modules()
        if not installed & {name.lower().replace("_", "-") for name in distributions.get(module, ())}
    }
    assert not missing, "these are imported, and no dependency of the project brings them"


def test_every_package_is_installed() -> None:
    """A folder that setup does not know works in a checkout, and nowhere else."""
    listed = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {file.parent for name in OURS for file in (PROJECT / name).rglob("__init__.py")}
    assert set(listed) == {".".join(folder.relative_to(PROJECT).parts) for folder in folders}


def imported_modules() -> set[str]:
    """The top-level names of all modules that are imported anywhere in the project and are not its own."""
    found = set()
    for folder in OURS:
        for file in (PROJECT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Import):
                    found |= {name.name for name in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    found.add(node.module)
    return {name.split(".")[0] for name in found} - {*sys.stdlib_module_names, *OURS, "tests"}


def with_what_they_need(name: str) -> set[str]:
    """A distribution, what it requires without any extra, and so on."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        current = waiting.pop().lower().replace("_", "-")
        if current in found:
            continue
        found.add(current)
        try:
            needed = metadata.requires(current) or []
        except metadata.PackageNotFoundError:
            continue
        for text in needed:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found
