"""A network rearranged for many samples: what no slice gate changes is computed once, and exactly.

A slice gate is one number a slice, and a convolution without bias commutes with it: conv(g·x) = g·conv(x). So in the
first convolution of every decoder node the part that sees gated features is computed once and scaled for each sample.
The full account, with a figure: Resources/docs/sampling.md.

Three more things are used, and none changes the result. InstanceNorm takes away whatever constant a convolution's bias
adds, so those biases are left out. GroupNorm with one channel a group is InstanceNorm, several times faster on a CPU.
And a 3×3 convolution after upsampling does half of its work before the rows are upsampled (``AfterUpsampling``).

Maps and weights may be in a half precision (``csam.network.number_format``): a normalisation's statistics are float32
inside it, and the head's logits are float32 always.

Only for networks in evaluation mode, without gradients.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .attention import CSAM, GateDistribution, wide
from .networks import ConvBlock, CSAMUNet, CSAMUNetPlusPlus
from .parallel import Threads

Gates = Sequence[Tensor]
"""One tensor a level, shallowest first: the gates' logits (samples, slices)."""


ELEMENTS_TO_SUM = 2**16
"""Of a slice, to be summed up over the slices at a time: with its sum it stays in a CPU's cache."""


def layout(device: torch.device) -> torch.memory_format:
    """How feature maps lie in memory: on a CPU channels last, which spares every convolution two copies."""
    return torch.channels_last if device.type == "cpu" else torch.contiguous_format


def laid_out(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """A convolution's weight, or a part of one, as feature maps lie and in their format."""
    return weight.detach().to(dtype).contiguous(memory_format=layout(weight.device))


def normalised(x: Tensor) -> Tensor:
    """InstanceNorm2d, then LeakyReLU."""
    return F.leaky_relu_(F.group_norm(x, x.shape[1]))


def upsampled(x: Tensor, rows: int = 2, columns: int = 2) -> Tensor:
    """Bilinear with align_corners, so many times as large."""
    size = (rows * x.shape[2], columns * x.shape[3])
    return F.interpolate(x, size, mode="bilinear", align_corners=True)


def _over_slices(x: Tensor) -> tuple[Tensor, Tensor]:
    """Maximum and sum over the slices, (C, H, W) each, in x's own order in memory."""
    largest, total = x[0], x[0].to(wide(x))
    for one in x[1:]:
        largest, total = torch.maximum(largest, one), total + one
    return largest, total


def scaled(gates: Tensor, x: Tensor, onto: Tensor) -> Tensor:
    """onto + g·x for every sample, (samples·slices, C, H, W).

    gates: (samples, slices). x: (slices, C, H, W). onto: (1 or slices or samples·slices, C, H, W).
    """
    onto = onto[None] if len(onto) == 1 else onto.unflatten(0, (-1, len(x)))
    return torch.addcmul(onto, x, gates[:, :, None, None, None].to(x.dtype)).flatten(0, 1)


class AfterUpsampling:
    """A 3×3 convolution of a map that is upsampled ×2 first, at half the multiplications.

    Upsampling rows, upsampling columns and mixing channels commute. So only the columns are upsampled at first; a 1×3
    convolution there, on half the pixels, gives the share of each of the kernel's three rows; these are upsampled along
    the rows and added up, each moved by its row. Where a share would come from outside the map there is none, which is
    the zero padding of the original. The bias goes to the middle row: upsampling leaves a constant alone. The shares
    are maps of their own: as channels of one map, adding them up would take a CPU longer than the convolution.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None, dtype: torch.dtype | None = None):
        dtype = dtype or weight.dtype
        self.weights = [laid_out(weight[:, :, [row]], dtype) for row in range(3)]
        self.biases = [None, None if bias is None else bias.to(dtype), None]

    def __call__(self, x: Tensor) -> Tensor:
        wide = upsampled(x, rows=1)
        above, here, below = (
            upsampled(F.conv2d(wide, weight, bias, padding=(0, 1)), columns=1)
            for weight, bias in zip(self.weights, self.biases, strict=True)
        )
        here[:, :, 1:] += above[:, :, :-1]
        here[:, :, :-1] += below[:, :, 1:]
        return here


class Decoding:
    """The decoder of one network. ``shared`` is called once for some slices, ``logits`` once for their samples.

    threads: does the work, and may be told to stop before every convolution. dtype: of the feature maps.
    """

    def __init__(self, network, threads: Threads, dtype: torch.dtype):
        self.network = network
        self.threads = threads
        self.dtype = dtype

    def shared(self, features: list[Tensor], content: list[Tensor]) -> tuple:
        """What all samples share. features, content: those of ``GatePosterior``, for the slices wanted."""
        raise NotImplementedError

    def logits(self, shared: tuple, gates: Gates) -> Tensor:
        """gates: (samples, slices) a level → logits (samples, slices, K, H, W)."""
        raise NotImplementedError

    def encode(self, x: Tensor, elements: int) -> list[Tensor]:
        """As ``network.encode``; at each level no more slices at a time than have this many elements in its output."""
        features = []
        for level, (block, width) in enumerate(zip(self.network.encoder_blocks, self.network.widths, strict=True)):
            rows, columns = (n // 2 if level else n for n in x.shape[2:])
            out = torch.empty(
                (len(x), width, rows, columns), dtype=x.dtype, device=x.device, memory_format=layout(x.device)
            )
            slices = self.threads.share(len(x), elements // (width * rows * columns), x.device)

            def work(first: int, x=x, out=out, level=level, block=block, slices=slices) -> None:
                part = x[first : first + slices].contiguous(memory_format=layout(x.device))
                out[first : first + slices] = self._block(block, F.max_pool2d(part, 2) if level else part)

            self.threads.map(work, range(0, len(x), slices), x.device)
            features.append(x := out)
        return features

    def gate(self, gates: CSAM, x: Tensor) -> tuple[Tensor, GateDistribution | None]:
        """x, (S, C, H, W), as ``gates.content_gates`` gives it, and the slice gate's distribution.

        In two walks over x, by rows and by slices, of pieces that a CPU's cache holds: all that the first two gates ask
        for can be told from the maximum and the mean over the slices, because a channel's gate is not negative.
        """
        channel, pixel = x.new_ones(()), x.new_ones(())
        if gates.semantic or gates.positional:
            step = self.threads.share(x.shape[2], max(1, ELEMENTS_TO_SUM // (x.shape[1] * x.shape[3])), x.device)
            pieces = self.threads.map(
                lambda at: _over_slices(x[:, :, at : at + step]), range(0, x.shape[2], step), x.device
            )
            if gates.semantic:
                largest = torch.stack([most.amax((1, 2)) for most, _ in pieces]).amax(0)
                mean = torch.stack([total.sum((1, 2)) for _, total in pieces]).sum(0) / (x.numel() // x.shape[1])
                channel = gates.semantic_att.gate(largest, mean)[:, None, None]
            if gates.positional:
                largest = torch.cat([(most * channel).amax(0) for most, _ in pieces])
                mean = torch.cat([(total * channel).sum(0) for _, total in pieces]) / (x.shape[0] * x.shape[1])
                pixel = gates.positional_att.gate(largest, mean)
        content = torch.empty_like(x) if gates.semantic or gates.positional else x

        def work(number: int) -> tuple[Tensor, Tensor]:
            self.threads.pause()
            if content is not x:
                content[number] = (x[number] * channel).mul_(pixel)
            return content[number].amax(), content[number].to(wide(x)).mean()

        summaries = self.threads.map(work, range(len(x)), x.device)
        if not gates.slice:
            return content, None
        largest, mean = map(torch.stack, zip(*summaries, strict=True))
        return content, gates.slice_att.distribution(largest, mean)

    def _convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        self.threads.pause()
        return F.conv2d(x, weight.to(x.dtype), padding=1)

    def _block(self, block: ConvBlock, x: Tensor) -> Tensor:
        return self._second(block.conv[3].weight, self._convolve(x, block.conv[0].weight))

    def _second(self, weight: Tensor, x: Tensor) -> Tensor:
        """What is left of a ConvBlock after its first convolution, whose result is x: weight is that of its second."""
        return normalised(self._convolve(normalised(x), weight))

    def _after_upsampling(self, convolution: AfterUpsampling, x: Tensor) -> Tensor:
        self.threads.pause()
        return convolution(x)

    def _head(self, head: torch.nn.Conv2d, x: Tensor, gates: Gates) -> Tensor:
        logits = F.conv2d(x.to(head.weight.dtype), head.weight, head.bias).contiguous()
        return logits.unflatten(0, gates[0].shape)


class UNetDecoding(Decoding):
    """The deepest block's first convolution is linear in two gates, the skip's and the bottleneck's: one scaled sum.

    Above, its half that sees the skip is computed once.
    """

    def __init__(self, network: CSAMUNet, threads: Threads, dtype: torch.dtype):
        super().__init__(network, threads, dtype)
        self.blocks = list(network.decoder.conv)
        self.up_halves, self.skip_halves = [], []
        self.seconds = [laid_out(block.conv.conv[3].weight, dtype) for block in self.blocks]
        for block in self.blocks:
            up_half, skip_half = block.conv.conv[0].weight.chunk(2, dim=1)
            self.up_halves.append(laid_out(up_half, dtype))
            self.skip_halves.append(laid_out(skip_half, dtype))
        convolutions = [block.upconv[1] for block in self.blocks]
        self.bottleneck = AfterUpsampling(convolutions[0].weight, None, dtype)
        self.bottleneck_bias = convolutions[0].bias.to(dtype)
        self.upsampling = [AfterUpsampling(c.weight, c.bias, dtype) for c in convolutions[1:]]

    def shared(self, features, content):
        levels = range(len(content) - 2, -1, -1)
        skips = [self._convolve(content[level], half) for level, half in zip(levels, self.skip_halves, strict=True)]
        bottleneck = self._convolve(self._after_upsampling(self.bottleneck, content[-1]), self.up_halves[0])
        constant = self.bottleneck_bias[None, :, None, None].expand(1, -1, *bottleneck.shape[2:])
        return skips, bottleneck, self._convolve(constant, self.up_halves[0])

    def logits(self, shared, gates):
        skips, bottleneck, constant = shared
        openings = [torch.sigmoid(gate) for gate in gates]
        x = scaled(openings[-1], bottleneck, constant)
        for number, (second, skip) in enumerate(zip(self.seconds, skips, strict=True)):
            if number:
                x = self._convolve(self._after_upsampling(self.upsampling[number - 1], x), self.up_halves[number])
            x = self._second(second, scaled(openings[-2 - number], skip, x))
        return self._head(self.network.conv_final, x, gates)


class UNetPlusPlusDecoding(Decoding):
    """X^{i,1} sees gated X^{i,0} and the un-gated level below: a constant and a scaled map.

    Any later X^{i,j} has its part of gated X^{i,0} computed once; the rest depends on nodes that differ by sample.
    """

    def __init__(self, network: CSAMUNetPlusPlus, threads: Threads, dtype: torch.dtype):
        super().__init__(network, threads, dtype)
        self.gated, self.dense, self.upsampling, self.seconds = {}, {}, {}, {}
        for i, blocks in enumerate(network.conv):
            width = network.widths[i]
            for j, block in enumerate(blocks):
                weight = block.conv[0].weight
                if j:
                    self.gated[i, j] = laid_out(weight[:, :width], dtype)
                    self.dense[i, j] = laid_out(weight[:, width : j * width], dtype)
                    self.seconds[i, j] = laid_out(block.conv[3].weight, dtype)
                    self.upsampling[i, j] = AfterUpsampling(weight[:, j * width :], None, dtype)

    def shared(self, features, content):
        gated = {(i, j): self._convolve(content[i], weight) for (i, j), weight in self.gated.items()}
        below = [self._after_upsampling(self.upsampling[i, 1], level) for i, level in enumerate(features[1:])]
        return gated, below

    def logits(self, shared, gates):
        gated, below = shared
        openings = [torch.sigmoid(gate) for gate in gates]
        nodes = [[] for _ in below]  # nodes[i] holds X^{i,1}, X^{i,2} ... as far as they have been computed
        for j in range(1, self.network.num_levels):
            for i in range(self.network.num_levels - j):
                if j == 1:
                    x = below[i]
                else:
                    x = self._after_upsampling(self.upsampling[i, j], nodes[i + 1][j - 2])
                    x += self._convolve(torch.cat(nodes[i], dim=1), self.dense[i, j])
                nodes[i].append(self._second(self.seconds[i, j], scaled(openings[i], gated[i, j], x)))
        return self._head(self.network.final[-1], nodes[0][-1], gates)


def decoding(network, threads: Threads, dtype: torch.dtype | None = None) -> Decoding:
    """The decoder of a network; its maps in the format of its weights, unless another is given."""
    dtype = dtype or next(network.parameters()).dtype
    return (UNetDecoding if isinstance(network, CSAMUNet) else UNetPlusPlusDecoding)(network, threads, dtype)
