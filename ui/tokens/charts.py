"""Draws the figures of the page Tokens, each built once for what it shows and kept for later visits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ui import figure, pick
from unlearn.store.runs import Run
from unlearn.store.shapes import JsonObject

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True)
class Charts:
    """The figures of one answer of a run. before, after: its TOKEN records; of: what else tells two answers apart.

    retrained: whether the tokens after are those of the retrained model, which has a colour of its own.
    """

    run: Run
    of: tuple[object, ...]
    before: Sequence[JsonObject]
    after: Sequence[JsonObject]
    retrained: bool
    dark: bool

    def slope(self, place: int) -> None:
        """Draw what was likely at this place of the answer, before and after."""

        def build() -> "go.Figure":
            from unlearn.figures import tokens

            return tokens.topk_slope(self.before[place], self.after[place], self.dark, self._color())

        figure.show_kept((*self._known(), place), build, key="tokens.slope")

    def bars(self, quantity: str) -> None:
        """Draw each token of the answer before and after."""

        def build() -> "go.Figure":
            from unlearn.figures import tokens

            return tokens.token_bars(self.before, self.after, quantity, self.dark, self._color())

        figure.show_kept((*self._known(), quantity), build, key="tokens.bars")

    def curve(self, place: int, probes: Sequence[JsonObject], item: int) -> None:
        """Draw the answer over the training. item: its place among the probes' rows."""

        def build() -> "go.Figure":
            from unlearn.figures import tokens

            return tokens.probe_curves(probes, item, token=place, dark=self.dark)

        figure.show_kept((*self._known(), place, len(probes)), build, key="tokens.curve")

    def _known(self) -> tuple[object, ...]:
        """All that the figures depend on: the answer, and the run's files as they are now."""
        files = (pick.stamp(self.run, "samples.jsonl"), pick.stamp(self.run, "probes.jsonl"))
        return (str(self.run.path), *files, *self.of, self.retrained, self.dark)

    def _color(self) -> str:
        from unlearn.figures import base

        return base.paint(base.RETRAINED, self.dark) if self.retrained else base.AFTER_A
