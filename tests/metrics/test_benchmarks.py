"""The metrics of TOFU, MUSE and RWKU by hand, and against what their own code computes."""

import math
import random
import zlib
from dataclasses import replace

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from scipy.stats import hmean, ks_2samp
from sklearn.metrics import roc_auc_score

from unlearn.metrics import BENCHMARKS, METRICS
from unlearn.metrics.base import Answered, Loss
from unlearn.metrics.tofu import probability, truth
from unlearn.metrics.tofu.items import KEPT, log_of
from unlearn.metrics.tofu.utility import around, utility


class Planted:
    """Evidence from a dict keyed (when, part)."""

    def __init__(self, found):
        self.found = found

    @property
    def models(self):
        return tuple(dict.fromkeys(when for when, _ in self.found))

    @property
    def parts(self):
        return tuple(dict.fromkeys(part for _, part in self.found))

    def answered(self, when, part):
        return self.found[when, part]


def item(right, wrong, paraphrased=None, said="a", truth="a"):
    again = None if paraphrased is None else Loss(3 * paraphrased, 3)
    return Answered("p", truth, said, Loss(2 * right, 2), again, tuple(Loss(4 * w, 4) for w in wrong))


def tofu(seed=0):
    """Four sets of three items with drawn losses."""
    draw = np.random.default_rng(seed)
    found = {}
    for name in ("retain", "forget", "real_authors", "world_facts"):
        own = name in ("retain", "forget")
        found[f"tofu {name}"] = [
            item(
                draw.uniform(0.1, 2),
                draw.uniform(0.5, 3, 5 if own else 3),
                draw.uniform(0.1, 2) if own else None,
                said="the author writes novels",
                truth="the writers novel is writing",
            )
            for _ in range(3)
        ]
    return found


def value(name, evidence, when, role):
    return BENCHMARKS[name].measure(evidence)[when, role]


def test_tofus_definitions_by_hand():
    half = math.log(2)
    assert probability.plain(half) == pytest.approx(0.5)
    # Right 1/2, wrong 1/4 and 1/4: half of the whole.
    assert probability.normalised(half, [2 * half, 2 * half]) == pytest.approx(0.5)
    assert probability.normalised(2000.0, [1.0]) < 1e-300
    assert truth.ratio(half, [half, 3 * half]) == pytest.approx(0.5)
    assert (truth.on_kept(0.25), truth.on_kept(2.0)) == (0.75, 0.0)
    assert (truth.on_forget(0.25), truth.on_forget(4.0), truth.on_forget(0.0)) == (0.25, 0.25, 0.0)


def test_the_utility_is_the_harmonic_mean_of_tofus_nine_numbers():
    found = tofu()
    evidence = Planted({("after", part): items for part, items in found.items()})
    scorer, nine = RougeScorer(["rougeL"], use_stemmer=True), []
    for name in ("retain", "real_authors", "world_facts"):
        p, r, t = [], [], []
        for one in found[f"tofu {name}"]:
            right, wrong = one.right.total / 2, [w.total / 4 for w in one.wrong]
            again = one.paraphrased.total / 3 if one.paraphrased else right
            own = math.exp(-right)
            p.append(own if name == "retain" else own / (own + sum(math.exp(-w) for w in wrong)))
            r.append(scorer.score(one.truth, one.said)["rougeL"].recall)
            t.append(max(0, 1 - math.exp(-np.mean(wrong)) / math.exp(-again)))
        nine += [np.mean(p), np.mean(r), np.mean(t)]
        assert value("tofu_probability", evidence, "after", name).value == pytest.approx(np.mean(p))
        assert value("tofu_truth_ratio", evidence, "after", name).value == pytest.approx(np.mean(t))
        assert value("tofu_rouge", evidence, "after", name).value == pytest.approx(np.mean(r))
    assert value("tofu_utility", evidence, "after", "kept").value == pytest.approx(hmean(nine))
    # Stems: novels and novel, writes and writing are one word each; without stems only "the" is there.
    plain = RougeScorer(["rougeL"], use_stemmer=False).score(
        "the writers novel is writing", "the author writes novels"
    )
    assert value("tofu_rouge", evidence, "after", "retain").value > plain["rougeL"].recall


def test_without_a_set_there_is_no_utility():
    found = {("after", part): items for part, items in tofu().items() if part != "tofu world_facts"}
    assert BENCHMARKS["tofu_utility"].measure(Planted(found)) == {}
    assert ("after", "retain") in BENCHMARKS["tofu_probability"].measure(Planted(found))


def drawn_anew(found, seed, draws=400):
    """The middle 95 % of the utility over questions drawn anew, by Python's own generator: an independent bootstrap."""
    draw, values = random.Random(seed), []
    for _ in range(draws):
        again = {part: draw.choices(items, k=len(items)) for part, items in found.items()}
        evidence = Planted({("after", part): items for part, items in again.items()})
        values.append(utility(log_of(evidence, "after", KEPT)))
    return np.quantile(values, [0.025, 0.975])


def test_the_utilitys_interval_is_over_the_questions():
    found = {part: [one for seed in range(12) for one in tofu(seed)[part]] for part in tofu()}
    evidence = Planted({("after", part): items for part, items in found.items()})
    score = value("tofu_utility", evidence, "after", "kept")
    low, high = score.details["interval"]
    assert low < score.value < high
    assert [low, high] == pytest.approx(drawn_anew(found, 1), rel=0.03)
    # Where all questions are alike there is nothing to vary.
    same = {("after", part): items[:1] * 9 for part, items in found.items()}
    alike = value("tofu_utility", Planted(same), "after", "kept")
    assert alike.details["interval"] == pytest.approx((alike.value, alike.value))
    # ROUGE is the same for all here, and the others have an interval around their mean.
    for name in ("tofu_probability", "tofu_truth_ratio"):
        one = value(name, evidence, "after", "forget")
        assert one.details["interval"][0] < one.value < one.details["interval"][1]


def test_a_log_without_one_of_the_three_values_has_no_interval():
    evidence = Planted({("after", part): items for part, items in tofu().items()})
    log = log_of(evidence, "after", KEPT)
    assert around(log) is not None
    assert around({**log, "retain": replace(log["retain"], rouge=())}) is None
    assert around({name: log[name] for name in KEPT[:2]}) is None


def test_forget_quality_is_the_ks_test_of_both_models_ratios():
    after, truth_ = tofu(1), tofu(2)
    found = {("after", part): items for part, items in after.items()}
    assert BENCHMARKS["tofu_forget_quality"].measure(Planted(found)) == {}
    found |= {("retrained", part): items for part, items in truth_.items()}

    def ratios(sets):
        return [
            math.exp(one.paraphrased.mean - np.mean([w.mean for w in one.wrong]))
            for one in sets["tofu forget"]
        ]

    test = ks_2samp(ratios(after), ratios(truth_))
    score = value("tofu_forget_quality", Planted(found), "after", "forget")
    assert score.value == pytest.approx(test.pvalue)
    assert score.details["d"] == pytest.approx(test.statistic)
    assert (score.details["n"], score.details["n_retrained"]) == (3, 3)
    assert value("tofu_forget_quality", Planted(found), "retrained", "forget").value == 1.0


def test_muses_rouge_is_f1_in_per_cent_without_stems():
    items = [
        Answered("p", "the cat sat", "the cats sat down"),
        Answered("p", "one two", "one two\n\nQuestion: three"),
    ]
    found = {("after", "muse verbmem"): items, ("after", "muse knowmem_forget"): items}
    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    raw = [100 * scorer.score(i.truth, i.said)["rougeL"].fmeasure for i in items]
    assert value("muse_verbmem", Planted(found), "after", "forget").value == pytest.approx(np.mean(raw))
    # A question's answer ends before the next question.
    short = [raw[0], 100.0]
    assert value("muse_knowmem", Planted(found), "after", "forget").value == pytest.approx(np.mean(short))


def texts(shift, seed, count=12):
    draw = np.random.default_rng(seed)
    return [
        Answered(
            "",
            "x" * (10 + i),
            lps=tuple(draw.normal(shift, 1, 20 + i)),
            mu=tuple(draw.normal(-2, 0.1, 20 + i)),
            sigma=tuple(draw.uniform(0.5, 1, 20 + i)),
        )
        for i in range(count)
    ]


def test_muses_privleak_has_its_sign_and_denominator():
    sides = {"after": (-1.0, -3.0), "retrained": (-2.9, -3.0)}
    found = {
        (when, f"muse privleak_{side}"): texts(shift, seed)
        for when, shifts in sides.items()
        for seed, (side, shift) in enumerate(zip(("forget", "holdout"), shifts, strict=True))
    }

    def auc(when):
        """As MUSE's eval takes it: forget is 0, holdout is 1, and the score is minus Min-40% of the losses."""
        scores = []
        for side in ("forget", "holdout"):
            for one in found[when, f"muse privleak_{side}"]:
                k = int(len(one.lps) * 0.4)
                minus = -np.mean(np.sort(one.lps)[:k])
                scores.append(-minus)
        return roc_auc_score([0] * 12 + [1] * 12, scores)

    want = (auc("after") - auc("retrained")) / auc("retrained") * 100
    score = value("muse_privleak", Planted(found), "after", "forget")
    assert score.value == pytest.approx(want)
    low, high = score.details["interval"]
    assert -100 <= low <= want < high
    # A model that still knows its texts: near -100.
    assert score.value < -90
    assert value("muse_privleak", Planted(found), "retrained", "forget").value == 0
    del found["retrained", "muse privleak_forget"], found["retrained", "muse privleak_holdout"]
    assert BENCHMARKS["muse_privleak"].measure(Planted(found)) == {}


def test_rwkus_recall_is_that_of_its_own_package():
    rouge = pytest.importorskip("rouge")
    items = [
        Answered("p", "Stephen King", " Stephen Edwin King."),
        Answered("p", "Carrie and Carrie", "Carrie"),
        Answered("p", "Maine", "   "),
    ]
    found = {("after", "rwku level1"): items, ("after", "rwku neighbour2"): items}
    said = [i.said.strip() or "NOANSWER" for i in items]
    want = rouge.Rouge().get_scores(hyps=said, refs=[i.truth for i in items], avg=True)["rouge-l"]["r"]
    assert value("rwku_forget", Planted(found), "after", "level 1").value == pytest.approx(want)
    assert value("rwku_neighbours", Planted(found), "after", "neighbours 2").value == pytest.approx(want)


def test_rwkus_membership_scores_are_means_of_log_likelihoods():
    items = texts(-2.0, 3)
    found = {("after", "rwku forget_mia"): items}
    loss = np.mean([np.mean(i.lps) for i in items])
    assert value("rwku_mia_loss", Planted(found), "after", "forget").value == pytest.approx(loss)
    packed = np.mean([np.mean(i.lps) / len(zlib.compress(i.truth.encode())) for i in items])
    assert value("rwku_mia_zlib", Planted(found), "after", "forget").value == pytest.approx(packed)
    lowest = []
    for i in items:
        z = (np.array(i.lps) - np.array(i.mu)) / np.array(i.sigma)
        lowest.append(np.mean(np.sort(z)[: int(len(z) * 0.2)]))
    assert value("rwku_mia_min_k_plus", Planted(found), "after", "forget").value == pytest.approx(
        np.mean(lowest)
    )


def test_every_benchmarks_metric_says_whose_it_is_and_has_a_name_of_its_own():
    assert not BENCHMARKS.keys() & METRICS.keys()
    titles = [metric.title for metric in (*BENCHMARKS.values(), *METRICS.values())]
    assert len(titles) == len(set(titles))
    for name, metric in BENCHMARKS.items():
        assert name.startswith(f"{metric.benchmark}_")
        assert metric.title.startswith(metric.benchmark.upper())
        assert metric.paper
        assert metric.help
        assert metric.needs
        assert ", ours," in metric.help, "a reader must learn how it differs from ours"
