"""Mistakes in the kernels that work on rows: bias_gelu, the two LayerNorms, and the copies."""

from __future__ import annotations

from kernels.mutants.mutant import Mutant

BIAS_GELU = (
    Mutant(
        "bias one column further",
        "bias_gelu",
        "bias_gelu.cuh",
        (("(params.bias) + column", "(params.bias) + column + 1"),),
        "misaligned access",
    ),
    Mutant(
        "one row too many",
        "bias_gelu",
        "bias_gelu.cuh",
        (("(first_row + i < ", "(first_row + i <= "),),
        "out of bounds",
    ),
    Mutant(
        "32-bit row offset",
        "bias_gelu",
        "bias_gelu.cuh",
        (("const int64_t offset = first_row", "const int offset = static_cast<int>(first_row)"),),
        "FAIL  offsets are 64-bit",
    ),
    Mutant(
        "tanh for erf",
        "bias_gelu",
        "bias_gelu.cuh",
        (("return gelu_erf(x)", "return gelu_tanh(x)"),),
        "FAIL  erf is exact",
    ),
    Mutant(
        "minus infinity taken for a large number",
        "bias_gelu",
        "bias_gelu.cuh",
        (("fmaf(fminf(x, -t), ", "fmaf(-t, "),),
        "FAIL  not finite",
    ),
    Mutant(
        "alignment of x forgotten",
        "bias_gelu",
        "bias_gelu.cu",
        (("params.inner_size, params.x, ", "params.inner_size, "),),
        "misaligned access",
    ),
    Mutant(
        "halves of a pair exchanged on the device",
        "bias_gelu",
        "intrinsics.cuh",
        (("__floats2half2_rn(first, second)", "__floats2half2_rn(second, first)"),),
        "AssertionError",
    ),
    Mutant(
        "logarithm for power on the device",
        "bias_gelu",
        "intrinsics.cuh",
        (("ex2.approx.ftz.f32", "lg2.approx.ftz.f32"),),
        "AssertionError",
    ),
)

LAYER_NORM = (
    Mutant(
        "no barrier",
        "residual_layer_norm",
        "layer_norm_row.cuh",
        (("    sync_block();\n", ""),),
        "nan, not",
    ),
    Mutant(
        "slots used twice",
        "residual_layer_norm",
        "layer_norm_row.cuh",
        (("slots + Layout::kWarpsPerRow", "slots"),),
        "FAIL  schedules",
    ),
    Mutant(
        "mean of squares minus squared mean",
        "residual_layer_norm",
        "layer_norm_row.cuh",
        (
            ("hidden_size ? value - mean : 0.0f", "hidden_size ? value : 0.0f"),
            ("const float variance = ", "const float variance = -mean * mean + "),
            ("[i % kWidth] *= scale", "[i % kWidth] = (values[i / kWidth][i % kWidth] - mean) * scale"),
        ),
        "FAIL  large mean",
    ),
    Mutant(
        "mean taken from beyond the row, too",
        "residual_layer_norm",
        "layer_norm_row.cuh",
        (("hidden_size ? value - mean : 0.0f", "kMaxHiddenSize ? value - mean : 0.0f"),),
        "FAIL  sizes",
    ),
    Mutant(
        "half a warp sums",
        "residual_layer_norm",
        "layer_norm_row.cuh",
        (("  value = warp_sum(value);", "  if (threadIdx.x % 2 == 0) value = warp_sum(value);"),),
        "deadlock",
    ),
    Mutant(
        "read past the end of the row",
        "residual_layer_norm",
        "layer_norm_row.cuh",
        (("    if (Layout::column(i) < hidden_size) {", "    if (Layout::column(i) <= hidden_size) {"),),
        "out of bounds",
    ),
    Mutant(
        "bias of x once per row of the batch",
        "residual_layer_norm",
        "residual_layer_norm.cuh",
        (("(params.x_bias), ", "(params.x_bias) + offset, "),),
        "out of bounds",
    ),
    Mutant(
        "bias of x for the residual",
        "residual_layer_norm",
        "residual_layer_norm.cuh",
        (("  if (params.residual != nullptr) {", "  if (params.x_bias != nullptr) {"),),
        "FAIL  optional addends",
    ),
    Mutant(
        "lanes shifted instead of exchanged on the device",
        "residual_layer_norm",
        "intrinsics.cuh",
        (("__shfl_xor_sync(0xffffffffu, value, lane_mask)", "__shfl_down_sync(0xffffffffu, value, lane_mask)"),),
        "AssertionError",
    ),
    Mutant(
        "registers for sixteen blocks",
        "residual_layer_norm",
        "residual_layer_norm.cuh",
        (("kBlockThreads, 1)", "kBlockThreads, 16)"),),
        "spilled",
    ),
)

EMBEDDING = (
    Mutant(
        "column from the token, not its place",
        "embedding_layer_norm",
        "embedding_layer_norm.cuh",
        (("load_ids<int64_t>(params, place)", "load_ids<int64_t>(params, token)"),),
        "FAIL  sizes",
    ),
    Mutant(
        "32-bit ids read as 64-bit",
        "embedding_layer_norm",
        "embedding_layer_norm.cuh",
        (("params.id_dtype == IdDType::kInt32", "params.id_dtype == static_cast<IdDType>(2)"),),
        "FAIL  ids of every kind",
    ),
    Mutant(
        "id one beyond the table let through",
        "embedding_layer_norm",
        "embedding_layer_norm.cuh",
        (("id < num_rows)) return id", "id <= num_rows)) return id"),),
        "FAIL  ids out of range are clamped and told",
    ),
    Mutant(
        "flag of another table",
        "embedding_layer_norm",
        "embedding_layer_norm.cuh",
        (("flags, kPositionIdOutOfRange", "flags, kTokenTypeIdOutOfRange"),),
        "FAIL  ids out of range are clamped and told",
    ),
    Mutant(
        "32-bit table offset",
        "embedding_layer_norm",
        "embedding_layer_norm.cuh",
        (("row * hidden_size, hidden_size, vectors", "static_cast<int>(row) * hidden_size, hidden_size, vectors"),),
        "FAIL  offsets are 64-bit",
    ),
    Mutant(
        "flag overwritten, not added to",
        "embedding_layer_norm",
        "intrinsics_bits.cuh",
        (("__atomic_fetch_or(word, bits, __ATOMIC_RELAXED)", "__atomic_store_n(word, bits, __ATOMIC_RELAXED)"),),
        "FAIL  bits of all tables gather",
    ),
)

COPIES = (
    Mutant(
        "one token too many laid back",
        "pad_input",
        "pad_input.cuh",
        (("row < load<1>(params.num_tokens)[0]", "row <= load<1>(params.num_tokens)[0]"),),
        "FAIL  number of tokens",
    ),
    Mutant(
        "rows that x does not have laid back",
        "pad_input",
        "pad_input.cuh",
        (("is_token = row < params.num_rows", "is_token = row >= 0"),),
        "out of bounds",
    ),
    Mutant(
        "position outside of the batch written",
        "pad_input",
        "pad_input.cuh",
        (("position < 0 || position >= params.num_positions", "position < 0"),),
        "out of bounds",
    ),
    Mutant(
        "row that x does not have gathered",
        "gather_first",
        "gather_first.cuh",
        (("  if (row >= params.num_tokens) row = -1;\n", ""),),
        "out of bounds",
    ),
    Mutant(
        "padding left as it was",
        "pad_input",
        "row_copy.cuh",
        (("      if (column < row_words) store(", "      if (from != nullptr && column < row_words) store("),),
        "FAIL  sizes",
    ),
    Mutant(
        "row of the sequence, not of its first token",
        "gather_first",
        "gather_first.cuh",
        (("params.x, row, params.out", "params.x, sequence, params.out"),),
        "out of bounds",
    ),
    Mutant(
        "long rows cut off",
        "gather_first",
        "row_copy.cuh",
        (("first < row_words; first +=", "first < 1; first +="),),
        "FAIL  sizes",
    ),
    Mutant(
        "alignment of the target forgotten",
        "gather_first",
        "row_copy.cuh",
        (("reinterpret_cast<uintptr_t>(target) |", ""),),
        "misaligned access",
    ),
)
