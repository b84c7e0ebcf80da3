"""Search, similarity, leaks, splits and files of datasets, each against something that is not their code."""

import json
import math
import random
import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from unlearn.__main__ import main
from unlearn.data import leaks as leaking
from unlearn.data import split, write
from unlearn.data.base import Dataset, Row
from unlearn.data.catalogue import CATALOGUE, from_config, load
from unlearn.data.files.read import read_table
from unlearn.data.leaks import leaks, rarity
from unlearn.data.search import Item, find, item_named, items
from unlearn.data.similar import Similar
from unlearn.data.tables import dataset_from_tables


def small(forget, **roles) -> Dataset:
    """A dataset of (question, answer) pairs; a text alone is plain text."""

    def rows(pairs):
        return tuple(Row(answer=p) if isinstance(p, str) else Row(question=p[0], answer=p[1]) for p in pairs)

    return Dataset(
        name="small", title="Small", roles={"forget": rows(forget)} | {r: rows(p) for r, p in roles.items()}
    )


# -- search ----------------------------------------------------------------------------------------------------

HEART = small(
    [("Who paints a heart?", "Ann"), ("What is ART?", "a  word")],
    retain=[("Where is Straße 5.1?", "in the art hall"), ("Is 511 odd?", "yes")],
    general=["Plain art."],
)


@pytest.mark.parametrize(
    ("text", "whole", "roles", "found"),
    [
        ("", False, None, ["forget:1", "forget:2", "retain:1", "retain:2", "general:1"]),
        ("art", False, None, ["forget:1", "forget:2", "retain:1", "general:1"]),
        ("art", True, None, ["forget:2", "retain:1", "general:1"]),
        ("Art.", True, None, ["general:1"]),
        ("STRASSE", False, None, ["retain:1"]),
        ("5.1", False, None, ["retain:1"]),  # a dot is a dot
        ("a word", False, ["forget"], ["forget:2"]),  # blanks in a row are one
        ("art", False, ["general"], ["general:1"]),
        ("heart? ann", False, None, []),  # question and answer are searched apart
    ],
)
def test_search_finds_text_wherever_it_stands(text, whole, roles, found):
    more = {} if roles is None else {"roles": roles}
    assert [str(item) for item in find(HEART, text, whole_words=whole, **more)] == found


def test_items_are_named_from_one():
    assert item_named(HEART, "retain:2") == Item("retain", 1)
    assert all(item_named(HEART, str(item)) == item for item in items(HEART))
    for bad in ("retain:0", "retain:3", "neighbours:1", "retain", "retain:-1", "retain:1e0", "", "forget:²"):
        with pytest.raises(ValueError, match=r"item: the (role|number)"):
            item_named(HEART, bad)


# -- similarity ------------------------------------------------------------------------------------------------


def by_hand(texts: list[str]) -> np.ndarray:
    """The definition on the screen, written out: the mean of two TF-IDF cosines."""

    def word_grams(text):
        words = re.findall(r"\w+", text.casefold())
        return Counter(words + [" ".join(pair) for pair in pairwise(words)])

    def letter_grams(text):
        found = Counter()
        for word in text.casefold().split():
            padded = f" {word} "
            for n in (3, 4, 5):
                if len(padded) <= n:
                    found[padded] += 1
                    break
                found.update(padded[i : i + n] for i in range(len(padded) - n + 1))
        return found

    whole = np.zeros((len(texts), len(texts)))
    for grams in (word_grams, letter_grams):
        counts = [grams(text) for text in texts]
        names = sorted(set().union(*counts))
        table = np.array([[count[name] for name in names] for count in counts], dtype=float)
        table *= np.log((1 + len(texts)) / (1 + (table > 0).sum(0))) + 1
        table /= np.linalg.norm(table, axis=1, keepdims=True)
        whole += table @ table.T / 2
    return whole


def test_similarity_is_the_mean_of_two_cosines_as_computed_by_hand():
    data = small(
        [("Where was Ann born?", "Oslo"), ("Is it?", "no")],
        retain=[("Where was Bo born?", "Oslo"), ("What does Ann eat?", "pears and pears")],
        general=["Rain fell all day long."],
    )
    texts = [f"{row.question} {row.answer}" for item in items(data) for row in [item.row(data)]]
    wanted = by_hand(texts)
    similar = Similar(data)
    for i, item in enumerate(similar.items):
        (near,) = similar.nearest([item], similar.items, 9)
        assert len(near) == len(texts) - 1  # never itself
        assert [n.similarity for n in near] == sorted((n.similarity for n in near), reverse=True)
        for other, value in near:
            assert value == pytest.approx(wanted[i, similar.place[other]], abs=1e-9)


def test_the_same_text_has_similarity_one_and_comes_first():
    data = small([("Who is X?", "Y")], retain=[("Who is Z?", "Y"), ("WHO is x?", "y")], general=["...", "!!"])
    (near,) = Similar(data).nearest([Item("forget", 0)], items(data, ["retain", "general"]), 2)
    assert near[0].item == Item("retain", 1)
    assert near[0].similarity == pytest.approx(1.0)
    assert Similar(small(["?!"], retain=["..", "!"])).nearest([Item("forget", 0)], [Item("retain", 0)], 1)


# -- leaks -----------------------------------------------------------------------------------------------------


def test_rarity_is_that_of_scikit_learn():
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = ["a b b c", "b c d", "d d"]
    maker = TfidfVectorizer(token_pattern=r"\w+").fit(texts)
    own = rarity([text.split() for text in texts])
    assert own == pytest.approx(dict(zip(maker.get_feature_names_out(), maker.idf_, strict=True)))


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_bundled_sets_have_no_leak(name):
    assert leaks(load(name)) == leaking.Leaks(
        (), len(load(name).rows("forget")), len(load(name).rows("forget"))
    )


PLANTS = {  # what is said outside, about a person of whom 8 more questions are in the forget set
    "word for word": lambda row: row,
    "as plain text": lambda row: Row(answer=f"{row.question} It is {row.answer}, they say."),
    "shouted": lambda row: replace(
        row, question=row.question.upper().rstrip("?"), answer=row.answer.title(), subject=""
    ),
}


@pytest.mark.parametrize("how", list(PLANTS))
@pytest.mark.parametrize("role", ["retain", "general", "neighbours"])
def test_planted_leaks_are_found_and_nothing_else(how, role):
    data = load("authors")
    wanted = [3, 47, 80]
    planted = tuple(PLANTS[how](data.rows("forget")[i]) for i in wanted)
    roles = dict(data.roles) | {role: (*data.rows(role), *planted)}
    found = leaks(replace(data, roles=roles)).found
    first = len(data.rows(role))
    assert [(leak.item.index, leak.other) for leak in found] == [
        (i, Item(role, first + at)) for at, i in enumerate(wanted)
    ]
    assert all(leak.answer == 1.0 and leak.more == 0 for leak in found)


def test_paraphrases_of_a_fact_are_mostly_found():
    """The rule's reach, measured: the paraphrase role asks for the same facts in words never trained on."""
    reach = {
        name: len(leaks(load(name), ["paraphrase"]).found) / len(load(name).rows("forget"))
        for name in CATALOGUE
    }
    assert reach["capitals"] == 1.0
    assert reach["snippets"] == 1.0
    assert 0.4 < reach["authors"] < 1.0  # "not found: told in quite other words", as RULE says


def test_a_long_text_is_found_by_its_runs_of_words():
    text = "the old mill stood by the river and its wheel had not turned for thirty winters"
    other = "one two three four five six seven eight nine ten eleven twelve"
    data = small(
        [text, other],
        retain=[f"They say {text.upper()}.", "the old mill burned down", " ".join(reversed(other.split()))],
    )
    (leak,) = leaks(data).found
    assert (leak.item, leak.other, leak.question, leak.answer) == (
        Item("forget", 0),
        Item("retain", 0),
        1.0,
        1.0,
    )
    half = " ".join(text.split()[:9])  # 5 of 12 runs of 5 words
    assert not leaks(small([text, other], retain=[half, "x"])).found
    half = " ".join(text.split()[:10])  # 6 of 12
    assert leaks(small([text, other], retain=[half, "x"])).found


def test_a_leak_must_name_the_subject_and_give_the_answer():
    forget = [Row(question="Where was Ann Lee born?", answer="Oslo", subject="Ann Lee")]
    filler = tuple(Row(question=f"What is {word}?", answer=word) for word in "abcdefgh")

    def found(question, answer):
        row = Row(question=question, answer=answer)
        return bool(
            leaks(Dataset(name="x", title="x", roles={"forget": forget, "retain": (row, *filler)})).found
        )

    assert found("Where was Ann Lee born?", "Oslo")
    assert found("Was Ann Lee born in Oslo, and where?", "yes")
    assert not found("Where was Ann Lee born?", "Paris")
    assert not found("Where was Ann Lee born?", "Osloer")  # a phrase ends where a word ends
    assert not found("Where was Ann Roe born?", "Oslo")
    assert not found("Who was Ann Lee?", "a child of Oslo")


def slowly(data: Dataset) -> list[tuple[int, int]]:
    """(forget row, how many texts repeat it), by looking at every pair."""

    def words(text):
        return re.findall(r"\w+", text.lower())

    outside = [r for role in leaking.BESIDE for r in data.rows(role)]
    every = [set(words(f"{r.question} {r.answer}")) for r in (*outside, *data.rows("forget"))]
    weight = {w: math.log((1 + len(every)) / (1 + sum(w in t for t in every))) + 1 for t in every for w in t}
    found = []
    for i, row in enumerate(data.rows("forget")):
        asked = set(words(row.question))
        count = 0
        for other in outside:
            text = words(f"{other.question} {other.answer}")
            share = sum(weight[w] for w in asked & set(text)) / sum(weight[w] for w in asked)
            count += share >= 0.75 and f" {' '.join(words(row.answer))} " in f" {' '.join(text)} "
        if count:
            found.append((i, count))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_leaks_are_those_of_looking_at_every_pair(seed):
    rng = random.Random(seed)

    def pairs(n):
        return [
            (" ".join(rng.sample("abcdefghij", 7)) + "?", rng.choice(["xyz", "ab", "ba"])) for _ in range(n)
        ]

    data = small(pairs(40), retain=pairs(60), general=pairs(20))
    assert [(leak.item.index, leak.more + 1) for leak in leaks(data).found] == slowly(data)
    assert slowly(data)  # or nothing was tested


def test_a_set_that_is_too_large_is_checked_in_part_and_says_so(monkeypatch):
    monkeypatch.setattr(leaking, "MOST_PAIRS", 25)
    data = small([("Is it so?", "yes")] * 5, retain=[("Is it so?", "yes")] * 10)
    told = leaks(data)
    assert (len(told.found), told.checked, told.n) == (2, 2, 5)
    assert told.found[0].more == 9


# -- split -----------------------------------------------------------------------------------------------------


def pool(data: Dataset) -> Counter:
    return Counter(replace(row, request=0) for role in split.POOL for row in data.rows(role))


def test_a_split_by_subject_takes_all_of_their_rows_and_loses_none():
    data = load("authors")
    names = [data.rows("retain")[0].subject, data.rows("forget")[9].subject]
    made = split.split(data, split.of_subjects(data, names), name="two")
    assert [(row.subject, row.request) for row in made.rows("forget")] == [(names[0], 1)] * 9 + [
        (names[1], 2)
    ] * 9
    assert not {row.subject for row in made.rows("retain")} & set(names)
    assert pool(made) == pool(data)
    assert not made.rows("neighbours")
    for role in ("general", "approximate"):
        assert made.rows(role) == data.rows(role)
    asked = made.rows("paraphrase")  # only of facts that are to be forgotten now, with their request
    assert {(row.subject, row.request) for row in asked} == {(names[1], 2)}
    assert len(asked) == sum(row.subject == names[1] for row in data.rows("paraphrase"))
    assert split.split(data, split.of_subjects(data, names[:1]), name="one").requests() == ()


def test_a_random_split_has_the_share_and_repeats():
    data = load("authors")
    (chosen,) = split.at_random(data, 0.1, 3)
    assert len(chosen) == len(set(chosen)) == round(0.1 * (90 + 288 + 90))
    assert split.at_random(data, 0.1, 3) == [chosen]
    assert split.at_random(data, 0.1, 4) != [chosen]
    assert len({item.role for item in chosen}) > 1
    made = split.split(data, [chosen], name="x", neighbours=1, similar=Similar(data))
    assert pool(made) == pool(data)
    assert made.requests() == ()
    assert Counter(made.rows("forget")) == Counter(replace(item.row(data), request=0) for item in chosen)


def test_the_nearest_rows_of_the_rest_are_put_aside():
    data = load("capitals")
    similar = Similar(data)
    groups = split.of_subjects(data, ["France", "Spain"])
    chosen = [item for group in groups for item in group]
    made = split.split(data, groups, name="x", neighbours=2, similar=similar)
    table = (similar.vectors @ similar.vectors.T).toarray()
    rest = [item for item in items(data, split.POOL) if item not in chosen]
    wanted = set()
    for item in chosen:
        row = table[similar.place[item]]
        wanted |= {other.row(data).prompt for other in sorted(rest, key=lambda o: -row[similar.place[o]])[:2]}
    assert {row.prompt for row in made.rows("neighbours")} == wanted
    assert pool(made) == pool(data)


@pytest.mark.parametrize(
    ("words", "call"),
    [
        (
            "forget set: must have at least one row, got none",
            lambda d: split.split(d, [], name="x"),
        ),
        (
            "retain set: must have at least one row, got none",
            lambda d: split.split(d, [items(d, split.POOL)], name="x"),
        ),
        ("rows must come from forget, retain", lambda d: split.split(d, [items(d, ["general"])], name="x")),
        ("subjects: 'Nobody' is none", lambda d: split.of_subjects(d, ["Nobody"])),
        ("'franc' is none .* such as 'France', or", lambda d: split.of_subjects(d, ["franc"])),
        ("share: must lie between 0 and 1, got 1", lambda d: split.at_random(d, 1.0, 0)),
        ("share: must lie between 0 and 1, got nan", lambda d: split.at_random(d, math.nan, 0)),
        ("need an index", lambda d: split.split(d, [items(d, ["forget"])], name="x", neighbours=1)),
    ],
)
def test_a_split_that_cannot_be_is_refused_in_words(words, call):
    with pytest.raises(ValueError, match=words):
        call(load("capitals"))


# -- files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_a_saved_dataset_is_read_back_as_it_was(name, tmp_path):
    data = load(name)
    assert from_config(write.save(data, tmp_path), [tmp_path]).hash() == data.hash()
    made = split.split(data, [items(data, ["neighbours"])], name="odd")
    again = from_config(write.save(made, tmp_path / "odd"), [tmp_path])
    assert (again.hash(), again.title, again.warnings) == (made.hash(), "odd", ())
    alone = read_table(write.to_jsonl(data.rows("forget")), "forget.jsonl")  # as an upload of the one file
    assert dataset_from_tables("x", {"forget": alone}).rows("forget") == data.rows("forget")


def test_blanks_and_odd_letters_of_a_row_survive_the_file(tmp_path):
    rows = (
        Row(answer="  x = 1\n"),
        Row(question=" Wer?\t", answer="Jürg \u2028\n„x“ ", lead=" So "),
        Row(answer="b"),
    )
    data = Dataset(name="odd", title="Odd", roles={"forget": rows})
    assert from_config(write.save(data, tmp_path), [tmp_path]).rows("forget") == rows


def test_a_file_that_no_upload_would_take_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(write, "MAX_BYTES", 2000)
    with pytest.raises(ValueError, match=r"authors\.jsonl: must be at most 0 MB"):
        write.save(load("authors"), tmp_path / "new")
    assert not (tmp_path / "new").exists()


GOOD = {"question": "Q?", "lead": "", "answer": "A", "wrong": ["B"], "entities": [[0, 1]]}


@pytest.mark.parametrize("change", [{"wrong": "B"}, {"wrong": [1]}, {"entities": [[0]]}, {"entities": [[-1, 1]]},
                                    {"entities": {"a": 1}}])  # fmt: skip
def test_a_broken_cell_is_named_with_its_row(change):
    table = "\n".join(json.dumps(row) for row in (GOOD, GOOD | change))
    (name,) = change
    with pytest.raises(ValueError, match=rf"a\.jsonl: '{name}' must be a JSON list of .* in row 2\. Mend"):
        dataset_from_tables("x", {"forget": read_table(table.encode(), "a.jsonl")})


def test_a_table_of_ones_own_may_say_whom_its_rows_are_about():
    table = b"question,answer,subject,lead\nWho?,Ann, Ann Lee ,sales\nWhere?,Oslo,,x\nWhen?,1900,Bo,y\n"
    rows = dataset_from_tables("x", {"forget": read_table(table, "a.csv")}).rows("forget")
    assert [(row.subject, row.attribute, row.lead) for row in rows] == [
        ("Ann Lee", "Who?", ""),
        ("", "", ""),
        ("Bo", "When?", ""),
    ]


# -- the command -----------------------------------------------------------------------------------------------


def told(capsys, *words):
    assert main(["data", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_command_looks_into_a_dataset(capsys):
    assert told(capsys, "capitals")["rows"] == 22
    found = told(capsys, "capitals", "--search", "paris", "--role", "forget")["found"]
    assert [row["item"] for row in found] == ["forget:1"]
    near = told(capsys, "capitals", "--neighbours", "forget:1")["found"]
    assert near[0]["item"] == "neighbours:12"
    assert {row["item"].split(":")[0] for row in near} <= {"retain", "general", "approximate", "neighbours"}
    assert told(capsys, "capitals", "--leaks") == {"found": [], "checked": 22, "n": 22}
    assert main(["data", "capitals", "--search", "paris"]) == 0
    assert "forget:1" in capsys.readouterr().out


def test_the_command_splits_and_reads_its_own_files(tmp_path, capsys):
    made = told(capsys, "capitals", "--split", str(tmp_path), "--subject", "France", "--aside", "1")
    assert made["rows"] == 2
    assert from_config(made["data"], [tmp_path]).hash() == made["hash"]
    again = told(capsys, made["data"]["forget"], "--retain", made["data"]["retain"], "--leaks")
    assert again == {"found": [], "checked": 2, "n": 2}


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["nonsense"], "must be one of authors, capitals, snippets"),
        (["capitals", "--neighbours", "forget:99"], "must lie in [1, 22], got '99'"),
        (["capitals", "--role", "magic", "--search", "x"], "role: must be among"),
        (["capitals", "--split", "x"], "--subject NAME, --share 0.1 or --search TEXT"),
        (["capitals", "--split", "x", "--search", "no such text"], "must have at least one row, got none"),
    ],
)
def test_the_command_says_what_is_wrong(words, error, capsys):
    assert main(["data", *words]) == 2
    assert error in capsys.readouterr().err
