"""Where this project's files are.

A checkout keeps the five programs and the page at its root, beside the package; a wheel keeps them
inside it, as `whisperfusion.programs` and `whisperfusion/web` (the mapping is in pyproject.toml).
"""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).absolute().parent
INSTALLED = (PACKAGE / "web").is_dir()  # as a wheel
HOME = PACKAGE.parent  # where Python finds the package: the checkout, or site-packages
WEB = PACKAGE / "web" if INSTALLED else HOME / "web"
EXAMPLE_AGENTS = PACKAGE / "example_agents" if INSTALLED else HOME / "agents"
COMMAND = "whisperfusion" if INSTALLED else "main.py"  # what an operator types, for messages

# Python's own way (-m) would need HOME on the path, and in a wheel that is site-packages: another
# interpreter would then find all of our libraries instead of its own.
_RUN = """\
import importlib.util, runpy, sys
package, module = sys.argv[1:3]
del sys.argv[1:3]
spec = importlib.util.spec_from_file_location(
    "whisperfusion", package + "/__init__.py", submodule_search_locations=[package]
)
sys.modules["whisperfusion"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["whisperfusion"])
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


def run_module(interpreter: str, module: str, *arguments: str) -> list[str]:
    """The command line with which any interpreter runs a module of this package, and gets nothing
    but the package from us.
    """
    return [interpreter, "-c", _RUN, str(PACKAGE), module, *arguments]


def own_python(environment: str) -> str | None:
    """The interpreter that `make ENVIRONMENT` installed for an engine whose libraries do not live
    in the server's; None where it is not there.
    """
    program = HOME / f".venv-{environment}" / "bin" / "python"
    return str(program) if not INSTALLED and program.is_file() else None


def is_ours(file: str) -> bool:
    """Whether a source file is part of this project, and not of a library."""
    if file.startswith(f"{PACKAGE}/"):
        return True
    return not INSTALLED and file.startswith(f"{HOME}/") and "site-packages" not in file
