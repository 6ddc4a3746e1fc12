"""Whether a model and its surroundings allow the fast path. A call's own arguments: `arguments.py`.

`inspect_model` looks at everything once and takes a `Snapshot`; each later call only asks whether the snapshot
still holds, which takes tens of microseconds (benchmarks/bench_guard.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import getitem, is_
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules import module as torch_module
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext

from bertfast.backends import find_backend
from bertfast.cpu_kernels import is_memory
from bertfast.families import Refused
from bertfast.families import bert as family
from bertfast.hooks import HOOKS, replaced_method
from bertfast.origin import home
from bertfast.released_parameter import ReleasedParameter
from bertfast.weights import EncoderSpec

_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_TRIES = 10


class Snapshot:
    """What an inspected model consisted of: modules, parameters, where their memory is, hooks and constants.

    parameters: the encoder's, by the model's own names. marks_inputs: a hook makes the embeddings require gradients.
    """

    def __init__(self, model: Any, modules: Mapping[str, nn.Module], parameters: Mapping[str, nn.Parameter]):
        self.parameters = parameters
        inner = list(modules.values())
        self._random = [m.__dict__ for m in inner if family.random_in_training(m)]
        self._modules = inner
        self._types = list(map(type, inner))
        hooks = [m.__dict__[kind] for m in inner for kind in HOOKS]
        # Most modules have no hook at all, and `any` over empty dicts is the cheapest question there is.
        self._hookless = [found for found in hooks if not found]
        self._hooked = [(found, list(found.values())) for found in hooks if found]
        self.marks_inputs = any(_marks_inputs(hook) for _, seen in self._hooked for hook in seen)
        # A list of layers is iterated over; what is added to other modules is never called.
        self._sized = [m._modules for m in inner if isinstance(m, nn.ModuleList)]
        self._sized += [model.config.__dict__, *(m.__dict__ for m in inner)]
        self._sizes = [len(found) for found in self._sized]
        self._structure = _Slots(
            [
                *((m._modules, name) for m in (model, *inner) for name in m._modules),
                *((m._buffers, name) for m in inner for name in m._buffers),
                *((owner.__dict__, name) for owner, name in family.constants(model)),
            ]
        )
        self._weights = _Slots([(m._parameters, name) for m in inner for name in m._parameters])
        # What was given up has no memory, and cannot be given any.
        self._kept = {name: p for name, p in parameters.items() if type(p) is not ReleasedParameter}
        self._tensors = list(self._kept.values())
        self._buffers = [b for m in inner for b in m._buffers.values() if b is not None]
        # Reading values from a device would mean to wait for it.
        self._host_buffers = [b for b in self._buffers if b.device.type == "cpu"]
        self._host_values = [b.clone() for b in self._host_buffers]
        self._device_buffers = [b for b in self._buffers if b.device.type != "cpu"]
        self._device_versions = self._current_versions()
        self._layouts = self._current_layouts()

    def holds(self) -> bool:
        """Whether the model still consists of the same objects, in the same memory, without new hooks."""
        return (
            not any(self._hookless)
            and all([list(found.values()) == seen for found, seen in self._hooked])
            and list(map(len, self._sized)) == self._sizes
            and list(map(type, self._modules)) == self._types
            and self.same_modules()
            and self._weights.same()
            and self._current_layouts() == self._layouts
            and all(map(torch.equal, self._host_buffers, self._host_values))
            and self._current_versions() == self._device_versions
        )

    def same_modules(self) -> bool:
        """Whether the model still consists of the same modules, buffers and constants."""
        return self._structure.same()

    def changed_parameters(self, later: Snapshot) -> list[str]:
        """The names of the parameters that are others, or elsewhere in memory, in a ``later`` snapshot of the model."""
        names = self.parameters.keys() | later.parameters.keys()
        moved = {name for name, place in self._places().items() if later._places().get(name) != place}
        return sorted(
            name for name in names if name in moved or self.parameters.get(name) is not later.parameters.get(name)
        )

    def training(self) -> bool:
        """Whether any module that training mode makes random is in training mode."""
        return any([owner["training"] for owner in self._random])

    def _places(self) -> dict[str, tuple[Any, ...]]:
        """Where each parameter was when the snapshot was taken."""
        count = len(self._kept)
        addresses, sizes, strides = (self._layouts[i * count : (i + 1) * count] for i in range(3))
        return dict(zip(self._kept, zip(addresses, sizes, strides, strict=True), strict=True))

    def _current_versions(self) -> list[int]:
        return [b._version for b in self._device_buffers]

    def _current_layouts(self) -> list[Any]:
        # ``p.data = p.data[:1].expand(...)`` keeps address and elements, ``p.data = p.data[:50]`` the strides.
        tensors = self._tensors
        buffers = map(Tensor.data_ptr, self._buffers)
        places = [*map(Tensor.data_ptr, tensors), *map(Tensor.numel, tensors), *map(Tensor.stride, tensors), *buffers]
        # A negated view keeps all of these.
        return [*places, *map(Tensor.is_neg, tensors)]


class _Slots:
    """Entries of dicts, and what they held at first. This runs on every call: no bytecode per entry."""

    def __init__(self, entries: list[tuple[Any, str]]) -> None:
        self._owners = [owner for owner, _ in entries]
        self._names = [name for _, name in entries]
        self._values = [owner[name] for owner, name in entries]

    def same(self) -> bool:
        """Whether each entry still holds the same object."""
        try:
            return all(map(is_, map(getitem, self._owners, self._names), self._values))
        except KeyError:
            return False


def inspect_model(model: nn.Module) -> tuple[EncoderSpec, Snapshot]:
    """Check every module and parameter of a ``BertModel``. Raises Refused with the first thing that does not fit."""
    for _ in range(_TRIES):
        spec, modules, parameters = _inspect(model)
        snapshot = Snapshot(model, modules, parameters)
        # Another thread may have changed the model since it was looked at: the snapshot must be of what was checked.
        again, _, found = _inspect(model)
        same = found.keys() == parameters.keys() and all(found[name] is p for name, p in parameters.items())
        if same and again == spec and snapshot.holds():
            return spec, snapshot
    raise Refused("the model changes while it is looked at")


def _inspect(model: nn.Module) -> tuple[EncoderSpec, dict[str, nn.Module], dict[str, nn.Parameter]]:
    """The spec, the modules and the parameters of a model that fits."""
    reason = family.check_config(model)
    if reason is not None:
        raise Refused(reason)
    layers = getattr(getattr(model, "encoder", None), "layer", ())
    expected = family.module_types(len(layers))
    modules = {
        name: module
        for name, module in model.named_modules(remove_duplicate=False)
        if name and name.split(".", 1)[0] != "pooler"
    }
    for name, module in modules.items():
        allowed = expected.get(name)
        if allowed is None:
            raise Refused(f"{name}: unexpected module, a {_kind(module)}")
        if type(module) not in (allowed if isinstance(allowed, tuple) else (allowed,)):
            raise Refused(f"{name} is a {_kind(module)}")
        _check_attributes(name, module)
        if any(not _is_inert(hook) for kind in HOOKS for hook in module.__dict__[kind].values()):
            raise Refused(f"a hook on {name}")
    for name in expected:
        if name not in modules:
            raise Refused(f"{name}: missing module")
    _check_parameters(model)
    spec = family.describe(model)
    word: nn.Parameter = model.embeddings.word_embeddings.weight  # type: ignore[union-attr,assignment]
    backend = find_backend(word.device)
    if backend is None:
        raise Refused(f"device {word.device}: there are kernels for cpu and cuda")
    reason = backend.unserved(word.dtype, spec.hidden_size, spec.head_size)
    if reason is not None:
        raise Refused(reason)
    parameters = {name: model.get_parameter(name) for name in family.parameter_names(spec).values()}
    return spec, modules, parameters


def _check_attributes(name: str, module: nn.Module) -> None:
    """No attribute of the module itself stands in for a method of its class."""
    attribute = replaced_method(module)
    if attribute is not None:
        raise Refused(f"{name}.{attribute} has been replaced")


def _check_parameters(model: Any) -> None:
    """All parameters are plain, dense, on one device and of one floating-point dtype."""
    first = model.embeddings.word_embeddings.weight
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if type(parameter) not in (nn.Parameter, ReleasedParameter):
            raise Refused(f"{name} is a {type(parameter).__name__}")
        if parameter.device != first.device:
            raise Refused(f"{name} is on {parameter.device}, word_embeddings on {first.device}")
        if parameter.dtype not in _FLOATS or parameter.dtype != first.dtype:
            raise Refused(f"{name} is {parameter.dtype}, word_embeddings {first.dtype}")
        if parameter.layout is not torch.strided:
            raise Refused(f"{name} is {parameter.layout}")
        if type(parameter) is ReleasedParameter:
            continue
        if not is_memory(parameter):
            raise Refused(f"{name} is a view that is negated, or zeros without memory")
        if parameter.dim() == 2 and not (parameter.is_contiguous() or parameter.t().is_contiguous()):
            raise Refused(f"{name} has strides {parameter.stride()}")


def _kind(module: nn.Module) -> str:
    """A quantised or adapted layer is often called Linear, too: only its home tells."""
    kind = type(module)
    return f"{kind.__module__}.{kind.__qualname__}"


def _is_inert(hook: Any) -> bool:
    """Whether this is a hook of transformers' own that changes no output while gradients are disabled.

    One does nothing unless stock transformers is collecting outputs, the other marks tensors for a backward pass.
    """
    return _is_own_hook(hook, "utils.output_capturing", "output_capturing_hook") or _marks_inputs(hook)


def _marks_inputs(hook: Any) -> bool:
    """Whether this is the hook that gradient checkpointing puts on the embeddings, and leaves there."""
    return _is_own_hook(hook, "modeling_utils", "make_inputs_require_grads")


def _is_own_hook(hook: Any, module: str, name: str) -> bool:
    return isinstance(hook, FunctionType) and (home(hook), hook.__name__) == (f"transformers.{module}", name)


def ambient_reason() -> str | None:
    """What surrounds this call and asks for stock behaviour, or None."""
    if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
        return "tracing"
    if torch._C._len_torch_dispatch_stack() > 0:
        return "a torch dispatch mode"
    if torch._C._functorch.maybe_current_level() is not None:
        return "functorch"
    if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
        return "autocast"
    if forward_ad._current_level >= 0:
        return "forward-mode differentiation"
    if torch._C._len_torch_function_stack() > 0 and not all(
        isinstance(mode, DeviceContext) for mode in _get_current_function_mode_stack()
    ):
        return "a torch function mode"
    if (
        torch_module._global_forward_hooks
        or torch_module._global_forward_pre_hooks
        or torch_module._global_backward_hooks
        or torch_module._global_backward_pre_hooks
    ):
        return "global module hooks"
    return family.replaced_code()
