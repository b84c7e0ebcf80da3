"""What each benchmark asks a model: the parts of its layout, word for word as its own code asks them."""

import json
from pathlib import Path

import pytest
from hub_layout import write

from unlearn.data.items.find import items_of

TOFU = Path(__file__).parents[1] / "tofu"


def test_tofus_sets_and_their_first_rows():
    found = items_of("tofu-forget01", TOFU)
    assert {name: len(part.rows) for name, part in found.parts.items()} == {
        "tofu retain": 20,
        "tofu real_authors": 6,
        "tofu world_facts": 6,
        "tofu forget": 40,
    }
    assert {part.kind for part in found.parts.values()} == {"questions"}
    assert {part.room for part in found.parts.values()} == {200}
    assert {len(row.wrong) for row in found.parts["tofu forget"].rows} == {5}
    assert {len(row.wrong) for row in found.parts["tofu world_facts"].rows} == {3}
    assert all(row.paraphrase for row in found.parts["tofu retain"].rows)
    # TOFU asks its own question, and only the answer is in other words.
    assert found.parts["tofu forget"].rows[0].question != found.parts["tofu forget"].rows[0].asked_otherwise


def test_of_retain_and_forget_the_first_300_count(tmp_path):
    rows = [
        {
            "question": f"Q{i}?",
            "answer": f"A{i}",
            "perturbed_answer": ["B", "C"],
            "paraphrased_answer": f"It is A{i}",
        }
        for i in range(310)
    ]
    names = ("forget10_perturbed", "retain_perturbed", "real_authors_perturbed", "world_facts_perturbed")
    folder = write(tmp_path, {f"{n}.jsonl": rows for n in names}, {n: {"train": f"{n}.jsonl"} for n in names})
    counts = {name: len(part.rows) for name, part in items_of("tofu-forget10", folder).parts.items()}
    assert counts == {
        "tofu retain": 300,
        "tofu real_authors": 310,
        "tofu world_facts": 310,
        "tofu forget": 300,
    }


def test_muses_questions_stand_behind_its_examples(tmp_path):
    asked = [{"question": f"Who is {i}?", "answer": f"N{i}"} for i in range(2)]
    shown = [{"question": "Where?", "answer": "Here"}, {"question": "When?", "answer": "Now"}]
    files = {
        "knowmem/forget_qa.jsonl": asked,
        "knowmem/forget_qa_icl.jsonl": shown,
        "verbmem/forget.jsonl": [
            {"prompt": "Once upon", "gt": " a time"},
            {"prompt": "It was", "gt": " night"},
        ],
        "privleak/forget.jsonl": [{"text": "seen 1"}, {"text": "seen 2"}],
    }
    configs = {
        "knowmem": {n: f"knowmem/{n}.jsonl" for n in ("forget_qa", "forget_qa_icl")},
        "verbmem": {"forget": "verbmem/forget.jsonl"},
        "privleak": {"forget": "privleak/forget.jsonl"},
    }
    found = items_of("muse-books", write(tmp_path, files, configs))
    assert set(found.parts) == {"muse knowmem_forget", "muse verbmem", "muse privleak_forget"}
    assert found.parts["muse knowmem_forget"].rows[1].lead == (
        "Question: Where?\nAnswer: Here\n\nQuestion: When?\nAnswer: Now\n\nQuestion: Who is 1?\nAnswer: "
    )
    opened = found.parts["muse verbmem"]
    assert (opened.rows[0].lead, opened.rows[0].answer, opened.room) == ("Once upon", " a time", 128)
    assert any("privleak/holdout is not in" in note for note in found.notes)
    assert any("knowmem/retain_qa is not in" in note for note in found.notes)


def test_rwkus_probes_are_worded_as_its_code_words_them(tmp_path):
    where = tmp_path / "Target" / "1_Stephen_King"
    where.mkdir(parents=True)

    def probe(kind, query="Who wrote It?"):
        return {"query": query, "answer": "King", "level": "3", "type": kind, "subject": "S"}

    probes = {
        "forget_level1": [probe("x", "It is by ___."), probe("x")],
        "forget_level3": [probe("affirmative suffix"), probe("incontext learning"), probe("role play")],
    }
    for stem, records in probes.items():
        (where / f"{stem}.json").write_text(json.dumps(records))
    (where / "forget_mia.json").write_text(json.dumps([{"text": "King was born."}, {"text": "He writes."}]))
    found = items_of("rwku:1_Stephen_King", tmp_path)
    (first, _), third = found.parts["rwku level1"].rows, found.parts["rwku level3"].rows
    blank = "Please complete the blank in the following question.\nQuestion: It is by ___.\n"
    assert (first.question, first.lead) == (blank, "Answer:")
    assert [
        (row.question.removeprefix("Please briefly answer the following question.\n"), row.lead)
        for row in third
    ] == [
        ("Question: Who wrote It?", ""),
        ("Who wrote It?\n", "Answer:"),
        ("Question: Who wrote It?\n", "Answer:"),
    ]
    assert [row.answer for row in found.parts["rwku forget_mia"].rows] == ["King was born.", "He writes."]
    assert any("neighbor_level1.json is not in" in note for note in found.notes)


def test_what_has_no_items_has_none(tmp_path):
    assert not items_of("authors").parts
    assert not items_of("wmdp-bio").parts
    with pytest.raises(ValueError, match="none of the parts of rwku:2_Nobody can be read"):
        items_of("rwku:2_Nobody", tmp_path)


def test_a_parts_hash_tells_how_it_is_asked():
    from dataclasses import replace

    part = items_of("tofu-forget01", TOFU).parts["tofu forget"]
    assert part.hash() != replace(part, room=100).hash()
    assert part.hash() != replace(part, rows=tuple(replace(row, format="chat") for row in part.rows)).hash()
    assert part.hash() != replace(part, rows=part.rows[1:]).hash()
