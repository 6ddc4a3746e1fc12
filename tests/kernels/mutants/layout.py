"""Mistakes in the kernels that make the packed layout."""

from __future__ import annotations

from kernels.mutants.mutant import Mutant

UNPAD_INPUT = (
    Mutant(
        "column 0 dropped with the padding",
        "unpad_input",
        "unpad_input.cuh",
        (("is_computed[i] && column > 0 && drops", "is_computed[i] && drops"),),
        "FAIL  sizes",
    ),
    Mutant(
        "queries before the keys",
        "unpad_input",
        "unpad_input.cuh",
        (("place = first_query + queries", "place = first_key + queries"),),
        "FAIL  sizes",
    ),
    Mutant(
        "order within a warp forgotten",
        "unpad_input",
        "unpad_input.cuh",
        (("count_bits(votes.keys[i] & lanes_before)", "count_bits(votes.keys[i] & ~lanes_before) - 1"),),
        "FAIL  sizes",
    ),
    Mutant(
        "no barrier between counts and their sum",
        "unpad_input",
        "unpad_input.cuh",
        (("    }\n  }\n  sync_block();\n", "    }\n  }\n"),),
        "FAIL  sizes",
    ),
    Mutant(
        "slots of the tile before overwritten",
        "unpad_input",
        "unpad_input.cuh",
        (("slots + parity * kUnpadSlots", "slots"),),
        "FAIL  schedules",
    ),
    Mutant(
        "minus zero taken for a key",
        "unpad_input",
        "mask.h",
        (("is_float ? all_bits >> 1 : all_bits", "all_bits"),),
        "FAIL  masks and ids of every type",
    ),
    Mutant(
        "what rounds to 1 taken for 0",
        "unpad_input",
        "mask.h",
        (("dropped_bits > 0 ? uint64_t{1} << (dropped_bits - 1) : 0", "dropped_bits > 99 ? 1 : 0"),),
        "FAIL  masks and ids of every type",
    ),
    Mutant(
        "half step of float32 forgotten",
        "unpad_input",
        "mask.h",
        (("(distance << dropped_bits) + half_step(dropped_bits)", "distance << dropped_bits"),),
        "FAIL  masks and ids of every type",
    ),
    Mutant(
        "padding dropped without a pad token",
        "unpad_input",
        "unpad_input.cuh",
        (("ids != nullptr && params.has_pad_token", "ids != nullptr"),),
        "FAIL  sizes",
    ),
    Mutant(
        "half of an id compared",
        "unpad_input",
        "unpad_input.cuh",
        (("load<1>(ids + row_start + column)[0] !=", "static_cast<int>(load<1>(ids + row_start + column)[0]) !="),),
        "FAIL  sizes",
    ),
    Mutant(
        "every thread of a block writes the counts",
        "unpad_input",
        "unpad_input.cuh",
        (("  if (threadIdx.x != 0) return;\n", ""),),
        "data race",
    ),
    Mutant(
        "shift by the thread, not by the lane",
        "unpad_input",
        "unpad_input.cuh",
        (("uint32_t{1} << threadIdx.x % kWarpSize", "uint32_t{1} << threadIdx.x"),),
        "shift exponent",
    ),
    Mutant(
        "ones of the zeros counted on the device",
        "unpad_input",
        "intrinsics_bits.cuh",
        (("__popc(bits)", "__popc(~bits)"),),
        "out of bounds",
    ),
)

ID_RANGE = (
    Mutant(
        "id one beyond the table not told",
        "unpad_input",
        "unpad_input_ids.cuh",
        (("id >= num_rows", "id > num_rows"),),
        "FAIL  ids out of range are told",
    ),
    Mutant(
        "ids below 0 not told",
        "unpad_input",
        "unpad_input_ids.cuh",
        (("is_outside || id < 0 ||", "is_outside ||"),),
        "FAIL  ids out of range are told",
    ),
    Mutant(
        "ids of the last item of a tile only",
        "unpad_input",
        "unpad_input_ids.cuh",
        (("is_outside || id < 0", "id < 0"),),
        "FAIL  ids out of range are told",
    ),
    Mutant(
        "positions compared with the words",
        "unpad_input",
        "unpad_input_ids.cuh",
        (("params.position_ids, params.num_positions", "params.position_ids, params.num_words"),),
        "FAIL  ids out of range are told",
    ),
    Mutant(
        "bits of the first warp of a row only",
        "unpad_input",
        "unpad_input.cuh",
        (("    out_of_range |= part.out_of_range;\n", ""),),
        "FAIL  ids out of range are told",
    ),
    Mutant(
        "bits of the last sequence of a thread only",
        "unpad_input",
        "scan_lengths.cuh",
        (("out_of_range |= static_cast", "out_of_range = static_cast"),),
        "FAIL  bits of all rows gather",
    ),
    Mutant(
        "bits of the last warp of the scan forgotten",
        "unpad_input",
        "scan_lengths.cuh",
        (("warp < kScanWarps; ++warp) bits", "warp < kScanWarps - 1; ++warp) bits"),),
        "FAIL  bits of all rows gather",
    ),
)

SCAN_LENGTHS = (
    Mutant(
        "offsets of the next sequence",
        "unpad_input",
        "scan_lengths.cuh",
        (("int end = up_to_here.num_tokens - own.num_tokens", "int end = up_to_here.num_tokens"),),
        "FAIL  ",
    ),
    Mutant(
        "slots of the step before overwritten",
        "unpad_input",
        "scan_lengths.cuh",
        (("slots + parity * kScanThreads + thread", "slots + thread"),),
        "FAIL  ",
    ),
    Mutant(
        "no barrier in the scan",
        "unpad_input",
        "scan_lengths.cuh",
        (("    sync_block();\n", ""),),
        "FAIL  ",
    ),
    Mutant(
        "one sequence for each thread",
        "unpad_input",
        "scan_lengths.cuh",
        (("(batch_size + kScanThreads - 1) / kScanThreads", "1"),),
        "FAIL  many sequences",
    ),
)
