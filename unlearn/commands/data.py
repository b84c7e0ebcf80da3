"""Holds the command about datasets: list, search, show near rows, find leaks, and split."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from unlearn.commands.options import EVERYWHERE, request_numbers
from unlearn.commands.parser import Command
from unlearn.commands.printing import listing, number
from unlearn.data import catalogue, split, write
from unlearn.data.base import ROLES, Dataset, Row
from unlearn.data.benchmarks import is_benchmark
from unlearn.data.catalogue import CATALOGUE, from_config, load, sentence
from unlearn.data.files.read import FORMATS
from unlearn.data.leaks import leaks
from unlearn.data.lengths import NOTE, fitted
from unlearn.data.remarks import remarks
from unlearn.data.search import Item, chosen_roles, find, item_named, items
from unlearn.data.similar import Similar
from unlearn.models.reading import reader_of
from unlearn.store.shapes import JsonObject

NEAREST = 5
# The model whose tokenizer counts tokens where no model is named.
MODEL = "tiny-authors"
KEYS = (
    *(
        "question_column",
        "answer_column",
        "text_column",
        "system_column",
        "messages_column",
        "request_column",
    ),
    *("retain_question_column", "retain_answer_column", "retain_text_column", "retain_system_column"),
    *("retain_messages_column", "turns", "long", "encoding", "retain_encoding"),
    *("hub_folder", "hub_config", "hub_split", "retain_hub_config", "retain_hub_split", "limit"),
)


def add(command: Command) -> None:
    """Declare the command data."""
    p = command("data", data, "list the datasets; or look into one, search it, check it, split it")
    p.add_argument(
        "name", nargs="?", help="a bundled dataset, a benchmark, a hub id, or a file of rows to be forgotten"
    )
    p.add_argument("--retain", help="with a file: another file, whose rows are to be kept")
    p.add_argument("--model", default=MODEL, help=f"whose tokens are counted (default: {MODEL})")
    p.add_argument("--max-length", type=int, default=512, help="tokens of a row that a run is to read")
    for key in KEYS:
        kind = int if key == "limit" else str
        p.add_argument("--" + key.replace("_", "-"), type=kind, help=_sentence(key))
    p.add_argument("--skip-long", dest="long", action="store_const", const="skip", help="same as --long skip")
    p.add_argument("--requests", help="only these deletion requests, such as 1,2")
    p.add_argument("--search", default="", metavar="TEXT", help="rows that have this text")
    p.add_argument("--whole-words", action="store_true", help="the text begins and ends with a word")
    p.add_argument("--role", default="", help="only rows of these roles, with commas between them")
    p.add_argument(
        "--neighbours", metavar="ITEM", help="what is closest in wording to a row such as forget:1"
    )
    p.add_argument("--leaks", action="store_true", help="forget rows that another role repeats")
    p.add_argument(
        "--split", metavar="FOLDER", type=Path, help="write another forget set and the rest there, as JSONL:"
    )
    p.add_argument(
        "--subject", action="append", default=[], help="... all rows of this subject (again for more)"
    )
    p.add_argument(
        "--share", type=float, help="... this share of the rows at random; otherwise what --search finds"
    )
    p.add_argument("--seed", type=int, default=0, help="... of the random choice (default: 0)")
    p.add_argument(
        "--aside", type=int, default=0, help="... so many nearest rows of each are put into neighbours"
    )


def data(args: argparse.Namespace) -> int:
    """Print the datasets, or what was asked about one of them."""
    _check_share(args.share, args.split is not None)
    if not args.name:
        rows = [_facts(load(name)) for name in CATALOGUE]
        return listing(rows, args.json, ("name", "title", "rows"), "datasets")
    config = _config(args)
    found = from_config(config, roots=EVERYWHERE)
    if args.split:
        return _split(found, args)
    if args.neighbours:
        return _near(found, args)
    if args.leaks:
        return _leaks(found, args)
    if args.search or args.role:
        return _search(found, args)
    shape = _shape(found, args)
    print(json.dumps(shape) if args.json else _told(found, shape))
    return 0


def _sentence(key: str) -> str:
    return sentence(key).replace("%", "%%")


def _config(args: argparse.Namespace) -> JsonObject:
    """The data field that the words of the command mean."""
    path = Path(args.name)
    known = args.name in catalogue.CATALOGUE or is_benchmark(args.name)
    form = "name" if known else "forget" if path.is_file() else "hub"
    if form == "hub" and path.suffix.lower() in FORMATS and not path.is_dir():
        raise ValueError(f"data: {args.name} is not a file. Check the path.")
    if form == "hub" and "/" not in args.name and not path.is_dir():
        # This raises an error that lists the known names.
        catalogue.load(args.name)
    config: JsonObject = {form: args.name}
    config |= {"retain": args.retain} if args.retain else {}
    config |= (
        {"requests": list(request_numbers("--requests", args.requests))} if args.requests is not None else {}
    )
    for key in KEYS:
        if (value := getattr(args, key)) is not None:
            config[key] = value
    return config


def _shape(found: Dataset, args: argparse.Namespace) -> JsonObject:
    """Return what `data NAME --json` prints: the forget rows with everything a person must know before a run."""
    read = fitted(found, reader_of(args.model, args.max_length), NOTE)
    rows = found.rows("forget")
    return {
        "name": found.name,
        "title": found.title,
        "rows": len(rows),
        "left_out": found.left_out,
        "notes": [*read.warnings, *remarks(found)],
        "columns": dict(found.columns),
        "roles": {role: len(found.rows(role)) for role in ROLES if found.rows(role)},
        "requests": list(found.requests()),
        "note": found.note,
        "hash": found.hash(),
        "items": [_item(row, number) for number, row in enumerate(rows, start=1)],
    }


def _item(row: Row, number: int) -> JsonObject:
    """Return one forget row (an exchange, a longer conversation, or a text) with its other fields."""
    made: JsonObject = {"id": f"forget:{number}"}
    if row.messages:
        above = [("system", row.system)] if row.system else []
        turns = [*above, *row.messages, ("user", row.question)]
        made |= {"messages": [{"role": role, "content": text} for role, text in turns], "answer": row.answer}
    elif row.prompt:
        made |= {"question": row.question or row.lead, "answer": row.answer, "system": row.system}
    else:
        made |= {"text": row.answer}
    more = {
        "wrong": list(row.wrong),
        "paraphrase": row.paraphrase,
        "asked_otherwise": row.asked_otherwise,
        "truth": row.truth,
    }
    return made | {name: value for name, value in more.items() if value}


def _facts(found: Dataset) -> JsonObject:
    counts = {role: len(found.rows(role)) for role in ROLES}
    facts = {"name": found.name, "title": found.title, "requests": list(found.requests()), "rows": counts}
    return facts | {"note": found.note}


def _told(found: Dataset, shape: JsonObject) -> str:
    lines = [f"{found.title} ({shape['hash']}). {found.note}"]
    lines += [f"  {role:12} {count}" for role, count in shape["roles"].items()]
    if shape["columns"]:
        lines.append(
            "  read: " + ", ".join(f"{what} from {name!r}" for what, name in shape["columns"].items())
        )
    return "\n".join([*lines, *(f"note: {text}" for text in shape["notes"])])


def _cells(found: Dataset, item: Item) -> JsonObject:
    row = item.row(found)
    text = row.question or row.lead
    return {"item": str(item), "question": text, "answer": row.answer, "subject": row.subject}


def _lines(rows: Sequence[Mapping[str, object]], args: argparse.Namespace, columns: tuple[str, ...]) -> int:
    shown = [{key: number(value).replace("\n", " ") for key, value in row.items()} for row in rows]
    return listing(rows if args.json else shown, args.json, columns, "found")


def _wanted(found: Dataset, args: argparse.Namespace, roles: tuple[str, ...]) -> list[Item]:
    return find(found, args.search, roles, whole_words=args.whole_words)


def _search(found: Dataset, args: argparse.Namespace) -> int:
    rows = [_cells(found, item) for item in _wanted(found, args, chosen_roles(args.role))]
    return _lines(rows, args, ("item", "question", "answer"))


def _near(found: Dataset, args: argparse.Namespace) -> int:
    wanted = item_named(found, args.neighbours)
    among = items(
        found, [r for r in chosen_roles(args.role) if args.role or r not in ("forget", "paraphrase")]
    )
    (near,) = Similar(found).nearest([wanted], among, NEAREST)
    rows = [{"similarity": one.similarity} | _cells(found, one.item) for one in near]
    return _lines(rows, args, ("similarity", "item", "question", "answer"))


def _leaks(found: Dataset, args: argparse.Namespace) -> int:
    told = leaks(found)
    rows = [
        {
            "item": str(leak.item),
            "other": str(leak.other),
            "question": leak.question,
            "answer": leak.answer,
            "more": leak.more,
        }
        for leak in told.found
    ]
    if args.json:
        print(json.dumps({"found": rows, "checked": told.checked, "n": told.n}))
        return 0
    print(f"{len(rows)} of {told.checked} forget rows are repeated outside ({told.n} there are)")
    return _lines(rows, args, ("item", "other"))


def _check_share(share: float | None, splits: bool) -> None:
    """Raise ValueError for a share that is none, or one without a folder to split into."""
    if share is None:
        return
    if not 0 < share < 1:
        raise ValueError(f"--share: must lie between 0 and 1, got {share:g}.")
    if not splits:
        raise ValueError("--share: says how much a split forgets; add --split FOLDER, or leave it out.")


def _split(found: Dataset, args: argparse.Namespace) -> int:
    if args.subject:
        groups, how = split.of_subjects(found, args.subject), " ".join(args.subject)
    elif args.share is not None:
        groups, how = split.at_random(found, args.share, args.seed), f"{args.share:.0%} seed {args.seed}"
    elif args.search:
        roles = tuple(role for role in chosen_roles(args.role) if role in split.POOL)
        groups, how = [_wanted(found, args, roles)], args.search
    else:
        raise ValueError("--split: say what to forget by --subject NAME, --share 0.1 or --search TEXT.")
    similar = Similar(found) if args.aside else None
    name = split.name_of(found, how)
    made = split.split(found, groups, name=name, neighbours=args.aside, similar=similar)
    config = write.save(made, args.split)
    shape = _shape(made, args) | {"data": config}
    print(json.dumps(shape) if args.json else "\n".join([_told(made, shape), *config.values()]))
    return 0
