"""Keeps the models of a server's last runs in memory, so that a person's own prompts are answered at once."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn.measure.ask import answer_prompt, answer_question, load_source
from unlearn.models.catalogue import exact_retrain
from unlearn.store.runs import Record, Run
from unlearn.store.shapes import JsonObject
from unlearn.work.execute import Finished

if TYPE_CHECKING:
    from unlearn.models.load import Loaded

# The number of models that are kept in memory for a person's own prompts.
WARM_MODELS = 3


class Warm:
    """The models that stay loaded, by what they are: "after <run>", "before <model> …" or "retrained <folder>".

    root: the folder of the runs. Whoever calls it has the device.
    """

    def __init__(self, root: Path, roots: Sequence[Path] | None = None) -> None:
        self.root, self.roots = root, roots
        self._kept: OrderedDict[str, Loaded] = OrderedDict()

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._kept))

    def keep(self, finished: Finished) -> None:
        """Keep the model that a run has just made."""
        self._remember(f"after {finished.run.id}", finished.loaded)

    def forget(self, record: Record) -> None:
        """Let go of what a run made, because it runs again or is deleted."""
        self._kept.pop(f"after {record.id}", None)

    def clear(self) -> None:
        """Let go of all models."""
        self._kept.clear()

    def ask(
        self, source: tuple[str, Run], prompt: str, answer: str, max_new_tokens: int, raw: bool
    ) -> JsonObject:
        """Return {"prompt", "text", "tokens"}: the greedy answer, and the scored tokens of `answer` or else of it.

        source: ("before" | "after" | "retrained", run). raw: the words are continued as they are; else they are a
        question, put in the run's format.
        """
        loaded = self._model(source)
        if raw:
            return answer_prompt(loaded, prompt, answer, max_new_tokens)
        return answer_question(loaded, source[1].config, prompt, answer, max_new_tokens)

    def _remember(self, key: str, loaded: "Loaded") -> None:
        """Keep it, and drop what has not been asked for longest and what belongs to a deleted run."""
        self._kept.pop(key, None)
        self._kept[key] = loaded
        for old in list(self._kept):
            when, _, rest = old.partition(" ")
            if len(self._kept) > WARM_MODELS or (when == "after" and not (self.root / rest).is_dir()):
                self._kept.pop(old, None)

    def _model(self, source: tuple[str, Run]) -> "Loaded":
        when, run = source
        key = f"after {run.id}"
        if when != "after":
            key = " ".join((when, run.config.model, run.config.tuning, run.config.precision))
        if when == "retrained":
            # The key names the folder, so a run on other rows never gets this model.
            key = " ".join((when, str(exact_retrain(run.config)), run.config.tuning, run.config.precision))
        if not run.path.is_dir():
            self._kept.pop(key, None)
            raise ValueError(f"run: {run.id} was deleted; choose another.")
        loaded = self._kept.get(key) or load_source(when, run, self.roots)
        self._remember(key, loaded)
        return loaded
