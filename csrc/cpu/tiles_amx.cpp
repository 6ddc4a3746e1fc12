#include "cpu/tile_config.h"

namespace bertfast::cpu {
namespace {

void open() { configure_tiles(); }

// So that the operating system has no tiles to save.
void close() { _tile_release(); }

constexpr int kSumsStride = kPanelColumns * 4;
constexpr int kSecondRows = kTileRows * kSumsStride;

// Tiles 0 to 3 are sums, 4 and 5 rows, 6 and 7 columns. Names of tiles have to be literals.
template <Operand kOperand, bool kTwoRowTiles>
void add_products(const BlockParams& params) {
  const uint8_t *rows = params.rows, *panel = params.panel, *ahead = params.ahead;
  for (int64_t step = 0; step < params.steps; ++step) {
    _tile_loadd(4, rows, kTileRowBytes);
    _tile_loadd(6, panel, kTileRowBytes);
    _tile_loadd(7, panel + kTileBytes, kTileRowBytes);
    if constexpr (kTwoRowTiles) _tile_loadd(5, rows + params.row_tile_bytes, kTileRowBytes);
    if constexpr (kOperand == Operand::kBFloat16) {
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      if constexpr (kTwoRowTiles) {
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
      }
    } else {
      _tile_dpbusd(0, 4, 6);
      _tile_dpbusd(1, 4, 7);
      if constexpr (kTwoRowTiles) {
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
      }
    }
    for (int64_t line = 0; line < params.ahead_lines_a_step; ++line, ahead += 64) {
      _mm_prefetch(ahead, _MM_HINT_T1);
    }
    rows += kTileBytes;
    panel += kPanelStepBytes;
  }
}

template <Operand kOperand, bool kTwoRowTiles>
void run_tiles(const BlockParams& params) {
  uint8_t* sums = static_cast<uint8_t*>(params.sums);
  if (params.continued) {
    _tile_loadd(0, sums, kSumsStride);
    _tile_loadd(1, sums + kTileRowBytes, kSumsStride);
    if constexpr (kTwoRowTiles) {
      _tile_loadd(2, sums + kSecondRows, kSumsStride);
      _tile_loadd(3, sums + kSecondRows + kTileRowBytes, kSumsStride);
    }
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  add_products<kOperand, kTwoRowTiles>(params);
  _tile_stored(0, sums, kSumsStride);
  _tile_stored(1, sums + kTileRowBytes, kSumsStride);
  if constexpr (kTwoRowTiles) {
    _tile_stored(2, sums + kSecondRows, kSumsStride);
    _tile_stored(3, sums + kSecondRows + kTileRowBytes, kSumsStride);
  }
}

template <Operand kOperand>
void run(const BlockParams& params) {
  params.two_row_tiles ? run_tiles<kOperand, true>(params) : run_tiles<kOperand, false>(params);
}

}  // namespace

const BlockKernel kAmxBFloat16Block = {open, run<Operand::kBFloat16>, close};
const BlockKernel kAmxInt8Block = {open, run<Operand::kInt8>, close};

}  // namespace bertfast::cpu
