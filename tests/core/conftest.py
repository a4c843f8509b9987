"""What the tests of the core share: packages installed for one test."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bigmodel_core import registry
from bigmodel_core.registry import host as registry_host

HEADER = """\
from dataclasses import dataclass
from bigmodel_core.registry.hookspecs import hookimpl
from bigmodel_core.nn.layer import Layer
from bigmodel_core.train.metric import Metric
"""

Install = Callable[..., Path]


def write_package(
    folder: Path, distribution: str, modules: dict[str, str], plugins: dict[str, str], version: str
) -> None:
    """Write modules and a dist-info folder with entry points, as an installer leaves them."""
    info = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    points = "\n".join(f"{name} = {target}" for name, target in plugins.items())
    (info / "entry_points.txt").write_text(f"[bigmodel]\n{points}\n")
    for name, source in modules.items():
        (folder / f"{name}.py").write_text(HEADER + textwrap.dedent(source))


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a package with plugins; nothing else is discovered, and it is all gone afterwards."""
    site, installed, modules_before = tmp_path / "site", set[str](), set(sys.modules)
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    discover = registry_host.installed
    monkeypatch.setattr(
        registry_host, "installed", lambda: [found for found in discover() if found.distribution in installed]
    )

    def put(
        distribution: str,
        source: str = "",
        *,
        plugin: str | None = None,
        module: str | None = None,
        modules: dict[str, str] | None = None,
        plugins: dict[str, str] | None = None,
        version: str = "1.0",
    ) -> Path:
        module = module or distribution.replace("-", "_")
        write_package(
            site, distribution, modules or {module: source}, plugins or {plugin or module: module}, version
        )
        installed.add(distribution)
        importlib.invalidate_caches()
        return site

    registry.reset()
    yield put
    registry.reset()
    for name in set(sys.modules) - modules_before:
        if str(site) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
