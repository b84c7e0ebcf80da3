"""What carrying runs out elsewhere costs: beside plain execute(), and for many at once."""

from collections.abc import Iterator, Mapping
from typing import Any

from bench.record import origin

# The seconds, the share of a SmolLM2 run, the records a second and the bytes that were hoped for before measuring.
SECONDS, SHARE, RATE, BYTES = 1.5, 0.05, 20, 100_000


def parts(found: Mapping[str, Any]) -> Iterator[tuple[str, str, str, bool]]:
    """Yield (what was measured, the figure, what was hoped for, whether it is kept)."""
    run, empty, queued = found["run"], found["empty"], found["queued"]
    yield (
        "a short run of tiny-authors, on a carrier that has done one before",
        f"{run['overhead']:+.2f} s beside {run['plain']:.2f} s of execute()",
        f"at most {SECONDS} s",
        run["overhead"] <= SECONDS,
    )
    if slow := found.get("smollm2"):
        share = slow["overhead"] / slow["plain"]
        yield (
            "a run of SmolLM2 at its defaults",
            f"{slow['overhead']:+.2f} s beside {slow['plain']:.0f} s of execute() ({share:+.1%})",
            f"at most {SHARE:.0%}",
            share <= SHARE,
        )
    yield (
        f"{empty['count']} empty records, queued at once, one carrier",
        f"{empty['per_second']:.0f} a second",
        f"at least {RATE}",
        empty["per_second"] >= RATE,
    )
    yield (
        "memory of the submitting process for each of these while they wait",
        f"{queued['bytes_each'] / 1e3:.0f} kB",
        f"at most {BYTES / 1e3:.0f} kB",
        queued["bytes_each"] <= BYTES,
    )


def said(found: Mapping[str, Any]) -> list[str]:
    """Return what was measured as lines."""
    return [
        f"{what}: {figure} ({hoped}{'' if kept else '; not kept'})"
        for what, figure, hoped, kept in parts(found)
    ]


def table(result: Mapping[str, Any]) -> str:
    """Return Markdown with what Ray adds, what goes through it, and what a queued record holds."""
    lines = ["| on Ray | measured | hoped for before |", "|---|--:|--:|"]
    for what, figure, hoped, kept in parts(result):
        lines.append(f"| {what} | {figure} | {hoped}{'' if kept else ' (not kept)'} |")
    return "\n".join([*lines, "", origin(result)])
