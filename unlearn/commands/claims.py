"""Holds the command that tests the papers' claims."""

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from unlearn.claims import Claim, chosen, record, study
from unlearn.claims.lab import Lab
from unlearn.claims.training import MODEL, WORLDS
from unlearn.commands import where
from unlearn.commands.options import check_out
from unlearn.commands.parser import Command
from unlearn.commands.printing import counter, listing, progress_bar
from unlearn.store import provenance
from unlearn.store.disk import writing_to
from unlearn.store.engine import Engine
from unlearn.store.shapes import JsonObject


def add(command: Command) -> None:
    """Declare the command claims."""
    p = command("claims", claims, "put the papers' claims to the test", store=True)
    p.add_argument("claim", nargs="*", help="such as A1 B5 (default: all)")
    size = p.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="few settings: minutes for all (the default)")
    size.add_argument(
        "--full", action="store_true", help="all settings: an hour or more; can be stopped and gone on with"
    )
    size.add_argument(
        "--rejudge", action="store_true", help="measure nothing: apply the rules anew to the recorded numbers"
    )
    p.add_argument(
        "--world",
        choices=list(WORLDS),
        default=MODEL,
        help="the model to test them on; smollm2-tofu takes those that fit, for hours",
    )
    p.add_argument("--list", action="store_true", help="what the claims say and what would refute them")
    p.add_argument("--out", type=Path, help="file for the results (default: assets/results/claims.json)")
    where.add(p)


def claims(args: argparse.Namespace) -> int:
    """Test the chosen claims one after the other, and record each as soon as it is done."""
    wanted = chosen(args.claim)
    if args.list:
        rows = [{key: getattr(c, key) for key in TOLD} for c in wanted]
        return listing(rows, args.json, ("key", "title", "sentence"), "claims")
    out = args.out or record.of_world(args.world)
    if away := [c for c in wanted if c.elsewhere] if args.world != MODEL else []:
        if args.claim:
            raise ValueError(f"claims: {away[0].key} is not tried on {args.world}. {away[0].elsewhere}")
        wanted = [c for c in wanted if not c.elsewhere]
    if args.rejudge:
        return _rejudge(wanted, out, args.json)
    # What cannot be written is said before hours of work.
    with contextlib.suppress(OSError):
        out.parent.mkdir(parents=True, exist_ok=True)
    check_out("--out", out)
    with writing_to(args.runs / study.FOLDER):
        pass
    mode = "full" if args.full else "quick"
    place = where.place_of(args)
    if place.store:
        raise ValueError("--store: claims keep no weights; leave it out.")
    world = f" --world {args.world}" if args.world != MODEL else ""
    header = header_for(out, f"python -m unlearn claims {' '.join(c.key for c in wanted)} --{mode}{world}")
    done, failed = dict[str, JsonObject](), False
    with where.engine_at(place, args.runs) as engine:
        for claim, entry, why_not in _entries(engine, wanted, mode, args.world, args.runs):
            if why_not:
                print(f"error: {claim.key}: {why_not}", file=sys.stderr)
                failed = True
                continue
            done[claim.key] = entry | {"header": dict(header)}
            record.keep(out, claim, done[claim.key])
            if not args.json:
                found = entry["finding"]
                print(f"{claim.key}  {claim.title}: {found['verdict']}. {found['sentence']}", flush=True)
    if args.json:
        print(json.dumps({"file": str(out), "claims": done}))
    return 1 if failed else 0


def _entries(
    engine: Engine | None, wanted: Sequence[Claim], mode: str, world: str, runs: Path
) -> Iterator[tuple[Claim, JsonObject, str]]:
    """Yield (claim, its entry, why there is none) as each ends: one after the other here, or by the engine."""
    if engine is not None:
        with progress_bar(60) as progress:
            yield from study.carried_out(engine, wanted, mode, world, runs, progress)
        return
    for claim in wanted:
        with counter(claim.key) as say:
            lab = Lab(runs / study.FOLDER, say, WORLDS[world])
            entry = record.entry_of(claim, lab, mode, {}, time.process_time)
        yield claim, entry, ""


def _rejudge(wanted: Sequence[Claim], out: Path, as_json: bool) -> int:
    if not record.entries(out):
        raise ValueError(f"claims: {out} holds no result to judge; `unlearn claims --quick` makes some.")
    changed = record.rejudge(out, {claim.key: claim for claim in wanted}, time.strftime("%Y-%m-%d"))
    if as_json:
        print(json.dumps({"file": str(out), "claims": changed}))
        return 0
    for key, modes in changed.items():
        for mode, finding in modes.items():
            print(f"{key}  {mode}: {finding['verdict']}. {finding['sentence']}")
    print(f"{len(changed)} of {len(wanted)} claims read otherwise than before.")
    return 0


TOLD = ("key", "title", "paper", "sentence", "experiment", "confirms", "refutes")


def header_for(out: Path, command: str) -> JsonObject:
    """Return commit, versions and machine of the results.

    ValueError for the shipped results from a dirty tree.
    """
    import subprocess

    shipped = out.resolve().is_relative_to(provenance.RESULTS)
    try:
        return provenance.header(allow_dirty=not shipped, command=command)
    except SystemExit as error:
        said = str(error).replace("commit first or give --allow-dirty", "commit first, or give --out FILE")
        raise ValueError(f"claims: {said}") from None
    except (OSError, subprocess.CalledProcessError):
        raise ValueError(
            "claims: results say which commit they are of, and here is no git repository."
        ) from None
