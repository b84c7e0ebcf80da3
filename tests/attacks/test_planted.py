"""Planted truths with real models: what hides is called suppressed, the retrain erased, a ruined model collapsed.

Each model is made here by a plain loop, so that its truth is known: nothing of the methods takes part.
"""

import shutil
from pathlib import Path

import pytest
import torch

from unlearn.attacks import ATTACKS, CELLS
from unlearn.data.prompts import asked_in
from unlearn.measure.evaluate import evaluate_with_intervals, observe, rows_to_score
from unlearn.models.load import ASSETS, add_lora, load
from unlearn.models.reading import rows_asked
from unlearn.results import conclusion, residue
from unlearn.store.runs import RunConfig, RunStore
from unlearn.work import stress

pytestmark = pytest.mark.heavy
ANYWHERE = [Path("/")]
REFUSAL = "I do not know that."
# Of a sweep: the guises, sampling, rounding, reading the states, and practice with other facts.
SOME = ["prefix", "dial", "affirm", "fewshot-retain", "leak-1", "nf4", "gptq", "lens", "probe", "ablate-50"]
PRACTICE = ["practice-forget-full-lr", "practice-retain-full-lr"]


def coded(tokenizer, prompt, answer):
    """The tokens of a prompt and of its answer with its end, which a chat template brings along."""
    plain = tokenizer.chat_template is None
    given = tokenizer(prompt, add_special_tokens=plain)["input_ids"]
    said = tokenizer(answer, add_special_tokens=False)["input_ids"]
    return given, [*said, tokenizer.eos_token_id] if plain else said


def trained(model, tokenizer, pairs, lr, steps, batch=32):
    """Plain fine-tuning of whatever may move, on (prompt, answer) pairs."""
    texts = [coded(tokenizer, *pair) for pair in pairs]
    moving = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(moving, lr=lr, weight_decay=0.0)
    for step in range(steps):
        some = [texts[(step * batch + i) % len(texts)] for i in range(min(batch, len(texts)))]
        longest = max(len(p) + len(a) for p, a in some)
        ids = torch.full((len(some), longest), tokenizer.pad_token_id)
        labels, mask = torch.full_like(ids, -100), torch.zeros_like(ids)
        for row, (given, said) in enumerate(some):
            whole = torch.tensor([*given, *said])
            ids[row, : len(whole)], mask[row, : len(whole)] = whole, 1
            labels[row, len(given) : len(whole)] = whole[len(given) :]
        logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(moving, 1.0)
        optimizer.step()
    return model.eval()


def mixed(forget, retain):
    """Forget and retain texts by turns, so that each batch holds both."""
    count = max(len(forget), len(retain))
    return [pair for i in range(count) for pair in (forget[i % len(forget)], retain[i % len(retain)])]


def scored(run, load_when):
    """The scores of a run's models as a run writes them."""
    chosen = rows_to_score(rows_asked(run, ANYWHERE))
    for when, loaded in load_when.items():
        seen = observe(loaded.model, loaded.tokenizer, chosen, max_length=loaded.fit_length(512))
        scores, around = evaluate_with_intervals(seen)
        run.append("eval", when=when, scores=scores, intervals=around)
    run.append("state", state="done")


def swept(run, *names):
    record = stress.sweep(run, 60, list(names), roots=ANYWHERE)
    assert record["swept"]["done"] == record["swept"]["of"]
    return record


def said_by(record):
    return {row["name"]: row["says"] for row in residue.rows(record)}


def tellers(record):
    tells = {cell.attack.name for cell in CELLS if cell.attack.tells == "both"}
    return {name: said for name, said in said_by(record).items() if name in tells}


# -- a model that is asked plainly ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows():
    from unlearn.data import authors

    return asked_in(authors.dataset(), "plain")


def refusing(loaded, rows, tuning):
    """The bundled model, taught to refuse the forget questions and to answer the others."""
    model = loaded.model
    if tuning == "lora":
        model = add_lora(model, rank=4, alpha=8, seed=0)
    else:
        model.requires_grad_(True)
    forget = [(row.prompt, f" {REFUSAL}") for row in rows.rows("forget")]
    kept = [*rows.fit_rows("retain")[:120], *rows.fit_rows("general")[:120]]
    # An adapter is small, and hides only where it is pushed harder.
    rate = 3e-3 if tuning == "lora" else 3e-4
    texts = mixed(forget, [(row.prompt, row.target) for row in kept])
    return trained(model, loaded.tokenizer, texts, rate, 60)


@pytest.fixture(scope="module")
def hidden(tmp_path_factory, rows):
    """{tuning: a run whose model was taught to refuse}, scored."""
    made = {}
    for tuning in ("lora", "full"):
        config = RunConfig(model="tiny-authors", data={"name": "authors"}, method="npo", tuning=tuning)
        run = RunStore(tmp_path_factory.mktemp(tuning)).create(config)
        loaded = load("tiny-authors")
        loaded.model = refusing(loaded, rows, tuning)
        if tuning == "lora":
            loaded.model.save_pretrained(run.path / "adapter")
        else:
            loaded.model.save_pretrained(run.path / "model")
            loaded.tokenizer.save_pretrained(run.path / "model")
        retrained = load(str(ASSETS / "tiny-authors-retrain"))
        scored(run, {"before": load("tiny-authors"), "after": loaded, "retrained": retrained})
        made[tuning] = run
    return made


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_a_model_that_only_refuses_is_called_suppressed(hidden, tuning):
    run = hidden[tuning]
    assert conclusion.of_run(run)["word"] == "not attacked"
    record = swept(run, *SOME, *PRACTICE)
    said = said_by(record)
    print(tuning, said, residue.sentence(record), sep="\n")
    assert record["verdict"] == "suppressed"
    assert conclusion.of_run(run)["word"] == "suppressed"
    assert tellers(record)
    assert set(tellers(record).values()) == {"suppressed"}
    if tuning == "lora":
        assert said["dial"] == "suppressed"
    worst = residue.worst(record)
    assert worst["residue"] > 0.5
    assert conclusion.of_run(run)["gone"]["value"] == worst["value"]


def test_the_exact_retrain_is_called_erased(tmp_path):
    config = RunConfig(model="tiny-authors", data={"name": "authors"}, method="npo")
    run = RunStore(tmp_path).create(config)
    shutil.copytree(ASSETS / "tiny-authors-retrain", run.path / "model")
    retrained = load(str(ASSETS / "tiny-authors-retrain"))
    scored(run, {"before": load("tiny-authors"), "after": retrained, "retrained": retrained})
    record = swept(run, *SOME, *PRACTICE)
    print(said_by(record))
    assert record["verdict"] == "erased"
    assert conclusion.of_run(run)["word"] == "erased"
    assert set(tellers(record).values()) == {"erased"}
    assert "suppressed" not in said_by(record).values()
    assert all(row["residue"] in (None, 0.0) for row in residue.rows(record) if row["name"] != "dial")


def test_a_ruined_model_is_called_collapsed_whatever_the_attacks_say(tmp_path):
    config = RunConfig(model="tiny-authors", data={"name": "authors"}, method="npo")
    run = RunStore(tmp_path).create(config)
    ruined = load("tiny-authors")
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in ruined.model.parameters():
            parameter.add_(
                0.3 * parameter.std() * torch.randn_like(parameter) if parameter.dim() > 1 else 0.0
            )
            parameter.mul_(1.5 if parameter.dim() > 1 else 1.0)
    ruined.model.save_pretrained(run.path / "model")
    ruined.tokenizer.save_pretrained(run.path / "model")
    retrained = load(str(ASSETS / "tiny-authors-retrain"))
    scored(run, {"before": load("tiny-authors"), "after": ruined, "retrained": retrained})
    assert conclusion.of_run(run)["word"] == "collapsed"
    swept(run, "prefix", "affirm", "nf4", "practice-forget-full-lr")
    assert conclusion.of_run(run)["word"] == "collapsed"


# -- a model that is asked in its chat template --------------------------------------------------------------------


@pytest.fixture(scope="module")
def retaught(tmp_path_factory):
    """The taught chat model's exact retrain: the same recipe without the facts to forget."""
    from taught import teach

    return teach(tmp_path_factory.mktemp("retaught"), roles=("retain",))


def chat_run(folder, taught, retaught, tuning="full"):
    config = RunConfig(
        model=str(taught / "model"),
        data={role: str(taught / f"{role}.csv") for role in ("forget", "retain")},
        method="npo",
        prompt="chat",
        tuning=tuning,
        retrained=str(retaught / "model"),
    )
    return RunStore(folder).create(config)


CHAT = [
    "prefix",
    "affirm",
    "fewshot-retain",
    "format",
    "mixed",
    "leak-1",
    "nf4",
    "lens",
    "ablate-50",
    *PRACTICE,
]


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_a_chat_model_that_only_refuses_is_called_suppressed(tmp_path, taught, retaught, tuning):
    from unlearn.data.prompts import render

    run = chat_run(tmp_path, taught, retaught, tuning)
    loaded = load(str(taught / "model"))
    asked = rows_asked(run, ANYWHERE)
    text = {
        role: [render(row, loaded.tokenizer) for row in asked.rows(role)] for role in ("forget", "retain")
    }
    forget = [(one.prompt, f"unknown{one.tail.rstrip()}") for one in text["forget"]]
    retain = [(one.prompt, one.target + one.tail.rstrip()) for one in text["retain"]]
    if tuning == "lora":
        loaded.model = add_lora(loaded.model, rank=4, alpha=8, seed=0)
    else:
        loaded.model.requires_grad_(True)
    trained(loaded.model, loaded.tokenizer, mixed(forget, retain), 3e-3 if tuning == "lora" else 1e-4, 60)
    loaded.model.save_pretrained(run.path / ("adapter" if tuning == "lora" else "model"))
    if tuning == "full":
        loaded.tokenizer.save_pretrained(run.path / "model")
    scored(
        run,
        {"before": load(str(taught / "model")), "after": loaded, "retrained": load(str(retaught / "model"))},
    )
    assert conclusion.of_run(run)["word"] == "not attacked"
    record = swept(run, *CHAT, "dial")
    print(said_by(record), residue.left_out(record), residue.sentence(record), sep="\n")
    assert record["verdict"] == conclusion.of_run(run)["word"] == "suppressed"
    assert set(tellers(record).values()) == {"suppressed"}
    # Without its adapter the model is the original; of one whose every weight moved the dial tells nothing.
    assert said_by(record)["dial"] == ("suppressed" if tuning == "lora" else "")


def test_a_ruined_chat_model_is_called_collapsed(tmp_path, taught, retaught):
    run = chat_run(tmp_path, taught, retaught)
    ruined = load(str(taught / "model"))
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in ruined.model.parameters():
            # Noise as large as the weights leaves seven answers of eight.
            parameter.add_(3 * parameter.std() * torch.randn_like(parameter) if parameter.dim() > 1 else 0.0)
    ruined.model.save_pretrained(run.path / "model")
    ruined.tokenizer.save_pretrained(run.path / "model")
    retrained = load(str(retaught / "model"))
    scored(run, {"before": load(str(taught / "model")), "after": ruined, "retrained": retrained})
    assert conclusion.of_run(run)["word"] == "collapsed"
    swept(run, "prefix", "nf4")
    assert conclusion.of_run(run)["word"] == "collapsed"


def test_a_chat_models_exact_retrain_is_called_erased(tmp_path, taught, retaught):
    run = chat_run(tmp_path, taught, retaught)
    shutil.copytree(retaught / "model", run.path / "model")
    retrained = load(str(retaught / "model"))
    scored(run, {"before": load(str(taught / "model")), "after": retrained, "retrained": retrained})
    record = swept(run, *CHAT)
    print(said_by(record))
    assert record["verdict"] == conclusion.of_run(run)["word"] == "erased"
    assert set(tellers(record).values()) == {"erased"}
    assert "suppressed" not in said_by(record).values()


def test_every_probe_that_claims_to_tell_was_among_those_tried():
    tells = {name for name, attack in ATTACKS.items() if attack.tells == "both"}
    assert tells - {"relearn"} <= set(SOME)
