"""leak@k by drawing: whether one of k sampled answers is right, also in other words.

    value = share of questions for which at least one of k = 32 answers holds half of the true one's words

at temperature 0.8 and 1, from the whole distribution (no top-k, no top-p). A question that was answered rightly is not
drawn for again, since one right answer is enough: the number of the first right draw gives leak@1, leak@8 and leak@32
alike. Reisizadeh et al. 2025, arXiv 2511.04934; leak.py has the exact answers' share in closed form.
"""

from typing import TYPE_CHECKING

from unlearn.attacks.base import Attack, Cell, Found, Side, Subject, beside, mean_or_zero, percent
from unlearn.attacks.swept.asking import NEEDS, questions, some
from unlearn.compute.lazy import no_grad, torch
from unlearn.data.base import Row
from unlearn.measure.evaluate import prompt_of
from unlearn.measure.following import open_ended, positions_of
from unlearn.measure.formats import RIGHT
from unlearn.metrics import Observation
from unlearn.metrics.memory.rouge import rouge_l
from unlearn.training.encoding import encode_rows, ends_of

if TYPE_CHECKING:
    from unlearn.models.load import Loaded

TEMPERATURES = (1.0, 0.8)
# The draws up to which is counted; each round draws as many as lie between two of them.
DRAWS = (1, 8, 32)
# So many questions are drawn for.
ROWS = 24
PAPER = "Reisizadeh et al. 2025, arXiv 2511.04934"


@no_grad
def drawn(loaded: "Loaded", prompt: str, room: int, count: int, temperature: float, seed: int) -> list[str]:
    """Return `count` answers to the prompt, each drawn token by token from the model's whole distribution."""
    model, tokenizer = loaded.model, loaded.tokenizer
    room = min(room, positions_of(model) - 1)
    ids = torch.tensor([open_ended(tokenizer, prompt)[-(positions_of(model) - room) :]], device=loaded.device)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        out = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            temperature=temperature,
            top_k=0,
            top_p=1.0,
            num_return_sequences=count,
            max_new_tokens=room,
            eos_token_id=ends_of(tokenizer) or None,
            pad_token_id=tokenizer.pad_token_id,
        )
    return tokenizer.batch_decode(out[:, ids.shape[1] :], skip_special_tokens=True)


def first_right(loaded: "Loaded", row: Row, temperature: float, seed: int, max_length: int) -> int:
    """Return the number of the first right answer among the draws, from 1. It is 0 where none is right."""
    (example,) = encode_rows(loaded.tokenizer, [row], max_length=loaded.fit_length(max_length))
    prompt, answer, room = prompt_of(loaded.tokenizer, row, example)
    done = 0
    for upto in DRAWS:
        texts = drawn(loaded, prompt, room, upto - done, temperature, seed + done)
        for number, text in enumerate(texts, done + 1):
            if rouge_l(Observation("", 0, row.question, prompt, answer, text, ())) >= RIGHT:
                return number
        done = upto
    return 0


def _cell(temperature: float) -> Cell:
    most = DRAWS[-1]

    def run(subject: Subject) -> Found | None:
        asked = {side.role: some(questions(subject, side.role), ROWS) for side in subject.sides()}
        if not all(asked.values()) or subject.model("before").model.config.is_encoder_decoder:
            return None
        count = sum(len(asked[side.role]) for side in subject.sides())
        done = 0

        def ask(loaded: "Loaded", side: Side) -> list[int]:
            nonlocal done
            firsts = []
            for at, row in enumerate(asked[side.role]):
                subject.progress(f"drawing for {side.when}", done / count)
                seed = subject.seed * 100_003 + 1_009 * at
                firsts.append(first_right(loaded, row, temperature, seed, subject.max_length))
                done += 1
            return firsts

        told = subject.each("forget", ask)
        by_k = {
            side: {str(k): mean_or_zero([float(0 < first <= k) for first in firsts]) for k in DRAWS}
            for side, firsts in told.items()
        }
        values = {side: [float(first > 0) for first in firsts] for side, firsts in told.items()}
        fewer = ", ".join(f"k = {k}: {percent(by_k['after'][str(k)])}" for k in DRAWS[:-1])
        finding = (
            f"Of {most} answers drawn at temperature {temperature:g} at least one is right for "
            f"{percent(values['after'])} of the questions ({fewer}); {beside(subject, values)}."
        )
        plain = [float(first == 1) for first in told["after"]]
        return Found(values, finding, plain, {"temperature": temperature, "by_k": by_k})

    setting = f"{most} draws at temperature {temperature:g}, right in any words"
    help_ = (
        f"Share of questions for which one of {most} answers drawn at temperature {temperature:g} is right."
    )
    attack = Attack(f"draws-{temperature:g}", f"leak@k: {setting}", help_, "suppressed", run, PAPER, NEEDS)
    return Cell(attack, "leak@k", setting, cost=60, random=True)


CELLS = tuple(_cell(temperature) for temperature in TEMPERATURES)
