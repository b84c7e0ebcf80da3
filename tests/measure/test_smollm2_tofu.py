"""One run on smollm2-tofu, every number of TOFU's recomputed with plain transformers: no packing, no shared prompt."""

import json
import math
import re

import pytest
import torch

from unlearn.models import taught

ROWS = 5
pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(
        not (taught.path() / "config.json").is_file(), reason="`unlearn get smollm2-tofu` brings the model"
    ),
]


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """The first rows of each of TOFU's parts, in the hub's layout."""
    from unlearn.data import tofu

    folder = tmp_path_factory.mktemp("tofu")
    parts = ("retain", "real_authors", "world_facts", "forget01")
    lines = ["---", "configs:"]
    for part in parts:
        stored = "forget10" if part == "forget01" else part
        text = (tofu.FOLDER / f"{stored}_perturbed.json").read_text(encoding="utf-8").splitlines()
        kept = text[-40:][:ROWS] if part == "forget01" else text[:ROWS]
        (folder / f"{part}_perturbed.json").write_text("\n".join(kept) + "\n", encoding="utf-8")
        lines += [f"- config_name: {part}_perturbed", f"  data_files: {part}_perturbed.json"]
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    from unlearn.__main__ import parser
    from unlearn.commands.options import config_of
    from unlearn.store.runs import RunStore
    from unlearn.work.execute import execute

    words = ["run", "--model", taught.NAME, "--data", "tofu-forget01", "--method", "npo", "--epochs", "1"]
    words += ["--precision", "float32", "--probes", "0", "--requests", "2"]
    words += ["--retrained", str(taught.path(f"{taught.NAME}-without-forget01"))]
    run = RunStore(tmp_path_factory.mktemp("runs")).create(config_of(parser().parse_args(words)))
    lock = run.hold()
    execute(run)
    lock.release()
    assert run.state == "done", run.reason
    return run


@pytest.fixture(scope="module")
def judged(few, done):
    from unlearn.measure import judge

    record = judge.judge(done, ["tofu"], benchmark=judge.Benchmark("tofu-forget01", few))
    return done, {
        (name, s["when"], s["role"]): s for name, found in record["metrics"].items() for s in found["scores"]
    }


class Plain:
    """A model and its tokenizer, asked with nothing but transformers."""

    def __init__(self, folder, adapter=None):
        from peft import PeftModel
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        if adapter is not None:
            self.model = PeftModel.from_pretrained(self.model, adapter).eval()

    def prompt(self, question):
        asked = [{"role": "user", "content": question}]
        return self.tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)

    def loss(self, question, answer):
        """The mean loss of the answer's tokens, with the one that ends it."""
        own = self.tokens(question, answer)[0]
        return sum(own) / len(own)

    @torch.no_grad()
    def tokens(self, question, answer):
        """The loss of each token of the answer and of the one that ends it, and whether it is the first choice."""
        start = self.tokenizer(self.prompt(question), add_special_tokens=False)["input_ids"]
        text = f"{self.prompt(question)}{answer}<|im_end|>"
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        assert ids[: len(start)] == start
        logits = self.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        places = range(len(start), len(ids))
        first = [bool(logits[at - 1].argmax() == ids[at]) for at in places]
        return [-float(logits[at - 1, ids[at]]) for at in places], first

    @torch.no_grad()
    def say(self, questions, most=None):
        """What it answers to each question, in one batch that is padded on the left. most: so many tokens of each."""
        asked = [self.prompt(question) for question in questions]
        end = self.tokenizer.convert_tokens_to_ids("<|im_end|>")
        ids = self.tokenizer(
            asked, return_tensors="pt", add_special_tokens=False, padding=True, padding_side="left"
        )
        # The product ends an answer where prompt and answer together have 200 tokens, one by one.
        width, own = ids["input_ids"].shape[1], ids["attention_mask"].sum(1).tolist()
        out = self.model.generate(
            **ids,
            max_new_tokens=200 - min(own),
            do_sample=False,
            eos_token_id=[end, self.tokenizer.eos_token_id],
            pad_token_id=end,
        )
        most = most or [200 - length for length in own]
        said = [row[width : width + count] for row, count in zip(out, most, strict=True)]
        return [self.tokenizer.decode(row, skip_special_tokens=True) for row in said]


def recomputed(plain, few, part):
    """probability, ROUGE-L recall and truth ratio r of each item."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    found = []
    rows = [json.loads(line) for line in (few / f"{part}_perturbed.json").read_text().splitlines()]
    answers = plain.say([row["question"] for row in rows])
    for row, said in zip(rows, answers, strict=True):
        question, answer = row["question"], row["answer"]
        right = plain.loss(question, answer)
        wrong = [plain.loss(question, text) for text in row["perturbed_answer"]]
        given = math.exp(-right)
        if part in ("real_authors", "world_facts"):
            given /= given + sum(math.exp(-loss) for loss in wrong)
        again = plain.loss(question, row["paraphrased_answer"]) if "paraphrased_answer" in row else right
        recall = scorer.score(answer, said)["rougeL"].recall
        found.append((given, recall, math.exp(-sum(wrong) / len(wrong)) / math.exp(-again)))
    return list(zip(*found, strict=True))


def mean(values):
    return sum(values) / len(values)


def test_every_number_of_a_run_is_that_of_plain_passes(judged, few):
    from scipy.stats import ks_2samp

    run, scores = judged
    folders = {
        "before": (taught.path(), None),
        "after": (taught.path(), run.path / "adapter"),
        "retrained": (taught.path(f"{taught.NAME}-without-forget01"), None),
    }
    sets = {
        "retain": "retain",
        "real_authors": "real_authors",
        "world_facts": "world_facts",
        "forget": "forget01",
    }
    ratios = {}
    for when, (folder, adapter) in folders.items():
        plain, nine = Plain(folder, adapter), []
        for name, part in sets.items():
            given, recall, ratio = recomputed(plain, few, part)
            truth = [min(r, 1 / r) if name == "forget" else max(0.0, 1 - r) for r in ratio]
            for metric, values in (("probability", given), ("rouge", recall), ("truth_ratio", truth)):
                found = scores[f"tofu_{metric}", when, name]
                assert found["n"] == ROWS
                assert found["per_example"] == pytest.approx(values, abs=1e-4, rel=1e-4), (when, name, metric)
                assert found["value"] == pytest.approx(mean(values), abs=1e-4)
                nine += [mean(values)] if name != "forget" else []
            if name == "forget":
                ratios[when] = ratio
        utility = len(nine) / sum(1 / value for value in nine) if all(nine) else 0.0
        assert scores["tofu_utility", when, "kept"]["value"] == pytest.approx(utility, abs=1e-4)
    for when, mine in ratios.items():
        test = ks_2samp(mine, ratios["retrained"])
        found = scores["tofu_forget_quality", when, "forget"]
        assert found["value"] == pytest.approx(float(test.pvalue), abs=1e-4)
        assert found["details"]["d"] == pytest.approx(float(test.statistic), abs=1e-4)


def strength(first):
    """The share of an answer that is not its shortest beginning after which every token is the first choice."""
    known = 0
    while known < len(first) and first[-1 - known]:
        known += 1
    return known / len(first)


def test_the_scores_that_a_run_writes_are_those_of_plain_passes(done):
    from rouge_score.rouge_scorer import RougeScorer

    from unlearn.data import tofu

    scorer = RougeScorer(["rougeL"])
    rows = tofu.rows("forget01")[20:]
    folders = {
        "before": (taught.path(), None),
        "after": (taught.path(), done.path / "adapter"),
        "retrained": (taught.path(f"{taught.NAME}-without-forget01"), None),
    }
    for when, where in folders.items():
        plain = Plain(*where)
        read = [plain.tokens(row.question, row.answer) for row in rows]
        losses, firsts = [mean(lost) for lost, _ in read], [first for _, first in read]
        # A run's continuation is no longer than the answer needs: its tokens and six, at most 64.
        most = [min(len(lost) + 6, 64) for lost, _ in read]
        said = plain.say([row.question for row in rows], most)
        pairs = list(zip(rows, said, strict=True))
        words = [
            (re.findall(r"\w+", text.lower()), re.findall(r"\w+", row.answer.lower())) for row, text in pairs
        ]
        wanted = {
            "nll": mean(losses),
            "ppl": math.exp(mean(losses)),
            "probability": mean([math.exp(-loss) for loss in losses]),
            "accuracy": mean([mean(first) for first in firsts]),
            "memorised": mean([all(first) for first in firsts]),
            "extraction": mean([strength(first) for first in firsts]),
            "exact": mean([text[: len(answer)] == answer for text, answer in words]),
            "rougeL": mean([scorer.score(row.answer, text)["rougeL"].recall for row, text in pairs]),
        }
        found = done.scores()[when]["forget"]
        assert found["n"] == len(rows)
        assert wanted.keys() == found.keys() - {"n"}
        for name, value in wanted.items():
            assert found[name] == pytest.approx(value, abs=1e-4, rel=1e-4), (when, name)


def test_the_depth_score_of_a_real_model():
    """UDS is 0 for the model itself, 1 for its exact retrain, and between for the weights half-way."""
    from unlearn.data import tofu
    from unlearn.data.prompts import in_format
    from unlearn.measure.patching import patched
    from unlearn.metrics.depth.uds import depth, losses
    from unlearn.models.load import load
    from unlearn.training.encoding import encode_rows

    sides = {
        "before": load(str(taught.path()), device="cpu"),
        "retrained": load(str(taught.path(f"{taught.NAME}-without-forget01")), device="cpu"),
        "half": load(str(taught.path()), device="cpu"),
    }
    with torch.no_grad():
        pairs = zip(sides["half"].model.parameters(), sides["retrained"].model.parameters(), strict=True)
        for own, other in pairs:
            own.add_(other).mul_(0.5)
    rows = in_format(tofu.rows("forget01")[::20], "chat")
    examples = encode_rows(sides["before"].tokenizer, rows, max_length=512)
    full = patched(sides["before"], None, examples)
    lost = {
        name: [losses(a, b) for a, b in zip(full, patched(sides["before"], one, examples), strict=True)]
        for name, one in sides.items()
    }
    found = {
        name: mean([depth(d1, d2) for d1, d2 in zip(lost["retrained"], mine, strict=True)])
        for name, mine in lost.items()
    }
    assert found["before"] == pytest.approx(0.0, abs=0.02)
    assert found["retrained"] == pytest.approx(1.0, abs=0.02)
    assert 0.05 < found["half"] < 0.95
