"""Says what testing a claim takes, as it was budgeted before anything was measured (docs/claims.md)."""

from collections.abc import Collection

from unlearn.claims import CLAIMS

# CPU minutes of a whole experiment. Claims that stand together share what they train. G1 reads a record.
MINUTES: dict[tuple[str, ...], float] = {
    ("B5",): 2.5,
    ("A4",): 2.0,
    ("A2",): 8.0,
    ("A5",): 1.0,
    ("C1", "C3"): 8.0,
    ("A3",): 6.0,
    ("D1", "E1", "F1"): 9.0,
    ("G1",): 0.0,
}
# CPU minutes of all experiments of a mode together.
ALL = {"quick": 15.0, "full": 120.0}


def minutes(key: str) -> float | None:
    """Return the CPU minutes of a claim's whole experiment, or None where it was not timed by itself."""
    return next((spent for keys, spent in MINUTES.items() if key in keys), None)


def told(keys: Collection[str], mode: str) -> str:
    """Return a sentence with the CPU minutes that testing these claims takes at most, on two cores of 2026."""
    whole = f"all {len(CLAIMS)} together some {ALL[mode]:g} CPU minutes"
    if mode == "quick":
        return f"Quick: {len(keys)} of {len(CLAIMS)}; {whole}."
    parts = {group: spent for group, spent in MINUTES.items() if set(group) & set(keys)}
    unknown = [key for key in CLAIMS if key in keys and minutes(key) is None]
    words = [f"about {sum(parts.values()):g} CPU minutes"] if parts else []
    if unknown:
        words.append(f"{', '.join(unknown)} not timed {'alone' if len(unknown) == 1 else 'one by one'}")
    return f"Whole: {'; '.join([*words, whole])}."
