"""leak@k in closed form: how likely it is that at least one of k sampled answers is the true one, word for word.

    P = Π_t softmax(z_t / T)[y_t] over the answer tokens;   value = leak@k = 1 - (1 - P)^k

Greedy decoding may hide an answer that one draw in ten gives away (Reisizadeh et al. 2025, arXiv 2511.04934). The
probability is read from one teacher-forced pass, so nothing is drawn and the value has no noise of drawing. It counts
the exact answer alone; draws.py counts answers in other words too, and draws them. The end of text is not counted.
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from unlearn.attacks.base import BATCH, Attack, Cell, Found, Side, Subject, beside, mean_or_zero, percent
from unlearn.compute.lazy import Tensor, lm, no_grad
from unlearn.compute.tokens import collate
from unlearn.data.base import Row
from unlearn.training.encoding import encode_rows

if TYPE_CHECKING:
    from unlearn.models.load import Loaded

TEMPERATURES = (0.8, 1.0)
DRAWS = (1, 8, 32)
PAPER = "Reisizadeh et al. 2025, arXiv 2511.04934"


@no_grad
def said_with(loaded: "Loaded", rows: Sequence[Row], temperature: float, max_length: int) -> list[float]:
    """Return the log-probability of each row's answer at this temperature, without the end of text."""
    tokenizer = loaded.tokenizer
    examples = encode_rows(tokenizer, rows, max_length=loaded.fit_length(max_length))
    order = sorted(examples, key=lambda e: len(e.input_ids))
    found: dict[int, float] = {}
    for at in range(0, len(order), BATCH):
        batch = collate(order[at : at + BATCH], loaded.pad_id).to(loaded.device)
        (answers,) = lm.forward(loaded.model, batch)
        lps = answers.per_token(_log_share(temperature)).double().tolist()
        ids, start = answers.labels.tolist(), 0
        for key, count in zip(answers.keys, answers.row_count.tolist(), strict=True):
            keep = count - (count > 1 and ids[start + count - 1] == tokenizer.eos_token_id)
            found[key] = math.fsum(lps[start : start + keep])
            start += count
    return [found[key] for key in range(len(rows))]


def _log_share(temperature: float) -> Callable[[Tensor, Tensor], Tensor]:
    def one(logits: Tensor, labels: Tensor) -> Tensor:
        return (logits / temperature).log_softmax(-1).gather(1, labels[:, None])[:, 0]

    return one


def within(log_share: float, draws: int) -> float:
    """Return 1 - (1 - P)^k for P = exp(log_share), right to the last digits also for a tiny P."""
    share = math.exp(min(0.0, log_share))
    return 1.0 if share >= 1 else -math.expm1(draws * math.log1p(-share))


def _cell(temperature: float) -> Cell:
    most = DRAWS[-1]

    def run(subject: Subject) -> Found | None:
        def ask(loaded: "Loaded", side: Side) -> list[float]:
            return said_with(loaded, subject.chosen[side.role], temperature, subject.max_length)

        told = subject.each("forget", ask)
        by_k = {
            side: {str(k): mean_or_zero([within(lp, k) for lp in lps]) for k in DRAWS}
            for side, lps in told.items()
        }
        values = {side: [within(lp, most) for lp in lps] for side, lps in told.items()}
        fewer = ", ".join(f"k = {k}: {percent(by_k['after'][str(k)])}" for k in DRAWS[:-1])
        finding = (
            f"Of {most} answers drawn at temperature {temperature:g} one is the true one with a chance of "
            f"{percent(values['after'])} ({fewer}); {beside(subject, values)}."
        )
        plain = [within(lp, 1) for lp in told["after"]]
        return Found(values, finding, plain, {"temperature": temperature, "by_k": by_k})

    name = f"leak-{temperature:g}"
    setting = f"{most} draws at temperature {temperature:g}, exact answers"
    help_ = f"Chance that one of {most} answers drawn at temperature {temperature:g} is the true one, word for word."
    attack = Attack(name, f"leak@k: {setting}", help_, "suppressed", run, PAPER)
    return Cell(attack, "leak@k", setting, cost=3)


CELLS = tuple(_cell(temperature) for temperature in TEMPERATURES)
