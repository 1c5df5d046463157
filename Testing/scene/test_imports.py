"""The Slicer side starts fast and without torch."""

import subprocess
import sys
from pathlib import Path

MODULE = Path(__file__).parents[2] / "CSAMSegment"


def test_the_slicer_side_is_imported_without_torch_and_qt():
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "for name in ('torch', 'monai', 'qt', 'ctk', 'PySide6'): sys.modules[name] = None\n"
        "import CSAMSegmentLib, CSAMSegmentLib.logic.result_writer, CSAMSegmentLib.logic\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'matplotlib', 'scipy', 'pandas', 'skimage'}))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(MODULE)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
