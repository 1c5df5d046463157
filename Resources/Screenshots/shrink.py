"""Makes a screenshot small enough for the repository: scaled, in 256 colours.

python Resources/Screenshots/shrink.py PICTURE NAME [--width 1200]   writes NAME beside this file
"""

import argparse
from pathlib import Path

from PIL import Image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("name")
    parser.add_argument("--width", type=int, default=1200)
    options = parser.parse_args()
    picture = Image.open(options.picture).convert("RGB")
    height = round(picture.height * options.width / picture.width)
    scaled = picture.resize((options.width, height), Image.Resampling.LANCZOS)
    # Maximum coverage keeps rare colours: those of the overlay.
    few = scaled.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)
    target = Path(__file__).parent / options.name
    few.save(target, optimize=True)
    print(f"{target.name}: {few.width}×{few.height}, {target.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
