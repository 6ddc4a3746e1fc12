// float32 by AVX-512's multiply-add.

#include "cpu/varlen_attention_blocks.h"

namespace bertfast::cpu {
namespace {

constexpr int kPanel = 32;  // columns of a product at a time: two tiles

// c, two tiles, = or += a times b, [16 depth][32]; kRows rows of them. Sums of earlier blocks come
// last: long sums are more exact in parts.
template <int kRows>
inline void multiply_rows(const Product<float>& p, const float* a, const float* b, float* c) {
  __m512 low[kRows], high[kRows];
  for (int r = 0; r < kRows; ++r) low[r] = high[r] = _mm512_setzero_ps();
  for (int tile = 0; tile < p.depth; ++tile, a += p.a_step) {
#pragma GCC unroll 4
    for (int k = 0; k < 16; ++k, b += kPanel) {
      const __m512 b_low = _mm512_load_ps(b), b_high = _mm512_load_ps(b + 16);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const __m512 value = _mm512_set1_ps(a[r * 16 + k]);
        low[r] = _mm512_fmadd_ps(value, b_low, low[r]);
        high[r] = _mm512_fmadd_ps(value, b_high, high[r]);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    float* row = c + r * 16;
    _mm512_store_ps(row, p.adds ? _mm512_add_ps(_mm512_load_ps(row), low[r]) : low[r]);
    _mm512_store_ps(row + 256,
                    p.adds ? _mm512_add_ps(_mm512_load_ps(row + 256), high[r]) : high[r]);
  }
}

struct Avx512 {
  using Element = float;
  static constexpr int kMaxGroupRows = kTileRows;
  static constexpr bool kRoughWeights = false;
  static constexpr int kBlockKeys = 256;

  static int group_rows(int, int) { return kTileRows; }

  // [keys / 32][D][32 keys].
  static void pack_keys(const float* src, int64_t stride_bytes, int num_keys, int head_size,
                        float* packed) {
    const int columns = round_up(head_size, kColumnStep);
    for (int key = 0; key < round_up(num_keys, kStepKeys); key += 16) {
      float* panel = packed + key / kPanel * kPanel * columns + key % kPanel;
      for (int column = 0; column < columns; column += 16) {
        transpose_tile_part(at_byte(src + column, key * stride_bytes), stride_bytes, num_keys - key,
                            4 * int64_t{head_size - column}, panel + column * kPanel, kPanel * 4);
      }
    }
  }

  // [D / 32][keys][32 columns].
  static void pack_values(const float* src, int64_t stride_bytes, int num_keys, int head_size,
                          float* packed) {
    const int rows = round_up(num_keys, kTileRows);
    for (int column = 0; column < round_up(head_size, kColumnStep); column += 16) {
      const auto mask = static_cast<__mmask16>(first_bytes(head_size - column));
      float* panel = packed + int64_t{column / kPanel} * rows * kPanel + column % kPanel;
      for (int row = 0; row < num_keys; ++row) {
        _mm512_store_ps(panel + row * kPanel,
                        _mm512_maskz_loadu_ps(mask, at_byte(src + column, row * stride_bytes)));
      }
      for (int row = num_keys; row < rows; ++row)
        _mm512_store_ps(panel + row * kPanel, _mm512_setzero_ps());
    }
  }

  static Product<float> scoring(const float* queries, const float* keys, int columns, int steps,
                                int rows, float* scores) {
    const int depth = columns / 16;
    return {queries,
            int64_t{depth} * 256,
            256,
            keys,
            int64_t{depth} * 256,
            16 * kPanel,
            scores,
            depth,
            2 * steps,
            rows,
            false};
  }

  static void put_weights(__m512 low, __m512 high, float* step, int row) {
    _mm512_store_ps(step + row * 16, low);
    _mm512_store_ps(step + row * 16 + 256, high);
  }

  static Product<float> weighing(const float* weights, const float* values, int columns,
                                 int num_keys, int rows, bool adds, float* results) {
    const int depth = (num_keys + kTileRows - 1) / kTileRows;
    const int64_t row = int64_t{round_up(num_keys, kStepKeys)} * kTileRows;
    return {weights, row,          256,  values, int64_t{depth} * 256, 16 * kPanel, results,
            depth,   columns / 16, rows, adds};
  }

  static void multiply(const Product<float>& p) {
    for (int tile = 0; tile < p.tiles; tile += 2) {
      const float* b = p.b + tile * p.b_tile;
      float* c = p.c + tile * 256;
      for (int row = 0; row < p.rows; row += 8) {
        const int64_t tiles = row / kTileRows, within = row % kTileRows * 16;
        const float* a = p.a + tiles * p.a_rows + within;
        float* at = c + tiles * p.tiles * 256 + within;
        if (p.rows - row > 4) {
          multiply_rows<8>(p, a, b, at);
        } else {
          multiply_rows<4>(p, a, b, at);
        }
      }
    }
  }

  static void store(__m512 first, __m512 second, int count, float* out) {
    _mm512_mask_storeu_ps(out, static_cast<__mmask16>(first_bytes(count)), first);
    if (count > 16)
      _mm512_mask_storeu_ps(out + 16, static_cast<__mmask16>(first_bytes(count - 16)), second);
  }
};

void attend(const VarlenAttentionParams& params, const AttentionTask* tasks, int64_t num_tasks,
            void* scratch) {
  BlockedAttention<Avx512> attention(params, scratch);
  for (int64_t i = 0; i < num_tasks; ++i) attention.attend(tasks[i]);
}

}  // namespace

const AttentionKernel kAttentionFloat32 = {BlockedAttention<Avx512>::scratch_bytes, attend};

}  // namespace bertfast::cpu
