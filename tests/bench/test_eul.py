"""The bench of EUL's settings: what its table says, and which rows stay."""

from bench.eul import COLUMNS, NAMES, merged, table

ORIGIN = {
    "commit": "abc",
    "date": "2026-11-29",
    "command": "python -m bench.eul",
    "dirty": False,
    "machine": {"cpu": "cpu", "cores": 2, "load": 1.0},
    "versions": {"torch": "2"},
    "seeds": [0, 1, 2],
}


def row(model, method, value=0.25):
    after = {"mean": value, "sd": 0.01, "values": [value] * 3}
    columns = {
        "/".join(place): {"before": 1.0, "retrained": None, "n": 40, "after": after}
        for place in COLUMNS[model]
    }
    cpu = {"mean": 4.4, "sd": 0.0, "values": [4.4] * 3}
    return {"model": model, "method": method, "columns": columns, "cpu_seconds": cpu, "failed": []} | {
        "origin": ORIGIN
    }


def test_each_model_has_its_own_columns():
    text = table({"rows": [row("tiny-dialogues", "eul"), row("tiny-reviews", "mend")]})
    first, second = text.split("**tiny-reviews**")
    assert "forget, ROUGE-2" in first
    assert "| EUL (unlearning layers) | 0.25 ± 0.01 |" in first
    assert "forget, the right label" in second
    assert "| before | 1.00 |" in second
    assert "| *retrained without* | – |" in second
    assert text.count("commit abc") == 2


def test_a_new_row_takes_the_place_of_the_old_one():
    old = [row("tiny-reviews", name) for name in NAMES]
    new = merged(old, [row("tiny-reviews", "mend", 0.5), row("tiny-dialogues", "gd")])
    assert [(r["model"], r["method"]) for r in new] == [
        ("tiny-dialogues", "gd"),
        *(("tiny-reviews", name) for name in NAMES),
    ]
    assert [r["columns"]["exact/forget"]["after"]["mean"] for r in new[1:]] == [0.25, 0.5, 0.25, 0.25]
