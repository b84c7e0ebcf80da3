"""Holds commands that look at one run: ask its models a question, or watch it until it ends."""

import argparse
import json
import time
from collections.abc import Iterator

from unlearn.commands.find import record_named, run_named
from unlearn.commands.options import EVERYWHERE, RUN
from unlearn.commands.parser import Command
from unlearn.commands.printing import number, print_run
from unlearn.measure.ask import answer_prompt, answer_question, load_source, start_is_here
from unlearn.store.runs import ACTIVE, Record, Run
from unlearn.store.shapes import JsonObject, JsonView

MODELS = ("before", "after", "retrained")
# Seconds between two looks at an active run.
LOOKS = 0.2
MOST_TOKENS = 512


def add(command: Command) -> None:
    """Declare the commands ask and watch."""
    p = command("ask", ask, "put a question of your own to a run's models", store=True)
    p.add_argument("run", help=RUN)
    p.add_argument("question", help="A question, or with --raw the beginning of a text.")
    text = "Which model answers alone (default: after, and before beside it where that model is on this machine)."
    p.add_argument("--of", choices=MODELS, help=text)
    p.add_argument("--answer", default="", help="The right answer, whose log-prob is read too.")
    p.add_argument(
        "--raw", action="store_true", help="Continue the words as they are, without a prompt around."
    )
    text = f"Tokens of the answer, 1 to {MOST_TOKENS} (default: 40)."
    p.add_argument("--tokens", type=int, default=40, metavar="N", help=text)
    seen = command("watch", watch, "follow what a run or a study does until it ends", store=True)
    seen.add_argument("run", help=f"{RUN} Or a sequence or a sweep.")


def ask(args: argparse.Namespace) -> int:
    """Print what the models say and, with --answer, how likely they hold that answer."""
    if not args.question.strip():
        raise ValueError("question: is empty; write one.")
    if not 1 <= args.tokens <= MOST_TOKENS:
        raise ValueError(f"--tokens: must lie in [1, {MOST_TOKENS}], got {args.tokens}.")
    found = run_named(args.run, args.runs)
    of = args.of or "after"
    said = reply(found, of, args)
    # Nothing is fetched for it, and a run that went on from another one began with that one's model.
    both = args.of is None and not found.config.start and start_is_here(found.config)
    before = reply(found, "before", args) if both else None
    if args.json:
        beside = {name: before[name] for name in ("text", "log_prob")} if before else None
        print(json.dumps({"run": str(found.path), "of": of} | said | {"before": beside}))
        return 0
    for name, one in (("before: ", before), ("after:  " if before else "", said)):
        if one is not None:
            print(name + (one["text"].strip() or "(nothing)"))
            if one["log_prob"] is not None:
                print(f"log-prob {number(one['log_prob'])} a token of {args.answer!r}")
    return 0


def reply(found: Run, of: str, args: argparse.Namespace) -> JsonObject:
    """Return what one model of the run says: as answer_prompt(), and "log_prob" of the answer that was given."""
    loaded = load_source(of, found, EVERYWHERE)
    if args.raw:
        said = answer_prompt(loaded, args.question, args.answer, args.tokens)
    else:
        said = answer_question(loaded, found.config, args.question, args.answer, args.tokens)
    lps = [token["lp"] for token in said["tokens"]]
    return said | {"log_prob": sum(lps) / len(lps) if args.answer and lps else None}


def watch(args: argparse.Namespace) -> int:
    """Print events as they come, as lines or as JSON lines.

    The last line is the outcome. The status is 0 when the run is done.
    """
    found = record_named(args.run, args.runs)
    for event in followed(found):
        if args.json:
            print(json.dumps(event), flush=True)
        elif line := event_line(event):
            print(line, flush=True)
    if isinstance(found, Run):
        print_run(found, args.json)
    elif args.json:
        print(json.dumps({"run": str(found.path), "state": found.state, "reason": found.reason}))
    else:
        print(f"{found.path}: {found.state}" + (f" ({found.reason})" if found.reason else ""))
    return 0 if found.state == "done" else 1


def followed(record: Record, looks: float = LOOKS) -> Iterator[JsonObject]:
    """Yield the record's events from the first to the last, each once, for as long as a process carries it
    out.
    """
    last: list[JsonObject] = []
    while True:
        works = record.state in ACTIVE
        events = record.events()
        # After a resume the repeated steps leave the list, so its beginning is no longer the same.
        fresh = events[len(last) :] if events[: len(last)] == last else [e for e in events if e not in last]
        yield from fresh
        last = events
        if not works:
            return
        time.sleep(looks)


def event_line(event: JsonView) -> str:
    """Return an event as one line. It is empty for one that says nothing to a reader."""
    kind = event["kind"]
    if kind == "state":
        return f"{event['state']} {event.get('reason', '')}".rstrip()
    if kind == "step":
        terms = "  ".join(f"{name} {number(value)}" for name, value in event["terms"].items())
        return f"step {event['step']} of {event['of']}  {terms}"
    if kind == "note" and event.get("phase") and "seconds" not in event:
        return str(event["phase"])
    if kind == "note" and event.get("text"):
        return str(event["text"])
    return f"scored {event['when']}" if kind == "eval" else ""
