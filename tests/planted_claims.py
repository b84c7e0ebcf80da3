"""Planted numbers for the claims' rules: data that confirms each claim, refutes it, leaves it open, or is between."""

SEEDS = [0, 1, 2]


def a1(slope, tokens=2e6):
    """Seconds that follow tokens with this slope, one value a seed; tokens: that the paper's method reads."""
    runs = []
    for seed, power in zip(SEEDS, slope, strict=True):
        for method in ("ga", "gd"):
            for count in (100, 1000, 10000):
                place = {"method": method, "requests": 1, "epochs": 1, "seed": seed, "state": "done"}
                runs.append(place | {"tokens": count, "seconds": 0.001 * count**power})
    recipe = {"tokens": 1e6, "seconds_per_token": 1e-3, "steps": 5}
    real = [{"name": "x", "training_tokens": 3e12, "tokens": tokens, "from": ""}]
    return {"n": "18 runs", "seeds": SEEDS, "runs": runs, "recipe": recipe, "real": real}


def a2(shares):
    """shares: method → good cells out of ten, one number a seed."""
    cells = [
        {"method": method, "seed": seed, "lr": i, "epochs": 1, "good": i < good}
        for method, each in shares.items()
        for seed, good in zip(SEEDS, each, strict=True)
        for i in range(10)
    ]
    return {"n": "cells", "seeds": SEEDS, "cells": cells}


def a4(gd, ga=(0.1, 0.12, 0.11)):
    known = {
        "before": {"auc": 1.0, "interval": [0.99, 1.0]},
        "retrained": {"auc": 0.49, "interval": [0.4, 0.6]},
    }
    return {"n": "texts", "seeds": SEEDS, "aucs": {"ga": list(ga), "gd": list(gd)}, "known": known}


def a5(regrets, trials=3, general=1.05):
    followed = []
    for seed, regret in zip(SEEDS, regrets, strict=True):
        choice = {"rise": {"general": general, "retain": 1.0}, "utility": 0.9, "good": True}
        row = {"method": "gd-id", "seed": seed, "trials": trials, "taken": regret < 1, "reason": "said so"}
        followed.append(row | {"regret": regret, "choice": choice, "best": choice})
    return {"n": "3 seeds", "seeds": SEEDS, "followed": followed}


def b1(undial, ga=1e9):
    """undial: general PPL at the two rates; ga: forget PPL at the higher."""
    runs = []
    for seed in SEEDS:
        shake = 1 + 0.02 * seed
        for lr, own, ascent in ((1e-4, undial[0], 5.0), (1e-2, undial[1], ga)):
            place = {"lr": lr, "seed": seed, "state": "done"}
            runs.append({"method": "undial", "forget": 9.0, "general": own * shake} | place)
            runs.append({"method": "ga", "forget": ascent * shake, "general": ascent * shake} | place)
            runs.append({"method": "npo", "forget": 9.0, "general": 40.0 * shake} | place)
    return {
        "n": "texts",
        "seeds": SEEDS,
        "epochs": 50,
        "before": {"forget": 1.0, "general": 1.1},
        "runs": runs,
    }


def b2(undial, npo):
    """Utility a decade of forget set, one slope a seed."""
    runs = [
        {"method": method, "share": share, "seed": seed, "state": "done", "before": 0.97, "forget": 0.2,
         "utility": 0.9 + slope * decades}
        for method, slopes in (("undial", undial), ("npo", npo))
        for seed, slope in zip(SEEDS, slopes, strict=True)
        for share, decades in ((0.01, 0), (0.1, 1))
    ]  # fmt: skip
    return {"n": "texts", "seeds": SEEDS, "runs": runs}


def b3(forget=0.1, back=0.01, kept=0.95, ascent=50.0):
    """back: probability of each earlier request at the end over that after its turn."""
    chains = []
    for seed in SEEDS:
        order, shake = [1, 2, 3, 4, 5], 0.002 * seed
        again = back * (1 + 0.1 * seed)
        for method, general, left in (("undial", 1.1, kept), ("ga", ascent, 0.1)):
            after = []
            for k in range(6):
                each = {str(r): forget + shake + (again if k == 5 else 0) if r <= k else 1.0 for r in order}
                told = {
                    "requests": each,
                    "utility": left + 0.001 * seed if k else 1.0,
                    "general": general * (1 + shake) if k else 1.0,
                }
                after.append(told | {"forget": forget + shake + (again if k == 5 else 0)})
            chains.append({"method": method, "seed": seed, "order": order, "after": after})
    return {"n": "texts", "seeds": SEEDS, "chains": chains}


def a3(target, methods=(1.0, 5.0, 9.0, 11.1, 30.0)):
    """target: the stand-in of each split, where the truth is 10. Above 10.05 two methods change places."""
    after = dict(zip(("finetune", "npo", "gd", "undial", "ga"), methods, strict=True))
    splits = [
        {"seed": seed, "target": t, "truth": 10.0, "before": 1.2, "methods": after}
        for seed, t in zip(SEEDS, target, strict=True)
    ]
    return {"n": "splits", "seeds": SEEDS, "splits": splits, "bundled": {"target": 10.7, "truth": 11.3}}


def b4(entity, random):
    """Nats of language that each mask costs on the way to the level, one a seed."""
    paths = [
        {
            "focus": focus,
            "seed": seed,
            "points": [{"facts": 0.0, "words": 0.1}, {"facts": 2.0, "words": 0.1 + 2 * cost}],
        }
        for focus, costs in (("entity", entity), ("random", random))
        for seed, cost in zip(SEEDS, costs, strict=True)
    ]
    return {"n": "texts", "seeds": SEEDS, "level": 1.0, "paths": paths}


def c1(eul=0.2, kept=1.0, seconds=1.0):
    """One EUL in both settings beside a retrain of 0.4 that takes 10 s."""
    models = {
        "original": (1.0, 1.0, 10.0),
        "retrain": (0.4, 1.0, 10.0),
        "finetune": (0.95, 1.0, 2.0),
        "gd": (0.7, 0.95, 1.0),
        "eul": (eul, kept, seconds),
    }
    runs = [
        {"setting": setting, "seed": seed, "model": model, "forget": forget + 0.01 * seed * (model == "eul"),
         "forget_nll": 1.0, "utility": left + 0.0005 * seed * (model == "eul"),
         "seconds": took * (1 + 0.01 * seed * (model == "eul"))}
        for setting in ("t5", "authors")
        for seed in SEEDS
        for model, (forget, left, took) in models.items()
    ]  # fmt: skip
    return {"n": "texts", "seeds": SEEDS, "runs": runs}


def c2(fuse=0.1, average=0.5, chain=0.1, kept=0.95):
    values = {
        "before": (1.0, 1.0),
        "chain": (chain, 0.8),
        "fuse": (fuse, kept),
        "average": (average, 0.95),
        "joint": (0.1, 1.0),
    }
    runs = [
        {
            "mode": mode,
            "seed": seed,
            "forget": forget + 0.001 * seed * (mode == "fuse"),
            "utility": left + 0.001 * seed * (mode == "fuse"),
        }
        for seed in SEEDS
        for mode, (forget, left) in values.items()
    ]
    return {"n": "texts", "seeds": SEEDS, "runs": runs}


def c3(kl=0.3, task=0.2, lm=1.0, spread=0.0):
    """How much each variant differs from the full loss, the way it should; spread: from seed to seed."""
    runs = []
    for setting in ("t5", "authors"):
        for seed in SEEDS:
            shake, little = spread * (seed - 1), 0.001 * (seed - 1)
            full = {"forget": 0.2, "utility": 0.95, "forget_nll": 3.0, "seconds": 1.0}
            changes = {
                "full": {},
                "-KL": {"forget": 0.2 + kl + shake + little},
                "-TASK": {"utility": 0.95 - task + little},
                "-LM": {"forget_nll": 3.0 - lm + little},
            }
            runs += [
                {"setting": setting, "seed": seed, "model": name} | full | c for name, c in changes.items()
            ]
    return {"n": "texts", "seeds": SEEDS, "runs": runs}


def b5(slopes, distance=0.001):
    runs = [
        {
            "gamma": gamma,
            "seed": seed,
            "fall": slope * gamma,
            "after": 0.1,
            "distance": distance * (1 + 0.01 * seed),
        }
        for seed, slope in zip(SEEDS, slopes, strict=True)
        for gamma in (1.0, 3.0, 10.0)
    ]
    return {"n": "tokens", "seeds": SEEDS, "runs": runs}


def apart(t5, authors):
    """The runs of one setting from each of two sets of planted data."""
    pairs = (("t5", t5), ("authors", authors))
    return t5 | {"runs": [run for name, data in pairs for run in data["runs"] if run["setting"] == name]}


PLANTED = {
    "A1": {
        "confirmed": a1((1.0, 1.02, 0.98)),
        "refuted": a1((0.0, 0.02, -0.02)),
        "undecided": a1((-0.4, 0.7, 1.6)),
    },
    "A2": {
        "confirmed": a2({"gd-id": (8, 9, 8), "ga": (1, 1, 2), "kl-id": (3, 3, 2)}),
        "refuted": a2({"gd-id": (4, 5, 4), "ga": (1, 1, 2), "kl-id": (6, 7, 7)}),
        "undecided": a2({"gd-id": (4, 7, 4), "ga": (1, 2, 1), "kl-id": (3, 3, 4)}),
    },
    "A3": {
        "confirmed": a3((9.8, 9.9, 10.3)),
        "refuted": a3((2.0, 1.9, 2.1)),
        "undecided": a3((8.0, 10.0, 12.5)),
    },
    "A4": {
        "confirmed": a4((0.5, 0.52, 0.48)),
        "refuted": a4((0.2, 0.22, 0.18)),
        "undecided": a4((0.3, 0.5, 0.7)),
    },
    "A5": {
        "confirmed": a5((0.02, 0.03, 0.02)),
        "refuted": a5((0.9, 1.0, 0.95)),
        "undecided": a5((0.0, 1.0, 0.0)),
    },
    "B1": {
        "confirmed": b1((1.2, 3.0)),
        "refuted": b1((1.2, 1e5)),
        "partly": b1((1.2, 300.0)),
        "undecided": b1((1.2, 10.8)),
    },
    "B2": {
        "confirmed": b2((-0.01, 0.0, -0.02), (-0.3, -0.31, -0.32)),
        "refuted": b2((-0.3, -0.31, -0.32), (-0.1, -0.11, -0.13)),
        "partly": b2((-0.1, -0.11, -0.12), (-0.3, -0.31, -0.33)),
        "undecided": b2((-0.02, -0.05, -0.08), (-0.3, -0.31, -0.32)),
    },
    "B3": {
        "confirmed": b3(),
        "refuted": b3(back=0.4),
        "undecided": b3(kept=0.799),
    },
    "B4": {
        "confirmed": b4((0.05, 0.06, 0.05), (0.2, 0.21, 0.22)),
        "refuted": b4((0.2, 0.21, 0.22), (0.2, 0.211, 0.22)),
        "undecided": b4((0.05, 0.4, 0.05), (0.2, 0.2, 0.2)),
    },
    "B5": {
        "confirmed": b5((0.97, 1.0, 1.02)),
        "refuted": b5((0.0, 0.01, -0.01)),
        "undecided": b5((-0.5, 1.0, 1.5)),
    },
    "C1": {
        "confirmed": c1(),
        "refuted": c1(kept=0.9),
        "partly": apart(c1(), c1(kept=0.9)),
        "undecided": c1(eul=0.39),
    },
    "C2": {
        "confirmed": c2(),
        "refuted": c2(fuse=0.5),
        "undecided": c2(kept=0.799),
    },
    "C3": {
        "confirmed": c3(),
        "refuted": c3(lm=0.0),
        "partly": apart(c3(), c3(lm=0.0)),
        "undecided": c3(spread=0.4),
    },
}
