"""The self-test that Slicer runs, on the host: the shipped model through the real worker."""

import shlex
import sys

import pytest
from gui.panel_kit import MODULE

from CSAMSegmentLib import self_test

SHIPPED = MODULE / "Resources" / "Models" / self_test.MODEL


@pytest.fixture
def real(host, monkeypatch):
    """The module with its own models and a worker that has torch."""
    monkeypatch.setenv("CSAM_WORKER_COMMAND", shlex.join([sys.executable, "-m", "csam", "worker"]))
    host.load_module(MODULE / "CSAMSegment.py")
    return host


@pytest.mark.slow
@pytest.mark.skipif(not SHIPPED.is_dir(), reason="the shipped model is not there yet")
def test_the_self_test_passes(real):
    sys.modules["CSAMSegment"].CSAMSegmentTest().runTest()


def test_without_torch_the_self_test_fails_and_says_so(real, monkeypatch):
    monkeypatch.setenv("CSAM_WORKER_COMMAND", shlex.join([sys.executable, "-c", NO_TORCH, str(MODULE)]))
    first = self_test.tests(sys.modules["CSAMSegment"].CSAMSegmentLogic)[0]
    with pytest.raises(AssertionError, match="PyTorch is not installed for the Python that runs the worker"):
        first()


NO_TORCH = """
import sys
sys.path.insert(0, sys.argv[1])
sys.modules["torch"] = None
from csam.worker import main
sys.exit(main())
"""
