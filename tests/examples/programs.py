"""The programs of the examples, in folders of their own."""

import shutil
from pathlib import Path

from tests.documentation.pages import ROOT
from tests.support.nodejs import PACKAGE


def copy_example(name: str, folder: Path, npm_package: Path | None = None) -> None:
    """Copy an example into `folder`; with an npm package, as `npm install` leaves it."""
    shutil.copytree(ROOT / "examples" / name, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules"))
    if npm_package is not None:
        modules = folder / "node_modules"
        modules.mkdir()
        for path in (PACKAGE / "node_modules").iterdir():
            (modules / path.name).symlink_to(path)
        (modules / "gathering-gateway").symlink_to(npm_package)
