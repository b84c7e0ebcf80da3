"""Values kept by content: what they depend on is their name, the oldest go, and a bad file is none."""

import os

from unlearn.store import content


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
