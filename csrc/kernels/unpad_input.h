// Which positions of a padded batch are computed, and where they stand in the packed layout. It is
// the layout of bertfast/packing.py but for the order of the sequences, worked out in device
// memory, so that no one has to wait for it.
#pragma once

#include <driver_types.h>  // cudaError_t, cudaStream_t: CUDA's own, or the emulation's stand-in

#include <cstdint>

#include "kernels/dtype.h"
#include "kernels/id_range.h"
#include "kernels/mask.h"

namespace bertfast {

struct PackedCounts {
  int64_t num_tokens;    // T, the computed positions
  int64_t max_seqlen;    // of the sequence with the most of them
  int64_t num_keys;      // the attended positions
  int64_t fewest_keys;   // of the sequence with the fewest of them; 0 for an empty batch
  int64_t out_of_range;  // the bits of id_range.h
};

// A position is a key where the mask attends to it. It is computed if it is a key, or holds another
// id than the pad token, or stands in column 0, which poolers read; without a pad token or without
// ids every position is. Whether computed or not, each of its ids is compared with the rows of its
// table.
//
// Packed sequence b is row b of the batch: sequences are not ordered by length. The keys of a
// sequence come first in it, then the positions that are computed without being keys, each in the
// order of their columns.
struct UnpadInputParams {
  const void* attention_mask;  // [B, S]
  const void* input_ids;       // [B, S], or null
  const void* token_type_ids;  // [B, S], or null
  const void* position_ids;    // [B, S], or null
  // [B * S], every position of the flattened batch once: those of the T packed rows, and after them
  // those that are not computed, in the order of the batch. Whoever launches for more rows than
  // there are tokens, or lays rows back, finds a position for every one.
  int64_t* indices;
  int32_t* cu_seqlens;   // [B + 1], the first row of each sequence, and T
  int32_t* key_lengths;  // [B]
  int64_t* first_rows;   // [B], the row that stood in column 0
  PackedCounts* counts;
  int64_t num_words;  // rows of the tables that the ids are for
  int64_t num_token_types;
  int64_t num_positions;
  int64_t pad_token_id;
  bool has_pad_token;
  int batch_size;  // B
  int padded_len;  // S; B * S may not exceed 2^31 - 1
  MaskDType mask_dtype;
  MaskReading mask_reading;
  DType model_dtype;  // in which MaskReading::kOne compares
  IdDType id_dtype;
};

// Three kernels, one after another: none waits for other blocks of its own launch.
cudaError_t launch_unpad_input(const UnpadInputParams& params, cudaStream_t stream);

}  // namespace bertfast
