"""The encoder exported for a CUDA device, with any number of tokens: shapes and devices fit without a GPU."""

from __future__ import annotations

import pytest
import torch
from linear.test_traced_encoder import _SPEC
from torch._subclasses.fake_tensor import FakeTensorMode

from bertfast.encoder import PackedTokens, embed, run_layers
from bertfast.packing import Sequences
from bertfast.weights import build_weights, parameter_roles

_PADDED_LEN = 128


class _Encoder(torch.nn.Module):
    """From ids by position to the last hidden state, as a GPU's forward runs it."""

    def __init__(self, first_token_only: bool) -> None:
        super().__init__()
        self.first_token_only = first_token_only
        parameters = {
            role: torch.nn.Parameter(torch.empty(shape, dtype=torch.bfloat16, device="cuda"), requires_grad=False)
            for role, shape in parameter_roles(_SPEC).items()
        }
        self.held = torch.nn.ParameterList(parameters.values())
        self.weights = build_weights(_SPEC, parameters)

    def forward(self, input_ids, indices, cu_seqlens, key_lengths, first_rows):
        words = self.weights.embeddings.word
        tokens = PackedTokens(input_ids, None, None, words, indices, _PADDED_LEN, checks_ids=True)
        x, bits = embed(self.weights, tokens)
        sequences = Sequences(cu_seqlens, key_lengths, first_rows, max_seqlen=_PADDED_LEN)
        return run_layers(self.weights, x, sequences, self.first_token_only), bits


_WITH_CUDA = pytest.mark.skipif(
    not torch.backends.cuda.is_built(), reason="a torch without CUDA cannot slice a tensor there, not even a fake one"
)


@pytest.mark.parametrize("first_token_only", [False, pytest.param(True, marks=_WITH_CUDA)])
def test_export_on_cuda(first_token_only):
    batch_size = 3
    with FakeTensorMode():

        def empty(size: int, dtype: torch.dtype) -> torch.Tensor:
            return torch.empty(size, dtype=dtype, device="cuda")

        arguments = (
            empty(batch_size * _PADDED_LEN, torch.int64),
            empty(200, torch.int64),
            empty(batch_size + 1, torch.int32),
            empty(batch_size, torch.int32),
            empty(batch_size, torch.int64),
        )
        tokens = torch.export.Dim("T", min=8, max=batch_size * _PADDED_LEN)
        shapes = ({}, {0: tokens}, {}, {}, {})
        program = torch.export.export(_Encoder(first_token_only), arguments, dynamic_shapes=shapes)
    values = [node.meta["val"] for node in program.graph.nodes if isinstance(node.meta.get("val"), torch.Tensor)]
    assert {value.device for value in values} == {torch.device("cuda:0")}
    out, bits = program.graph.output_node().args[0]
    rows, hidden_size = out.meta["val"].shape
    assert hidden_size == _SPEC.hidden_size
    assert bits.meta["val"].dtype == torch.int32
    assert rows == batch_size if first_token_only else isinstance(rows, torch.SymInt)
    for op in ("embedding_layer_norm", "varlen_attention", "bias_gelu", "residual_layer_norm"):
        assert f"bertfast.{op}" in program.graph_module.code
