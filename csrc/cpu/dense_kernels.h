// What dense.h promises, for one kind of operands. To be included by the file of that kind.
#pragma once

#include "cpu/layer_norm_row.h"
#include "cpu/multiply.h"
#include "cpu/scratch.h"

namespace bertfast::cpu {
namespace {

// Rows that go through all products of a layer's tail together: what lies between stays in the
// second cache, and a weight that comes from the third is used often enough.
template <Operand kOperand>
constexpr int64_t kTailRows = kOperand == Operand::kBFloat16 ? 128 : 256;

// Fewer rows for each thread, and all threads share each product instead.
constexpr int64_t kRowsOfThread = 64;

// Rows of a loop that is little work for each.
constexpr int64_t kGrainRows = 32;

template <Operand kOperand>
void pack_rows(const RowsParams& params, uint8_t* tiles, RowCode* codes) {
  parallel_for(0, ceil_div(params.rows, kTileRows), kGrainRows / kTileRows,
               [&](int64_t begin, int64_t end) {
                 begin *= kTileRows;
                 end = std::min(end * kTileRows, params.rows);
                 if constexpr (kOperand == Operand::kBFloat16) {
                   pack_rows_bfloat16(params, begin, end, tiles);
                 } else {
                   pack_rows_int8(params, begin, end, tiles, codes);
                 }
               });
}

inline const uint8_t* element(const void* x, DType dtype, int64_t index) {
  return static_cast<const uint8_t*>(x) + index * (dtype == DType::kFloat32 ? 4 : 2);
}

inline void layer_norm_rows(float* values, const NormWeight& norm, int64_t rows, int64_t size) {
  parallel_for(0, rows, kGrainRows, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) layer_norm_row(values + row * size, norm, size);
  });
}

template <typename T>
struct StoreRows {
  T* out;
  int64_t stride;
  void operator()(int64_t row, int64_t column, Vector y, Mask mask) const {
    store(out + row * stride + column, y, mask);
  }
};

struct AddResidual {
  const float* residual;
  float* out;
  int64_t stride;
  void operator()(int64_t row, int64_t column, Vector y, Mask mask) const {
    const int64_t place = row * stride + column;
    store(out + place, add(y, load(residual + place, mask)), mask);
  }
};

// Activated results as the tiles of the next product. Columns that do not exist are zero.
template <typename Activate>
struct StoreTiles {
  Activate activate;
  uint8_t* tiles;
  int64_t steps;
  void operator()(int64_t row, int64_t column, Vector y, Mask mask) const {
    uint8_t* to = tiles + row / kTileRows * steps * kTileBytes + row % kTileRows * kTileRowBytes +
                  column / 32 * kTileBytes + column % 32 * 2;
    const Vector value = _mm512_maskz_mov_ps(mask, activate(y));
    _mm256_store_si256(reinterpret_cast<__m256i*>(to), to_bfloat16(value));
  }
};

template <typename Activate>
struct StoreActivated {
  Activate activate;
  StoreRows<BFloat16> rows;
  void operator()(int64_t row, int64_t column, Vector y, Mask mask) const {
    rows(row, column, activate(y), mask);
  }
};

// The tail of a layer for some rows. Its memory: once for all blocks of rows.
template <Operand kOperand>
class Tail {
 public:
  Tail(const LayerTailParams& params, int64_t block_rows)
      : params_(params),
        hidden_(params.output->columns),
        inner_(params.intermediate->columns),
        scratch_(bytes(block_rows)) {
    narrow_ = scratch_.template take<uint8_t>(packed_rows_bytes(kOperand, block_rows, hidden_));
    wide_ = scratch_.template take<uint8_t>(packed_rows_bytes(kOperand, block_rows, inner_));
    codes_ = scratch_.template take<RowCode>(block_rows);
    attended_ = scratch_.template take<float>(block_rows * hidden_);
    if (kOperand == Operand::kInt8) {
      activated_ = scratch_.template take<BFloat16>(block_rows * inner_);
    }
  }

  void run(int64_t begin, int64_t rows) {
    const LayerTailParams& p = params_;
    const float* x = p.x + begin * hidden_;
    float* out = p.out + begin * hidden_;
    const PackedRows narrow = {narrow_, codes_, rows}, wide = {wide_, codes_, rows};
    pack({element(p.context, p.context_dtype, begin * hidden_), p.context_dtype, hidden_, rows,
          hidden_},
         narrow_);
    multiply<kOperand>(*p.attention_output, narrow, AddResidual{x, attended_, hidden_});
    layer_norm_rows(attended_, p.attention_norm, rows, hidden_);
    pack({attended_, DType::kFloat32, hidden_, rows, hidden_}, narrow_);
    with_activation<kRoughDegree>(
        p.activation, [&](const auto& activate) { multiply_activated(narrow, activate); });
    multiply<kOperand>(*p.output, wide, AddResidual{attended_, out, hidden_});
    layer_norm_rows(out, p.output_norm, rows, hidden_);
  }

 private:
  int64_t bytes(int64_t rows) const {
    return Scratch::bytes<uint8_t>(packed_rows_bytes(kOperand, rows, hidden_)) +
           Scratch::bytes<uint8_t>(packed_rows_bytes(kOperand, rows, inner_)) +
           Scratch::bytes<RowCode>(rows) + Scratch::bytes<float>(rows * hidden_) +
           (kOperand == Operand::kInt8 ? Scratch::bytes<BFloat16>(rows * inner_) : 0);
  }

  void pack(const RowsParams& rows, uint8_t* tiles) { pack_rows<kOperand>(rows, tiles, codes_); }

  // Codes take the largest of a row, which is known when all of it is.
  template <typename Activate>
  void multiply_activated(const PackedRows& rows, const Activate& function) {
    if constexpr (kOperand == Operand::kBFloat16) {
      multiply<kOperand>(*params_.intermediate, rows,
                         StoreTiles<Activate>{function, wide_, k_steps(kOperand, inner_)});
    } else {
      multiply<kOperand>(*params_.intermediate, rows,
                         StoreActivated<Activate>{function, {activated_, inner_}});
      pack({activated_, DType::kBFloat16, inner_, rows.rows, inner_}, wide_);
    }
  }

  const LayerTailParams& params_;
  int64_t hidden_, inner_;
  Scratch scratch_;
  uint8_t *narrow_, *wide_;
  RowCode* codes_;
  float* attended_;
  BFloat16* activated_ = nullptr;
};

// Calls run(begin, end, rows of a block). Each thread has as many rows as another where there are
// enough for all; otherwise one call has all rows, and the threads share the loops inside.
template <typename Run>
void for_blocks_of_rows(int64_t rows, int64_t block_rows, const Run& run) {
  const int64_t threads = num_threads(), blocks = ceil_div(rows, kBlockRows);
  const int64_t grain = rows < threads * kRowsOfThread ? blocks : ceil_div(blocks, threads);
  parallel_for(0, blocks, grain, [&](int64_t begin, int64_t end) {
    begin *= kBlockRows;
    end = std::min(end * kBlockRows, rows);
    run(begin, end, std::min(block_rows, end - begin));
  });
}

template <Operand kOperand>
void run_layer_tail(const LayerTailParams& params) {
  for_blocks_of_rows(params.num_tokens, kTailRows<kOperand>,
                     [&](int64_t begin, int64_t end, int64_t block_rows) {
                       Tail<kOperand> tail(params, block_rows);
                       for (; begin < end; begin += block_rows) {
                         tail.run(begin, std::min(block_rows, end - begin));
                       }
                     });
}

// Rows of a dense layer by itself: only they are held in between.
constexpr int64_t kDenseRows = 256;

template <Operand kOperand>
void run_dense(const DenseParams& params) {
  const DenseWeight& weight = *params.dense;
  for_blocks_of_rows(
      params.num_tokens, kDenseRows, [&](int64_t begin, int64_t end, int64_t block_rows) {
        Scratch scratch(Scratch::bytes<uint8_t>(packed_rows_bytes(kOperand, block_rows, weight.k)) +
                        Scratch::bytes<RowCode>(block_rows));
        auto* tiles = scratch.take<uint8_t>(packed_rows_bytes(kOperand, block_rows, weight.k));
        auto* codes = scratch.take<RowCode>(block_rows);
        for (; begin < end; begin += block_rows) {
          const int64_t rows = std::min(block_rows, end - begin), place = begin * weight.columns;
          pack_rows<kOperand>({element(params.x, params.x_dtype, begin * weight.k), params.x_dtype,
                               weight.k, rows, weight.k},
                              tiles, codes);
          const PackedRows packed = {tiles, codes, rows};
          if (params.out_dtype == DType::kBFloat16) {
            auto* out = static_cast<BFloat16*>(params.out) + place;
            multiply<kOperand>(weight, packed, StoreRows<BFloat16>{out, weight.columns});
          } else {
            auto* out = static_cast<float*>(params.out) + place;
            multiply<kOperand>(weight, packed, StoreRows<float>{out, weight.columns});
          }
        }
      });
}

}  // namespace
}  // namespace bertfast::cpu
