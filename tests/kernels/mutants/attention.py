"""Mistakes in the attention kernels."""

from __future__ import annotations

from kernels.mutants.mutant import Mutant


def _mutant(name: str, path: str, file: str, complaint: str, *replacements: tuple[str, str], test: str = "") -> Mutant:
    op = "varlen_attention" + (f"_{path}" if path else "")
    return Mutant(name, op, f"varlen_attention{file}", replacements, complaint, test=f"varlen_attention_{test}test")


_WRONG = "FAIL  head sizes"

FLASH = (
    _mutant(
        "barrier between copies and their use removed",
        "tensor",
        "_flash.cuh",
        _WRONG,
        ("    sync_block();\n    if (step + 1", "    if (step + 1"),
    ),
    _mutant(
        "barrier before the wait",
        "tensor",
        "_flash.cuh",
        _WRONG,
        ("    sync_block();\n    if (step + 1", "    if (step + 1"),
        ("    key_copy.template finish<0>", "    sync_block();\n    key_copy.template finish<0>"),
    ),
    _mutant(
        "prefetch into the stage in use",
        "tensor",
        "_flash.cuh",
        _WRONG,
        ("shared_memory<T>() + stage(step);", "shared_memory<T>() + stage(step == 0 ? 0 : step - 1);"),
    ),
    _mutant(
        "values of rows that are no keys read",
        "tensor",
        "_flash.cuh",
        "FAIL  strangers are not seen",
        (
            "value_copy.start(keys + Layout::kTileElements, range.begin + step * kKeys, range.end)",
            "value_copy.start(keys + Layout::kTileElements, range.begin + step * kKeys, sequence.num_queries)",
        ),
    ),
    _mutant(
        "32-bit offset of a sequence",
        "tensor",
        "_tiles.cuh",
        "FAIL  offsets are 64-bit",
        ("(params.qkv) + first_row_ * row_stride", "(params.qkv) + static_cast<int>(first_row_) * row_stride"),
        test="launch_",
    ),
)

SHORT = (
    _mutant(
        "no barrier before the values",
        "tensor",
        "_short.cuh",
        _WRONG,
        ("finish<0>(values);\n  sync_block();", "finish<0>(values);"),
    ),
    _mutant(
        "keys not waited for",
        "tensor",
        "_short.cuh",
        _WRONG,
        ("query_copy.template finish<1>", "query_copy.template finish<2>"),
        ("key_copy.template finish<1>", "key_copy.template finish<2>"),
    ),
)

WARP = (
    _mutant(
        "second and third fragment exchanged",
        "tensor",
        "_warp.cuh",
        _WRONG,
        ("(left[0], left[1]), pack_pair<T>(left[2], left[3])", "(left[0], left[1]), pack_pair<T>(right[0], right[1])"),
        ("\n                                  pack_pair<T>(right[0], right[1])", "\n pack_pair<T>(left[2], left[3])"),
    ),
    _mutant(
        "values not transposed",
        "tensor",
        "_warp.cuh",
        _WRONG,
        ("load_matrices<true>(fragments,", "load_matrices<false>(fragments,"),
    ),
    _mutant(
        "earlier output not rescaled",
        "tensor",
        "_warp.cuh",
        "FAIL  ",
        ("out_[i / 2][2 * half + i % 2] *= rescale", "out_[i / 2][2 * half + i % 2] *= 1.0f"),
    ),
    _mutant(
        "row beyond the last query written",
        "tensor",
        "_warp.cuh",
        "out of bounds",
        ("if (row >= num_rows) continue", "if (row > num_rows) continue"),
    ),
    _mutant(
        "row beyond the last key read",
        "tensor",
        "_shared.cuh",
        "out of bounds",
        ("row(i) < num_rows - first_row", "row(i) <= num_rows - first_row"),
    ),
)

SOFTMAX = (
    _mutant(
        "key mask off by one",
        "tensor",
        "_softmax.cuh",
        _WRONG,
        ("return key < num_keys ? score", "return key <= num_keys ? score"),
    ),
    _mutant("scale forgotten", "tensor", "_softmax.cuh", _WRONG, ("params.scale * kTwiceLog2E", "kTwiceLog2E")),
    _mutant(
        "largest score rounded with its scale",
        "tensor",
        "_softmax.cuh",
        "FAIL  huge scores",
        (
            "return exp2_approx(fmaf(score, 0.5f, -half_max) * twice_scale_log2);",
            "return exp2_approx(fmaf(score, 0.5f * twice_scale_log2, -half_max * twice_scale_log2));",
        ),
        test="scores_",
    ),
    _mutant(
        "minus infinity less minus infinity",
        "exact",
        "_softmax.cuh",
        "FAIL  scores of minus infinity",
        ("max_ == -INFINITY ? 0.0f : 0.5f * max_", "0.5f * max_"),
        test="scores_",
    ),
    _mutant(
        "scale beyond the largest float",
        "tensor",
        "_softmax.cuh",
        "FAIL  huge scale",
        ("fminf(params.scale * kTwiceLog2E, kMaxFloat)", "params.scale * kTwiceLog2E"),
        test="scores_",
    ),
    _mutant(
        "empty row divided by zero",
        "tensor",
        "_softmax.cuh",
        "FAIL  no keys give zero",
        ("total == 0.0f ? 0.0f : divide_approx", "divide_approx"),
    ),
    _mutant(
        "weights of one lane for those of the row",
        "exact",
        "_softmax.cuh",
        _WRONG,
        ("const float total = lanes_sum<kLanes>(sum_)", "const float total = sum_"),
    ),
    _mutant(
        "tile before the sequence that it begins",
        "tensor",
        "_tiles.cuh",
        "FAIL  ",
        ("(params.cu_seqlens + index)[0], index) <= tile", "(params.cu_seqlens + index)[0], index) < tile"),
    ),
)

EXACT = (
    _mutant(
        "values put over keys still read",
        "exact",
        "_exact.cuh",
        "FAIL  schedules",
        ("    sync_block();  // the keys have been read\n", ""),
    ),
    _mutant(
        "keys of the next sequence fetched",
        "exact",
        "_exact.cuh",
        "out of bounds",
        ("start(head.k, key + kKeys, range.end)", "start(head.k, key + kKeys, range.end + kKeys)"),
    ),
)

LAUNCH = (
    _mutant(
        "scale of zero let through",
        "",
        ".cu",
        "FAIL  impossible params",
        ("params.scale > 0.0f && ", ""),
        test="launch_",
    ),
    _mutant(
        "bfloat16 on Turing let through",
        "",
        ".cu",
        "FAIL  impossible params",
        ("params.compute_capability >= oldest &&", "params.compute_capability >= kOldestCapability &&"),
        test="launch_",
    ),
)

BOUNDS = (
    Mutant(
        "end of a sequence taken as it is",
        "varlen_attention_exact",
        "varlen_attention_tiles.cuh",
        (
            (
                "clamp(load<1>(params.cu_seqlens + index + 1)[0], first_row, num_tokens)",
                "load<1>(params.cu_seqlens + index + 1)[0]",
            ),
        ),
        "out of bounds",
        test="varlen_attention_bounds_test",
    ),
    Mutant(
        "start of a sequence taken as it is",
        "varlen_attention_exact",
        "varlen_attention_tiles.cuh",
        (("clamp(load<1>(params.cu_seqlens + index)[0], 0, num_tokens)", "load<1>(params.cu_seqlens + index)[0]"),),
        "out of bounds",
        test="varlen_attention_bounds_test",
    ),
    Mutant(
        "keys of a sequence taken as they are",
        "varlen_attention_exact",
        "varlen_attention_tiles.cuh",
        (("clamp(load<1>(params.key_lengths + index)[0], 0, num_rows)", "load<1>(params.key_lengths + index)[0]"),),
        "has not waited for",
        test="varlen_attention_bounds_test",
    ),
    Mutant(
        "a sequence for every tile taken for granted",
        "varlen_attention_exact",
        "varlen_attention_tiles.cuh",
        (
            ("bool is_reached = lane == 0;", "bool is_reached = false;"),
            ("if (lane > 0 && lane * step", "if (lane * step"),
        ),
        "out of bounds",
        test="varlen_attention_bounds_test",
    ),
    Mutant(
        "tile before its sequence taken for a query",
        "varlen_attention_exact",
        "varlen_attention_tiles.cuh",
        (("first_query >= 0 && first_query < kNoQuery", "first_query < kNoQuery"),),
        "out of bounds",
        test="varlen_attention_bounds_test",
    ),
)

FIRST_TOKEN = (
    Mutant(
        "keys beyond the end counted",
        "first_token_attention",
        "first_token_attention.cuh",
        (("scores[j] = key < num_keys ? score : -INFINITY", "scores[j] = score"),),
        "FAIL  every length",
    ),
    Mutant(
        "no barrier before groups are merged",
        "first_token_attention",
        "first_token_attention.cuh",
        (("  sync_block();\n", ""),),
        "FAIL  ",
    ),
    Mutant(
        "values of earlier keys not rescaled",
        "first_token_attention",
        "first_token_attention.cuh",
        (("[i % kWidth] *= rescale", "[i % kWidth] *= 1.0f"),),
        "FAIL  every length",
    ),
    Mutant(
        "keys taken for values",
        "first_token_attention",
        "first_token_attention.cuh",
        (("load_part(values + key * row_stride", "load_part(keys + key * row_stride"),),
        "FAIL  head sizes",
    ),
    Mutant(
        "groups merged as if equal",
        "first_token_attention",
        "first_token_attention.cuh",
        (("weight * load<1>(slot + column)[0]", "load<1>(slot + column)[0]"),),
        "FAIL  every length",
    ),
    Mutant(
        "empty query divided by zero",
        "first_token_attention",
        "first_token_attention.cuh",
        (("total == 0.0f ? 0.0f : divide_approx", "divide_approx"),),
        "FAIL  key lengths",
    ),
    Mutant(
        "32-bit offset of the keys",
        "first_token_attention",
        "first_token_attention.cuh",
        (("sequence.first_row * 2 * width", "static_cast<int>(sequence.first_row * 2 * width)"),),
        "FAIL  offsets are 64-bit",
    ),
)
