"""The models of two stages become one, for each fold."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from unit.small import model, network

from csam.errors import InputError
from csam.model import Model

SCRIPT = Path(__file__).resolve().parents[2] / "Resources/cardiac-lv-myo/average_stages.py"


@pytest.fixture(scope="module")
def average():
    spec = importlib.util.spec_from_file_location("average_stages", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_weight_is_the_mean_of_both_stages(average, tmp_path):
    for stage, seed in (("before", 1), ("after", 2)):
        for name in ("all", "fold-0"):
            model(network(seed=seed), version=stage).save(tmp_path / stage / name / "model")
    (tmp_path / "after/fold-1").mkdir()  # not finished
    (tmp_path / "after/splits_final.json").write_text("[]")
    average.main(tmp_path / "before", tmp_path / "after", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["all", "fold-0", "splits_final.json"]
    before, after, mean = (
        Model.load(tmp_path / stage / "fold-0").network().state_dict() for stage in ("before", "after", "out")
    )
    assert any((before[name] != after[name]).any() for name in mean)
    for name in mean:
        assert np.allclose(mean[name], (before[name] + after[name]) / 2, atol=1e-3)
    assert Model.load(tmp_path / "out/all").version == "after"


def test_stages_that_do_not_fit_and_folders_without_models_are_refused(average, tmp_path):
    with pytest.raises(InputError, match="same architecture"):
        average.averaged(model(network()), model(network(base_channels=8)))
    with pytest.raises(InputError, match="holds no model"):
        average.main(tmp_path, tmp_path, tmp_path / "out")
