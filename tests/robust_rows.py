"""Rows as bench/robust records them: NPO leaves half, UNDO a quarter, SAM as much as NPO, AltPO keeps too little."""

from unlearn.results.robust import CONTROL, PLAIN, REFUSING, ROBUST

SEEDS = (0, 1, 2, 3, 4)


def curve(*values):
    return [
        {"step": step, "probability": value, "right": value}
        for step, value in zip((0, 5, 30), values, strict=True)
    ]


def row(way, title, group, seed, values, kept=0.95, form=0.9, perplexity=10.0):
    return {
        "kind": "run",
        "world": "tiny-authors",
        "way": way,
        "title": title,
        "group": group,
        "seed": seed,
        "factor": 1.0,
        "settings": {"dial": "lr", "value": 1e-4},
        "kept": kept,
        "general": 1.1,
        "asked": 36,
        "curve": curve(*values),
        "says": {"n": 45, "form": form, "refusals": 0.0, "empty": 0.0, "perplexity": perplexity},
    }


def control(seed):
    found = row(CONTROL, "the retrained model", CONTROL, seed, (0.1, 0.1, 0.2), form=1.0, perplexity=40.0)
    del found["kept"]
    said = {"n": 45, "form": 1.0, "refusals": 0.0, "empty": 0.0, "perplexity": 1.0}
    return found | {"before": {"probability": 1.0, "right": 1.0}, "said": said}


def rows():
    """NPO leaves half, GA+GD at another utility all, UNDO a quarter, SAM about as much as NPO."""
    found = []
    for seed in SEEDS:
        off = 0.01 * (seed - 2)
        found += [
            control(seed),
            row("npo", "NPO", PLAIN, seed, (0.1, 0.3, 0.6 + off), form=0.5, perplexity=20.0),
            row("gd", "GA+GD", PLAIN, seed, (0.5, 0.9, 1.0), kept=0.6),
            row("undo", "UNDO after NPO", ROBUST, seed, (0.1, 0.2, 0.4), kept=0.92),
            row("sam", "SAM with NPO", ROBUST, seed, (0.1, 0.3, 0.6 + off * (-1) ** seed)),
            row("altpo", "AltPO", ROBUST, seed, (0.1, 0.2, 0.9), kept=0.5),
            row("idkdpo", "IdkDPO", REFUSING, seed, (0.1, 0.2, 0.3), form=0.1, perplexity=100.0),
        ]
    return found
