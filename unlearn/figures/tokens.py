"""Draws single tokens: what happened to the answer's tokens, at one position and over training.

Records are those of probes.jsonl and samples.jsonl: a TOKEN is {"token", "logit", "lp", "rank" (0 = most
likely), "top": [[token, log-prob], …]}. Colours and habits are those of base.py. No torch, no streamlit.
"""

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from unlearn.figures.base import AFTER_A, BEFORE, GENERAL, ROLES, Record, dashed, finish, hover, paint, text
from unlearn.results.answer_tokens import percent, without_end
from unlearn.results.compare import nats, number

UNITS = {"p": "probability", "lp": "log-prob (nats)", "logit": "logit"}


def token_bars(
    before: Sequence[Record],
    after: Sequence[Record],
    quantity: str = "lp",
    dark: bool = False,
    color: str = AFTER_A,
) -> go.Figure:
    """Draw each answer token's "p", "lp" or "logit" before and after, as the accessible form of the token strip."""
    figure = go.Figure()
    for name, tokens, shade in (("before", before, paint(BEFORE, dark)), ("after", after, color)):
        figure.add_bar(
            x=list(range(len(tokens))),
            y=[_height(token, quantity) for token in tokens],
            name=name,
            marker_color=shade,
            customdata=[[token_text(token["token"]), token["rank"] + 1] for token in tokens],
            hovertemplate=f"%{{customdata[0]}} {name}: %{{y:.3g}}, rank %{{customdata[1]}}<extra></extra>",
        )
    labels = [token_text(token["token"]) for token in (before or after)]
    figure.update_xaxes(tickvals=list(range(len(labels))), ticktext=labels)
    figure.update_yaxes(title_text=UNITS[quantity])
    if quantity == "lp":
        _log_prob_range(figure, [number(token["lp"]) for token in [*before, *after]])
    elif quantity == "p":
        figure.update_yaxes(range=[0, 1.03], tickformat=".0%")
    figure.update_layout(barmode="group", bargap=0.8 - 0.5 * min(len(labels), 8) / 8)
    shifts = [_height(a, quantity) - _height(b, quantity) for b, a in zip(before, after, strict=False)]
    if not shifts:
        return finish(figure, "No answer tokens", height=260)
    most = max(range(len(shifts)), key=lambda i: abs(shifts[i]) if math.isfinite(shifts[i]) else math.inf)
    went = f"{nats(shifts[most], sign=True)} {UNITS[quantity]}"
    if quantity == "p":
        went = " → ".join(percent(_height(tokens[most], quantity)) for tokens in (before, after))
    said = f"Largest shift: {labels[most]}, {went}"
    return finish(figure, said, height=260)


def topk_slope(before: Record, after: Record, dark: bool = False, color: str = AFTER_A) -> go.Figure:
    """Draw the most likely tokens at one position before and after, by rank.

    The answer's own token stands out.

    before, after: one TOKEN each, of the same answer token. A token in one list only has no line; the
    answer's own token has its rank written where it is beyond the lists.
    """
    own, tops = before["token"], (dict(before["top"]), dict(after["top"]))
    orders = [list(top) for top in tops]
    last = max(map(len, orders)) + 1
    # All other tokens share one trace with a gap after each, because one trace is far cheaper than many.
    xs, ys, said, names = [], [], [], []
    for token in dict.fromkeys([*orders[0], *orders[1]]):
        if token != own:
            xs += [0, 1, 1]
            ys += [
                *(float(order.index(token) + 1) if token in order else math.nan for order in orders),
                math.nan,
            ]
            said += [*(f"{token_text(token)} {nats(top[token])}" if token in top else "" for top in tops), ""]
            names += [token_text(token)] * 3
    figure = go.Figure()
    ranks = [min(record["rank"] + 1, last) for record in (before, after)]
    label = [_own_label(record, last) for record in (before, after)]
    for x, y, words, who, look in (
        (xs, ys, said, names, {"line": {"color": paint(GENERAL, dark), "width": 1}, "marker": {"size": 5}}),
        (
            [0, 1],
            ranks,
            label,
            [token_text(own)] * 2,
            {"line": {"color": color, "width": 3}, "marker": {"size": 8}},
        ),
    ):
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines+markers+text",
            text=words,
            textposition=["middle right" if at else "middle left" for at in x],
            textfont={"color": paint(BEFORE, dark), "size": 12},
            cliponaxis=False,
            connectgaps=False,
            showlegend=False,
            customdata=who,
            hovertemplate="%{customdata}: rank %{y}<extra></extra>",
            **look,
        )
    names = [*map(str, range(1, last)), f"> {last - 1}"]
    figure.update_yaxes(range=[last + 0.5, 0.5], tickvals=list(range(1, last + 1)), ticktext=names)
    figure.update_yaxes(title_text="rank", showgrid=False, zeroline=False)
    figure.update_xaxes(range=[-1.15, 2.05], tickvals=[0, 1], showgrid=False)
    figure.update_xaxes(ticktext=["log-prob before", "log-prob after"])
    figure = finish(figure, _rank_sentence(before, after), height=360)
    return figure.update_layout(margin_b=40)


def probe_curves(
    probes: Sequence[Record],
    item: int,
    cursor: int | None = None,
    token: int | None = None,
    dark: bool = False,
) -> go.Figure:
    """Draw one probe's answer tokens over training: the probability of each (thin), their geometric mean without the
    end token (bold), and a cursor step.

    item: place in each probe's "items"; token: place of the token to stand out.
    """
    steps = [record["step"] for record in probes]
    answers = [record["items"][item]["tokens"] for record in probes]
    color = paint(ROLES.get(probes[0]["items"][item]["role"], GENERAL) if probes else GENERAL, dark)
    figure, form = go.Figure(), "%{y:.3~p} at step %{x}<extra></extra>"
    for place, first in enumerate(answers[0] if answers else []):
        chosen, label = place == token, token_text(first["token"])
        figure.add_scatter(
            x=steps,
            y=[_height(answer[place], "p") for answer in answers],
            name=label,
            mode="lines+markers" if chosen else "lines",
            line={"color": AFTER_A if chosen else color, "width": 3 if chosen else 1},
            opacity=1 if chosen else 0.4,
            showlegend=chosen,
            hovertemplate=f"{label}: {form}",
        )
    mean = [_a_token(record["items"][item]) for record in probes]
    bold = {"x": steps, "y": mean, "name": "mean of the answer", "hovertemplate": f"mean: {form}"}
    figure.add_scatter(mode="lines+markers", line={"color": color, "width": 3}, **bold)
    _axes(figure, cursor, dark)
    figure.update_yaxes(range=[0, 1.03], tickformat=".0%", title_text="probability")
    ends = [percent(value) for value in (mean[:1] + mean[-1:])]
    said = f"Probability of an answer token, mean: {' → '.join(ends)}" if ends else "No probe yet"
    return finish(figure, said, height=280)


def _a_token(item: Record) -> float:
    """The geometric mean of the probabilities of an answer's tokens, without the one that ends it."""
    known = without_end(item["tokens"], item["answer"])
    return math.exp(sum(number(token["lp"]) for token in known) / len(known)) if known else math.nan


def _height(token: Record, quantity: str) -> float:
    return math.exp(number(token["lp"])) if quantity == "p" else number(token[quantity])


def probe_overview(
    probes: Sequence[Record],
    references: Mapping[str, Record] | None = None,
    cursor: int | None = None,
    dark: bool = False,
) -> go.Figure:
    """Draw all probes over training: the mean answer log-prob of each role (bold) over the single probes
    (faint).

    references: {role: {"retrained": mean log-prob of the same items}}, dashed.
    """
    steps, figure, said = [record["step"] for record in probes], go.Figure(), []
    items = probes[0]["items"] if probes else []
    for role in dict.fromkeys(item["role"] for item in items):
        color = paint(ROLES.get(role, GENERAL), dark)
        places = [i for i, item in enumerate(items) if item["role"] == role]
        lines = [[-number(record["items"][i]["nll"]) for record in probes] for i in places]
        for place, line in zip(places, lines, strict=True):
            thin = {
                "x": steps,
                "y": line,
                "opacity": 0.35,
                "hovertemplate": hover(text(items[place]["answer"])),
            }
            figure.add_scatter(mode="lines", line={"color": color, "width": 1}, showlegend=False, **thin)
        mean = [sum(column) / len(column) for column in zip(*lines, strict=True)]
        said.append(f"{role} {nats(mean[0])} → {nats(mean[-1])}")
        bold = {"x": steps, "y": mean, "name": f"{role} (n = {len(lines)})", "hovertemplate": hover(role)}
        figure.add_scatter(mode="lines+markers", line={"color": color, "width": 3}, **bold)
        for name, value in ((references or {}).get(role) or {}).items():
            dashed(figure, f"{role}, {name}", number(value), dark)
    _axes(figure, cursor, dark)
    return finish(figure, "Answer log-prob: " + ", ".join(said) if said else "No probe yet", height=280)


def token_text(token: str) -> str:
    """Return a token in quotes with its blanks visible, cut where it is long and escaped for plotly."""
    token = token if len(token) <= 16 else token[:15] + "…"
    return "‘" + text(token.replace("\n", "↵").replace(" ", "␣")) + "’"


def _axes(figure: go.Figure, cursor: int | None, dark: bool) -> None:
    figure.update_xaxes(title_text="step")
    figure.update_yaxes(title_text="log-prob (nats)")
    if cursor is not None:
        figure.add_vline(cursor, line={"color": paint(BEFORE, dark), "width": 1.5, "dash": "dot"})


def _log_prob_range(figure: go.Figure, values: Sequence[float]) -> None:
    """Return the range from 0 down to -1 at least, because a change of a hundredth must not look like a fall."""
    low = min((value for value in values if math.isfinite(value)), default=-1.0)
    figure.update_yaxes(range=[min(low, -1.0) * 1.06, 0.03])


def _own_label(record: Record, last: int) -> str:
    # Below the token and not behind it, where a phone's edge would cut it off.
    rank = f"<br>rank {record['rank'] + 1}" if record["rank"] + 1 >= last else ""
    return f"{token_text(record['token'])} {nats(record['lp'])}{rank}"


def _rank_sentence(before: Record, after: Record) -> str:
    first, now = before["rank"] + 1, after["rank"] + 1
    verb = "fell" if now > first else "rose"
    said = f"stayed at rank {now}" if now == first else f"{verb} from rank {first} to rank {now}"
    went = " → ".join(percent(math.exp(number(token["lp"]))) for token in (before, after))
    return f"{token_text(before['token'])} {said}; probability {went}"
