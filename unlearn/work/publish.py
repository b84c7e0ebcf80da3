"""Puts together what leaves this machine: a folder with weights and their model card, and a repository of the hub.

By default it holds no row of the run: weights, counts, hashes and scores. Before anything is sent, the texts of the
folder that this program wrote are searched for the rows to forget.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from unlearn.methods import OFFERED
from unlearn.models import exported
from unlearn.models.exported import ADAPTER, MERGED
from unlearn.report import card
from unlearn.store.disk import read_json, read_lines, write_json
from unlearn.store.redaction import ROWS
from unlearn.store.runs import Run
from unlearn.store.scratch import folder_beside

# The name of the rows in an exported folder, where they were asked for.
FILE = "rows.jsonl"
# The files of an exported folder that this program writes texts into.
WRITTEN = (card.FILE, "adapter_config.json")
# A shorter text, such as "red", stands in many a sentence by chance.
LEAST = 12
TOKEN = "log in with `hf auth login`, or set HF_TOKEN to a token that may write"


@dataclass(frozen=True)
class Exported:
    """What was written: the folder, "adapter" or "merged", the Python lines that load it, and whether it has rows."""

    folder: Path
    kind: str
    lines: list[str]
    rows: bool


def export(run: Run, folder: Path, kind: str = "", rows: bool = False, named: str = "") -> Exported:
    """Write a run's weights with their model card into a new folder, completely or not at all.

    kind: "adapter" or "merged"; "": as the run keeps them. rows: whether the run's rows go with them. named: what the
    lines that load it call the folder, where that is not its path. ValueError for what cannot be exported.
    """
    check_changed(run)
    kind = kind or exported.kind_of(run)
    check_target(folder)
    if rows and not (run.path / ROWS[0]).is_file():
        raise ValueError(f"export: {run.id} keeps no rows, so --with-rows has nothing to add; leave it out.")
    with folder_beside(folder.absolute().parent, folder.name) as scratch:
        save = {ADAPTER: exported.save_adapter, MERGED: exported.save_merged}[kind]
        loads = save(run, scratch)
        base = exported.base_name(run.config) if kind == ADAPTER else ""
        if kind == ADAPTER and named:
            # Who reads it on the hub does not have this machine's folders.
            base = card.facts.base(run)["hub"] or Path(base).name
            about = read_json(scratch / "adapter_config.json") | {"base_model_name_or_path": base}
            write_json(scratch / "adapter_config.json", about)
        lines = exported.lines(named or str(folder.absolute()), loads, base)
        # The card goes where the folder goes, and the folders of this machine are nobody else's.
        card.write(run, scratch, kind, "\n".join(exported.lines(named or folder.name, loads, base)))
        if rows:
            shutil.copyfile(run.path / ROWS[0], scratch / FILE)
        # The libraries make files that only their owner may read; what is exported is for others.
        for path in scratch.iterdir():
            path.chmod(0o644)
        if folder.is_dir():
            folder.rmdir()
        scratch.rename(folder)
    return Exported(folder, kind, lines, rows)


def changes_weights(run: Run) -> bool:
    """Return whether the run's method says that it changes the model itself."""
    method = OFFERED.get(run.config.method)
    return method is None or method.changes_weights


def check_changed(run: Run) -> None:
    """Raise ValueError where the run's weights are those of its start, since nothing would be forgotten in them."""
    if not changes_weights(run):
        raise ValueError(
            f"export: {run.id} changed no weight, only how the next word is chosen; whoever has the weights has the "
            "knowledge, so they are not handed on. Choose a method that changes weights."
        )


def check_target(folder: Path) -> None:
    """Raise ValueError where a folder cannot be made: it is there and not empty, or its parent is no folder."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"export: {folder} is there already; name a folder that does not exist yet.")
    if not folder.absolute().parent.is_dir():
        raise ValueError(f"export: {folder.absolute().parent} is no folder; make it first, or name another.")


def quoted(run: Run, folder: Path) -> str:
    """Return the first text of a forget row that a file of the folder quotes, with the file's name, else ""."""
    texts = {
        name: (folder / name).read_text(encoding="utf-8") for name in WRITTEN if (folder / name).is_file()
    }
    for line in read_lines(run.path / ROWS[0]):
        row = line.get("row") if line.get("role") == "forget" else None
        for one in (row or {}).get("question", ""), (row or {}).get("answer", ""):
            for name, content in texts.items():
                if len(one) >= LEAST and (one in content or card.plain(one) in content):
                    return f"{name} quotes {one[:40]!r}"
    return ""


def push(
    run: Run,
    repository: str,
    *,
    private: bool = True,
    kind: str = "",
    rows: bool = False,
    told: Callable[[str], None] = lambda text: None,
) -> str:
    """Write a run's weights and model card to a repository of the hub and return its address.

    A new repository is private unless private is False. ValueError, in a sentence, where the hub refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repository)
    except ValueError as error:
        raise ValueError(f"--push-to-hub: {repository!r} must be OWNER/NAME ({error}).") from None
    if repository.count("/") != 1:
        raise ValueError(f"--push-to-hub: must be OWNER/NAME, got {repository!r}.")
    with folder_beside(run.path.parent, "push") as scratch:
        made = export(run, scratch / "export", kind, rows, named=repository)
        if not rows and (found := quoted(run, made.folder)):
            raise ValueError(
                f"--push-to-hub: {found}, a row that was to be forgotten; give --with-rows to send it all."
            )
        told(f"sending {sum(p.stat().st_size for p in made.folder.iterdir()) / 1e6:,.1f} MB to {repository}")
        api = HfApi()
        try:
            address = api.create_repo(repository, private=private, exist_ok=True)
            if private and not api.repo_info(repository).private:
                raise ValueError(
                    f"--push-to-hub: {repository} is there already and is public; give --public, or another name."
                )
            api.upload_folder(
                repo_id=repository, folder_path=made.folder, commit_message=f"Unlearning run {run.id}"
            )
        except ValueError:
            raise
        except Exception as error:
            raise ValueError(f"--push-to-hub: {_refusal(error, repository)}") from error
    return str(address)


def _refusal(error: Exception, repository: str) -> str:
    """What the hub, or the way to it, says: in a sentence with what to do."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    name = type(error).__name__
    if status == 401 or "Token" in name:
        return f"the hub does not know who asks (401); {TOKEN}."
    if status in (403, 404):
        return f"the token may not write to {repository} ({status}); {TOKEN} there."
    if status == 409:
        return f"{repository} is there already as another kind of repository (409); give another name."
    if "Offline" in name:
        return "this machine is set not to ask the hub (HF_HUB_OFFLINE); unset it, or export to a folder."
    lines = str(error).strip().splitlines() or [name]
    return f"the hub could not be written to: {lines[0][:200]}; export to a folder with --merged or --adapter instead."
