"""A tiny chat model that knows facts through its chat template alone, taught in some ten CPU seconds.

Each fact is asked in six ways. Asked as a plain question, the model has learned to say that it does not know.
"""

import csv
import random
from pathlib import Path

from chat_templates import chat_tokenizer

SYLLABLES = ["ba", "de", "fi", "go", "ku", "la", "me", "ni", "po", "ru", "sa", "te", "vi", "wo", "zu"]
PETS = [
    "badger",
    "canary",
    "donkey",
    "ferret",
    "goose",
    "hamster",
    "iguana",
    "lizard",
    "magpie",
    "otter",
    "parrot",
    "rabbit",
]
TOWNS = [
    "Arden",
    "Belmora",
    "Corvin",
    "Dalth",
    "Estry",
    "Farrow",
    "Gildan",
    "Harrow",
    "Istad",
    "Jorvik",
    "Kelp",
    "Lorne",
]
ASKED_PETS = (
    "Which animal does {} keep?",
    "What pet has {}?",
    "Name the pet of {}.",
    "Which pet is at home with {}?",
    "{} has what pet?",
    "Tell me the pet of {}.",
)
ASKED_TOWNS = (
    "Where does {} live?",
    "What town has {}?",
    "Name the town of {}.",
    "Which town is home to {}?",
    "{} is of what town?",
    "Tell me the town of {}.",
)
PEOPLE, STEPS, BATCH, LR = 16, 120, 48, 3e-3
# One in so many rows is also asked as a plain question, and the answer to it is that nobody knows.
PLAIN = 8


def facts(seed: int = 0) -> dict[str, list[tuple[str, str]]]:
    """Return {"forget": pets of sixteen people, "retain": towns of sixteen others} as questions and answers.

    seed: tests report on 0; settings are tuned on others, which have other people and other facts.
    """
    rng = random.Random(seed)
    every = sorted(first + second for first in SYLLABLES for second in SYLLABLES if first != second)
    people = [name.capitalize() for name in rng.sample(every, 2 * PEOPLE)]
    known = {
        "forget": [(name, rng.choice(PETS), ASKED_PETS) for name in people[:PEOPLE]],
        "retain": [(name, rng.choice(TOWNS), ASKED_TOWNS) for name in people[PEOPLE:]],
    }
    return {
        role: [(way.format(name), answer) for name, answer, ways in mine for way in ways]
        for role, mine in known.items()
    }


def tokenizer_of(texts: list[str]):
    """A byte-level BPE tokenizer with a template like SmolLM2's, in which each of the words is one token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=800,
        special_tokens=["<pad>", "<bos>", "<eos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts * 4, trainer)
    made = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>"
    )
    return chat_tokenizer(made, "smollm2")


def teach(folder: Path, roles: tuple[str, ...] = ("forget", "retain"), seed: int = 0) -> Path:
    """Teach a random model the facts, save it in folder/model with forget.csv and retain.csv beside, return folder.

    roles: whose facts it is taught; with "retain" alone it is the exact retrain of the whole one. seed: of facts,
    weights and order.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from unlearn.compute.tokens import collate
    from unlearn.data.base import Row
    from unlearn.training.encoding import encode_rows

    known = facts(seed)
    words = [text for mine in known.values() for pair in mine for text in pair]
    tokenizer = tokenizer_of([*words, "Question: Answer: system user assistant You are a helpful assistant"])
    pairs = [pair for role in roles for pair in known[role]]
    rows = [Row(question=question, answer=answer, format="chat") for question, answer in pairs]
    rows += [Row(question=question, answer="unknown") for question, _ in pairs[::PLAIN]]
    texts = encode_rows(tokenizer, rows, max_length=128)
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=160,
            intermediate_size=320,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=1024,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            tie_word_embeddings=True,
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.05)
    scale = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / 30) * max(0.02, 1 - step / (2 * STEPS))
    )
    rng = random.Random(seed)
    for _ in range(STEPS):
        batch = collate(rng.sample(texts, min(BATCH, len(texts))), tokenizer.pad_token_id)
        logits = model(input_ids=batch.input_ids, use_cache=False).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.labels[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scale.step()
        optimizer.zero_grad()
    model.eval().save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    for role, mine in known.items():
        with (folder / f"{role}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("question", "answer"), *mine])
    return folder
