"""This module exports a run to a zip file and imports one from a zip file that may be hostile.

The archive holds a run's own files and nothing else: no lock, no checkpoint (it is only good for resuming
where the run was made), no owner. On import the zip is treated as hostile: known names only, nothing that
points outside, bounded sizes checked while reading and not as declared, and weights only as safetensors,
so that opening a run can never execute code.
"""

import io
import json
import re
import secrets
import stat
import time
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from unlearn.store.disk import is_run_id, read_lines, write_json, writing_to
from unlearn.store.records import check_schema, read_config
from unlearn.store.redaction import HASHES, bare, rows_of, without_paths
from unlearn.store.runs import Run, RunStore
from unlearn.store.scratch import beside, folder_beside
from unlearn.store.shapes import MAX_HEADER, real

RECORDS = (
    "config.json",
    "meta.json",
    "events.jsonl",
    "probes.jsonl",
    "samples.jsonl",
    "results.json",
    "metrics.json",
    "attacks.json",
    "votes.jsonl",
    "inputs/rows.jsonl",
    "inputs/hashes.json",
    "README.md",
)
NEEDED = ("config.json", "events.jsonl")
WEIGHTS = re.compile(r"(adapter|model)/[A-Za-z0-9][A-Za-z0-9_.-]*\.(safetensors|json|txt|jinja|md)")
MAX_FILES = 200
# The most bytes of all files together, unpacked.
MAX_BYTES = 4 * 2**30
MIB = 2**20
# {file: (most bytes, most values) after unpacking}. A JSON value takes up to 100 bytes of memory when it is
# read.
LIMITS = {
    "config.json": (MIB, 20_000),
    "meta.json": (MIB, 1_000),
    "results.json": (8 * MIB, 200_000),
    "metrics.json": (64 * MIB, 3_000_000),
    "attacks.json": (64 * MIB, 3_000_000),
    "votes.jsonl": (8 * MIB, 200_000),
    "events.jsonl": (128 * MIB, 6_000_000),
    "probes.jsonl": (128 * MIB, 12_000_000),
    "samples.jsonl": (128 * MIB, 12_000_000),
    "inputs/rows.jsonl": (128 * MIB, 6_000_000),
}
# The limits of the other files beside weights. The largest tokenizers have 35 MB.
OTHER = (64 * MIB, 6_000_000)
# The beginning, after a dot, of the name of a folder that an archive is unpacked into.
IMPORT = "import"
# The most that a file may grow when it is unpacked. The text of a run compresses about tenfold.
MAX_RATIO = 200
CHUNK = 2**20
# One of these bytes precedes each JSON value, so counting them limits the number of values.
MARKS = (b",", b"[", b"{")
UNREADABLE = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, FileNotFoundError)


def export_run(run: Run, out: Path, rows: bool = True) -> Path:
    """Write the run to out (a .zip file, or a folder that gets <id>.zip) and return the file.

    rows: whether the archive holds the rows and the models' answers to them (see unlearn.store.redaction).
    """
    out = Path(out)
    target = out / f"{run.id}.zip" if out.is_dir() else out
    with beside(target) as scratch, zipfile.ZipFile(scratch, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(p for p in run.path.rglob("*") if p.is_file() and not p.is_symlink()):
            name = path.relative_to(run.path).as_posix()
            if not _known(name) or (not rows and name == HASHES):
                continue
            if not rows and path.suffix in (".json", ".jsonl") and not WEIGHTS.fullmatch(name):
                if (content := _bare(run, name)) is not None:
                    archive.writestr(f"{run.id}/{name}", content)
            elif name == "meta.json":
                public = {key: value for key, value in run.meta.items() if key != "owner"}
                archive.writestr(f"{run.id}/{name}", json.dumps(public, ensure_ascii=False))
            # A line that a crash has cut is left out.
            elif name.endswith(".jsonl") and "/" not in name:
                lines = (json.dumps(line, ensure_ascii=False) for line in read_lines(path))
                archive.writestr(f"{run.id}/{name}", "".join(f"{line}\n" for line in lines))
            elif name.endswith(".safetensors"):
                # Weights do not compress, because they look like random numbers.
                archive.write(path, f"{run.id}/{name}", zipfile.ZIP_STORED)
            else:
                archive.write(path, f"{run.id}/{name}")
        if not rows and (kept := rows_of(run.path)):
            archive.writestr(f"{run.id}/{HASHES}", json.dumps(kept))
    return target


def _bare(run: Run, name: str) -> bytes | None:
    """The content of a record without rows, and without this machine's paths; None for one that is nothing else."""
    content = (run.path / name).read_bytes()
    if name == "meta.json":
        public = {key: value for key, value in run.meta.items() if key != "owner"}
        return json.dumps(public | {"redacted": round(time.time(), 3)}, ensure_ascii=False).encode()
    if name == "config.json":
        return json.dumps(without_paths(json.loads(content)), ensure_ascii=False).encode()
    found = bare(name, content)
    if name == "results.json" and found is not None:
        kept = {key: value for key, value in json.loads(found).items() if key != "command"}
        return json.dumps(kept, ensure_ascii=False).encode()
    return found


def import_run(archive: Path | bytes, store: RunStore, owner: str = "") -> Run:
    """Add the run in the archive to the store. An id that the store has already gets a suffix, and an invalid
    id is replaced by a new one.

    ValueError says what is wrong. Nothing appears in the store before every file has been checked.
    """
    if not isinstance(archive, bytes) and Path(archive).exists() and not Path(archive).is_file():
        raise ValueError(f"import: {archive} is not a file; give the zip that export wrote.")
    source = io.BytesIO(archive) if isinstance(archive, bytes) else Path(archive)
    try:
        with zipfile.ZipFile(source) as opened:
            run_id, members = _plan(opened)
            with writing_to(store.root), folder_beside(store.root, IMPORT) as scratch:
                _unpack(opened, members, scratch)
                _check_records(scratch)
                return _adopt(scratch, run_id, store, owner)
    except UNREADABLE as error:
        raise ValueError(
            f"import: this is not a readable run archive ({error}); export the run again."
        ) from error


def _known(name: str) -> bool:
    return name in RECORDS or WEIGHTS.fullmatch(name) is not None


def _plan(archive: zipfile.ZipFile) -> tuple[str, dict[str, zipfile.ZipInfo]]:
    """(run id, {name inside the run: member}), everything checked that the directory of the zip can tell."""
    infos = [info for info in archive.infolist() if not info.is_dir()]
    if len(infos) > MAX_FILES:
        raise ValueError(f"import: an archive may hold at most {MAX_FILES} files, got {len(infos)}.")
    if (total := sum(info.file_size for info in infos)) > MAX_BYTES:
        raise ValueError(
            f"import: unpacked it would be {total / 2**30:.1f} GiB; the limit is {MAX_BYTES / 2**30:.0f} GiB."
        )
    ids, members = set(), {}
    for info in infos:
        parts = PurePosixPath(info.filename).parts
        name = "/".join(parts[1:])
        if "\\" in info.filename or ".." in parts or info.filename.startswith("/") or len(parts) < 2:
            raise ValueError(f"import: {info.filename!r} is not a path inside a run's folder.")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise ValueError(f"import: {info.filename!r} is a symbolic link; a run holds plain files only.")
        if not _known(name):
            raise ValueError(f"import: {name!r} does not belong to a run; weights must be safetensors.")
        if name in members:
            raise ValueError(f"import: {name!r} is in the archive twice.")
        if not name.endswith(".safetensors") and info.file_size > (most := LIMITS.get(name, OTHER)[0]):
            raise ValueError(
                f"import: {name} would unpack to more than {most // MIB} MiB; this is not a run."
            )
        if info.file_size > CHUNK and info.file_size > MAX_RATIO * max(1, info.compress_size):
            raise ValueError(
                f"import: {name} unpacks to more than {MAX_RATIO} times its size; this is not a run."
            )
        ids.add(parts[0])
        members[name] = info
    if missing := [name for name in NEEDED if name not in members]:
        raise ValueError(f"import: {', '.join(missing)} is missing; this is not an exported run.")
    if len(ids) != 1:
        raise ValueError("import: an archive must hold exactly one run folder.")
    return ids.pop(), members


def _unpack(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], folder: Path) -> None:
    """Copy member by member, counting what really comes out: a header may understate it."""
    for name, info in members.items():
        target = folder / name
        target.parent.mkdir(exist_ok=True)
        left, values = info.file_size, 0
        most = None if name.endswith(".safetensors") else LIMITS.get(name, OTHER)[1]
        with archive.open(info) as source, target.open("wb") as sink:
            while chunk := source.read(CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise ValueError(f"import: {name} is larger than the archive says; this is not a run.")
                values += sum(map(chunk.count, MARKS)) if most else 0
                if most and values > most:
                    raise ValueError(
                        f"import: {name} holds more values than a run's file may; this is not a run."
                    )
                sink.write(chunk)


def _check_records(folder: Path) -> None:
    """Each JSON file must parse, each weight file must begin like safetensors, the config must be one."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".json":
            found = _parse(path.read_bytes(), name)
            if not isinstance(found, dict):
                raise ValueError(f"import: {name} must hold a JSON object.")
            if name == "results.json":
                check_schema(found, name)
        elif path.suffix == ".jsonl":
            for number, line in enumerate(path.read_bytes().splitlines(), 1):
                if line.strip() and not isinstance(_parse(line, f"{name} line {number}"), dict):
                    raise ValueError(f"import: {name} line {number} must hold a JSON object.")
        elif path.suffix == ".safetensors":
            _check_safetensors(path, name)
    read_config(folder / "config.json")


def _parse(text: bytes, where: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"import: {where} is not valid JSON ({error}).") from error


def _check_safetensors(path: Path, name: str) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
        if size < 8 or not 2 <= header <= min(size - 8, MAX_HEADER):
            raise ValueError(f"import: {name} is not a safetensors file.")
        if not isinstance(_parse(file.read(header), f"{name} header"), dict):
            raise ValueError(f"import: {name} is not a safetensors file.")


def _adopt(scratch: Path, run_id: str, store: RunStore, owner: str) -> Run:
    """Give the checked folder its place in the store in one rename."""
    meta_path = scratch / "meta.json"
    meta = json.loads(meta_path.read_bytes()) if meta_path.is_file() else {}
    title = str(meta.get("title", ""))[:200]
    redacted = {"redacted": meta["redacted"]} if real(meta.get("redacted")) else {}
    write_json(meta_path, {"title": title, "owner": owner, "imported": True} | redacted)
    if not is_run_id(run_id):
        run_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{Run(scratch).config.method}-{secrets.token_hex(2)}"
    target = store.root / run_id
    while target.exists() or not is_run_id(target.name):
        target = store.root / f"{run_id[:100]}-{secrets.token_hex(2)}"
    scratch.rename(target)
    return Run(target)
