"""A layer's weight matrix as the machine multiplies it fastest."""

import torch
from torch import Tensor
from torch.nn import functional


def packs(dtype: torch.dtype, device: torch.device) -> bool:
    """Does oneDNN have a layout of its own for matrices of `dtype` here?"""
    if device.type != "cpu" or torch.cpu.get_capabilities().get("architecture") != "x86_64":
        return False
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return False
    return dtype is torch.float32 or computes_bfloat16(device)


def computes_bfloat16(device: torch.device) -> bool:
    """Does the machine compute in bfloat16, rather than emulate it?"""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    abilities = torch.cpu.get_capabilities()
    return bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))


class Matrix:
    """W (out, in), or the `rows` of a target's outputs that it stands for.

    `packed` keeps it in oneDNN's blocked layout, into which a plain product brings it anew at every call. That is
    what torch's own compiler does with the weights of a frozen linear layer on a CPU, by the same two operations
    (torch/_inductor/mkldnn_ir.py); a large batch gains a tenth in float32 and a twentieth in bfloat16, one coin half.
    """

    def __init__(self, weight: Tensor, rows: slice, room: Tensor, *, packed: bool) -> None:
        """`weight` is copied, in the dtype and to the device of `room`, which a packed matrix is converted in."""
        self.rows = rows
        self.outputs = len(weight)
        norm: Tensor = torch.linalg.vector_norm(weight, dim=1, dtype=torch.float32)
        self.squares = norm.square_().to(room.device)  # (out,), squared norm of each row
        self.dtype = room.dtype
        self.device = room.device
        self._packed = packed
        if packed:
            converted = room[: weight.numel()].view(weight.shape).copy_(weight)
            self._weight = torch.ops.mkldnn._reorder_linear_weight(converted, None)
        else:
            self._weight = weight.to(self.device, self.dtype, copy=True)

    def times(self, inputs: Tensor) -> Tensor:
        """inputs W^T; (rows, in) in the dtype of W -> (rows, out)."""
        if not self._packed:
            return functional.linear(inputs, self._weight)
        product: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, self._weight, None, "none", [], "")
        return product
