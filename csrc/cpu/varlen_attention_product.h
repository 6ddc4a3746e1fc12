// A product of matrices in tiles, as the engines multiply them.
#pragma once

#include <cstdint>

namespace bertfast::cpu {
namespace {

// c = a b, or c += a b. Distances are in elements.
template <typename Element>
struct Product {
  const Element* a;  // [row tiles][depth] tiles
  int64_t a_rows;    // from a row of tiles to the next
  int64_t a_step;    // from a tile to the next in depth
  const Element* b;  // [tiles][depth] tiles
  int64_t b_tile;    // from a column of tiles to the next
  int64_t b_step;    // from a tile to the next in depth
  float* c;          // [row tiles][tiles] tiles of [16][16], in one piece
  int depth, tiles;  // tiles: even
  int rows;          // of a and c that matter
  bool adds;
};

}  // namespace
}  // namespace bertfast::cpu
