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


def a2(decades):
    """decades: method → width of its window, one number a draw. Each begins at the lowest rate and ends at once."""
    cells = [
        {
            "method": method,
            "seed": seed,
            "lr": 10 ** (place - 4),
            "forget": 2.0,
            "rise": {"retain": rise, "general": 1.0},
        }
        for method, each in decades.items()
        for seed, width in zip(SEEDS, each, strict=True)
        for place, rise in ((0.0, 1.0), (width, 1.0), (width + 1e-4, 1e9))
    ]
    return {"n": "cells", "seeds": SEEDS, "cells": cells}


def of_seven(ours, others=(0.1, 0.12, 0.11), **more):
    """Widths of all seven methods: GA+GD in-distribution, all others alike, and those that are named."""
    names = ("ga", "random", "adversarial", "gd-general", "kl-general", "kl-id")
    return {"gd-id": ours} | dict.fromkeys(names, others) | {k.replace("_", "-"): v for k, v in more.items()}


def a4(gd, ga=(0.1, 0.12, 0.11)):
    """AUCs of GA+GD where its forget perplexity is the target's 5, and of gradient ascent at its end."""
    start = {"ppl": 1.0, "auc": 1.0}
    runs = []
    for seed, own, ascent in zip(SEEDS, gd, ga, strict=True):
        path = [start, {"ppl": 5.0, "auc": own}, {"ppl": 50.0, "auc": 0.2}]
        runs.append({"method": "gd", "seed": seed, "target": 5.0, "path": path})
        runs.append(
            {"method": "ga", "seed": seed, "target": 5.0, "path": [start, {"ppl": 1e4, "auc": ascent}]}
        )
    return {"n": "texts", "seeds": SEEDS, "runs": runs}


def a5(regrets, trials=3, general=1.05):
    followed = []
    for seed, regret in enumerate(regrets):
        choice = {"rise": {"general": general, "retain": 1.0}, "utility": 0.9, "good": True}
        row = {"method": "gd-id", "seed": seed, "trials": trials, "taken": regret < 1, "reason": "said so"}
        followed.append(row | {"regret": regret, "regret_once": regret / 2, "choice": choice, "best": choice})
    return {"n": "draws", "seeds": list(range(len(followed))), "followed": followed}


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
    """target: the stand-in of each world, where the truth is 10. Above 10.05 two methods change places."""
    after = dict(zip(("finetune", "npo", "gd", "undial", "ga"), methods, strict=True))
    worlds = []
    for seed, t in zip(SEEDS, target, strict=True):
        turn = {"target": t, "truth": 10.0, "before": 1.2}
        worlds.append({"seed": seed, "first": turn, "second": turn, "methods": after})
    return {"n": "worlds", "seeds": SEEDS, "worlds": worlds, "bundled": {"target": 10.7, "truth": 11.3}}


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


def b5(slopes, distance=0.001, control=0.3):
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
    controls = [
        {"seed": seed, "after": 0.1, "gamma": 8.0, "distance": control * (1 + 0.01 * seed)} for seed in SEEDS
    ]
    return {"n": "tokens", "seeds": SEEDS, "runs": runs, "controls": controls}


def came_back(**models):
    """Small worlds: model → (back, plausible, kept, step from world to world)."""
    told = {"original": (1.0, 1.0, 1.0, 0.0), "retrained": (0.2, 0.9, 1.0, 0.0)} | models
    worlds = []
    for seed in SEEDS:
        each = {
            name.replace("_", " ").replace("undo 0", "undo 0."): {
                "forget": 0.2, "half": 0.2, "back": back + step * seed, "plausible": said + step * seed,
                "kept": kept + step * seed,
            }
            for name, (back, said, kept, step) in told.items()
        }  # fmt: skip
        worlds.append({"seed": seed, "level": 0.2} | each)
    return {"n": "texts", "seeds": SEEDS, "worlds": worlds}


def d1(ours, rivals=0.6, step=0.002):
    """back of RepSelect and of its four rivals; the retrained model's is .2, the original's 1."""
    others = dict.fromkeys(("gd", "npo", "simnpo", "undial"), (rivals, 0.5, 0.9, 0.0))
    return came_back(repselect=(ours, 0.5, 0.9, step), **others)


def e1(backs=(0.6, 0.45, 0.3, 0.22), kept=0.95, step=0.002):
    """back of NPO, and after UNDO with growing shares."""
    names = ("npo", "undo_02", "undo_04", "undo_06")
    models = {
        name: (back, 0.5, 1.0 if name == "npo" else kept, step * i)
        for i, (name, back) in enumerate(zip(names, backs, strict=True))
    }
    return came_back(**models)


def f1(ours=0.85, rivals=0.4, kept=0.95, step=0.002):
    """Shares of sensible answers of AltPO and its rivals; the retrained model's is .9, NPO keeps .94."""
    others = dict.fromkeys(("npo", "simnpo", "gd"), (0.5, rivals, 0.94, 0.0))
    return came_back(altpo=(0.5, ours, kept, step), **others)


def g1(faithful=0.1, robust=0.1, wide=0.02):
    """By how much UDS lies above the one other metric."""

    def told(gap):
        ends = [gap - wide, gap + wide]
        return {"value": 0.8, "gap": gap, "together": ends, "alone": ends}

    metrics = [
        {"metric": "uds", "title": "UDS", "faithfulness": told(0.0), "robustness": told(0.0)},
        {"metric": "nll", "title": "NLL", "faithfulness": told(faithful), "robustness": told(robust)},
    ]
    return {"n": "models", "seeds": SEEDS, "models": 20, "metrics": metrics}


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
        "confirmed": a2(of_seven((0.5, 0.55, 0.51))),
        "refuted": a2(of_seven((0.3, 0.31, 0.3), kl_id=(0.8, 0.82, 0.85))),
        "undecided": a2(of_seven((0.1, 0.5, 0.2))),
    },
    "A3": {
        "confirmed": a3((9.8, 9.9, 10.3)),
        "refuted": a3((2.0, 1.9, 2.1)),
        "partly": a3((6.1, 6.2, 5.9), (1.0, 2.0, 5.0, 7.05, 30.0)),
        "undecided": a3((8.0, 10.0, 12.5)),
    },
    "A4": {
        "confirmed": a4((0.5, 0.52, 0.48)),
        "refuted": a4((0.2, 0.22, 0.18)),
        "undecided": a4((0.3, 0.5, 0.7)),
    },
    "A5": {
        "confirmed": a5((0.02, 0.03) * 6),
        "refuted": a5((0.9, 1.0) * 6),
        "undecided": a5((0.0, 1.0) * 6),
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
        "undecided": b5((0.8, 1.0, 1.2)),
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
    "D1": {
        "confirmed": d1(0.22),
        "refuted": d1(0.8),
        "partly": d1(0.5),
        "undecided": d1(0.5, step=0.1),
    },
    "E1": {
        "confirmed": e1(),
        "refuted": e1((0.6, 0.7, 0.8, 0.9), kept=0.5),
        "partly": e1((0.8, 0.7, 0.6, 0.5)),
        "undecided": e1(step=0.1),
    },
    "F1": {
        "confirmed": f1(),
        "refuted": f1(kept=0.5),
        "undecided": f1(step=0.1),
    },
    "G1": {
        "confirmed": g1(),
        "refuted": g1(-0.1, -0.1),
        "partly": g1(-0.1, 0.1),
        "undecided": g1(0.0, 0.1),
    },
}
