"""The figures of single tokens: the largest shift, the true rank, and the probes over the steps."""

from seed import seed_run, token

from unlearn.figures import tokens as token_figures
from unlearn.store.runs import RunStore


def title(figure):
    return figure.layout.title.text


def test_token_bars_say_the_largest_shift():
    old = [token(" Lis", -0.1, 0, " Por"), token("bon", -0.2, 0, " x")]
    new = [token(" Lis", -4.1, 56, " Por"), token("bon", -0.5, 0, " x")]
    figure = token_figures.token_bars(old, new)
    assert title(figure) == "Largest shift: ‘␣Lis’, −4.00 log-prob (nats)"
    assert list(figure.data[1].y) == [-4.1, -0.5]
    assert figure.layout.yaxis.range[0] < -4.1
    likely = token_figures.token_bars(old, new, "p")
    assert title(likely) == "Largest shift: ‘␣Lis’, 90 % → 1.7 %"
    assert list(likely.layout.yaxis.range) == [0, 1.03]
    still = token_figures.token_bars(old, old)
    assert still.layout.yaxis.range[0] < -1  # a small number looks small
    token_figures.token_bars([], [])
    token_figures.token_bars(old, [{**old[0], "lp": "nan"}])


def test_slope_shows_the_answers_true_rank():
    old = token(" Lis", -0.1, 0, " Por")
    new = token(" Lis", -9.0, 56, " Por")
    new["top"] = [[" Por", -0.5], [" Ber", -1.5]]
    figure = token_figures.topk_slope(old, new)
    assert title(figure) == "‘␣Lis’ fell from rank 1 to rank 57; probability 90 % → 0.012 %"
    own = next(trace for trace in figure.data if trace.line.width == 3)
    assert own.text[1].endswith("rank 57")
    assert own.y[1] == 11  # below the ten that were listed before
    others = next(trace for trace in figure.data if trace.line.width == 1)
    drawn = [(x, y, said) for x, y, said in zip(others.x, others.y, others.text, strict=True) if y == y]
    assert (1, 1.0, "‘␣Por’ −0.50") in drawn
    assert (1, 2.0, "‘␣Ber’ −1.50") in drawn  # in one list only: no line, but a mark
    assert not any(x == 0 for x, _, said in drawn if "Ber" in said)
    same = token_figures.topk_slope(old, old)
    assert "stayed at rank 1" in title(same)


def test_probes(tmp_path):
    probes = seed_run(RunStore(tmp_path)).probes()
    one = token_figures.probe_curves(probes, 0, token=0, cursor=10)
    assert title(one) == "Probability of an answer token, mean: 95 % → 0.64 %"
    assert len(one.layout.shapes) == 1
    figure = token_figures.probe_overview(probes, {"forget": {"retrained": -5.0}}, cursor=5)
    assert title(figure) == "Answer log-prob: forget −0.05 → −5.05, retain −0.05 → −0.05"
    assert len(figure.layout.shapes) == 2
    assert title(token_figures.probe_overview([])) == "No probe yet"
    assert title(token_figures.probe_curves([], 0)) == "No probe yet"
