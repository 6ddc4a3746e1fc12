"""Whether a call may take the fast path: this is where a fallback is decided.

`inspect_model` looks at everything once and takes a `Snapshot`; each later call only asks whether the snapshot
still holds, which takes tens of microseconds (benchmarks/bench_guard.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import is_
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from bertfast.families import bert as family
from bertfast.families.bert import Refused
from bertfast.weights import EncoderSpec

_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class Snapshot:
    """What an inspected model consisted of: modules, parameters, where their memory is, hooks and constants."""

    def __init__(self, model: nn.Module, modules: Mapping[str, nn.Module], parameters: Mapping[str, nn.Parameter]):
        self.parameters = parameters
        owners = [model, *modules.values()]
        self._training = [m.__dict__ for m in owners]
        self._sized = [d for m in owners[1:] for d in (m.__dict__, *(m.__dict__[hook] for hook in _HOOKS))]
        self._sizes = list(map(len, self._sized))
        slots = [(m._modules, name) for m in owners for name in m._modules]
        slots += [(m._parameters, name) for m in owners[1:] for name in m._parameters]
        slots += [(m._buffers, name) for m in owners[1:] for name in m._buffers]
        slots += [(owner.__dict__, name) for owner, name in family.constants(model)]
        self._slots = slots
        self._values = [owner[name] for owner, name in slots]
        self._tensors = list(parameters.values())
        self._buffers = [b for m in owners[1:] for b in m._buffers.values() if b is not None]
        self._buffer_versions = self._versions()
        self._pointers: list[int] = []
        self.mark_pointers()

    def mark_pointers(self) -> None:
        """Remember where the parameters' memory is now, after the weights have been put in place."""
        self._pointers = [p.data_ptr() for p in self._tensors]

    def holds(self) -> bool:
        """Whether the model still consists of the same objects, in the same memory, without new hooks."""
        return (
            list(map(len, self._sized)) == self._sizes
            and self.same_objects()
            and [p.data_ptr() for p in self._tensors] == self._pointers
            and self._versions() == self._buffer_versions
        )

    def same_objects(self) -> bool:
        """Whether the model still consists of the same modules, parameters, buffers and constants."""
        return all(map(is_, [owner.get(name) for owner, name in self._slots], self._values))

    def training(self) -> bool:
        """Whether the model or any of its modules is in training mode."""
        return any([d["training"] for d in self._training])

    def _versions(self) -> list[int | None]:
        return [None if b.is_inference() else b._version for b in self._buffers]


def inspect_model(model: nn.Module) -> tuple[EncoderSpec, Snapshot]:
    """Check every module and parameter of a ``BertModel``. Raises Refused with the first thing that does not fit."""
    layers = getattr(getattr(model, "encoder", None), "layer", ())
    expected = family.module_types(len(layers))
    modules = {
        name: module
        for name, module in model.named_modules(remove_duplicate=False)
        if name and name.split(".", 1)[0] != "pooler"
    }
    for name in expected.keys() ^ modules.keys():
        raise Refused(f"{name}: {'missing' if name in expected else 'unexpected'} module")
    for name, module in modules.items():
        allowed = expected[name]
        if type(module) not in (allowed if isinstance(allowed, tuple) else (allowed,)):
            raise Refused(f"{name} is a {type(module).__name__}")
        if "forward" in module.__dict__:
            raise Refused(f"{name}.forward has been replaced")
        if any(not _is_inert(hook) for kind in _HOOKS for hook in module.__dict__[kind].values()):
            raise Refused(f"a hook on {name}")
    _check_parameters(model)
    spec = family.describe(model)
    names = family.parameter_names(spec)
    parameters = {role: model.get_parameter(name) for role, name in names.items()}
    found = {name for name, _ in model.named_parameters(remove_duplicate=False) if not name.startswith("pooler.")}
    for name in found ^ set(names.values()):
        raise Refused(f"{name}: {'unexpected' if name in found else 'missing'} parameter")
    return spec, Snapshot(model, modules, parameters)


def _check_parameters(model: nn.Module) -> None:
    """All parameters are plain, dense, of one device that has kernels and of one floating-point dtype."""
    first = model.embeddings.word_embeddings.weight
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if type(parameter) is not nn.Parameter:
            raise Refused(f"{name} is a {type(parameter).__name__}")
        if parameter.device.type != "cpu":
            raise Refused(f"device {parameter.device}: this build has kernels for cpu")
        if parameter.dtype not in _FLOATS or parameter.dtype != first.dtype:
            raise Refused(f"{name} is {parameter.dtype}, word_embeddings {first.dtype}")
        if parameter.layout is not torch.strided:
            raise Refused(f"{name} is {parameter.layout}")


def _is_inert(hook: Any) -> bool:
    """transformers' own output-capturing hook does nothing unless stock transformers is collecting outputs."""
    return (
        isinstance(hook, FunctionType)
        and hook.__module__ == "transformers.utils.output_capturing"
        and hook.__name__ == "output_capturing_hook"
    )


def ambient_reason() -> str | None:
    """What surrounds this call and asks for stock behaviour, or None."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return "tracing"
    if torch._C._len_torch_dispatch_stack() > 0:
        return "a torch dispatch mode"
    if torch._C._functorch.maybe_current_level() is not None:
        return "functorch"
    if torch.is_autocast_enabled("cpu"):
        return "autocast"
    if (
        torch_module._global_forward_hooks
        or torch_module._global_forward_pre_hooks
        or torch_module._global_backward_hooks
        or torch_module._global_backward_pre_hooks
    ):
        return "global module hooks"
    return None


# Arguments that change nothing in an encoder; the Trainer and sentence-transformers send the last three.
_IGNORED = ("use_cache", "return_dict", "num_items_in_batch", "sentence_embedding", "token_embeddings")
_SERVED = (
    "input_ids",
    "attention_mask",
    "token_type_ids",
    "position_ids",
    "inputs_embeds",
    "output_hidden_states",
    "output_attentions",
)
_IDS = ("input_ids", "token_type_ids", "position_ids")


def argument_reason(model: nn.Module, arguments: Mapping[str, Any]) -> str | None:
    """What the arguments of a call ask for that the fast path does not do, or None."""
    for name, value in arguments.items():
        if value is not None and name not in _SERVED and name not in _IGNORED:
            return name
    attentions = arguments.get("output_attentions")
    if model.config.output_attentions if attentions is None else attentions:
        return "output_attentions"
    if not isinstance(hidden_states_wanted(model, arguments), bool):
        return "selected output_hidden_states"
    for name in (*_IDS, "attention_mask", "inputs_embeds"):
        value = arguments.get(name)
        if isinstance(value, Tensor):
            reason = _tensor_reason(name, value)
            if reason is not None:
                return reason
    return _shape_reason(arguments)


def hidden_states_wanted(model: nn.Module, arguments: Mapping[str, Any]) -> bool | Any:
    """The call's ``output_hidden_states``, else the config's; transformers 5 also takes layer indices."""
    wanted = arguments.get("output_hidden_states")
    return model.config.output_hidden_states if wanted is None else wanted


def _tensor_reason(name: str, value: Tensor) -> str | None:
    if type(value) is not Tensor and type(value) is not nn.Parameter:
        return f"{name} is a {type(value).__name__}"
    if value.is_meta or value.layout is not torch.strided or value.is_nested:
        return f"{name} on {value.device}, {value.layout}"
    return None


def _shape_reason(arguments: Mapping[str, Any]) -> str | None:
    """Shapes that some versions of transformers broadcast and others refuse are left to the installed one."""
    mask = arguments.get("attention_mask")
    if isinstance(mask, Tensor) and mask.dim() != 2:
        return f"{mask.dim()}-D attention_mask"
    for name in ("token_type_ids", "position_ids"):
        ids = arguments.get(name)
        if isinstance(ids, Tensor) and (ids.dim() != 2 or ids.shape[1] == 1):
            return f"{name} of shape {list(ids.shape)}"
    return None
