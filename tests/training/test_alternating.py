"""Alternating: every phase a fresh pass over one side, the same whenever a step is asked for."""

from tests.methods.test_eul import TEXTS, batches_of, examples
from unlearn.methods.edit.eul import EUL
from unlearn.training.alternating import Alternating


def test_phases_alternate_over_fresh_streams(tiny):
    _, tokenizer = tiny
    forget = examples(tokenizer, TEXTS * 2)
    retain = examples(tokenizer, TEXTS * 3, first=100)
    stream = Alternating(batches_of(tokenizer, forget, retain, retain_ratio=0.75, epochs=4))
    rounds, phase = [], None
    for number in range(1, stream.steps + 1):
        (batch,) = stream.step(number)
        assert (batch.forget is None) != (batch.retain is None)
        side = "forget" if batch.forget is not None else "retain"
        if side != phase:
            rounds.append((phase := side, []))
        rounds[-1][1].extend(getattr(batch, side).keys)
        (again,) = stream.step(number)
        assert getattr(again, side).keys == getattr(batch, side).keys
    assert [side for side, _ in rounds] == ["forget", "retain"] * 4
    passes = [keys for side, keys in rounds if side == "forget"]
    assert all(sorted(keys) == list(range(8)) for keys in passes)
    assert len({tuple(keys) for keys in passes}) == 4
    kept = [keys for side, keys in rounds if side == "retain"]
    assert all(len(set(keys)) == 6 for keys in kept)
    assert sorted(kept[0] + kept[1]) == sorted(kept[2] + kept[3]) == list(range(100, 112))
    assert set(kept[0]) != set(kept[2])


def test_a_retain_phase_is_at_most_one_epoch(tiny):
    _, tokenizer = tiny
    forget, retain = examples(tokenizer), examples(tokenizer, TEXTS[:3], first=10)
    stream = Alternating(batches_of(tokenizer, forget, retain, retain_ratio=16.0, epochs=1))
    keys = [k for n in range(1, stream.steps + 1) for b in stream.step(n) if b.retain for k in b.retain.keys]
    assert sorted(keys) == [10, 11, 12]


def test_a_side_without_texts_has_no_phase(tiny):
    _, tokenizer = tiny
    forget, retain = examples(tokenizer), examples(tokenizer, first=10)
    assert Alternating(batches_of(tokenizer, forget, ())).steps == 6
    assert Alternating(batches_of(tokenizer, (), retain, clock=4)).steps == 6
    assert EUL(use_kl=False, use_lm=False).uses_forget is False
    assert EUL(use_task=False, kl_retain_weight=0.0).retain_ratio == 0
