"""Figures: plain records in, plotly Figure out; the same ones for the app, the command line and the report.

One colour has one meaning everywhere (Okabe-Ito set). The title of a figure is a sentence computed from
the numbers in it, so that it cannot say what the data does not. Smoothing comes before thinning, and a
number that is not finite is marked with an x, never dropped. No torch, no streamlit.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from unlearn.compare import number, short

FORGET, RETAIN, GENERAL, RETRAINED = "#D55E00", "#0072B2", "#8A8A8A", "#009E73"
AFTER_A, AFTER_B = "#E69F00", "#CC79A7"
LESS, MORE = "#C8443C", "#3B75B8"  # token shifts: red = less likely, blue = more likely
TERMS = {"forget": FORGET, "retain": RETAIN, "general": GENERAL}
POINTS = 1000  # the most that one trace draws
SIZE, MARGIN = 300, {"l": 56, "r": 16, "t": 40, "b": 44}

Record = Mapping[str, Any]


def neutral(dark: bool) -> str:
    """The colour of "before": black on white, white on black."""
    return "#E8E8E8" if dark else "#222222"


def smooth(values: Sequence[float], window: float) -> list[float]:
    """Exponential mean over about `window` steps, without a bias at the start; gaps pass over non-finite values."""
    keep, total, weight, out = 1 - 1 / max(window, 1), 0.0, 0.0, []
    for value in values:
        if math.isfinite(value):
            total, weight = keep * total + (1 - keep) * value, keep * weight + (1 - keep)
        out.append(total / weight if math.isfinite(value) and weight else math.nan)
    return out


def thin(xs: Sequence[float], ys: Sequence[float], most: int = POINTS) -> tuple[list[float], list[float]]:
    """At most `most` points: first, last, and the lowest and highest of each bucket, so that a spike survives."""
    if len(xs) <= most:
        return list(xs), list(ys)
    keep, width = {0, len(xs) - 1}, len(xs) / ((most - 2) // 2)
    for bucket in range((most - 2) // 2):
        rows = [i for i in range(int(bucket * width), int((bucket + 1) * width)) if math.isfinite(ys[i])]
        if rows:
            keep |= {min(rows, key=lambda i: ys[i]), max(rows, key=lambda i: ys[i])}
    order = sorted(keep)
    return [xs[i] for i in order], [ys[i] for i in order]


def losses(
    steps: Sequence[Record], references: Mapping[str, Record] | None = None, dark: bool = False
) -> go.Figure:
    """Training terms over steps, one panel a term: raw faint, smoothed bold.

    steps: step events of a run. references: {term: {"before": value, "retrained": value}} in the units of
    that term, drawn dashed; give only what is comparable with the term (a mean NLL beside an NLL term).
    """
    terms = _terms(steps)
    figure = _panels([f"{term} term (nats)" for term in terms])
    said = []
    for column, term in enumerate(terms, 1):
        said.append(_curve(figure, column, steps, term, TERMS.get(term, GENERAL), f"{term} term"))
        for name, value in ((references or {}).get(term) or {}).items():
            _dashed(figure, column, name, number(value), dark)
    return _finish(figure, "; ".join(s for s in said if s) or "No training step yet")


def losses_compare(runs: Mapping[str, Sequence[Record]], dark: bool = False) -> go.Figure:
    """The same panels for one or two runs, {label: step events}: A orange, B purple.

    Different methods minimise different things: compare shapes within a panel, not heights.
    """
    terms = list(dict.fromkeys(term for steps in runs.values() for term in _terms(steps)))
    figure = _panels([f"{term} term (nats)" for term in terms])
    said = []
    for (label, steps), color in zip(runs.items(), (AFTER_A, AFTER_B), strict=False):
        for column, term in enumerate(terms, 1):
            words = _curve(figure, column, steps, term, color, label, legend=column == 1)
            if term == "forget" and words:
                said.append(words)
    return _finish(figure, "Forget term: " + "; ".join(said) if said else "No training step yet")


def tradeoff(points: Sequence[Record], metric: str = "accuracy", dark: bool = False) -> go.Figure:
    """Forget against retain, one mark a model; up and left is better for a score that is better when high.

    points: {"label", "kind": before | A | B | other | retrained, "forget", "retain", "seconds"?}; the area of
    a run's circle is its training time. Original ★, retrained ◆.
    """
    longest = max([number(p.get("seconds") or 0) for p in points] or [0]) or 1.0
    look = {
        "before": (neutral(dark), "star"),
        "retrained": (RETRAINED, "diamond"),
        "A": (AFTER_A, "circle"),
        "B": (AFTER_B, "circle"),
    }
    figure = go.Figure()
    for p in points:
        color, symbol = look.get(p["kind"], (GENERAL, "circle"))
        size = 10 + 24 * math.sqrt(number(p.get("seconds") or 0) / longest) if symbol == "circle" else 15
        took = f"<br>{short(p['seconds'])} s" if p.get("seconds") else ""
        x, y = number(p.get("forget")), number(p.get("retain"))
        figure.add_scatter(
            x=[x], y=[y], name=_text(p["label"]), mode="markers", cliponaxis=False,
            marker={"color": color, "symbol": symbol, "size": size, "line": {"width": 1, "color": neutral(dark)}},
            hovertemplate=f"<b>{_text(p['label'])}</b><br>forget {short(x)}<br>retain {short(y)}{took}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title_text=f"forget rows: {metric} (lower is more forgotten)")
    figure.update_yaxes(title_text=f"retain rows: {metric}")
    return _finish(figure, _tradeoff_sentence(points, metric), height=340)


def token_bars(
    before: Sequence[Record], after: Sequence[Record], quantity: str = "lp", dark: bool = False
) -> go.Figure:
    """The accessible twin of the token strip: each answer token's log-prob ("lp") or "logit", before and after."""
    unit = {"lp": "log-prob (nats)", "logit": "logit"}[quantity]
    figure = go.Figure()
    for name, tokens, color in (("before", before, neutral(dark)), ("after", after, AFTER_A)):
        figure.add_bar(
            x=list(range(len(tokens))), y=[number(t[quantity]) for t in tokens], name=name, marker_color=color,
            customdata=[[_token(t["token"]), t["rank"] + 1] for t in tokens],
            hovertemplate=f"%{{customdata[0]}} {name}: %{{y:.3g}}, rank %{{customdata[1]}}<extra></extra>",
        )  # fmt: skip
    labels = [_token(t["token"]) for t in (before or after)]
    figure.update_xaxes(tickvals=list(range(len(labels))), ticktext=labels)
    figure.update_yaxes(title_text=unit)
    figure.update_layout(barmode="group", bargap=0.25)
    shifts = [number(a[quantity]) - number(b[quantity]) for b, a in zip(before, after, strict=False)]
    said = "No answer tokens"
    if shifts:
        most = max(range(len(shifts)), key=lambda i: abs(shifts[i]) if math.isfinite(shifts[i]) else math.inf)
        said = (
            f"Largest shift: {labels[most]}, {short(shifts[most], sign=True)} {unit.replace(' (nats)', '')}"
        )
    return _finish(figure, said, height=260)


def topk_slope(before: Record, after: Record, dark: bool = False) -> go.Figure:
    """The most likely tokens before → after at one position, by rank; the answer's own token stands out.

    before, after: one TOKEN record each, with "token", "rank" (0 = most likely), "lp" and "top".
    """
    own, tops = before["token"], (dict(before["top"]), dict(after["top"]))
    order = [[token for token, _ in record["top"]] for record in (before, after)]
    below = max(len(order[0]), len(order[1])) + 1.5
    figure = go.Figure()
    for token in dict.fromkeys([*order[0], *order[1], own]):
        ranks = [names.index(token) + 1 if token in names else below for names in order]
        said = [f"{_token(token)} {short(top[token])}" if token in top else "" for top in tops]
        if token == own:
            ranks = [r["rank"] + 1 if r["rank"] + 1 < below else below for r in (before, after)]
            said = [f"{_token(token)} {short(r['lp'])} · rank {r['rank'] + 1}" for r in (before, after)]
        color = AFTER_A if token == own else GENERAL
        figure.add_scatter(
            x=[0, 1], y=ranks, mode="lines+markers+text", showlegend=False, text=said, cliponaxis=False,
            textposition=["middle left", "middle right"], line={"color": color, "width": 3 if token == own else 1},
            marker={"color": [neutral(dark), color], "size": 7}, opacity=1 if token == own else 0.75,
            hovertemplate=f"{_token(token)}<extra></extra>",
        )  # fmt: skip
    deepest = int(below)
    ticks = [*range(1, deepest), below]
    figure.update_yaxes(
        range=[below + 0.6, 0.4], tickvals=ticks, ticktext=[*map(str, ticks[:-1]), f"> {deepest - 1}"]
    )
    figure.update_yaxes(title_text="rank", showgrid=False, zeroline=False)
    figure.update_xaxes(range=[-0.75, 1.75], tickvals=[0, 1], ticktext=["before", "after"], showgrid=False)
    rank = [r["rank"] + 1 for r in (before, after)]
    verb = "fell" if rank[1] > rank[0] else "rose" if rank[1] < rank[0] else "stayed"
    said = (
        f"stayed at rank {rank[0]}" if verb == "stayed" else f"{verb} from rank {rank[0]} to rank {rank[1]}"
    )
    return _finish(
        figure, f"{_token(own)} {said}; log-prob {short(before['lp'])} → {short(after['lp'])}", height=360
    )


def probe_curves(probes: Sequence[Record], item: int, cursor: int | None = None, token: int | None = None,
                 dark: bool = False) -> go.Figure:  # fmt: skip
    """One probe's answer tokens over training: log-prob of each (thin) and their mean (bold); cursor marks a step."""
    steps = [record["step"] for record in probes]
    answers = [record["items"][item]["tokens"] for record in probes]
    color = TERMS.get(probes[0]["items"][item]["role"], GENERAL) if probes else GENERAL
    figure = go.Figure()
    for position, first in enumerate(answers[0] if answers else []):
        chosen = position == token
        figure.add_scatter(
            x=steps, y=[number(answer[position]["lp"]) for answer in answers], name=_token(first["token"]),
            mode="lines+markers" if chosen else "lines", showlegend=chosen, opacity=1 if chosen else 0.35,
            line={"color": AFTER_A if chosen else color, "width": 3 if chosen else 1},
            hovertemplate=f"{_token(first['token'])}: %{{y:.3g}} at step %{{x}}<extra></extra>",
        )  # fmt: skip
    mean = [sum(number(t["lp"]) for t in answer) / max(len(answer), 1) for answer in answers]
    figure.add_scatter(
        x=steps, y=mean, name="mean of the answer", line={"color": color, "width": 3}, mode="lines+markers",
        hovertemplate="mean: %{y:.3g} at step %{x}<extra></extra>",
    )  # fmt: skip
    _cursor(figure, cursor, dark)
    figure.update_xaxes(title_text="step")
    figure.update_yaxes(title_text="log-prob (nats)")
    said = (
        f"The answer's mean log-prob went from {short(mean[0])} to {short(mean[-1])}"
        if mean
        else "No probe yet"
    )
    return _finish(figure, said, height=260)


def probe_overview(probes: Sequence[Record], references: Mapping[str, Record] | None = None,
                   cursor: int | None = None, dark: bool = False) -> go.Figure:  # fmt: skip
    """All probes over training: mean answer log-prob by role (bold) over the single probes (faint).

    references: {role: {"retrained": mean log-prob of the same items}}, dashed.
    """
    steps, figure, said = [record["step"] for record in probes], go.Figure(), []
    roles = list(dict.fromkeys(item["role"] for item in probes[0]["items"])) if probes else []
    for role in roles:
        color = TERMS.get(role, GENERAL)
        places = [i for i, item in enumerate(probes[0]["items"]) if item["role"] == role]
        lines = [[-number(record["items"][i]["nll"]) for record in probes] for i in places]
        for place, line in zip(places, lines, strict=True):
            answer = _text(probes[0]["items"][place]["answer"].strip())
            figure.add_scatter(
                x=steps, y=line, mode="lines", line={"color": color, "width": 1}, opacity=0.3, showlegend=False,
                hovertemplate=f"{answer}: %{{y:.3g}} at step %{{x}}<extra></extra>",
            )  # fmt: skip
        mean = [sum(column) / len(column) for column in zip(*lines, strict=True)]
        said.append(f"{role} {short(mean[0])} → {short(mean[-1])}")
        figure.add_scatter(
            x=steps, y=mean, name=f"{role} (n = {len(lines)})", mode="lines+markers", line={"color": color, "width": 3},
            hovertemplate=f"mean of {role}: %{{y:.3g}} at step %{{x}}<extra></extra>",
        )  # fmt: skip
        for name, value in ((references or {}).get(role) or {}).items():
            _dashed(figure, None, f"{role}, {name}", number(value), dark)
    _cursor(figure, cursor, dark)
    figure.update_xaxes(title_text="step")
    figure.update_yaxes(title_text="log-prob per answer token (nats)")
    return _finish(figure, "Answer log-prob: " + ", ".join(said) if said else "No probe yet", height=280)


def _terms(steps: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(term for step in steps for term in step.get("terms", {})))


def _panels(titles: Sequence[str]) -> go.Figure:
    figure = make_subplots(cols=max(len(titles), 1), horizontal_spacing=0.12)
    for column, title in enumerate(titles, 1):
        figure.update_yaxes(title_text=title, col=column)
    figure.update_xaxes(title_text="step", rangemode="tozero")
    return figure


def _curve(figure: go.Figure, column: int, steps: Sequence[Record], term: str, color: str, label: str,
           legend: bool = True) -> str:  # fmt: skip
    """Draw one term and return what it did, in words."""
    known = [(step["step"], number(step["terms"][term])) for step in steps if term in step.get("terms", {})]
    xs, ys = [x for x, _ in known], [y for _, y in known]
    bold = smooth(ys, len(ys) / 20)
    for values, width, opacity, show in ((ys, 1, 0.35, False), (bold, 2.5, 1, legend)):
        x, y = thin(xs, values)
        few = len(xs) < 3
        figure.add_scatter(
            x=x, y=y, row=1, col=column, name=_text(label), showlegend=show, legendgroup=label, opacity=opacity,
            mode="lines+markers" if few else "lines", line={"color": color, "width": width}, connectgaps=False,
            hovertemplate=f"{_text(label)}: %{{y:.3g}} at step %{{x}}<extra></extra>",
        )  # fmt: skip
    finite = [y for y in ys if math.isfinite(y)]
    bad = [(x, y) for x, y in known if not math.isfinite(y)]
    if bad:
        shown = bad[:: math.ceil(len(bad) / POINTS)]
        figure.add_scatter(
            x=[x for x, _ in shown], y=[max(finite, default=0.0)] * len(shown), row=1, col=column, mode="markers",
            marker={"symbol": "x", "color": color, "size": 9}, name="not finite", showlegend=legend,
            customdata=[[short(y)] for _, y in shown], hovertemplate="%{customdata[0]} at step %{x}<extra></extra>",
        )  # fmt: skip
    if not finite:
        return f"{label} was never finite" if bad else ""
    lost = f", not finite at {len(bad)} of {len(ys)} steps, first {bad[0][0]}" if bad else ""
    means = [y for y in bold if math.isfinite(y)]
    if len(means) == 1:
        return f"{label} {short(means[0])}{lost}"
    return f"{label} {short(means[0])} → {short(means[-1])}{lost}"


def _dashed(figure: go.Figure, column: int | None, name: str, value: float, dark: bool) -> None:
    if not math.isfinite(value):
        return
    color = RETRAINED if "retrained" in name else neutral(dark)
    shown = "original" if name == "before" else name
    place = {} if column is None else {"row": 1, "col": column}
    figure.add_hline(
        value, line={"color": color, "dash": "dash", "width": 1.2}, annotation_text=shown,
        annotation_font={"color": color, "size": 11}, annotation_position="top right", **place,
    )  # fmt: skip


def _cursor(figure: go.Figure, step: int | None, dark: bool) -> None:
    if step is not None:
        figure.add_vline(step, line={"color": neutral(dark), "width": 1.5, "dash": "dot"})


def _tradeoff_sentence(points: Sequence[Record], metric: str) -> str:
    start = next((p for p in points if p["kind"] == "before"), None)
    said = []
    for p in points:
        if p["kind"] in ("A", "B") and start:
            pairs = ((role, number(start.get(role)), number(p.get(role))) for role in ("forget", "retain"))
            said.append(
                f"{_text(p['label'])}: " + ", ".join(f"{r} {short(b)} → {short(a)}" for r, b, a in pairs)
            )
    return "; ".join(said) if said else f"Forget against retain: {metric}"


def _text(value: Any) -> str:
    """Plotly reads a little HTML in text: show model and user text as it is."""
    return str(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("%{", "% {")


def _token(token: str) -> str:
    """A token with its blanks visible, quoted."""
    return "‘" + _text(token.replace("\n", "↵").replace(" ", "␣")) + "’"


def _finish(figure: go.Figure, title: str, height: int = SIZE) -> go.Figure:
    figure.update_layout(
        title={"text": title[:1].upper() + title[1:], "font": {"size": 14}, "x": 0, "xanchor": "left"},
        height=height, margin=MARGIN, hovermode="closest",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 1, "xanchor": "right"},
    )  # fmt: skip
    return figure
