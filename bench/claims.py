"""Writes the table of verdicts from assets/results/claims.json (`python -m unlearn claims`)."""

from collections.abc import Mapping
from typing import Any

from unlearn.claims import CLAIMS
from unlearn.claims.base import digits, number
from unlearn.claims.record import of_world
from unlearn.claims.training import TOFU
from unlearn.store.disk import read_json


def table(result: Mapping[str, Any]) -> str:
    """Return one row for each claim: verdict, design, main figure with interval and n, mode.

    How each was made stands below.
    """
    lines = [
        "| | claim | verdict here | design | figure | 95 % interval | n | mode |",
        "|---|---|---|---|---|--:|--:|---|",
    ]
    commits: dict[str, list[str]] = {}
    for key, claim in CLAIMS.items():
        entry = best(result, key)
        if entry is None:
            lines.append(f"| {key} | {claim.title} | not tested | {claim.design} | | | | |")
            continue
        finding = entry["finding"]
        lines.append(
            f"| {key} | {claim.title} | **{finding['verdict']}** | {claim.design} | {figures(finding)} | "
            f"{entry['mode']} |"
        )
        commits.setdefault(made(entry["header"]), []).append(key)
    papers = {key[0]: claim.paper.split(" (")[0] for key, claim in reversed(CLAIMS.items())}
    papers = dict(sorted(papers.items()))
    lines += [
        "",
        "; ".join(f"{letter}: {paper}" for letter, paper in papers.items()) + ".",
        "",
    ]
    lines += [f"<sub>{', '.join(keys)}: {said}</sub><br>" for said, keys in commits.items()]
    return "\n".join(lines)


def elsewhere() -> str:
    """Return one row for each claim: what was found on smollm2-tofu, or why it is not tried there."""
    result = read_json(of_world(TOFU.model))
    lines = ["| | on smollm2-tofu | |", "|---|---|---|"]
    for key, claim in CLAIMS.items():
        entry = best(result, key)
        if claim.elsewhere:
            told = f"not tried | {claim.elsewhere}"
        elif entry is None:
            told = f"not measured yet | `unlearn claims {key} --world smollm2-tofu`"
        else:
            told = f"**{entry['finding']['verdict']}** ({entry['mode']}) | {entry['finding']['sentence']}"
        lines.append(f"| {key} | {told} |")
    return "\n".join(lines)


def best(result: Mapping[str, Any], key: str) -> Mapping[str, Any] | None:
    """Return the full entry, or else the quick one."""
    mine = result.get("claims", {}).get(key, {})
    return mine.get("full") or mine.get("quick")


def figures(finding: Mapping[str, Any]) -> str:
    """Return name and mean, interval, and n of the main figure, as cells of a table."""
    if not finding["figures"]:
        return " | | "
    one = finding["figures"][0]
    low, high = number(one["low"]), number(one["high"])
    between = f"{digits(low)} to {digits(high)}" if low == low and high == high else ""
    return f"{one['name']}: {digits(number(one['mean']))}{one['unit']} | {between} | {one['n']} {one['of']}"


def made(header: Mapping[str, Any]) -> str:
    """Return machine, versions, commit and date, as a sentence."""
    machine, dirty = header["machine"], " with local changes" if header["dirty"] else ""
    return (
        f"{machine['cpu']}, {machine['cores']} cores, torch {header['versions']['torch']}; commit "
        f"{header['commit']}{dirty}, {header['date']}."
    )
