// What film_decode asks of an instruction set: the inner loops, and what they take.
#pragma once

#include <cstdint>

namespace crystalnet::film {

// Widths are padded with zeros to a multiple of this, the widest panel of any instruction set; zeros stay zeros.
constexpr std::int64_t kPad = 32;

// "wide" is float32, "narrow" is what products are made of (float32 or bfloat16), "paired" is narrow with kPair rows
// of a column side by side, as a product over rows wants them. Strides of narrow and paired in units of 4 bytes.

// y = in · weightsᵀ (raw); v = y scale + shift; ReLU; + residual → wide, narrow, paired, each where wanted.
struct Dense {
  const void* in[2];
  std::int64_t units[2];
  std::int64_t in_stride;
  const void* weights;
  std::int64_t rows, columns;
  const float *scale, *shift;
  bool relu;
  const float* residual;
  float* wide;
  std::int64_t wide_stride;
  void* narrow;
  void* raw;
  std::int64_t stride;
  void* paired;
  std::int64_t pair_stride;
};

// v = in scale + shift; ReLU → wide, narrow, paired, each where wanted.
struct Conditioned {
  const float* in;
  const float *scale, *shift;
  std::int64_t rows, columns;
  bool relu;
  float* wide;
  std::int64_t wide_stride;
  void* narrow;
  std::int64_t stride;
  void* paired;
  std::int64_t pair_stride;
};

struct FourierRows {
  std::int64_t count, columns;
  const double* rows;  // (3, count)
  double centre;
};

// Through v = relu(in scale + shift): grad of v → grad · scale (narrow, paired, added to sum), scale_grad, shift_grad.
struct FilmBackward {
  const void* raw;       // in, narrow, or
  const float* wide_in;  // in, wide
  const float* grad;
  const float *scale, *shift;
  float *scale_grad, *shift_grad;
  std::int64_t rows, columns;
  bool relu;
  float* sum;
  std::int64_t wide_stride;
  void* narrow;
  std::int64_t stride;
  void* paired;
  std::int64_t pair_stride;
};

struct Kernels {
  const char* name;  // as CRYSTALNET_CPU has it
  std::int64_t panel, pair;
  std::int64_t rows;                 // tiles have a multiple of this
  std::int64_t tile, backward_tile;  // most points a thread takes at a time, multiples of `rows`
  void (*dense)(const Dense&);
  void (*conditioned)(const Conditioned&);
  void (*features)(const FourierRows&, const float* points, std::int64_t n_points, std::int64_t rows, float* scratch,
                   void* narrow, std::int64_t stride, void* paired, std::int64_t pair_stride);
  void (*project)(const float* in, std::int64_t stride, std::int64_t rows, std::int64_t columns, const float* weight,
                  float* out);
  void (*project_backward)(const float* in, std::int64_t stride, std::int64_t rows, std::int64_t columns,
                           const float* weight, const float* grad, float* weight_grad, float* in_grad);
  void (*film_backward)(const FilmBackward&);
  void (*pair_rows)(const float* in, std::int64_t stride, std::int64_t rows, std::int64_t columns, void* out,
                    std::int64_t pair_stride);
  void (*weight_backward)(const void* out_grad, std::int64_t out, const void* in, std::int64_t in_columns,
                          std::int64_t rows, float* grad);
};

// The best that the processor has, or the name that CRYSTALNET_CPU in the environment asks for where that is less.
const Kernels& kernels(bool bf16);

}  // namespace crystalnet::film
