// How AMX is told of its tiles; to be included by the files that have the instructions.
#pragma once

#include <immintrin.h>

#include "cpu/tiles.h"

namespace bertfast::cpu {
namespace {

// The operand of LDTILECFG: all eight tiles are 16 rows of 64 bytes.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

constexpr TileConfig all_tiles() {
  TileConfig config;
  for (int tile = 0; tile < 8; ++tile) {
    config.row_bytes[tile] = kTileRowBytes;
    config.rows[tile] = kTileRows;
  }
  return config;
}

// In memory before it is loaded: GCC takes LDTILECFG to read its first eight bytes only.
constexpr TileConfig kAllTiles = all_tiles();

inline void configure_tiles() { _tile_loadconfig(&kAllTiles); }

}  // namespace
}  // namespace bertfast::cpu
