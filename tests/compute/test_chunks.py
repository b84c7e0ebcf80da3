"""Chunks of the head: a part of the memory there is, no fewer tokens than pay, the same results whatever they are."""

import pytest
import torch

from unlearn.compute import chunks, memory, products
from unlearn.compute import head as heads
from unlearn.compute.head import Head, cross_entropy

GIB = 2**30


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """16 GiB, all of them free, on which 64 tokens a chunk are enough."""
    told = {"whole": 16 * GIB, "spare": 16 * GIB}
    monkeypatch.setattr(chunks, "whole", lambda device: told["whole"])
    monkeypatch.setattr(chunks, "spare", lambda device: told["spare"])
    monkeypatch.setattr(chunks, "_chosen", 64)
    return told


@pytest.mark.parametrize(
    ("vocabulary", "memory_of", "want"),
    [
        (1_000, 16, chunks.LEAST // 1_000 // 8 * 8),
        (32_000, 16, 128),  # 16 MiB hold more than the 64 that pay
        (128_000, 16, 64),
        (256_000, 16, 64),
        (256_000, 4, 16),  # a 256th of 4 GiB is 16 MiB
        (256_000, 8, 32),
        (chunks.LEAST // 3, 1, 3),
        (2 * chunks.LEAST, 1, 1),
    ],
)
def test_a_chunk_holds_what_pays_and_memory_allows(machine, vocabulary, memory_of, want):
    machine["whole"] = memory_of * GIB
    assert chunks.chunk(vocabulary) == want


def test_the_system_is_not_asked_for_its_memory_in_each_step_of_a_small_vocabulary(monkeypatch):
    monkeypatch.setattr(chunks, "whole", lambda device: pytest.fail("asked"))
    assert chunks.chunk(1_000) == chunks.LEAST // 1_000 // 8 * 8


def test_a_gpu_takes_what_its_memory_allows(machine):
    machine["whole"] = 128 * GIB
    assert chunks.chunk(128_000, "cuda:0") == 128 * GIB // 256 // 4 // 128_000 // 8 * 8


def test_logits_are_kept_where_there_is_room_now(machine):
    assert chunks.keeps(2_000, 32_000)  # 4,096 tokens a step: two losses of 2,000 or so
    machine["spare"] = 4 * GIB
    assert not chunks.keeps(2_000, 32_000)
    machine["spare"] = 0
    assert chunks.keeps(100, 32_000), "16 MiB always"


def test_as_many_tokens_as_gain_nothing_more_are_found_by_trying(monkeypatch):
    monkeypatch.setattr(chunks, "_chosen", None)
    for paces, want in (
        ((4.0, 2.0, 1.05, 1.0), 128),
        ((1.0, 1.0, 1.0, 1.0), 32),
        ((8.0, 4.0, 2.0, 1.0), 256),
    ):
        of = dict(zip(chunks.ROWS, paces, strict=True))
        monkeypatch.setattr(chunks, "_pace", lambda states, matrix, of=of: of[len(states)])
        chunks._tried.cache_clear()
        assert chunks.rows() == want
    chunks._tried.cache_clear()


def test_the_trial_really_computes():
    assert chunks._pace(torch.ones(8, 16), torch.ones(4, 16)) > 0


def test_what_was_found_before_is_used_again():
    assert chunks.use(128) == chunks.rows() == 128
    with pytest.raises(ValueError, match="head rows must be among 32, 64, 128, 256, got 7"):
        chunks.use(7)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("library", products.LIBRARIES)
def test_results_are_equal_for_every_size_of_chunk(monkeypatch, frozen, library):
    monkeypatch.setenv("UNLEARN_PRODUCTS", library)
    products.library.cache_clear()
    torch.manual_seed(0)
    linear = torch.nn.Linear(64, 2_000, bias=False).requires_grad_(not frozen)
    states, labels = torch.randn(300, 64), torch.randint(0, 2_000, (300,))

    def run(size, kept):
        monkeypatch.setattr(heads, "chunk", lambda *_: size)
        monkeypatch.setattr(heads, "keeps", lambda *_: kept)
        hidden = states.clone().requires_grad_(True)
        wanted = [hidden] if frozen else [hidden, linear.weight]
        value = cross_entropy(Head(linear), hidden, labels).mean()
        return [value.detach(), *torch.autograd.grad(value, wanted)]

    whole = run(300, True)
    for size in (*chunks.ROWS, 1, 7, 299):
        for kept in (False, True):
            for got, want in zip(run(size, kept), whole, strict=True):
                assert float((got - want).abs().max()) <= 1e-6 * max(1.0, float(want.abs().max()))
    products.library.cache_clear()


def test_a_limit_of_the_process_counts_as_its_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_given", lambda: 2 * GIB)
    assert memory.whole("cpu") == 2 * GIB
    assert 0 <= memory.spare("cpu") < 2 * GIB
    monkeypatch.setattr(memory, "_given", lambda: memory.UNLIMITED)
    assert 0 < memory.spare("cpu") <= memory.whole("cpu")


def test_a_pass_reads_neighbours_up_to_so_many_tokens(monkeypatch):
    monkeypatch.setattr(chunks, "PASS", 12)
    assert list(chunks.passes([3, 4, 4, 5, 20, 1])) == [slice(0, 3), slice(3, 4), slice(4, 5), slice(5, 6)]
    assert list(chunks.passes([4, 4, 4, 4])) == [slice(0, 3), slice(3, 4)]
    assert list(chunks.passes([1])) == [slice(0, 1)]
