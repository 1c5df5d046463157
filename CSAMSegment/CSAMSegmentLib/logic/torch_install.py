"""Getting torch into Slicer's Python: through the PyTorch extension, after the user has agreed, never otherwise."""

from __future__ import annotations

import inspect
import platform
import sys
import sysconfig

from csam.errors import WorkerError

from .texts import tr as _

REQUIREMENT = ">=2.4"

CONSENT = _(
    "The network needs PyTorch 2.4 or newer, which Slicer's Python does not have yet. The PyTorch extension will "
    "download and install it, together with torchvision and light-the-torch: about 200 MB, or up to 3 GB with support "
    "for an NVIDIA graphics card. This takes some minutes, and Slicer may not respond meanwhile. No image is sent.\n\n"
    "Install PyTorch?"
)

NO_EXTENSION = _(
    "The network needs PyTorch 2.4 or newer, which Slicer's Python does not have, and the PyTorch extension that "
    'installs it is not installed either. Open the Extensions Manager (menu View), find "PyTorch", install it, restart '
    "Slicer and try again. If you have another Python with PyTorch, you can instead enter its path "
    "under Advanced, Worker."
)

NO_WHEEL = _(
    "The network needs PyTorch 2.4 or newer, which does not exist for Intel builds of Slicer on macOS like "
    "this one. If your Mac has an Apple processor, install Slicer for Apple processors. Otherwise, use a worker on "
    "another computer (Advanced, Worker)."
)


def obstacle() -> str:
    """Why torch cannot be installed on this kind of computer at all; empty where it can."""
    return NO_WHEEL if sys.platform == "darwin" and platform.machine() == "x86_64" else ""


def extension_logic():
    """The logic of the PyTorch extension, None when it is not installed. Imports no torch."""
    try:
        import PyTorchUtils
    except ImportError:
        return None
    return PyTorchUtils.PyTorchUtilsLogic()


def install_torch(logic) -> None:
    """Let the PyTorch extension install torch; blocks while it does. Ask the user before.

    logic: a ``PyTorchUtilsLogic`` of any version; it gets only those arguments that its installTorch has.
    Raises WorkerError that says what to do when nothing was installed.
    """
    try:
        offered = inspect.signature(logic.installTorch).parameters
        wanted = {"askConfirmation": False, "torchVersionRequirement": REQUIREMENT}
        done = logic.installTorch(**{name: value for name, value in wanted.items() if name in offered})
    except Exception as error:  # pip, the network, a full disk: the extension raises what it met
        said = _("PyTorch was not installed: {error}").format(error=error)
        raise WorkerError(f"{said}\n\n{offline_advice()}") from error
    if done is None:
        said = _("PyTorch was not installed: the PyTorch extension did not complete the installation.")
        raise WorkerError(f"{said}\n\n{offline_advice()}")


def offline_advice() -> str:
    """How to install from a file on a computer without the internet: which file, and what to do with it."""
    return _(
        "If this computer has no internet connection: 1. On another computer with the same Python version, run "
        '"pip download torch{version}". It downloads {wheel} and the packages that it requires. 2. Copy these files to '
        "a folder on this computer. 3. Type in Slicer's Python console: "
        "slicer.util.pip_install('--no-index --find-links FOLDER torch'). 4. Try again."
    ).format(wheel=wheel_name(), version=REQUIREMENT)


def wheel_name(version: str = "2.x") -> str:
    """The name of the file with torch for this Python and this kind of computer."""
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    machine = platform.machine().lower()
    system = {"win32": "win_amd64", "darwin": f"macosx_11_0_{machine}"}.get(
        sys.platform, sysconfig.get_platform().replace("-", "_").replace("linux", "manylinux_2_28")
    )
    return f"torch-{version}-{python}-{python}-{system}.whl"
