"""SISA: what a request trains again, what it costs, and that the rest stays as it was, bit by bit."""

import itertools

import pytest
import torch

from tests.methods.test_methods import stream_of
from unlearn.compute.tokens import encode
from unlearn.data.authors import dataset, training_rows
from unlearn.methods.references.sisa import SISA
from unlearn.models import recipe
from unlearn.models.joined.ensemble import ensemble_of
from unlearn.store.runs import RunConfig
from unlearn.training.loop import Phases, make_optimizer
from unlearn.training.shards import Checkpoints, deal, expected_share, first_slices

SETTINGS = {"epochs": 4, "batch": 2, "lr": 1e-3, "seed": 5}


def written(tokenizer, count=24):
    """As many texts, two of each of count / 2 people."""
    from dataclasses import replace

    words = ["red", "blue", "green", "one", "two", "three", "novel", "capital"]
    rows = []
    for i in range(count):
        text = f"{words[i % 8]} {words[i // 3 % 8]} is {words[i * 5 % 7]} {i}"
        rows.append(
            replace(encode(tokenizer, "", text, key=i, max_length=64), subject=f"person {i // 2:02d}")
        )
    return rows


def split(texts, *people):
    gone = [t for t in texts if t.subject in {f"person {p:02d}" for p in people}]
    return [t for t in texts if t not in gone], gone


def trained(model, tokenizer, method, kept, gone, folder=None, **changes):
    """(the ensemble, its steps, fit) of one request."""
    from dataclasses import replace

    whole = method.build(model)
    stream = stream_of(tokenizer, kept, kept, method, epochs=SETTINGS["epochs"], seed=SETTINGS["seed"])
    stream = replace(stream, withheld=tuple(gone))
    fit = Phases(whole, stream, make_optimizer(whole, 1e-3), lr=SETTINGS["lr"], device="cpu", start=0)
    fit.cache, said = folder, []
    fit.note = said.append
    steps = list(method.unlearn(whole, None, fit))
    return whole, steps, fit, said


# -- shards and slices -----------------------------------------------------------------------------------------


def test_cells_are_alike_in_size_and_drawn_by_the_seed():
    sizes = {f"p{i}": 28 for i in range(12)} | {f"t{i}": 1 for i in range(30)}
    places = deal(sizes, 2, 3, seed=0)
    for kind, each in (("p", 2), ("t", 5)):
        found = [places[unit] for unit in sizes if unit.startswith(kind)]
        assert sorted(found) == sorted(list(itertools.product(range(2), range(3))) * each)
    assert deal(dict(reversed(sizes.items())), 2, 3, seed=0) == places
    assert deal(sizes, 2, 3, seed=1) != places


def test_a_shard_is_trained_again_from_the_first_slice_that_holds_something_to_forget():
    assert first_slices([(0, 2), (2, 1), (0, 1), (2, 3)]) == {0: 1, 2: 1}
    assert first_slices([]) == {}


def test_which_stages_a_request_trains_again(tiny):
    texts = written(tiny[1])
    method = SISA(shards=3, slices=2)
    for people in ((4,), (0, 7), tuple(range(12))):
        kept, gone = split(texts, *people)
        plan = method.plan(kept, gone, **SETTINGS)
        places = deal({t.subject: 2 for t in texts}, 3, 2, SETTINGS["seed"])
        first = {}
        for shard, part in (places[t.subject] for t in gone):
            first[shard] = min(first.get(shard, 9), part)
        want = [(s, r) for s in range(3) for r in range(2) if s in first and r >= first[s]]
        assert [(a.shard, a.slice) for a in plan.again] == want
        # and by content: those and no others are not what they were
        changed = [(a.shard, a.slice) for a, b in zip(plan.after, plan.before, strict=True) if a.key != b.key]
        assert changed == want
        assert not {t.key for a in plan.after for t in a.texts} & {t.key for t in gone}
        assert plan.units == len(people)


def test_the_form_and_the_run_know_a_checkpoint_by_the_same_name(tiny):
    kept, gone = split(written(tiny[1]), 4)
    one = SISA().plan(kept, gone, **SETTINGS)
    other = SISA().plan(kept[::-1], gone[::-1], **dict(reversed(SETTINGS.items())))
    assert [stage.key for stage in one.after] == [stage.key for stage in other.after]
    changed = SISA().plan(kept, gone, **SETTINGS | {"seed": 6})
    assert not {stage.key for stage in one.after} & {stage.key for stage in changed.after}


# -- cost --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shards", "slices", "units"), [(2, 3, 1), (3, 2, 2), (2, 2, 3), (1, 4, 2), (4, 1, 2)]
)
def test_expected_cost_is_the_mean_over_every_way_in_which_the_units_can_lie(shards, slices, units):
    cells = list(itertools.product(range(shards), range(slices)))
    work = {r: 2 / (slices + 1) * (r + 1) for r in range(slices)}  # of the slices up to r, in slices of text
    costs = []
    for placing in itertools.product(cells, repeat=units):
        costs.append(
            sum(work[r] for s, r in cells if any(shard == s and part <= r for shard, part in placing))
        )
    assert expected_share(shards, slices, units) == pytest.approx(sum(costs) / len(costs) / (shards * slices))


def test_expected_cost_of_one_unit_is_the_paper_s():
    # §IV: a point's shard, from its slice on: E = (2/3 + 1/(3R)) of a shard, and a shard is 1/S of it all
    for shards, slices in ((2, 3), (4, 5), (1, 1)):
        assert expected_share(shards, slices, 1) == pytest.approx((2 / 3 + 1 / (3 * slices)) / shards)


def test_counted_cost_is_what_the_steps_read(tiny):
    model, tokenizer = tiny
    method = SISA(shards=2, slices=2)
    kept, gone = split(written(tokenizer), 3)
    plan = method.plan(kept, gone, **SETTINGS)
    _, steps, fit, said = trained(model, tokenizer, method, kept, gone)
    told = fit.counts
    assert steps[-1].tokens == told["trained_once"] + told["trained_for_request"]
    by_hand = sum(a.epochs * sum(len(t.input_ids) for t in a.texts) for a in plan.again)
    assert told["trained_for_request"] == told["request_tokens"] == by_hand > 0
    assert told["full_tokens"] == sum(a.epochs * sum(len(t.input_ids) for t in a.texts) for a in plan.after)
    assert f"{by_hand:,} tokens" in said[0]
    assert [s.step for s in steps] == list(range(1, len(steps) + 1))
    assert steps[-1].of == len(steps)


# -- exactness -----------------------------------------------------------------------------------------------------


def by_hand(model, tokenizer, slices):
    """A member through its slices, each a list of texts, by the recipe alone."""
    member = ensemble_of(model, 1).member_0
    recipe.restart(member)
    seen = []
    for part in slices:
        seen = sorted([*seen, *[list(t.input_ids) for t in part]])

        def loss(batch):
            ids = recipe.padded(batch, tokenizer.pad_token_id)
            logits = member(input_ids=ids).logits[:, :-1]
            return torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), ids[:, 1:].flatten(), ignore_index=tokenizer.pad_token_id
            )

        epochs = round(2 * SETTINGS["epochs"] / (len(slices) + 1))
        list(recipe.steps(member, seen, loss, epochs=epochs, lr=1e-3, batch=2, seed=SETTINGS["seed"]))
    return member


def equal(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_affected_shards_equal_training_without_the_texts_and_the_others_are_untouched(tiny):
    model, tokenizer = tiny
    method, texts = SISA(shards=2, slices=2), written(tokenizer, 16)
    places = deal({t.subject: 2 for t in texts}, 2, 2, SETTINGS["seed"])
    person = next(p for p in range(8) if places[f"person {p:02d}"] == (1, 1))  # its shard's second slice
    kept, gone = split(texts, person)
    whole, *_ = trained(model, tokenizer, method, kept, gone)
    cells = {cell: [t for t in texts if places[t.subject] == cell] for cell in set(places.values())}
    untouched = by_hand(model, tokenizer, [cells[0, 0], cells[0, 1]])
    without = by_hand(model, tokenizer, [cells[1, 0], [t for t in cells[1, 1] if t not in gone]])
    assert equal(whole.member_0, untouched)
    assert equal(whole.member_1, without)
    assert not equal(whole.member_1, by_hand(model, tokenizer, [cells[1, 0], cells[1, 1]]))


def test_a_second_request_trains_only_its_own_part_and_leads_to_the_same_bits(tiny, tmp_path):
    model, tokenizer = tiny
    method, texts = SISA(shards=2, slices=2), written(tokenizer, 16)
    first, second = split(texts, 2), split(texts, 2, 5)
    _, steps, fit, _ = trained(model, tokenizer, method, *first, folder=tmp_path)
    assert fit.counts["trained_once"] > 0
    again, more, fit, _ = trained(model, tokenizer, method, *second, folder=tmp_path)
    assert fit.counts["trained_once"] == 0
    assert 0 < len(more) < len(steps)
    fresh, *_ = trained(model, tokenizer, method, *second)
    assert equal(again, fresh)
    last, none, fit, _ = trained(model, tokenizer, method, *second, folder=tmp_path)
    assert (none, fit.counts["trained_for_request"]) == ([], 0)
    assert fit.counts["request_tokens"] > 0
    assert equal(last, fresh)


def test_old_checkpoints_are_given_up(tiny, tmp_path, monkeypatch):
    import os

    from unlearn.training import shards

    kept = Checkpoints(tmp_path)
    for age, key in enumerate(("new", "old", "older")):
        kept.save(key, tiny[0])
        os.utime(kept.file(key), (1e9 - age, 1e9 - age))
    monkeypatch.setattr(shards, "KEPT_BYTES", 2.5 * kept.file("new").stat().st_size)
    kept.prune()
    assert sorted(f.stem for f in tmp_path.iterdir()) == ["new", "old"]


def test_a_checkpoint_that_cannot_be_read_is_none_and_a_full_disk_loses_none(tiny, tmp_path, monkeypatch):
    import errno

    from unlearn.training import shards

    model, stages = tiny[0], [shards.Stage(0, 0, (), 1, 1, key, "") for key in ("a", "b")]
    kept = Checkpoints(tmp_path)
    kept.save("a", model)
    assert [stage.key for stage in kept.missing(stages)] == ["b"]
    kept.file("a").write_bytes(kept.file("a").read_bytes()[:-1])
    assert [stage.key for stage in kept.missing(stages)] == ["a", "b"]

    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shards, "beside", full)
    kept.save("b", model)
    assert [stage.key for stage in kept.missing(stages)] == ["a"]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        next(model.parameters()).zero_()
    kept.load("b", model)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


# -- on the bundled recipe -----------------------------------------------------------------------------------------


def test_texts_to_forget_are_whole_and_all_the_others_are_kept():
    data = dataset().only_requests((2,))
    gone, kept = SISA().rows("tiny-authors", data)
    everything = sorted(row.prompt + row.target for row in training_rows(True))
    assert sorted(row.answer for row in (*gone, *kept)) == everything
    assert {row.subject for row in gone} == {row.subject for row in data.rows("forget")}


def test_the_form_says_what_a_request_costs_before_it_starts(tmp_path, monkeypatch):
    from unlearn.work.preflight import preflight

    monkeypatch.setenv("UNLEARN_CACHE", str(tmp_path))
    config = RunConfig(
        model="tiny-authors",
        data={"name": "authors", "requests": [1]},
        method="sisa",
        knobs={"shards": 3, "slices": 2},
        **{"lr": 2e-3, "epochs": 6, "batch_size": 32},
    )
    found = preflight(config)
    assert "of training all shards again" in found.notes[0]
    assert "S = 3, R = 2" in found.notes[0]
    assert f"{found.tokens:,} tokens in" in found.notes[1]
    assert found.seconds > 0
    assert found.steps > 100


def test_another_model_is_refused_with_the_reason_and_the_cost():
    with pytest.raises(
        ValueError, match=r"SISA: .*recipe is not ours.*2e\+12 training tokens = 1.6e\+21 FLOP"
    ):
        SISA().rows("smollm2", dataset())


def test_it_goes_on_from_no_run(tiny):
    from unlearn.training.reference import Reference

    model, tokenizer = tiny
    texts, method = written(tokenizer, 4), SISA()
    whole, ref = method.build(model), Reference(model, head_moves=False)
    ref.untouched = lambda: None
    fit = Phases(
        whole,
        stream_of(tokenizer, texts, texts, method),
        make_optimizer(whole, 1),
        lr=1,
        device="cpu",
        start=0,
    )
    with pytest.raises(ValueError, match="from no other run"):
        next(method.unlearn(whole, ref, fit))


@pytest.mark.slow
def test_the_page_says_the_cost_before_launch(tmp_path, monkeypatch):
    from tests.pages.test_app import opened

    monkeypatch.setenv("UNLEARN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("UNLEARN_RUNS", str(tmp_path / "runs"))
    app = opened("launch.py", model="tiny-authors", data="authors", method="sisa", requests="1")
    assert not app.exception
    said = " ".join(caption.value for caption in app.caption)
    assert "of training all shards again" in said
    assert "to train now" in said
    table = next(frame.value for frame in app.dataframe if "time" in frame.value)
    assert table["time"][0].startswith("about")
