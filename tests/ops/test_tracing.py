"""The ops under opcheck, fake tensors, compile, export and autograd."""

from __future__ import annotations

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch._subclasses.fake_tensor import FakeTensorMode

from ops.cases import OPS, parts, with_strides

_EACH_OP = pytest.mark.parametrize("op", OPS.values(), ids=OPS)


@pytest.fixture(autouse=True)
def fresh_dynamo():
    torch._dynamo.reset()


@pytest.mark.parametrize("num_tokens", [0, 7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@_EACH_OP
def test_opcheck(op, dtype, num_tokens):
    # Schema (nothing is mutated or aliased), fake against real (sizes, strides, dtypes), ahead-of-time autograd.
    torch.library.opcheck(op.overload, (), op.make(num_tokens, dtype))


@pytest.mark.parametrize("num_tokens", [0, 7])
@pytest.mark.parametrize("op", [op for op in OPS.values() if op.optional(7, torch.float32)], ids=lambda op: op.name)
def test_opcheck_every_argument(op, num_tokens):
    torch.library.opcheck(op.overload, (), op.make_full(num_tokens, torch.float32))


@pytest.mark.parametrize("none", [("input_ids",), ("token_type_ids",), ("position_ids",), ("indices",)])
def test_opcheck_embeddings_without(none):
    arguments = OPS["embedding_layer_norm"].make_full(7, torch.float32)
    if none == ("input_ids",):
        arguments["word_embeddings"] = arguments["word_embeddings"][:7]
    torch.library.opcheck(OPS["embedding_layer_norm"].overload, (), {**arguments, **dict.fromkeys(none)})


@pytest.mark.parametrize("none", [("input_ids",), ("token_type_ids", "position_ids"), ("pad_token_id",), ("one_in",)])
def test_opcheck_unpad_input_without(none):
    arguments = {**OPS["unpad_input"].make(7, torch.float32), **dict.fromkeys(none)}
    torch.library.opcheck(OPS["unpad_input"].overload, (), arguments)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_opcheck_activations(activation):
    op = OPS["bias_gelu"]
    torch.library.opcheck(op.overload, (), {**op.make(7, torch.float32), "activation": activation})


@pytest.mark.parametrize("name", ["varlen_attention", "first_token_attention"])
def test_opcheck_without_key_lengths(name):
    op = OPS[name]
    torch.library.opcheck(op.overload, (), {**op.make(7, torch.float32), "key_lengths": None})


@_EACH_OP
def test_any_strides(op):
    """What is not contiguous is read where it is, and the result is what the fake says: contiguous."""
    arguments = op.make_full(7, torch.float64)
    strided = {name: with_strides(value) for name, value in arguments.items()}
    assert not any(isinstance(v, torch.Tensor) and v.dim() > 1 and v.is_contiguous() for v in strided.values())
    expected, actual = op(**arguments), op(**strided)
    torch.testing.assert_close(parts(actual), parts(expected), rtol=1e-14, atol=1e-14)
    torch.library.opcheck(op.overload, (), strided)


@_EACH_OP
def test_fake_tensors(op):
    arguments = op.make_full(7, torch.bfloat16)
    real = parts(op(**arguments))
    with FakeTensorMode() as mode:
        fakes = {k: mode.from_tensor(v) if isinstance(v, torch.Tensor) else v for k, v in arguments.items()}
        fake = parts(op(**fakes))
    properties = [[(p.shape, p.dtype, p.stride(), p.device) for p in result] for result in (fake, real)]
    assert properties[0] == properties[1]


class _Around(torch.nn.Module):
    """An op between two of torch's own, as a model would have it."""

    def __init__(self, op, **fixed):
        super().__init__()
        self.op = op
        self.fixed = fixed

    def forward(self, arguments):
        name = self.op.per_token[-1]
        doubled = arguments[name] + arguments[name]
        if not doubled.dtype.is_floating_point:
            doubled = doubled // 2
        return [part * 3 for part in parts(self.op(**{**arguments, **self.fixed, name: doubled}))]


def _same(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)


def _compiled_once(op, batches):
    """Compile for the first batch, run all; fails if any but the first compiled again."""
    counter = CompileCounterWithBackend("aot_eager")
    module = _Around(op)
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend=counter)
    graphs = set()
    for arguments in batches:
        _same(compiled(arguments), module(arguments))
        graphs.add(counter.frame_count)
    assert len(graphs) == 1, f"compiled {max(graphs) - min(graphs)} times more"


@_EACH_OP
def test_compile_once_for_any_number_of_tokens(op):
    _compiled_once(op, [op.make(num_tokens, torch.float32) for num_tokens in (20, 7, 33)])


def test_compile_once_for_any_max_seqlen():
    """Every batch has another longest sequence: it must not be a constant of the graph."""
    op = OPS["varlen_attention"]
    _compiled_once(op, [{**op.make(n, torch.float32), "max_seqlen": n} for n in (20, 7, 33)])


@pytest.mark.slow
@_EACH_OP
def test_inductor(op):
    module = _Around(op)
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="inductor")
    for num_tokens in (20, 7):
        arguments = op.make(num_tokens, torch.float32)
        _same(compiled(arguments), module(arguments))


@_EACH_OP
def test_export_with_a_dynamic_number_of_tokens(op):

    def make(num_tokens):
        return {k: v for k, v in op.make(num_tokens, torch.float32).items() if not isinstance(v, torch.dtype)}

    arguments = make(20)
    # A dtype is no input that export knows.
    fixed = {k: v for k, v in op.make(20, torch.float32).items() if k not in arguments}
    module = _Around(op, **fixed)
    tokens = torch.export.Dim("T", min=4)
    shapes = {
        name: {0: tokens} if name in op.per_token else ({} if isinstance(value, torch.Tensor) else None)
        for name, value in arguments.items()
    }
    program = torch.export.export(module, (arguments,), dynamic_shapes=(shapes,))
    assert f"bertfast.{op.name}" in program.graph_module.code
    for num_tokens in (33, 5):
        arguments = make(num_tokens)
        _same(program.module()(arguments), module(arguments))


@_EACH_OP
def test_inference_mode(op):
    arguments = op.make(7, torch.float32)
    expected = op(**arguments)
    with torch.inference_mode():
        actual = op(**arguments)
    assert all(torch.equal(*pair) for pair in zip(parts(actual), parts(expected), strict=True))


@_EACH_OP
def test_gradients_are_never_silently_wrong(op):
    """Inference ops have no derivative: a backward through one fails, or at least torch warns of it."""
    arguments = op.make(7, torch.float32)
    leaf = next(v for v in arguments.values() if isinstance(v, torch.Tensor) and v.is_floating_point())
    leaf.requires_grad_()
    out = parts(op(**arguments))[0]
    if not out.requires_grad:
        return
    with pytest.warns(UserWarning, match="autograd kernel was not registered"):
        out.sum().backward()
