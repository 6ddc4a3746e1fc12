"""The whole packed encoder under compile and export, with portable linear layers."""

from __future__ import annotations

import pytest
import torch
from ops.cases import counts, offsets
from tolerances import TOLERANCES, relative_error

from bertfast.encoder import PackedTokens, embed, run_layers
from bertfast.packing import Sequences
from bertfast.weights import EncoderSpec, build_weights, parameter_roles

_SPEC = EncoderSpec(
    num_layers=2,
    hidden_size=24,
    num_heads=2,
    inner_size=40,
    vocab_size=31,
    max_positions=4096,
    num_token_types=2,
    pad_token_id=0,
    activation="erf",
    eps=1e-5,
)


class _Encoder(torch.nn.Module):
    """The encoder, of tensors: the layout is put together inside, so that T is the graph's own symbol."""

    def __init__(self):
        super().__init__()
        parameters = {
            role: torch.nn.Parameter(0.3 * torch.randn(shape), requires_grad=False)
            for role, shape in parameter_roles(_SPEC).items()
        }
        self.packed = build_weights(_SPEC, parameters)
        assert self.packed.backend.linear(torch.float32).name == "portable"

    def forward(self, word_ids, position_ids, cu_seqlens, key_lengths):
        # A bound will do for the reference. T itself, a symbol, would be made a constant by the op's `int`.
        sequences = Sequences(cu_seqlens, key_lengths, cu_seqlens[:-1].long(), max_seqlen=4096)
        tokens = PackedTokens(word_ids, None, position_ids, self.packed.embeddings.word, None, 4096)
        return run_layers(self.packed, embed(self.packed, tokens)[0], sequences, first_token_only=False)


def _inputs(*lengths):
    generator = torch.Generator().manual_seed(len(lengths) + sum(lengths))
    return (
        torch.randint(0, _SPEC.vocab_size, (sum(lengths),), generator=generator),
        torch.cat([torch.arange(length) for length in lengths]),
        offsets(list(lengths)),
        counts([(length + 1) // 2 for length in lengths]),
    )


@pytest.fixture
def encoder(monkeypatch):
    monkeypatch.setenv("BERTFAST_CPU_LINEAR", "portable")
    torch._dynamo.reset()
    return _Encoder()


def _assert_same(traced, encoder, inputs):
    assert relative_error(traced(*inputs), encoder(*inputs)) <= TOLERANCES[torch.float32].model


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["aot_eager", "inductor"])
@torch.no_grad()
def test_compile(compiler, encoder):
    compiled = torch.compile(encoder, fullgraph=True, dynamic=True, backend=compiler)
    for lengths in ((5, 3, 2), (9, 1, 7), (20, 20, 20)):
        _assert_same(compiled, encoder, _inputs(*lengths))


@torch.no_grad()
def test_export_up_to_one_block_of_rows(encoder):
    """Dim.AUTO: export takes what range of T it can prove, which must hold at least short batches."""
    auto = torch.export.Dim.AUTO
    shapes = ({0: auto}, {0: auto}, None, None)
    program = torch.export.export(encoder, _inputs(5, 3, 2), dynamic_shapes=shapes)
    for lengths in ((2, 1, 1), (9, 1, 7), (300, 200, 100)):
        _assert_same(program.module(), encoder, _inputs(*lengths))


@torch.no_grad()
def test_export_for_any_number_of_tokens(encoder):
    tokens = torch.export.Dim("T", min=2)
    shapes = ({0: tokens}, {0: tokens}, None, None)
    program = torch.export.export(encoder, _inputs(5, 3, 2), dynamic_shapes=shapes)
    for lengths in ((2, 1, 1), (300, 200, 100), (1500, 1000, 3)):
        _assert_same(program.module(), encoder, _inputs(*lengths))
