"""The library looks into folders that others fill, move and lock."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from csam.errors import ModelError
from CSAMSegmentLib.logic.model_library import ModelLibrary


def model_in(folder: Path, name: str) -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / "model.json").write_text("{}")
    return folder / name


@pytest.fixture
def locked(tmp_path, monkeypatch):
    """Paths that may not be looked into; to be filled by the test. (To root, nothing is locked.)"""
    paths = set()

    def guard(name):
        original = getattr(Path, name)

        def guarded(self, *arguments, **more):
            if paths & {self, *self.parents}:
                raise PermissionError(13, "Permission denied", str(self))
            return original(self, *arguments, **more)

        monkeypatch.setattr(Path, name, guarded)

    for name in ("iterdir", "is_file"):
        guard(name)
    return paths


def test_a_folder_that_may_not_be_read_is_left_out_and_said_once(tmp_path, locked, caplog):
    shipped = model_in(tmp_path / "shipped", "heart")
    model_in(tmp_path / "users", "mine")
    locked.add(tmp_path / "users")
    library = ModelLibrary(lambda: [tmp_path / "shipped", tmp_path / "users"], lambda path: path.name)
    assert library.models() == {shipped: "heart"}
    assert library.models() == {shipped: "heart"}
    assert caplog.text.count("A model folder is left out") == 1
    assert str(tmp_path / "users") in caplog.text


def test_a_model_that_may_not_be_looked_into_does_not_hide_the_others(tmp_path, locked, caplog):
    mine, other = model_in(tmp_path, "mine"), model_in(tmp_path, "other")
    locked.add(other)
    library = ModelLibrary(lambda: [tmp_path], lambda path: path.name)
    assert library.models() == {mine: "mine"}
    assert str(other) in caplog.text


def test_a_model_whose_file_may_not_be_read_is_left_out(tmp_path, caplog):
    path = model_in(tmp_path, "mine")

    def load(path):
        raise PermissionError(13, "Permission denied", str(path))

    library = ModelLibrary(lambda: [tmp_path], load)
    assert library.models() == {}
    assert f"The model {path} cannot be read: Permission denied." in caplog.text


def test_the_stamps_tell_that_a_model_has_come_changed_or_gone(tmp_path):
    library = ModelLibrary(lambda: [tmp_path])
    seen = [library.stamps()]
    path = model_in(tmp_path, "mine")
    seen.append(library.stamps())
    assert library.stamps() == seen[-1]
    (path / "model.json").write_text('{"name": "mine"}')
    seen.append(library.stamps())
    (path / "model.json").unlink()
    assert library.stamps() == {}
    assert seen[0] == {}
    assert seen[1] != seen[2]
    assert set(seen[1]) == set(seen[2]) == {path}


def test_a_model_takes_the_file_of_its_own_name_and_that_of_no_other(tmp_path):
    from CSAMSegmentLib.logic import user_models

    names = {"--.zip": "心臓", "mine.zip": None}
    for name in names:
        (tmp_path / name).touch()

    def load(path):
        if names[path.name] is None:
            raise ModelError("damaged")
        return SimpleNamespace(name=names[path.name])

    library = SimpleNamespace(load=load)
    found = [user_models._target(tmp_path, name, library).name for name in ("心臓", "肝臓", "mine", "new one")]
    assert found == ["--.zip", "---2.zip", "mine.zip", "new-one.zip"]
