"""docs/settings.md says what the source says, for each setting and each key."""

from bench import settings, tables
from bench.record import ROOT
from unlearn.commands.options import data_keys
from unlearn.store.config import RunConfig


def test_every_setting_has_its_line():
    lines = settings.run_table().splitlines()[2:]
    assert [line.split("`")[1] for line in lines] == [k.name for k in RunConfig.settings()]
    assert "| `lr` | `--lr` | 0.0001 | 1e-08 to 1 | Size of a step." in settings.run_table()
    keys = [line.split("`")[1] for line in settings.data_table().splitlines()[2:]]
    assert keys == ["name", "requests", *data_keys()]


def test_the_documents_are_looked_at_and_a_change_is_noticed(monkeypatch):
    path = ROOT / "docs" / "settings.md"
    assert path in tables.documents()
    text = path.read_text(encoding="utf-8")
    assert tables.stale(text) == []
    assert tables.stale(text.replace("Passes over", "Rounds over")) == ["run_settings"]
