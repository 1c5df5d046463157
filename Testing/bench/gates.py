"""What did a model's gates learn? Every level's gates on one scan: 0 is shut, 1 is open.

    python Testing/bench/gates.py DATASET CASE MODEL...

The middle slices of the scan, as many as the network takes, and the middle of the picture go through once. Prints, for
every level, the least, the median and the greatest semantic gate (one a channel) and positional gate (one a pixel),
the slice gates one by one, and the mean spread of their logits.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from csam.geometry import pad_amounts
from csam.model import Model
from csam.networks import CSAMUNet, CSAMUNetPlusPlus
from csam.stack import stack_of
from csam.training.augment import Example, crop
from csam.training.dataset import Case, read_dataset


@torch.no_grad()
def gates_of(network: CSAMUNet | CSAMUNetPlusPlus, x: torch.Tensor) -> list[dict[str, torch.Tensor]]:
    """For every level the gates that x (S, C, H, W) meets: "semantic" (C,), "positional" (H·W,), "slice" (S,) and
    "spread" (S,), the standard deviations of the slice gates' logits; without those that the network lacks."""
    found = []
    for module, features in zip(network.gates, network.encode(x), strict=True):
        gates = {}
        if module.semantic:
            # A gate is what it leaves of a value: its ratio to what came in, wherever that was not zero.
            before, features = features, module.semantic_att(features)
            gates["semantic"] = _ratio(features, before, (0, 2, 3))
        if module.positional:
            before, features = features, module.positional_att(features)
            gates["positional"] = _ratio(features, before, (0, 1)).flatten()
        if module.slice:
            distribution = module.slice_att.gate_distribution(features)
            gates |= {"slice": distribution.mean.sigmoid(), "spread": distribution.variance.sqrt()}
        found.append(gates)
    return found


def _ratio(after: torch.Tensor, before: torch.Tensor, over: tuple[int, ...]) -> torch.Tensor:
    return after.abs().sum(over) / before.abs().sum(over).clamp_min(1e-12)


def seen(model: Model, case: Case) -> torch.Tensor:
    """The middle of a case as the model's network sees it, (S, C, H, W)."""
    images, _ = case.read()
    stack = stack_of(images, model.in_plane_spacing, model.intensity, model.slice_axis)
    wanted, there = model.num_slices, stack.values.shape[1]
    before = pad_amounts(there, wanted)[0] if there < wanted else (wanted - there) // 2
    values = stack.values[:, (torch.arange(wanted) - before).clamp(0, there - 1)]
    height, width = values.shape[-2:]
    example = Example(values, torch.zeros(values.shape[1:], dtype=torch.uint8))
    return crop(example, (height / 2, width / 2), tuple(model.field_of_view)).values.transpose(0, 1).contiguous()


def text(level: int, gates: dict[str, torch.Tensor]) -> str:
    def three(name: str) -> str:
        quantiles = gates[name].quantile(torch.tensor([0.0, 0.5, 1.0])).tolist() if name in gates else []
        return " ".join(f"{q:.2f}" for q in quantiles) or "-"

    slices = " ".join(f"{g:.2f}" for g in gates["slice"].tolist()) if "slice" in gates else "-"
    spread = f"{gates['spread'].mean():.2f}" if "spread" in gates else "-"
    return f"{level:5d}  {three('semantic'):16s}{three('positional'):16s}{spread:8s}{slices}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("case")
    parser.add_argument("models", nargs="+", type=Path)
    options = parser.parse_args()
    cases = {case.name: case for case in read_dataset(options.dataset).cases}
    if options.case not in cases:
        parser.error(f"{options.dataset} has no case {options.case}; it has {', '.join(sorted(cases))}.")
    for folder in options.models:
        model = Model.load(folder)
        print(f"{folder}\nlevel  {'semantic':16s}{'positional':16s}{'spread':8s}slices")
        for level, gates in enumerate(gates_of(model.network("cpu").eval(), seen(model, cases[options.case]))):
            print(text(level, gates))


if __name__ == "__main__":
    main()
