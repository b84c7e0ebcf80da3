"""The comparison table as CSV and as LaTeX: every number, nothing that a spreadsheet or LaTeX would carry out."""

import csv
import io
import re

import pytest
from seed import seed_run

from unlearn.results import score_export
from unlearn.results.compare import score_table
from unlearn.store.runs import RunStore


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path)


def test_csv_holds_every_score(store):
    runs = [seed_run(store), seed_run(store, lr=2e-3)]
    read = list(csv.DictReader(io.StringIO(score_export.as_csv(runs))))
    rows = score_table(runs)
    assert len(read) == len(rows) > 10
    for line, row in zip(read, rows, strict=True):
        for key in ("before", "a", "delta_a", "b", "delta_b", "retrained"):
            assert float(line[key]) == row[key]


def test_every_outlet_of_the_table_has_the_intervals(store):
    run = seed_run(store)
    (score, *_) = score_table([run])
    role, metric = score["role"], score["metric"]
    told = {role: {metric: [0.0123, 0.345]}}
    run.append("eval", when="after", scores=run.scores()["after"], intervals=told)
    table = score_export.rows([run])
    first = next(row for row in table if (row["role"], row["metric"]) == (role, metric))
    assert first["around_a"] == [0.0123, 0.345]
    read = next(csv.DictReader(io.StringIO(score_export.as_csv([run]))))
    assert (float(read["low_a"]), float(read["high_a"])) == (0.0123, 0.345)
    assert [head for _, head in score_export.columns([run], table)][4:7] == ["After", "95 %", "Δ"]
    assert "0.0123 to 0.345 &" in score_export.as_latex([run])
    others = [row for row in table if row is not first]
    assert others
    assert all(row["around_a"] is None for row in others)


def test_csv_starts_no_formula(store):
    run = seed_run(store)
    run.append("eval", when="before", scores={"=1+1": {"n": 1, "@SUM(A1)": 0.5, "exact": -0.5}})
    read = list(csv.DictReader(io.StringIO(score_export.as_csv([run]))))
    assert {line["role"] for line in read} >= {"'=1+1"}
    assert {line["score"] for line in read} >= {"'@SUM(A1)"}
    assert not [value for line in read for value in line.values() if value[:1] in tuple("=@+")]
    assert "-0.5" in {line["before"] for line in read}  # a number stays one


def test_latex_is_a_booktabs_table(store):
    runs = [seed_run(store), seed_run(store)]
    text = score_export.as_latex(runs)
    table = score_export.rows(runs)
    for word in (r"\toprule", r"\midrule", r"\bottomrule", r"\addlinespace"):
        assert word in text
    heads = score_export.columns(runs, table)
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(lines) == len(table) + 1
    assert all(line.count(" & ") == len(heads) - 1 for line in lines)
    assert re.search(r"\\begin\{tabular\}\{ll(r+)l\}", text)
    assert r"0.95 & 0.05 & $-$0.9" in text
    assert runs[0].config.command() in text


def test_one_run_has_plain_headings_and_a_failed_one_has_dashes(store):
    text = score_export.as_latex([seed_run(store, state="failed")])
    assert "After & $\\Delta$" in text
    assert "Retrained" not in text
    assert "0.95 & -- & --" in text


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        ("50% of a_b & c#d $x$ {y}", r"50\% of a\_b \& c\#d \$x\$ \{y\}"),
        (r"\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}"),
        ("a~b^c<d>|", r"a\textasciitilde{}b\textasciicircum{}c\textless{}d\textgreater{}\textbar{}"),
        ("one\ntwo\r\x00three", "one two three"),
    ],
)
def test_latex_prints_any_text_as_it_is(words, printed):
    assert score_export.tex(words) == printed


def test_a_title_cannot_leave_its_comment_or_caption(store):
    run = seed_run(store, title="x\n\\immediate\\write18{rm -rf /}")
    run.set_meta(title="x\n\\immediate\\write18{rm -rf /}")
    text = score_export.as_latex([run])
    outside = [line for line in text.splitlines() if not line.startswith("%")]
    assert not [line for line in outside if "\\immediate" in line or "\\write18" in line]
    assert all("write18" not in line for line in outside if not line.startswith(r"\caption"))
