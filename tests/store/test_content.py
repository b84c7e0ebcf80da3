"""Values kept by content: what they depend on is their name, the oldest go, and a bad file is none."""

import math
import os
from types import MappingProxyType

from unlearn.store import content
from unlearn.store.disk import append_lines, json_text


def test_the_name_is_what_the_value_depends_on(tmp_path):
    one = content.place(tmp_path, {"a": 1, "b": 2.0})
    assert content.place(tmp_path, {"b": 2.0, "a": 1}) == one
    assert content.place(tmp_path, {"a": 1, "b": 2.5}) != one
    assert len(content.place(tmp_path, {"a": 1}, digits=20).stem) == 20


def test_what_was_kept_comes_back_and_the_oldest_go(tmp_path):
    for age, name in enumerate("abcd"):
        path = content.place(tmp_path, {"name": name})
        content.keep(path, {"name": name}, most=3)
        os.utime(path, (age, age))
    assert content.kept(content.place(tmp_path, {"name": "a"})) is None
    assert content.kept(content.place(tmp_path, {"name": "d"})) == {"name": "d"}
    assert len(list(tmp_path.iterdir())) == 3


def test_a_file_that_cannot_be_read_is_none(tmp_path):
    path = content.place(tmp_path, {"name": "a"})
    assert content.kept(path) is None
    path.write_text("{")
    assert content.kept(path) is None


def test_json_is_written_as_it_is_or_by_the_names_of_what_json_lacks(tmp_path):
    path = tmp_path / "lines.jsonl"
    append_lines(path, [{"a": (1, "ä")}, {"b": math.nan, 3: {"c": -math.inf}}])
    append_lines(path, [{"d": None}])
    assert path.read_text(encoding="utf-8").splitlines() == [
        '{"a": [1, "ä"]}',
        '{"b": "nan", "3": {"c": "-inf"}}',
        '{"d": null}',
    ]
    assert json_text(iter([MappingProxyType({"a": 1.5})]), indent=None) == '[{"a": 1.5}]'
