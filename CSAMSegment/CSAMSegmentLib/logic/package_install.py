"""What training needs beyond torch, put into Slicer's Python by Slicer's own installer, after the user has agreed.

MONAI brings the Dice loss, the random transforms and the 95 % Hausdorff distance; scikit-learn the isotonic regression
of the calibration and areas under curves; matplotlib the pictures. Nothing is imported here.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import suppress
from importlib import invalidate_caches, metadata

import slicer

from csam.errors import WorkerError

from .texts import tr as _
from .training_launcher import TrainingLaunch

REQUIREMENTS = {"monai": "monai>=1.4", "scikit-learn": "scikit-learn", "matplotlib": "matplotlib"}
"""By the names that ``csam train --progress json`` gives in its event "packages"; torch has a way of its own."""


def consent(missing: Sequence[str]) -> str:
    """The question before an installation."""
    return _(
        "Learning needs {packages}, which Slicer's Python does not have yet. Slicer will download them (less than "
        "100 MB) and install them. This takes a minute or more, and Slicer may not respond meanwhile. No image leaves "
        "this computer.\n\nInstall them?"
    ).format(packages=", ".join(missing))


def elsewhere(missing: Sequence[str], launch: TrainingLaunch) -> str:
    """What to do where the Python that trains is not Slicer's own."""
    program, *rest = launch.command
    pip = f"{program} -m pip" if rest == ["-m", "csam"] else "pip"
    return _("The Python that trains ({where}) does not have {packages}. Install them there: {pip}").format(
        where=launch.host or program, packages=", ".join(missing), pip=f"{pip} install {' '.join(missing)}"
    )


def install_packages(missing: Sequence[str]) -> None:
    """Let Slicer install packages; blocks while it does. Ask the user before.

    The torch that is there stays: pip is told its version. Raises WorkerError that says what to do when it failed.
    """
    requirements = [REQUIREMENTS.get(name, name) for name in missing if name != "torch"]
    with suppress(metadata.PackageNotFoundError):
        requirements.append(f"torch=={metadata.version('torch')}")
    try:
        _install(requirements)
    except Exception as error:  # pip, the network, a full disk: the installer raises what it met
        said = _("The packages were not installed: {error}").format(error=error)
        raise WorkerError(f"{said}\n\n{offline_advice(missing)}") from error
    invalidate_caches()


def _install(requirements: Sequence[str]) -> None:
    """By ``slicer.packaging``, which shows its progress, or the older ``slicer.util.pip_install``."""
    try:
        from slicer import packaging

        install = packaging.pip_install
    except (ImportError, AttributeError):
        slicer.util.pip_install(" ".join(f'"{one}"' if ">" in one else one for one in requirements))
        return
    wanted = {"requester": "CSAMSegment", "blocking": True, "show_progress": True}
    offered = inspect.signature(install).parameters
    install(list(requirements), **{name: value for name, value in wanted.items() if name in offered})


def offline_advice(missing: Sequence[str]) -> str:
    """How to install from files on a computer without the internet."""
    return _(
        'Without the internet: 1. On another computer with the same Python version, run "pip download {packages}". '
        "2. Copy the files that it downloads to a folder on this computer; if torch is among them, leave it out. "
        "3. Type in Slicer's Python console: "
        "slicer.util.pip_install('--no-index --find-links FOLDER {packages}'). 4. Try again."
    ).format(packages=" ".join(missing))
