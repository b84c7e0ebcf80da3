"""Draws the gradient explorer: one real token, and how each method's gradient moves its logits.

Numbers come from unlearn.measure.gradient, which runs a method's own loss; nothing here knows a method by name,
except which three stand side by side at first.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from ui import figure, forms, pick, shell
from ui.demo import visitor
from ui.methods import gradients
from unlearn.models.load import CATALOGUE, available
from unlearn.results.compare import rounded
from unlearn.store.shapes import JsonObject, JsonView
from unlearn.work.visitors import rules

if TYPE_CHECKING:
    from unlearn.methods.base import Method

# The three methods to compare first: one pushes without end, one fades, one stops.
FIRST = ("ga", "npo", "undial")
TOP, REACH, START = 5, 20.0, 8.0
WHOLE = {True: "The whole answer", False: "Only this token"}
OWN, RAW = "Own strongest", "As the loss gives it"
READ = """Left, the model still knows the token; to the right it has forgotten more and more of it. Below 0 a step
makes the token less likely, above 0 it brings it back, and where a line meets 0 the method is done with this
token. Shares, because AdamW divides a gradient's size out anyway; the loss's own numbers are one switch away."""
SOONER = "Methods that look at the whole answer's likelihood (NPO) ease off sooner when all of it is gone."


@dataclass(frozen=True)
class View:
    """The choices of the explorer: which token of which text, how much of it is forgotten, and each method's
    knobs as JSON.
    """

    model: str
    text: int
    place: int
    whole: bool
    shift: float
    knobs: Mapping[str, str]

    @property
    def at(self) -> tuple[str, int, int, bool]:
        """Return what locates the token: model, text, place, and whether the whole answer is lowered."""
        return self.model, self.text, self.place, self.whole


def explorer(methods: JsonView) -> None:
    """Draw the whole tab: the choices on the left, the figures on the right and below."""
    controls, canvas = st.columns([2, 5], gap="medium")
    with controls:
        model, text, place = _choose_token()
        reasons = gradients.reasons(model, tuple(methods))
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
        view, found = _curves(methods, model, text, place, knobs)
    for name in [name for name in found if "reason" in found[name]]:
        st.caption(shell.plain(f"{methods[name].title}: {found.pop(name)['reason']}"))
    _here(methods, view, found)
    with st.expander(f"Methods that cannot be shown here ({len(reasons)})"):
        for name, reason in reasons.items():
            st.markdown(f"**{shell.plain(methods[name].title)}.** {shell.plain(reason)}")


def short_title(method: "Method | type[Method]") -> str:
    """Return what stands in brackets at the end of a title, where that is shorter.

    Example: Gradient ascent (GA) → GA.
    """
    head, _, tail = method.title.partition(" (")
    return tail[:-1] if tail.endswith(")") and len(tail) <= len(head) + 1 else head


def visible(token: str) -> str:
    """Return a token with its blanks made visible."""
    return token.replace("\n", "↵").replace(" ", "␣") or "(empty)"


def _choose_token() -> tuple[str, int, int]:
    ready = [name for name, entry in CATALOGUE.items() if entry.loaded and available(name)]
    ready = list(visitor.offered(dict.fromkeys(ready, ""), rules.models()))
    model = pick.choose("Model", "model", ready, lambda name: CATALOGUE[name].title)
    stage = gradients.stage(model)
    rows = [scene.row for scene in stage.texts if scene.row is not None]
    text = pick.choose(
        "Text to forget", "text", range(len(rows)), lambda i: rows[i].question or rows[i].answer
    )
    labels = stage.texts[text].labels
    place = st.pills(
        "Answer token",
        range(len(labels)),
        default=0,
        required=True,
        format_func=lambda i: shell.plain(visible(stage.vocabulary[labels[i]])),
        key=f"explore.token.{model}.{text}",
        help="The token whose logits are looked at; the model has read everything before it.",
        wrap=True,
    )
    return model, text, place


def _knobs(method: "type[Method]") -> str:
    """Return the method's knobs as JSON. Those of the retain term have no part in this text's gradient."""
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
    methods: JsonView, model: str, text: int, place: int, knobs: Mapping[str, str]
) -> tuple[View, dict[str, dict]]:
    """Draw the teaching figure with its switches and its cursor, and return the view and what was found."""
    space = st.container()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        whole = st.segmented_control(
            "Forgotten so far",
            list(WHOLE),
            default=True,
            required=True,
            format_func=WHOLE.__getitem__,
            wrap=True,
            key="explore.whole",
            help=SOONER,
        )
        assert whole is not None, "required"
        scale = st.segmented_control(
            "Scale of the curves", [OWN, RAW], default=OWN, required=True, wrap=True, key="explore.scale"
        )
    found, reach = _found(model, text, place, whole, knobs)
    label = "How much is already forgotten: the right token's logit is lowered by (nats)"
    shift = st.slider(label, 0.0, reach, START, 0.25, key="explore.shift")
    order = list(methods)
    curves = [
        f["curve"] | {"rest": f["rest"], "name": short_title(methods[name]), "place": order.index(name)}
        for name, f in found.items()
        if "curve" in f
    ]
    with space:
        from unlearn.figures import gradient as gradient_figures

        drawn = gradient_figures.push_curves(curves, shift, scale == OWN, shell.dark())
        figure.show(drawn, key="explore.curves")
        st.caption(" ".join(READ.split()))
    return View(model, text, place, whole, shift, knobs), found


def _found(
    model: str, text: int, place: int, whole: bool, knobs: Mapping[str, str]
) -> tuple[dict[str, dict], float]:
    """Return what was found for each method, with all curves over the same reach."""
    found = {name: gradients.explore(model, text, place, whole, name, knobs[name], REACH) for name in knobs}
    reach = max([REACH, *(f["curve"]["shift"][-1] for f in found.values() if "curve" in f)])
    if reach > REACH:
        found = {
            name: gradients.explore(model, text, place, whole, name, knobs[name], reach) for name in knobs
        }
    return found, reach


def _here(methods: Mapping[str, object], view: View, found: Mapping[str, dict]) -> None:
    """Draw what the model says at the cursor, one panel for each method, and the same as a table."""
    from unlearn.figures import gradient as gradient_figures

    st.markdown("**At this point**", help="Where the cursor of the figure above stands; the slider moves it.")
    own = st.toggle("Each panel on its own scale", key="explore.own")
    scene = gradients.stage(view.model).texts[view.text]
    label = scene.labels[view.place]
    likely = scene.logits[view.place].topk(TOP + 1).indices.tolist()
    tokens = [label, *(t for t in likely if t != label)][: TOP + 1]
    panels = {name: _panel(methods, view, name, tokens) for name in found}
    largest = max((abs(y) for panel in panels.values() for y in panel["push"]), default=1.0)
    places = forms.cells(1 + len(panels), 3)
    with places[0]:
        _distribution(methods, view, found, tokens)
    for (name, panel), cell in zip(panels.items(), places[1:], strict=False):
        limit = max(map(abs, panel["push"])) if own else largest
        with cell:
            figure.show(gradient_figures.push_bars(panel, limit, shell.dark()), key=f"explore.bars.{name}")
    now = float(scene.shifted(view.shift, view.place)[view.place].softmax(-1)[label])
    with st.expander("The numbers"):
        st.dataframe(
            _table(panels, found, now), hide_index=True, placeholder="–", alt="The pushes as numbers"
        )


def _panel(methods: JsonView, view: View, name: str, tokens: Sequence[int]) -> JsonObject:
    """A method's pushes on these tokens, and on the one that gains most where that is another."""
    push = gradients.push(*view.at, name, view.knobs[name], view.shift)
    gains = max(range(len(push)), key=push.__getitem__)
    more = gains not in tokens and push[gains] > 0.1 * abs(push[tokens[0]])
    rows = [*tokens, gains] if more else tokens
    names = gradients.stage(view.model).vocabulary
    return {
        "name": short_title(methods[name]),
        "place": list(methods).index(name),
        "tokens": [names[t] for t in rows],
        "push": [push[t] for t in rows],
    }


def _distribution(methods: JsonView, view: View, found: Mapping[str, dict], tokens: Sequence[int]) -> None:
    """Before, now and each method's target, over these tokens and those that the targets favour."""
    from unlearn.figures import gradient as gradient_figures

    stage = gradients.stage(view.model)
    scene, order = stage.texts[view.text], list(methods)
    goals = {name: f["target"] for name, f in found.items() if f["target"]}
    listed = list(dict.fromkeys([*tokens, *(max(range(len(q)), key=q.__getitem__) for q in goals.values())]))
    targets = [
        {"name": short_title(methods[n]), "place": order.index(n), "p": [q[t] for t in listed]}
        for n, q in goals.items()
    ]
    before = scene.logits[view.place].softmax(-1)[listed].tolist()
    now = scene.shifted(view.shift, view.place)[view.place].softmax(-1)[listed].tolist()
    names = [stage.vocabulary[t] for t in listed]
    drawn = gradient_figures.distribution(names, before, now if view.shift else None, targets, shell.dark())
    figure.show(drawn, key="explore.distribution")


def _table(panels: JsonView, found: Mapping[str, dict], p: float) -> list[dict[str, str]]:
    """The accessible twin of the figures."""
    rows = []
    for name, panel in panels.items():
        still = found[name]["rest"]
        row = {"Method": panel["name"], "p of the label now": rounded(p)}
        row |= {"At rest at p": rounded(still[1]) if still else "nowhere"}
        row |= {"Nats down": rounded(still[0]) if still else ""}
        row |= {
            f"Push on {visible(token)}": rounded(push, sign=True)
            for token, push in zip(panel["tokens"], panel["push"], strict=True)
        }
        rows.append(row)
    return rows
