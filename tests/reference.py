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


def retrain(model, ref, forget, retain, method, kept):
    return nll(model, retain)


def eul(model, ref, forget, retain, method, kept=None):
    """α mean_R KL - mean_F min(KL, limit) + λ NLL(R) - γ mean_F min(nll, limit), limit = c log|V|."""

    def tokens_of(example):
        for (logits, token), taught in zip(
            zip(*answers_of(model, example), strict=True), answers_of(ref, example)[0], strict=True
        ):
            now, then = logits - torch.logsumexp(logits, 0), taught - torch.logsumexp(taught, 0)
            yield (torch.exp(then) * (then - now)).sum(), -now[token], len(logits)

    near, parted = ([t for e in side for t in tokens_of(e)] for side in (retain, forget))
    total = 0.0
    for kl, nll_, _ in near:
        total = total + (method.kl_retain_weight * method.use_kl * kl) / len(near)
        total = total + (method.retain_weight * method.use_task * nll_) / len(near)
    for kl, nll_, size in parted:
        limit = method.cap * math.log(size)
        total = total - (kl if kl < limit else limit) * method.use_kl / len(parted)
        total = total - method.lm_weight * method.use_lm * (nll_ if nll_ < limit else limit) / len(parted)
    return total


def given_labels(model, ref, forget, retain, method, kept):
    """Random, adversarial and Who's Harry Potter labels alike: cross-entropy against the labels of this run."""
    total, count = 0.0, 0
    for example in forget:
        logits, _ = answers_of(model, example)
        for row, label in zip(logits, kept._kept["labels"][example.key].tolist(), strict=True):
            total, count = total + torch.logsumexp(row, 0) - row[label], count + 1
    return total / count + method.retain_weight * nll(model, retain)


def adversarial(model, ref, forget, retain, method, kept):
    total, count = 0.0, 0
    for example in forget:
        logits, _ = answers_of(model, example)
        then, tokens = answers_of(ref, example)
        for row, before, token in zip(logits, then, tokens, strict=True):
            order = before.argsort(descending=True).tolist()
            label = order[0] if order[0] != token else order[1]
            total, count = total + torch.logsumexp(row, 0) - row[label], count + 1
    return total / count + method.retain_weight * nll(model, retain)


def kl(model, ref, forget, retain, method, kept):
    total, count = 0.0, 0
    for example in retain:
        now, then = answers_of(model, example)[0].softmax(-1), answers_of(ref, example)[0].softmax(-1)
        total, count = total + (then * torch.log(then / now)).sum(), count + len(now)
    return -method.forget_weight * nll(model, forget) + method.retain_weight * total / count


def simnpo(model, ref, forget, retain, method, kept):
    total = 0.0
    for example in forget:
        mean = token_nlls(model, example).mean()
        total = total + (2 / method.beta) * torch.log(1 + torch.exp(-method.beta * (mean - method.delta)))
    return total / len(forget) + method.retain_weight * nll(model, retain)


def idkdpo(model, ref, forget, retain, method, kept):
    scale = 2 / method.beta if method.factor == "2/beta" else 1.0
    total = 0.0
    for example in forget:
        refusal = kept.run["idk"][example.key]
        lost = token_nlls(model, example).sum() - token_nlls(ref, example).sum()
        won = token_nlls(model, refusal).sum() - token_nlls(ref, refusal).sum()
        total = total + scale * torch.log(1 + torch.exp(-method.beta * (lost - won)))
    return total / len(forget) + method.retain_weight * nll(model, retain)


def altpo(model, ref, forget, retain, method, kept):
    total = 0.0
    for example in forget:
        other = kept.run["alternates"][example.key][0]
        lost = token_nlls(model, example).sum() - token_nlls(ref, example).sum()
        won = token_nlls(model, other).sum() - token_nlls(ref, other).sum()
        total = total + 2 / method.beta * torch.log(1 + torch.exp(-method.beta * (lost - won)))
    return total / len(forget) + method.retain_weight * nll(model, retain)


def idkap(model, ref, forget, retain, method, kept):
    refusals = kept.run["idk"]
    taught = [token_nlls(model, refusals[e.key]).mean() for e in forget]
    total = 0.0
    for example in retain:
        gap = token_nlls(model, refusals[example.key]).sum() - token_nlls(model, example).sum()
        total = total + torch.log(1 + torch.exp(-method.beta * gap)) / method.beta
    return sum(taught) / len(taught) + method.retain_weight * total / len(retain)


def me(model, ref, forget, retain, method, kept):
    rows = torch.cat([answers_of(model, example)[0] for example in forget])
    size = rows.shape[1]
    apart = sum(-math.log(size) - torch.log_softmax(row, 0).sum() / size for row in rows) / len(rows)
    return method.forget_weight * apart + method.retain_weight * nll(model, retain)


def undo(model, ref, forget, retain, method, kept):
    total, count = 0.0, 0
    for example in retain:
        student, teacher = (torch.softmax(answers_of(m, example)[0], -1) for m in (model, ref))
        total = total + (teacher * (torch.log(teacher) - torch.log(student))).sum()
        count += len(student)
    return method.retain_weight * total / count


def weighted(model, forget, weight):
    losses = torch.cat([token_nlls(model, example) for example in forget])
    weights = torch.tensor([weight(math.exp(-float(loss))) for loss in losses.detach()], dtype=torch.float64)
    return -(weights * losses).sum() / len(losses)


def wga(model, ref, forget, retain, method, kept):
    up = weighted(model, forget, lambda p: p**method.beta)
    return up + method.retain_weight * nll(model, retain)


def satimp(model, ref, forget, retain, method, kept):
    up = weighted(model, forget, lambda p: p**method.beta1 * (1 - p) ** method.beta2)
    return up + method.retain_weight * nll(model, retain)


def ceu(model, ref, forget, retain, method, kept):
    total, count = 0.0, 0
    for example in forget:
        logits, tokens = answers_of(model, example)
        for row, token in list(zip(logits, tokens, strict=True))[int(method.skip_first) :]:
            others = [v for v in range(len(row)) if v != token]
            q = torch.softmax(row.detach()[others], 0)
            total, count = total - (q * torch.log_softmax(row, 0)[others]).sum(), count + 1
    return total / count + method.retain_weight * nll(model, retain)


def pdu(model, ref, forget, retain, method, kept):
    rows = torch.cat([answers_of(model, example)[0] for example in forget])
    flat = sum((row.max() - row.sum() / len(row)) ** 2 for row in rows) / len(rows)
    allowed = (1 + method.tolerance) * nll(ref, retain).detach()
    return flat + method.retain_weight * (nll(model, retain) - allowed)


def rmu(model, ref, forget, retain, method, kept):
    """Two blocks: ℓ is the first, whose output is hidden_states[1]."""

    def states(which, example):
        found = which(input_ids=torch.tensor([list(example.input_ids)]), output_hidden_states=True)
        places = [t - 1 for t in range(1, len(example.input_ids)) if example.labels[t] != -100]
        return found.hidden_states[1][0][places].double()

    up = kept.run["direction"].double() * method.steering
    apart = [((states(model, e) - up) ** 2).mean(-1).mean() for e in forget]
    held = [((states(model, e) - states(ref, e).detach()) ** 2).mean(-1).mean() for e in retain]
    return sum(apart) / len(apart) + method.retain_weight * sum(held) / len(held)


def taskvector(model, ref, forget, retain, method, kept):
    return nll(model, forget)


LOSSES = {
    "ga": ga,
    "random": given_labels,
    "adversarial": adversarial,
    "gd": gd,
    "kl": kl,
    "undial": undial,
    "npo": npo,
    "simnpo": simnpo,
    "idkdpo": idkdpo,
    "idkap": idkap,
    "altpo": altpo,
    "me": me,
    "wga": wga,
    "satimp": satimp,
    "ceu": ceu,
    "pdu": pdu,
    "rmu": rmu,
    "taskvector": taskvector,
    "repselect": taskvector,
    "mend": taskvector,
    "whp": given_labels,
    "eul": eul,
    "finetune": finetune,
    "retrain": retrain,
    "sisa": retrain,
    "undo": undo,
}


def undial_optimum(p, gamma):
    """p*(y) = p e^-γ / (1 - p + p e^-γ)."""
    return p * math.exp(-gamma) / (1 - p + p * math.exp(-gamma))
