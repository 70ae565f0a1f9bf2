"""Puts the bundle's configurations and shipped weights into the wheel, as ``leaf_seg/bundle``."""

from pathlib import Path
from shutil import copy2

from setuptools import setup
from setuptools.command.build_py import build_py

BUNDLE = Path("bundles/leaf_seg")
FILES = (
    *("LICENSE", "configs/*", "configs/*/*.json", "docs/*"),
    *("models/config.json", "models/model.pt", "models/*/README.md", "models/*/config.json", "models/*/*.safetensors"),
)


class BuildWithBundle(build_py):
    """Copies the bundle beside the package's modules; an editable install uses the clone's."""

    def run(self) -> None:
        """Build."""
        super().run()
        if self.editable_mode:
            return
        found = {pattern: [path for path in sorted(BUNDLE.glob(pattern)) if path.is_file()] for pattern in FILES}
        if not all(found.values()):
            raise FileNotFoundError(f"The bundle lacks {[pattern for pattern in FILES if not found[pattern]]}.")
        for source in (source for sources in found.values() for source in sources):
            target = Path(self.build_lib, "leaf_seg", "bundle", source.relative_to(BUNDLE))
            target.parent.mkdir(parents=True, exist_ok=True)
            copy2(source, target)


setup(cmdclass={"build_py": BuildWithBundle})
