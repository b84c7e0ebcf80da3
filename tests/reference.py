"""Each loss once more, from its formula, in float64, with loops and full logits: the oracle of the method tests.

It shares no code with unlearn: labels are shifted here by hand, one sequence at a time, without padding. kept is
the run's Reference: only for what a run draws at random (labels, a direction, refusals), never for arithmetic.
"""

import math

import torch


def answers_of(model, example):
    """(logits [n, V] in float64 that predict the answer tokens, those tokens) of one unpadded text."""
    ids = torch.tensor([list(example.input_ids)])
    logits = model(input_ids=ids).logits[0].double()
    places = [t for t in range(1, len(example.input_ids)) if example.labels[t] != -100]
    return logits[[t - 1 for t in places]], [example.input_ids[t] for t in places]


def token_nlls(model, example):
    logits, tokens = answers_of(model, example)
    return torch.stack(
        [torch.logsumexp(row, 0) - row[token] for row, token in zip(logits, tokens, strict=True)]
    )


def nll(model, examples):
    parts = [token_nlls(model, e) for e in examples]
    return sum(p.sum() for p in parts) / sum(len(p) for p in parts)


def ga(model, ref, forget, retain, method, kept):
    return -nll(model, forget)


def gd(model, ref, forget, retain, method, kept):
    return -method.forget_weight * nll(model, forget) + method.retain_weight * nll(model, retain)


def npo(model, ref, forget, retain, method, kept):
    total = 0.0
    for example in forget:
        gap = token_nlls(model, example).sum() - token_nlls(ref, example).sum()
        total = total + -(2 / method.beta) * torch.log(1 / (1 + torch.exp(-method.beta * gap)))
    return total / len(forget) + method.retain_weight * nll(model, retain)


def undial(model, ref, forget, retain, method, kept):
    total, count = 0.0, 0
    for example in forget:
        logits, tokens = answers_of(model, example)
        taught, _ = answers_of(ref, example)
        for row, teacher, token in zip(logits, taught, tokens, strict=True):
            lowered = teacher.clone()
            lowered[token] -= method.gamma
            q = torch.exp(lowered - torch.logsumexp(lowered, 0))
            total = total - (q * (row - torch.logsumexp(row, 0))).sum()
            count += 1
    loss = total / count
    return loss + method.retain_weight * nll(model, retain) if method.retain_weight else loss


def finetune(model, ref, forget, retain, method, kept):
    return method.retain_weight * nll(model, retain)


def eul(model, ref, forget, retain, method, kept=None):
    """α mean_R KL - mean_F min(KL, limit) + λ NLL(R) - γ mean_F min(nll, limit), limit = c log|V|."""

    def tokens_of(example):
        for (logits, token), taught in zip(
            zip(*answers_of(model, example), strict=True), answers_of(ref, example)[0], strict=True
        ):
            now, then = logits - torch.logsumexp(logits, 0), taught - torch.logsumexp(taught, 0)
            yield (torch.exp(then) * (then - now)).sum(), -now[token], len(logits)

    kept, parted = ([t for e in side for t in tokens_of(e)] for side in (retain, forget))
    total = 0.0
    for kl, nll_, _ in kept:
        total = total + (method.kl_retain_weight * method.use_kl * kl) / len(kept)
        total = total + (method.retain_weight * method.use_task * nll_) / len(kept)
    for kl, nll_, size in parted:
        limit = method.cap * math.log(size)
        total = total - (kl if kl < limit else limit) * method.use_kl / len(parted)
        total = total - method.lm_weight * method.use_lm * (nll_ if nll_ < limit else limit) / len(parted)
    return total


LOSSES = {"ga": ga, "gd": gd, "npo": npo, "undial": undial, "eul": eul, "finetune": finetune}


def undial_optimum(p, gamma):
    """p*(y) = p e^-γ / (1 - p + p e^-γ)."""
    return p * math.exp(-gamma) / (1 - p + p * math.exp(-gamma))
