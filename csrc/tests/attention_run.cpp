#include "tests/attention_run.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/testing.h"

namespace bertfast::testing {

std::string AttentionProblem::label() const {
  std::string text = to_string(dtype) + ", D " + std::to_string(head_size) + ", capability " +
                     std::to_string(compute_capability) + ", seed " + std::to_string(seed) +
                     ", lengths";
  for (size_t i = 0; i < std::min<size_t>(lengths.size(), 8); ++i) {
    text += " " + std::to_string(lengths[i]);
    if (!keys.empty()) text += "/" + std::to_string(keys[i]);
  }
  return text;
}

int64_t AttentionProblem::num_tokens() const {
  return std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
}

AttentionRun::AttentionRun(const AttentionProblem& p)
    : problem(p),
      qkv(stream, "qkv", p.dtype, p.num_tokens() * 3 * p.num_heads * p.head_size, p.skipped),
      out(stream, "out", p.dtype, p.num_tokens() * p.num_heads * p.head_size, p.skipped),
      cu_seqlens(1, 0),
      key_lengths(p.keys.begin(), p.keys.end()) {
  for (const int length : p.lengths) cu_seqlens.push_back(cu_seqlens.back() + length);
  stream.memory.add(cu_seqlens.data(), cu_seqlens.size() * sizeof(int32_t), "cu_seqlens");
  stream.memory.add(key_lengths.data(), key_lengths.size() * sizeof(int32_t), "key_lengths");
  stream.schedule_seed = p.seed;
  qkv.fill_normal(1, 0.0, p.deviation);
}

VarlenAttentionParams AttentionRun::params() {
  VarlenAttentionParams params = {};
  params.qkv = qkv.data();
  params.cu_seqlens = cu_seqlens.data();
  params.key_lengths = key_lengths.empty() ? nullptr : key_lengths.data();
  params.out = out.data();
  params.num_tokens = problem.num_tokens();
  params.num_sequences = static_cast<int>(problem.lengths.size());
  params.num_heads = problem.num_heads;
  params.head_size = problem.head_size;
  params.max_seqlen = problem.max_seqlen;
  if (problem.max_seqlen == 0 && !problem.lengths.empty()) {
    params.max_seqlen = *std::max_element(problem.lengths.begin(), problem.lengths.end());
  }
  params.scale = static_cast<float>(1.0 / std::sqrt(std::max(problem.head_size, 1)));
  params.compute_capability = problem.compute_capability;
  params.dtype = problem.dtype;
  return params;
}

void AttentionRun::launch(const VarlenAttentionParams& params) {
  const cudaError_t status = launch_varlen_attention(params, &stream);
  expect(status == cudaSuccess, problem.label() + ": " + stream.error);
  expect(stream.num_bank_conflicts == 0, problem.label() + ": bank conflicts");
}

int64_t AttentionRun::out_offset(int sequence, int row, int head) const {
  return ((cu_seqlens[sequence] + row) * int64_t{problem.num_heads} + head) * problem.head_size;
}

int64_t AttentionRun::offset(int sequence, int row, int part, int head) const {
  const int64_t packed_row = cu_seqlens[sequence] + row;
  return ((packed_row * 3 + part) * problem.num_heads + head) * problem.head_size;
}

void AttentionRun::fill(int sequence, int first_row, int last_row, int part, double value) {
  for (int row = first_row; row < last_row; ++row) {
    for (int i = 0; i < problem.num_heads * problem.head_size; ++i) {
      qkv.set(offset(sequence, row, part) + i, value);
    }
  }
}

void AttentionRun::check() const {
  std::vector<double> values(qkv.size());
  for (int64_t i = 0; i < qkv.size(); ++i) values[i] = qkv.at(i);
  for (int sequence = 0; sequence < static_cast<int>(problem.lengths.size()); ++sequence) {
    for (int row = 0; row < problem.lengths[sequence]; ++row) {
      for (int head = 0; head < problem.num_heads; ++head) {
        check_query(sequence, row, head, values);
      }
    }
  }
}

bool AttentionRun::is_exact_path() const {
  const int d = problem.head_size;
  return problem.dtype == DType::kFloat32 || (d != 32 && d != 64 && d != 128) ||
         problem.skipped > 0;
}

void AttentionRun::check_query(int sequence, int row, int head,
                               const std::vector<double>& values) const {
  constexpr double kRoundoff = 0x1p-24;  // of float
  const int head_size = problem.head_size;
  const int num_keys = problem.keys.empty() ? problem.lengths[sequence] : problem.keys[sequence];
  const double scale = static_cast<float>(1.0 / std::sqrt(head_size));
  const double* q = &values[offset(sequence, row, 0, head)];
  std::vector<double> weights(num_keys);
  double largest = -INFINITY, largest_product = 0.0;
  for (int key = 0; key < num_keys; ++key) {
    const double* k = &values[offset(sequence, key, 1, head)];
    double score = 0.0, product = 0.0;
    for (int i = 0; i < head_size; ++i) {
      score += q[i] * k[i];
      product += std::fabs(q[i] * k[i]);
    }
    weights[key] = score * scale;
    largest = std::max(largest, weights[key]);
    largest_product = std::max(largest_product, product * scale);
  }
  double sum = 0.0;
  for (double& weight : weights) sum += weight = std::exp(weight - largest);

  // A score is off by a rounding for each of its terms and two more, and a weight by as much of
  // itself, in numerator and denominator. The additions and the power of two follow.
  const double score_error = (head_size + 2) * kRoundoff * largest_product;
  double weight_error = 2 * score_error + (num_keys + 16) * kRoundoff;
  // Tensor cores take weights of at most 1 rounded to their type.
  double smallest_step = 0.0;
  if (!is_exact_path()) weight_error += unit_roundoff(problem.dtype);
  if (!is_exact_path() && problem.dtype == DType::kFloat16) smallest_step = 0x1p-25;

  for (int i = 0; i < head_size; ++i) {
    double want = 0.0, magnitude = 0.0, total = 0.0;
    for (int key = 0; key < num_keys; ++key) {
      const double v = values[offset(sequence, key, 2, head) + i];
      want += weights[key] / sum * v;
      magnitude += weights[key] / sum * std::fabs(v);
      total += std::fabs(v);
    }
    const double bound = weight_error * magnitude + smallest_step * total / std::max(sum, 1.0) +
                         1.01 * unit_roundoff(problem.dtype) * std::fabs(want) + 1e-30;
    const double got = out.at(out_offset(sequence, row, head) + i);
    if (std::fabs(got - want) <= bound) continue;  // false for NaN
    expect(false, problem.label() + ": sequence " + std::to_string(sequence) + ", row " +
                      std::to_string(row) + ", head " + std::to_string(head) + ", element " +
                      std::to_string(i) + " is " + std::to_string(got) + ", not " +
                      std::to_string(want) + " within " + std::to_string(bound));
  }
}

}  // namespace bertfast::testing
