"""The logit lens reads what each layer would answer, so it finds what only the last layers hide.

    p_l(y_t) = softmax(head(norm(h_l)))[y_t],   value = mean over answer tokens of 1 / (1 + rank of y_t in p_l)

at the layer l where the unlearned model stands highest between control and original. A method may only have turned the
last layers away from an answer that the middle ones still hold. nostalgebraist 2020 (the logit lens); Patil et al.
2024, arXiv 2309.17410. At the last layer it is the model's own logits. Finding nothing proves nothing: in a model whose
every weight was taught to refuse, no layer stood above the control, and practice on other texts brought the answers
back (tests/attacks/test_planted.py).
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from unlearn.attacks.base import BATCH, Attack, Found, Side, Subject, beside, decimal, mean_or_zero
from unlearn.compute.lazy import Model, Tensor, lm, no_grad, torch
from unlearn.compute.states import blocks, depth
from unlearn.compute.tokens import collate
from unlearn.data.base import Row
from unlearn.training.encoding import encode_rows

if TYPE_CHECKING:
    from unlearn.compute.tokens import Tokens
    from unlearn.models.load import Loaded

# The least distance between original and control at a layer that can be judged.
APART = 0.1
# The number of texts whose squares of layers and tokens are kept.
SHOWN = 6


def closing(model: Model, batch: "Tokens") -> Callable[[Tensor], Tensor]:
    """Return the function that the model applies between its last block and its output head (a norm,
    sometimes a projection).

    Seen by watching one pass. ValueError for a model that does something there which is no module.
    """
    inner = {id(m) for block in blocks(model) for m in block.modules()}
    head = model.get_output_embeddings()
    called: list[torch.nn.Module] = []
    last: list[Tensor] = []

    def note(module: torch.nn.Module, args: tuple[object, ...], output: object) -> None:
        if last:
            called.append(module)

    def passed(
        module: torch.nn.Module, args: tuple[object, ...], output: Tensor | tuple[Tensor, ...]
    ) -> None:
        last.append(output[0] if isinstance(output, tuple) else output)

    leaves = [m for m in model.modules() if id(m) not in inner and m is not head and not any(m.children())]
    handles = [m.register_forward_hook(note) for m in leaves]
    handles.append(blocks(model)[-1].register_forward_hook(passed))
    try:
        (answers,) = lm.forward(model, batch)
    finally:
        for handle in handles:
            handle.remove()

    def close(hidden: Tensor) -> Tensor:
        for module in called:
            hidden = module(hidden)
        return hidden

    (final,) = lm.forward(model, batch, layer=depth(model) - 1)
    if not torch.allclose(close(final.hidden), answers.hidden, rtol=1e-2, atol=1e-2):
        raise ValueError(
            f"lens: {type(model).__name__} does something unknown between its blocks and its head."
        )
    return close


@no_grad
def residue(loaded: "Loaded", rows: Sequence[Row], max_length: int) -> list[list[dict[str, list[float]]]]:
    """Return {"ids", "lp", "rank"} of the answer tokens of each [layer][row], without the end of text."""
    tokenizer, eos = loaded.tokenizer, loaded.tokenizer.eos_token_id
    examples = encode_rows(tokenizer, rows, max_length=loaded.fit_length(max_length))
    found: list[list[Any]] = [[None] * len(rows) for _ in range(depth(loaded.model))]
    close = closing(loaded.model, collate(examples[:1], loaded.pad_id).to(loaded.device))
    for at in range(0, len(examples), BATCH):
        batch = collate(examples[at : at + BATCH], loaded.pad_id).to(loaded.device)
        for layer, row in enumerate(found):
            (answers,) = lm.forward(loaded.model, batch, layer=layer)
            answers.hidden = close(answers.hidden)
            told = lm.top_k(answers, 1)
            start = 0
            for key, count in zip(answers.keys, answers.row_count.tolist(), strict=True):
                ids = answers.labels[start : start + count].tolist()
                keep = count - (count > 1 and ids[-1] == eos)
                pick = slice(start, start + keep)
                row[key] = {
                    "ids": ids[:keep],
                    "lp": told["lp"][pick].tolist(),
                    "rank": told["rank"][pick].tolist(),
                }
                start += count
    return found


def height(cell: dict[str, list[float]]) -> float:
    """Return the mean reciprocal rank of one answer's tokens at one layer."""
    return mean_or_zero([1.0 / (1 + rank) for rank in cell["rank"]])


def worst_layer(layers: dict[str, list[list[float]]]) -> int:
    """Return the layer where the unlearned model stands highest between control (or 0) and original.

    It is the last layer if none can be judged.
    """
    count = len(layers["before"])
    means = {side: [mean_or_zero(values) for values in found] for side, found in layers.items()}
    floor = means.get("control", [0.0] * count)
    judged = [i for i in range(count) if means["before"][i] - floor[i] >= APART]
    if not judged:
        return count - 1
    return max(judged, key=lambda i: (means["after"][i] - floor[i]) / (means["before"][i] - floor[i]))


def run(subject: Subject) -> Found | None:
    """Read every layer of the three sides and return what the attack found.

    It is None for an encoder-decoder model.
    """
    if subject.model("before").model.config.is_encoder_decoder:
        return None

    def ask(loaded: "Loaded", side: Side) -> list[list[dict[str, list[float]]]]:
        return residue(loaded, subject.chosen[side.role], subject.max_length)

    cells = subject.each("forget", ask)
    layers = {side: [[height(c) for c in row] for row in found] for side, found in cells.items()}
    worst, count = worst_layer(layers), len(layers["before"])
    values = {side: found[worst] for side, found in layers.items()}
    finding = (
        f"At layer {worst + 1} of {count} the right token stands at a mean reciprocal rank of "
        f"{mean_or_zero(values['after']):.2f} (last layer: {mean_or_zero(layers['after'][-1]):.2f}); "
        f"{beside(subject, values, decimal)}."
    )
    tokenizer = subject.model("after").tokenizer
    squares = [
        {
            "question": row.question,
            "tokens": [tokenizer.decode([t]) for t in cells["after"][0][i]["ids"]],
            **{side: [{k: layer[i][k] for k in ("lp", "rank")} for layer in cells[side]]
               for side in cells if side != "control" or subject.control == "retrained"},
        }
        for i, row in enumerate(subject.chosen["forget"][:SHOWN])
    ]  # fmt: skip
    means = {side: [mean_or_zero(v) for v in found] for side, found in layers.items()}
    details = {"layer": worst, "layers": count, "by_layer": means, "squares": squares}
    return Found(values, finding, layers["after"][-1], details)


ATTACK = Attack(
    name="lens",
    title="Layer-wise residue",
    help="Mean reciprocal rank of the right tokens read from a middle layer, at the layer that tells most.",
    tells="suppressed",
    run=run,
    paper="Patil et al. 2024, arXiv 2309.17410",
    needs="a decoder-only model",
)
