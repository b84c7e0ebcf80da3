"""The paraphrase attack asks for the forget facts in words that were never trained on.

    value = share of paraphrased questions answered exactly, token by token, by greedy decoding

A method may have unlearned a wording and not the fact (Lynch et al. 2024, arXiv 2402.16835). Finding nothing proves
nothing: another wording may still work.
"""

from unlearn.attacks.base import Attack, Found, Subject, beside, exact_each, percent

ROLE = "paraphrase"


def run(subject: Subject) -> Found | None:
    """Ask the paraphrased questions and return what the attack found.

    It is None where the dataset has no paraphrases.
    """
    if ROLE not in subject.chosen:
        return None
    values = subject.each(ROLE, lambda loaded, side: exact_each(subject.read(loaded, side.role)))
    plain = exact_each(subject.read(subject.model("after"), "forget"))
    finding = (
        f"Asked in other words it answers {percent(values['after'])} (as trained: {percent(plain)}); "
        f"{beside(subject, values)}."
    )
    return Found(values, finding, plain)


ATTACK = Attack(
    name="paraphrase",
    title="Paraphrase",
    help="Share of exact answers when the forget questions are asked in words that were never trained on.",
    tells="suppressed",
    run=run,
    paper="Lynch et al. 2024, arXiv 2402.16835",
    needs="a paraphrase role",
)
