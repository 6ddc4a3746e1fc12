// bfloat16 by AMX's products of tiles of 16 rows of 32 elements.

#include "cpu/tile_config.h"
#include "cpu/varlen_attention_blocks.h"

namespace bertfast::cpu {
namespace {

constexpr int kTile = kTileBytes / 2;  // elements

// The compiler does not know that tiles are loaded from memory.
inline void finish_stores() { asm volatile("" ::: "memory"); }

// The tiles 0 to 3 hold kRows rows of kTiles tiles of results.
template <int kRows, int kTiles>
struct TileBlock {
  static_assert((kRows == 1 && (kTiles == 2 || kTiles == 4)) || (kRows == 2 && kTiles == 2));

  // Where the tiles 2 and 3 are: below the others or beside them.
  static float* second(const Product<uint16_t>& p, float* c) {
    return c + (kRows == 2 ? p.tiles * 256 : 512);
  }

  static void begin(const Product<uint16_t>& p, float* c) {
    if (!p.adds) {
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
      return;
    }
    _tile_loadd(0, c, kTileRowBytes);
    _tile_loadd(1, c + 256, kTileRowBytes);
    if constexpr (kRows * kTiles == 2) return;
    _tile_loadd(2, second(p, c), kTileRowBytes);
    _tile_loadd(3, second(p, c) + 256, kTileRowBytes);
  }

  static void end(const Product<uint16_t>& p, float* c) {
    _tile_stored(0, c, kTileRowBytes);
    _tile_stored(1, c + 256, kTileRowBytes);
    if constexpr (kRows * kTiles == 2) return;
    _tile_stored(2, second(p, c), kTileRowBytes);
    _tile_stored(3, second(p, c) + 256, kTileRowBytes);
  }

  static void multiply(const Product<uint16_t>& p, int tile) {
    const uint16_t *a = p.a, *b = p.b + tile * p.b_tile;
    begin(p, p.c + tile * 256);
    for (int i = 0; i < p.depth; ++i, a += p.a_step, b += p.b_step) {
      _tile_loadd(4, a, kTileRowBytes);
      _tile_loadd(6, b, kTileRowBytes);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(7, b + p.b_tile, kTileRowBytes);
      _tile_dpbf16ps(1, 4, 7);
      if constexpr (kRows == 2) {
        _tile_loadd(5, a + p.a_rows, kTileRowBytes);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
      } else if constexpr (kTiles == 4) {
        _tile_loadd(5, b + 2 * p.b_tile, kTileRowBytes);
        _tile_dpbf16ps(2, 4, 5);
        _tile_loadd(6, b + 3 * p.b_tile, kTileRowBytes);
        _tile_dpbf16ps(3, 4, 6);
      }
    }
    end(p, p.c + tile * 256);
  }
};

struct Amx {
  using Element = uint16_t;
  static constexpr int kMaxGroupRows = 2 * kTileRows;
  static constexpr int kBlockKeys = 512;
  static constexpr bool kRoughWeights = true;

  // Two rows of tiles need fewer loads; of one row, with not too many keys, all stays in the first
  // cache.
  static int group_rows(int num_keys, int columns) {
    return num_keys * columns <= 160 * 64 ? kTileRows : 2 * kTileRows;
  }

  // [keys / 16][D / 32] tiles, the 32 columns of 16 keys in pairs: [16 pairs][16 keys].
  static void pack_keys(const Element* src, int64_t stride_bytes, int num_keys, int head_size,
                        Element* packed) {
    for (int key = 0; key < round_up(num_keys, kStepKeys); key += 16) {
      for (int column = 0; column < round_up(head_size, kColumnStep);
           column += 32, packed += kTile) {
        transpose_tile_part(at_byte(src + column, key * stride_bytes), stride_bytes, num_keys - key,
                            2 * int64_t{head_size - column}, packed, kTileRowBytes);
      }
    }
  }

  // [keys / 32][D / 16] tiles, 32 keys in pairs: [16 pairs][16 columns]. Of 32 columns, the first
  // tile has every other four from the first on, the second tile the others.
  static void pack_values(const Element* src, int64_t stride_bytes, int num_keys, int head_size,
                          Element* packed) {
    for (int key = 0; key < num_keys; key += kStepKeys) {
      for (int column = 0; column < head_size; column += 32, packed += 2 * kTile) {
        const __mmask64 mask = first_bytes(2 * int64_t{head_size - column});
        const char* at = at_byte(src + column, key * stride_bytes);
        const int left = num_keys - key;
        for (int pair = 0; pair < 16; ++pair, at += 2 * stride_bytes) {
          const __m512i first = load_row(at, mask, 2 * pair < left);
          const __m512i second = load_row(at + stride_bytes, mask, 2 * pair + 1 < left);
          _mm512_store_si512(packed + pair * 32, _mm512_unpacklo_epi16(first, second));
          _mm512_store_si512(packed + kTile + pair * 32, _mm512_unpackhi_epi16(first, second));
        }
      }
    }
  }

  static __m512i load_row(const char* at, __mmask64 mask, bool is_there) {
    return is_there ? _mm512_maskz_loadu_epi8(mask, at) : _mm512_setzero_si512();
  }

  static Product<Element> scoring(const Element* queries, const Element* keys, int columns,
                                  int steps, int rows, float* scores) {
    const int depth = columns / 32;
    const int64_t row = int64_t{depth} * kTile;
    return {queries, row, kTile, keys, row, kTile, scores, depth, 2 * steps, rows, false};
  }

  // Weights stand where the scores of the first half of a step were.
  static void put_weights(__m512 low, __m512 high, float* step, int row) {
    _mm512_store_si512(step + row * 16, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low)));
  }

  static Product<Element> weighing(const float* weights, const Element* values, int columns,
                                   int num_keys, int rows, bool adds, float* results) {
    const int tiles = columns / 16, depth = (num_keys + kStepKeys - 1) / kStepKeys;
    const auto* a = reinterpret_cast<const Element*>(weights);
    return {a,         int64_t{depth} * 2 * kTile,
            2 * kTile, values,
            kTile,     int64_t{tiles} * kTile,
            results,   depth,
            tiles,     rows,
            adds};
  }

  static void multiply(const Product<Element>& product) {
    finish_stores();
    int tile = 0;
    if (product.rows > kTileRows) {
      for (; tile < product.tiles; tile += 2) TileBlock<2, 2>::multiply(product, tile);
      return;
    }
    for (; tile + 4 <= product.tiles; tile += 4) TileBlock<1, 4>::multiply(product, tile);
    if (tile < product.tiles) TileBlock<1, 2>::multiply(product, tile);
  }

  // In the order of pack_values.
  static void store(__m512 first, __m512 second, int count, Element* out) {
    const auto rounded = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(second, first));
    const __m512i in_order =
        _mm512_permutexvar_epi64(_mm512_set_epi64(7, 3, 6, 2, 5, 1, 4, 0), rounded);
    if (count >= 32) return _mm512_storeu_si512(out, in_order);
    _mm512_mask_storeu_epi8(out, first_bytes(2 * int64_t{count}), in_order);
  }
};

void attend(const VarlenAttentionParams& params, const AttentionTask* tasks, int64_t num_tasks,
            void* scratch) {
  configure_tiles();
  BlockedAttention<Amx> attention(params, scratch);
  for (int64_t i = 0; i < num_tasks; ++i) attention.attend(tasks[i]);
  _tile_release();
}

}  // namespace

const AttentionKernel kAttentionBFloat16Amx = {BlockedAttention<Amx>::scratch_bytes, attend};

}  // namespace bertfast::cpu
