"""Virtual environments on top of this one, with packages in them as users install them."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

from tests.processes import python

COMMAND = "#!{python}\nimport sys\nfrom bigmodel_core.cli.app import main\nsys.exit(main())\n"


def environment(home: Path, *packages: Path) -> Path:
    """Make a virtual environment that finds what this one has, and install packages without a network.

    Args:
        home: the folder of the environment.
        packages: folders of projects to install.

    Returns:
        Its Python; the command `bigmodel` is beside it.
    """
    venv.create(home, system_site_packages=False, with_pip=False)
    executable = home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    site = subprocess.check_output(
        [executable, "-c", "import site; print(site.getsitepackages()[0])"], text=True
    ).strip()
    # Folders of this environment, read as at its own start: an editable installation is found through them.
    lines = [f"import site; site.addsitedir({path!r})" for path in sys.path if path]
    Path(site, "outer.pth").write_text("\n".join(lines) + "\n")
    command = executable.with_name("bigmodel")
    command.write_text(COMMAND.format(python=executable))
    command.chmod(0o755)
    if packages:
        offline = ("--no-index", "--no-build-isolation", "--no-deps", "--disable-pip-version-check")
        python("-m", "pip", "install", "-q", *offline, *packages, executable=executable)
    return executable
