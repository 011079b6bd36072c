"""A folder that peft's `save_pretrained` has written: read as an adapter, or refused by the key that is not served."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from torch import Tensor
from torch.nn import functional

from bot.errors import ModelRefused
from bot.forecast.adapters import RawAdapter, RawDelta
from bot.forecast.registry import Alpha, Rank
from bot.forecast.verification import assemble, place

PEFT_CONFIG, PEFT_WEIGHTS, PEFT_PICKLE = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
CONFIG_LIMIT = 1_000_000  # bytes
LARGEST_ADAPTER = 1_000_000_000  # bytes; rank 256 on every matrix of the 200M takes 0.3 GB

# What may stand in an adapter_config.json (peft 0.21) without changing what the saved tensors compute. Of every other
# key only an empty value is taken: a feature that is not known here would be left out in silence.
WITHOUT_EFFECT = frozenset(
    {
        *("auto_mapping", "base_model_name_or_path", "ensure_weight_tying", "exclude_modules", "inference_mode"),
        *("layers_pattern", "layers_to_transform", "lora_dropout", "megatron_core", "peft_version"),
        *("qalora_group_size", "revision", "target_modules", "task_type"),
    }
)
KEEPS_BASE = (True, False, None, "gaussian", "eva", "orthogonal")  # values of init_lora_weights; others change the base
PATTERN = re.compile(r"\^?[A-Za-z0-9_.]{1,200}\$?")


class PeftConfig(msgspec.Struct, kw_only=True):
    """The keys of peft's LoraConfig that say what its tensors mean."""

    peft_type: str
    r: Rank
    lora_alpha: Alpha
    use_dora: bool = False
    use_rslora: bool = False
    fan_in_fan_out: bool = False
    bias: str = "none"
    init_lora_weights: bool | str | None = True
    rank_pattern: dict[str, Rank] | None = None
    alpha_pattern: dict[str, Alpha] | None = None

    def scale(self, module: str) -> tuple[int, float]:
        """Rank and factor of the update of one module, as peft 0.21 finds them: the first pattern that fits counts."""
        rank = _by_pattern(self.rank_pattern, module, self.r)
        alpha = _by_pattern(self.alpha_pattern, module, self.lora_alpha)
        return int(rank), alpha / (math.sqrt(rank) if self.use_rslora else rank)


def read_config(folder: Path) -> PeftConfig:
    """peft's own configuration of an adapter. ModelRefused where it asks for what is not served here."""
    path = folder / PEFT_CONFIG
    content = _content(folder, PEFT_CONFIG, CONFIG_LIMIT)
    try:
        keys = msgspec.json.decode(content, type=dict[str, Any])
        config = msgspec.convert(keys, PeftConfig)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError, UnicodeDecodeError) as error:
        raise ModelRefused(f"{path}: {error}") from None
    known = WITHOUT_EFFECT | {field.name for field in msgspec.structs.fields(PeftConfig)}
    features = [key for key, value in keys.items() if key not in known and value]
    wanted = {
        "peft_type": config.peft_type == "LORA",
        "bias": config.bias == "none",
        "fan_in_fan_out": not config.fan_in_fan_out,
        "init_lora_weights": config.init_lora_weights in KEEPS_BASE,
        "rank_pattern": all(PATTERN.fullmatch(key) for key in config.rank_pattern or ()),
        "alpha_pattern": all(PATTERN.fullmatch(key) for key in config.alpha_pattern or ()),
        **dict.fromkeys(features, False),
    }
    for key, fine in wanted.items():
        if not fine:
            raise ModelRefused(
                f"{path}: {key} = {str(keys.get(key))[:100]!r} is not served; expected LoRA or DoRA on the base's own "
                "weights, without biases, with plain module names as patterns"
            )
    return config


def read_weights(folder: Path) -> bytes:
    """The file of tensors, not yet judged. ModelRefused where there is none, or only a pickle."""
    return _content(folder, PEFT_WEIGHTS, LARGEST_ADAPTER)


def read_adapter(tensors: Mapping[str, Tensor], config: PeftConfig) -> RawAdapter:
    """peft's tensors as one adapter. Ranks and factors that differ between modules are worked into the tensors.

    A smaller rank is filled up with zeros, and a factor goes into B: both leave B A as it is.
    """
    found = assemble(tensors, method="dora" if config.use_dora else "lora", rank=config.r, alpha=config.lora_alpha)
    prefix = place(next(iter(tensors)))[0].removeprefix("base_model.model.")
    scales = {at: config.scale(_module(prefix, *at)) for at in found.tensors}
    for at, (rank, _) in scales.items():
        delta = found.tensors[at]
        if delta.a.ndim != 2 or delta.b.ndim != 2 or (len(delta.a), delta.b.shape[1]) != (rank, rank):
            raise ModelRefused(
                f"{_module(prefix, *at)}: lora_A has shape {tuple(delta.a.shape)} and lora_B {tuple(delta.b.shape)}; "
                f"{PEFT_CONFIG} gives it rank {rank}"
            )
    rank, scale = next(iter(scales.values()))
    if set(scales.values()) == {(rank, scale)}:
        return msgspec.structs.replace(found, rank=rank, alpha=scale * rank)
    largest = max(rank for rank, _ in scales.values())
    uniform = {at: _uniform(delta, largest, scales[at][1]) for at, delta in found.tensors.items()}
    return msgspec.structs.replace(found, rank=largest, alpha=float(largest), tensors=uniform)


def _uniform(delta: RawDelta, rank: int, scale: float) -> RawDelta:
    missing = rank - len(delta.a)
    return RawDelta(
        a=functional.pad(delta.a.float(), (0, 0, 0, missing)),
        b=functional.pad(delta.b.float() * scale, (0, missing)),
        magnitude=delta.magnitude,
    )


def _module(prefix: str, layer: int, target: str) -> str:
    """The module's name as peft holds it against its patterns."""
    return f"{prefix}stacked_xf.{layer}.{'attn.' if target in ('qkv_proj', 'out') else ''}{target}"


def _by_pattern(pattern: Mapping[str, float] | None, module: str, default: float) -> float:
    """`peft.utils.other.get_pattern_key`: the first key that is the end of the module's name, after a dot or whole."""
    fits = (key for key in pattern or () if re.match(rf"(.*\.)?({key})$", module))
    key = next(fits, None)
    return default if key is None or pattern is None else pattern[key]


def _content(folder: Path, name: str, limit: int) -> bytes:
    path = folder / name
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except FileNotFoundError:
        if name == PEFT_WEIGHTS and (folder / PEFT_PICKLE).exists():
            raise ModelRefused(
                f"{folder / PEFT_PICKLE}: a pickle, which may run code, is never read; save the adapter again with "
                "save_pretrained(..., safe_serialization=True)"
            ) from None
        raise ModelRefused(f"{path}: no such file; expected a folder that peft's save_pretrained has written") from None
    except OSError as error:
        raise ModelRefused(f"{path}: {error.strerror}") from None
    if len(content) > limit:
        raise ModelRefused(f"{path}: more than {limit} bytes")
    return content
