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

void open() { _tile_loadconfig(&kAllTiles); }

// So that the operating system has no tiles to save.
void close() { _tile_release(); }

// Asks for the lines of `ahead` evenly over the steps of a block.
class Prefetch {
 public:
  explicit Prefetch(const BlockParams& params)
      : next_(params.ahead),
        end_(params.ahead + params.ahead_bytes),
        step_bytes_(ceil_div(params.ahead_bytes, params.k_steps)) {}

  void step() {
    const uint8_t* end = next_ + step_bytes_ < end_ ? next_ + step_bytes_ : end_;
    for (; next_ < end; next_ += 64) _mm_prefetch(next_, _MM_HINT_T1);
  }

 private:
  const uint8_t* next_;
  const uint8_t* end_;
  int64_t step_bytes_;
};

// Tiles 0 to 3 are sums, 4 and 5 rows, 6 and 7 columns. Names of tiles have to be literals.
template <Operand kOperand>
void run_two(const BlockParams& params) {
  Prefetch prefetch(params);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  const uint8_t *rows = params.rows, *panel = params.panel;
  for (int64_t step = 0; step < params.k_steps; ++step) {
    _tile_loadd(4, rows, kTileRowBytes);
    _tile_loadd(6, panel, kTileRowBytes);
    _tile_loadd(7, panel + kTileBytes, kTileRowBytes);
    _tile_loadd(5, rows + params.row_tile_bytes, kTileRowBytes);
    if constexpr (kOperand == Operand::kBFloat16) {
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    } else {
      _tile_dpbusd(0, 4, 6);
      _tile_dpbusd(1, 4, 7);
      _tile_dpbusd(2, 5, 6);
      _tile_dpbusd(3, 5, 7);
    }
    prefetch.step();
    rows += kTileBytes;
    panel += kPanelStepBytes;
  }
  constexpr int kStride = kPanelColumns * 4;
  uint8_t* sums = static_cast<uint8_t*>(params.sums);
  _tile_stored(0, sums, kStride);
  _tile_stored(1, sums + kTileRowBytes, kStride);
  _tile_stored(2, sums + kTileRows * kStride, kStride);
  _tile_stored(3, sums + kTileRows * kStride + kTileRowBytes, kStride);
}

// Even steps and odd ones have sums of their own: a product waits for the last one into its tile.
template <Operand kOperand>
void run_one(const BlockParams& params) {
  Prefetch prefetch(params);
  _tile_zero(0);
  _tile_zero(1);
  const uint8_t *rows = params.rows, *panel = params.panel;
  for (int64_t step = 0; step < params.k_steps; ++step) {
    _tile_loadd(4, rows, kTileRowBytes);
    _tile_loadd(6, panel, kTileRowBytes);
    _tile_loadd(7, panel + kTileBytes, kTileRowBytes);
    if constexpr (kOperand == Operand::kBFloat16) {
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
    } else {
      _tile_dpbusd(0, 4, 6);
      _tile_dpbusd(1, 4, 7);
    }
    prefetch.step();
    rows += kTileBytes;
    panel += kPanelStepBytes;
  }
  constexpr int kStride = kPanelColumns * 4;
  uint8_t* sums = static_cast<uint8_t*>(params.sums);
  _tile_stored(0, sums, kStride);
  _tile_stored(1, sums + kTileRowBytes, kStride);
}

template <Operand kOperand>
void run(const BlockParams& params) {
  params.two_row_tiles ? run_two<kOperand>(params) : run_one<kOperand>(params);
}

}  // namespace

const BlockKernel kAmxBFloat16Block = {open, run<Operand::kBFloat16>, close};
const BlockKernel kAmxInt8Block = {open, run<Operand::kInt8>, close};

}  // namespace bertfast::cpu
