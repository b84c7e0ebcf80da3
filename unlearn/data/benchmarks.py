"""This module fills the roles of benchmarks by name: TOFU, MUSE, WMDP and RWKU. Their rows come from the hub
or from a folder of the same layout.

    tofu-forget01 / 05 / 10   Maini et al. 2024, arXiv 2401.06121: fictitious authors, 20 questions each
    muse-news, muse-books     Shi et al. 2024, arXiv 2407.06460: news articles, and the Harry Potter books
    wmdp-bio, wmdp-cyber      Li et al. 2024, arXiv 2403.03218: hazardous knowledge; questions come by another harness
    rwku:NAME                 Jin et al. 2024, arXiv 2406.10890: one famous person, such as rwku:1_Stephen_King

What a source does not hold leaves its role empty, and the dataset's warnings name it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from unlearn.data import hub, tofu
from unlearn.data.base import Dataset, Row
from unlearn.data.files import cached
from unlearn.data.files.read import read_table
from unlearn.data.tables import asked_otherwise, read_rows

# Consecutive rows of TOFU that speak of one author, whose removal is one request.
AUTHOR = 20
HUB = {"tofu": "locuslab/TOFU", "wmdp": "cais/wmdp-corpora", "rwku": "jinzhuoran/RWKU"}
MUSE_HUB = {"news": "muse-bench/MUSE-News", "books": "muse-bench/MUSE-Books"}
RWKU_SUBJECT = r"rwku:[\w.,' -]+"


@dataclass
class Source:
    """The place where a benchmark's parts come from: a hub id, or a folder with the same layout. notes: what
    was missing or derived.
    """

    spec: str | Path
    notes: list[str] = field(default_factory=list)

    def rows(self, config: str, role: str, split: str = "train") -> tuple[Row, ...]:
        """The rows of one part. ValueError where the source does not hold it."""
        table = hub.from_hub(self.spec, split=split, config=config)
        return read_rows(table, role).rows

    def maybe(self, config: str, role: str, split: str = "train") -> tuple[Row, ...]:
        """Return the rows of one part. Where the source lacks it there are none, and a note says so."""
        try:
            return self.rows(config, role, split)
        except ValueError as error:
            part = config if split == "train" else f"{config}/{split}"
            why = "is not in" if _absent(error) else "cannot be read from"
            more = "" if _absent(error) else f" ({error})"
            self.notes.append(f"{part} {why} {self.spec}{more}: {role} stays empty.")
            return ()

    def records(
        self, config: str, split: str, columns: Sequence[str], role: str
    ) -> tuple[Mapping[str, object], ...]:
        """Return the cells of these columns as they stand. Where the source lacks the part, a note says so."""
        try:
            table = hub.from_hub(self.spec, columns, split=split, config=config)
        except ValueError as error:
            if not _absent(error):
                raise
            self.notes.append(f"{config}/{split} is not in {self.spec}: {role} stays empty.")
            return ()
        return table.records

    def has(self, config: str, split: str = "train") -> bool:
        """Whether the source holds this part."""
        try:
            hub.from_hub(self.spec, split=split, config=config, limit=2)
        except ValueError as error:
            if _absent(error):
                return False
            raise
        return True


@dataclass
class Bundled(Source):
    """The part of TOFU that comes with the product, for a machine that the hub does not answer."""

    def rows(self, config: str, role: str, split: str = "train") -> tuple[Row, ...]:
        """Return the rows of one part. ValueError where it is not bundled."""
        return tofu.rows(config)

    def maybe(self, config: str, role: str, split: str = "train") -> tuple[Row, ...]:
        """Return the rows of one part, or none where it is not bundled."""
        return tofu.rows(config) if tofu.holds(config) else ()

    def has(self, config: str, split: str = "train") -> bool:
        """Return whether this part is bundled."""
        return tofu.holds(config)


def source_for(name: str, folder: Path | None, where: str) -> Source:
    """Return a folder or the hub as a source. Where the hub does not answer, it is the copy that a cache keeps, or else
    the bundled part of TOFU.
    """
    if folder is not None:
        return Source(folder)
    if hub.answers(where):
        return Source(where)
    if copy := cached.copy_of(where):
        return Source(copy, [hub.without_hub(copy)])
    if not name.startswith("tofu-"):
        return Source(where)
    note = (
        f"The hub does not answer, so the bundled part of TOFU was read: of what is to be kept {tofu.BUNDLED:,} rows, "
        "and no holdout rows. --hub-folder reads a copy of the whole."
    )
    return Bundled(where, [note])


def _absent(error: ValueError) -> bool:
    """Whether the source answers and has no such part, as the datasets library words it."""
    words = str(error)
    return any(sign in words for sign in ("BuilderConfig", "Bad split", "Unknown split", "FileNotFound"))


def names() -> tuple[str, ...]:
    """Return the names of the benchmarks. The name of RWKU is followed by a subject."""
    return (*BENCHMARKS, "rwku:NAME")


def is_benchmark(name: str) -> bool:
    """Whether this is the name of a benchmark."""
    return name in BENCHMARKS or bool(re.fullmatch(RWKU_SUBJECT, name))


def load(name: str, folder: Path | None = None) -> Dataset:
    """The benchmark of this name, from its place on the hub or from a folder of the same layout.

    ValueError for an unknown name, a hub that does not answer, or a source without the rows to forget.
    """
    if re.fullmatch(RWKU_SUBJECT, name):
        return _rwku(name, folder)
    if name not in BENCHMARKS:
        raise ValueError(f"data: benchmarks are {', '.join(names())}, got {name!r}. Choose one of these.")
    make, where = BENCHMARKS[name]
    source = source_for(name, folder, where)
    roles = {role: rows for role, rows in make(source).items() if rows}
    return Dataset(
        name=name, title=title(name), roles=roles, note=_licence(name), warnings=tuple(source.notes)
    )


def _tofu(share: str) -> Callable[[Source], dict[str, tuple[Row, ...]]]:
    def make(source: Source) -> dict[str, tuple[Row, ...]]:
        forget = _with_wrong(source, source.rows(f"forget{share}", "forget"), f"forget{share}_perturbed")
        forget = tuple(replace(row, request=at // AUTHOR + 1) for at, row in enumerate(forget))
        general: tuple[Row, ...] = ()
        for part in ("real_authors", "world_facts"):
            found = f"{part}_perturbed" if source.has(f"{part}_perturbed") else part
            general += source.maybe(found, "general")
        return {
            "forget": forget,
            "paraphrase": tuple(
                replace(row, answer=row.paraphrase or row.answer) for row in asked_otherwise(forget)
            ),
            "retain": _with_wrong(source, _tofu_retain(source, share, forget), "retain_perturbed"),
            "general": general,
            "approximate": source.maybe(f"holdout{share}", "approximate"),
        }

    return make


def _tofu_retain(source: Source, share: str, forget: Sequence[Row]) -> tuple[Row, ...]:
    """The retain set, or where it is missing all of TOFU without the rows to forget, in order."""
    kept = f"retain{100 - int(share)}"
    if isinstance(source, Bundled):
        return tofu.beside(f"forget{share}")
    if source.has(kept):
        return source.rows(kept, "retain")
    if not source.has("full"):
        return source.maybe(kept, "retain")
    gone = {(row.question, row.answer) for row in forget}
    rows = tuple(row for row in source.rows("full", "retain") if (row.question, row.answer) not in gone)
    source.notes.append(
        f"{kept} is not in {source.spec}: retain is full without the rows to forget, in order."
    )
    return rows


def _with_wrong(source: Source, rows: Sequence[Row], config: str) -> tuple[Row, ...]:
    """The rows with wrong and paraphrased answers of the perturbed part, matched by question and answer."""
    if not source.has(config):
        source.notes.append(f"{config} is not in {source.spec}: these rows have no wrong answers.")
        return tuple(rows)
    more = {(row.question, row.answer): row for row in source.rows(config, "forget")}
    return tuple(
        replace(
            row,
            wrong=found.wrong,
            paraphrase=found.paraphrase,
            asked_otherwise=found.asked_otherwise,
        )
        if (found := more.get((row.question, row.answer)))
        else row
        for row in rows
    )


def _muse(source: Source) -> dict[str, tuple[Row, ...]]:
    """Texts of MUSE; its four scaled forget sets are the requests, where the source has them."""
    forget: tuple[Row, ...] = ()
    parts = [f"forget_{number}" for number in range(1, 5)]
    if all(source.has("sust", part) for part in parts):
        for number, part in enumerate(parts, 1):
            forget += tuple(replace(row, request=number) for row in source.rows("sust", "forget", part))
    else:
        forget = source.rows("raw", "forget", "forget")
        source.notes.append(f"sust is not in {source.spec}: there are no requests.")
    return {
        "forget": forget,
        "retain": source.maybe("raw", "retain", "retain1"),
        "approximate": source.maybe("raw", "approximate", "holdout"),
        "paraphrase": source.maybe("knowmem", "paraphrase", "forget_qa"),
        "neighbours": source.maybe("knowmem", "neighbours", "retain_qa"),
    }


def _wmdp(subject: str) -> Callable[[Source], dict[str, tuple[Row, ...]]]:
    def make(source: Source) -> dict[str, tuple[Row, ...]]:
        corpus = f"{subject}-forget-corpus"
        try:
            forget = source.rows(corpus, "forget")
        except ValueError as error:
            raise ValueError(
                f"data: {corpus} cannot be read from {source.spec} ({error}). The biology corpus is handed out on "
                "request: put it into a folder of the same layout and give that with --hub-folder."
            ) from None
        return {"forget": forget, "retain": source.maybe(f"{subject}-retain-corpus", "retain")}

    return make


def _rwku(name: str, folder: Path | None) -> Dataset:
    """One subject of RWKU: its passages to forget, questions of three levels, and neighbours."""
    subject, where = name.partition(":")[2], rwku_folder(name, folder)
    notes: list[str] = []

    def part(stem: str, role: str) -> tuple[Row, ...]:
        path = where / f"{stem}.json"
        if path.is_file():
            return read_rows(read_table(path, f"{stem}.json"), role).rows
        notes.append(f"{stem}.json is not in {where}: {role} lacks it.")
        return ()

    roles = {
        "forget": part("passage", "forget"),
        "paraphrase": tuple(row for n in (1, 2, 3) for row in part(f"forget_level{n}", "paraphrase")),
        "neighbours": tuple(row for n in (1, 2) for row in part(f"neighbor_level{n}", "neighbours")),
        "approximate": part("retain_mia", "approximate"),
    }
    if not roles["forget"]:
        raise ValueError(
            f"data: {where} holds no passage.json of {subject!r}; a subject is a folder of Target, such as "
            "rwku:1_Stephen_King."
        )
    kept = {role: rows for role, rows in roles.items() if rows}
    return Dataset(
        name=name, title=f"RWKU, {subject}", roles=kept, note=_licence(name), warnings=tuple(notes)
    )


def rwku_folder(name: str, folder: Path | None) -> Path:
    """Return where the files of one subject lie: in this copy of the benchmark, or in what the hub sends."""
    subject = name.partition(":")[2]
    base = cached.resolved(folder) if folder is not None else _rwku_snapshot(subject)
    return base / "Target" / subject if (base / "Target" / subject).is_dir() else base


def _rwku_snapshot(subject: str) -> Path:
    """The subject's files from the hub's dataset."""
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(HUB["rwku"], repo_type="dataset", allow_patterns=[f"Target/{subject}/*.json"])
        )
    # The library raises many kinds; each becomes the one kind that callers know.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"data: {HUB['rwku']} cannot be read ({reason}). Give a local copy of it with --hub-folder."
        ) from None


def title(name: str) -> str:
    """Return the title of a benchmark's name for a person, such as "TOFU, forget10"."""
    family, _, part = name.partition("-")
    return f"{family.upper()}, {part}"


def _licence(name: str) -> str:
    family = name.partition("-")[0].partition(":")[0]
    said = {
        "tofu": "TOFU's rows (Maini et al. 2024), MIT licence.",
        "muse": "MUSE's texts (Shi et al. 2024); see the dataset's card for its licence.",
        "wmdp": "WMDP's corpora (Li et al. 2024), MIT licence.",
        "rwku": "RWKU's rows (Jin et al. 2024); see the dataset's card for its licence.",
    }
    return said[family]


BENCHMARKS: dict[str, tuple[Callable[[Source], dict[str, tuple[Row, ...]]], str]] = {
    **{f"tofu-forget{share}": (_tofu(share), HUB["tofu"]) for share in ("01", "05", "10")},
    **{f"muse-{corpus}": (_muse, where) for corpus, where in MUSE_HUB.items()},
    **{f"wmdp-{subject}": (_wmdp(subject), HUB["wmdp"]) for subject in ("bio", "cyber")},
}
