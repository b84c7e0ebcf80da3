"""Writes small datasets in the layout that the hub has, for tests of benchmarks."""

import json
from pathlib import Path


def write(folder: Path, files: dict[str, list[dict]], configs: dict[str, dict[str, str]]) -> Path:
    """A folder of the hub's layout: JSON lines, and a card that says which file is which split of which part."""
    for name, rows in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = ["---", "configs:"]
    for config, splits in configs.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        lines += [f"  - split: {split}\n    path: {path}" for split, path in splits.items()]
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]))
    return folder
