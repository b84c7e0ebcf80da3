"""The gradient explorer: one real token, and what each method's gradient does to the logits there.

Numbers come from unlearn.gradient, which runs a method's own loss; nothing here knows a method by name,
except which three stand side by side at first.
"""

import json
from collections.abc import Mapping
from typing import Any

import streamlit as st

from ui import figure, forms, pick, shell
from unlearn.compare import short

FIRST = ("ga", "npo", "undial")  # without end, fading, stopping: the three to compare first
TOP, REACH, START = 5, 20.0, 8.0
WHOLE = {True: "The whole answer", False: "Only this token"}
READ = """Left, the model still knows the token; to the right it has forgotten more and more of it. Below 0 a step
makes the token less likely, above 0 it brings it back, and where a line meets 0 the method is done with this
token. Shares, because AdamW divides a gradient's size out anyway; the loss's own numbers are one switch away."""


@st.cache_resource(max_entries=1, show_spinner="Reading the texts with the model")
def _stage(model: str) -> Any:
    from unlearn.data import catalogue
    from unlearn.gradient import stage
    from unlearn.models import CATALOGUE, load

    return stage(load(model), catalogue.load(CATALOGUE[model].data))


@st.cache_data(max_entries=128, show_spinner=False)
def _explore(model: str, text: int, place: int, whole: bool, name: str, knobs: str, reach: float) -> dict:
    """{"curve": …, "rest": …, "target": [V] | None} or {"reason": sentence}."""
    from unlearn.gradient import Explorer, Unfit, rest
    from unlearn.methods import METHODS

    try:
        explorer = Explorer(METHODS[name].from_knobs(json.loads(knobs)), _stage(model), text)
        target = explorer.target(place)
        still = rest(explorer.scene, place, target)
        reach = min(max(reach, 1.25 * still[0] if still else 0.0), 125.0)
        curve = explorer.curve(place, [reach * i / 60 for i in range(61)], whole)
    except Unfit as reason:
        return {"reason": str(reason)}
    return {"curve": curve, "rest": still, "target": None if target is None else target.tolist()}


@st.cache_data(max_entries=128, show_spinner=False)
def _push(model: str, text: int, place: int, whole: bool, name: str, knobs: str, shift: float) -> list[float]:
    """[V] the push on every logit at this token."""
    from unlearn.gradient import Explorer
    from unlearn.methods import METHODS

    explorer = Explorer(METHODS[name].from_knobs(json.loads(knobs)), _stage(model), text)
    return explorer.push(shift, None if whole else place)[place].tolist()


@st.cache_data(max_entries=8, show_spinner=False)
def _reasons(model: str, names: tuple[str, ...]) -> dict[str, str]:
    """{method: why it cannot be shown} for those that cannot."""
    from unlearn.gradient import Explorer, Unfit
    from unlearn.methods import METHODS

    found = {}
    for name in names:
        try:
            Explorer(METHODS[name](), _stage(model))
        except Unfit as reason:
            found[name] = str(reason)
    return found


def explorer(methods: Mapping[str, Any]) -> None:
    """The whole tab: what to look at on the left, the figures on the right and below."""
    controls, canvas = st.columns([2, 5], gap="medium")
    with controls:
        model, text, place = _choose_token()
        reasons = _reasons(model, tuple(methods))
        shown = [name for name in methods if name not in reasons]
        chosen = st.pills(
            "Methods",
            shown,
            selection_mode="multi",
            default=[name for name in shown if name in (*FIRST, st.query_params.get("method"))],
            format_func=lambda name: short_title(methods[name]),
            key="explore.methods",
            wrap=True,
        )
        knobs = {name: _knobs(methods[name]) for name in sorted(chosen, key=shown.index)}
    with canvas:
        found, where = _curves(methods, model, text, place, knobs)
    st.markdown("**At this point**", help="The cursor of the figure above: set by the slider.")
    _bars(methods, found, knobs, where)
    with st.expander(f"Methods that cannot be shown here ({len(reasons)})"):
        for name, reason in reasons.items():
            st.markdown(f"**{shell.plain(methods[name].title)}.** {shell.plain(reason)}")


def short_title(method: Any) -> str:
    """What stands in brackets at the end of a title, where something does: Gradient ascent (GA) → GA."""
    head, _, tail = method.title.partition(" (")
    return tail[:-1] if tail.endswith(")") and len(tail) <= len(head) + 1 else head


def _choose_token() -> tuple[str, int, int]:
    from unlearn.models import CATALOGUE, available

    ready = [name for name in CATALOGUE if available(name)]
    model = pick.choose("Model", "model", ready, lambda name: CATALOGUE[name].title)
    texts = _stage(model).texts
    rows = [scene.row for scene in texts]
    text = pick.choose(
        "Text to forget", "text", range(len(texts)), lambda i: rows[i].question or rows[i].answer
    )
    scene, names = texts[text], _stage(model).vocabulary
    place = st.pills(
        "Answer token",
        range(len(scene.labels)),
        default=0,
        required=True,
        format_func=lambda i: shell.plain(visible(names[scene.labels[i]])),
        key=f"explore.token.{model}.{text}",
        help="The token whose logits are looked at; the model has read everything before it.",
        wrap=True,
    )
    return model, text, place


def visible(token: str) -> str:
    """A token with its blanks to be seen."""
    return token.replace("\n", "↵").replace(" ", "␣") or "(empty)"


def _knobs(method: Any) -> str:
    """The method's knobs as JSON; those of the retain term have no part in this text's gradient."""
    mine = [k for k in method.knobs() if not k.name.startswith("retain_") and not k.advanced]
    values = {}
    if mine:
        st.markdown(f"**{shell.plain(short_title(method))}**")
        for knob, cell in zip(mine, forms.cells(len(mine), 2), strict=False):
            with cell:
                key = f"explore.{method.name}.{knob.name}"
                values[knob.name] = forms.knob_field(knob, key, knob.default)
    return json.dumps(values)


def _curves(
    methods: Mapping[str, Any], model: str, text: int, place: int, knobs: Mapping[str, str]
) -> tuple[dict[str, dict], tuple[str, int, int, bool, float]]:
    """The teaching figure with its cursor; returns what was found for each method, and where we look."""
    space = st.container()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        whole = st.segmented_control(
            "Forgotten so far",
            list(WHOLE),
            default=True,
            required=True,
            format_func=WHOLE.get,
            key="explore.whole",
            help="Methods that look at the whole answer's likelihood (NPO) ease off sooner when all of it is gone.",
        )
        scale = st.segmented_control(
            "Scale of the curves",
            ["Own strongest", "As the loss gives it"],
            default="Own strongest",
            required=True,
            key="explore.scale",
        )
    found = {name: _explore(model, text, place, whole, name, knobs[name], REACH) for name in knobs}
    reach = max([REACH, *(f["curve"]["shift"][-1] for f in found.values() if "curve" in f)])
    if reach > REACH:
        found = {name: _explore(model, text, place, whole, name, knobs[name], reach) for name in knobs}
    shift = st.slider(
        "How much is already forgotten: the right token's logit is lowered by (nats)",
        0.0,
        float(reach),
        START,
        0.25,
        key="explore.shift",
    )
    order = list(methods)
    curves = [
        f["curve"] | {"rest": f["rest"], "name": short_title(methods[name]), "place": order.index(name)}
        for name, f in found.items()
        if "curve" in f
    ]
    with space:
        from unlearn import plots_gradient

        drawn = plots_gradient.push_curves(curves, shift, scale == "Own strongest", shell.dark())
        figure.show(drawn, key="explore.curves")
        st.caption(" ".join(READ.split()))
    return found, (model, text, place, whole, shift)


def _bars(
    methods: Mapping[str, Any],
    found: Mapping[str, dict],
    knobs: Mapping[str, str],
    where: tuple[str, int, int, bool, float],
) -> None:
    """What the model says, and a panel a method; then the same as a table."""
    from unlearn import plots_gradient

    model, text, place, whole, shift = where
    stage = _stage(model)
    scene, names, dark, order = stage.texts[text], stage.vocabulary, shell.dark(), list(methods)
    before = scene.logits[place].softmax(-1)
    now = scene.shifted(shift, place)[place].softmax(-1)
    label = scene.labels[place]
    tokens = [label, *(t for t in before.topk(TOP + 1).indices.tolist() if t != label)][: TOP + 1]
    goals = {name: f["target"] for name, f in found.items() if f.get("target")}
    peaks = [max(range(len(q)), key=q.__getitem__) for q in goals.values()]
    listed = list(dict.fromkeys([*tokens, *(t for t in peaks)]))
    own = st.toggle("Each panel on its own scale", key="explore.own")
    panels = {}
    for name, f in found.items():
        if "reason" in f:
            st.caption(shell.plain(f"{methods[name].title}: {f['reason']}"))
            continue
        push = _push(model, text, place, whole, name, knobs[name], shift)
        gains = max(range(len(push)), key=push.__getitem__)
        rows = tokens if gains in tokens or push[gains] < 0.1 * abs(push[label]) else [*tokens, gains]
        panels[name] = {
            "name": short_title(methods[name]),
            "place": order.index(name),
            "tokens": [names[t] for t in rows],
            "push": [push[t] for t in rows],
        }
    largest = max((abs(y) for panel in panels.values() for y in panel["push"]), default=1.0)
    places = forms.cells(1 + len(panels), 3)
    with places[0]:
        targets = [
            {"name": short_title(methods[n]), "place": order.index(n), "p": [q[t] for t in listed]}
            for n, q in goals.items()
        ]
        drawn = plots_gradient.distribution(
            [names[t] for t in listed],
            before[listed].tolist(),
            now[listed].tolist() if shift else None,
            targets,
            dark,
        )
        figure.show(drawn, key="explore.distribution")
    for (name, panel), cell in zip(panels.items(), places[1:], strict=False):
        limit = max(map(abs, panel["push"])) if own else largest
        with cell:
            figure.show(plots_gradient.push_bars(panel, limit, dark), key=f"explore.bars.{name}")
    with st.expander("The numbers"):
        st.dataframe(_table(panels, found, float(now[label])), hide_index=True, alt="The pushes as numbers")


def _table(panels: Mapping[str, Any], found: Mapping[str, dict], p: float) -> list[dict[str, str]]:
    """The accessible twin of the figures."""
    rows = []
    for name, panel in panels.items():
        still = found[name]["rest"]
        row = {"Method": panel["name"], "p of the label now": short(p)}
        row |= {"At rest at p": short(still[1]) if still else "nowhere"}
        row |= {"Nats down": short(still[0]) if still else ""}
        row |= {
            f"Push on {visible(token)}": short(push, sign=True)
            for token, push in zip(panel["tokens"], panel["push"], strict=True)
        }
        rows.append(row)
    return rows
