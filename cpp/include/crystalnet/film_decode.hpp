// Densities at points from per-crystal FiLM parameters: Fourier features → position layers → FiLM → trunk → head.
//
//     p = position(sin, cos of 2π (x − centre)·row)        once a point, shared by the crystals
//     c = scale_0 ⊙ p + shift_0 (ReLU if junction_relu)    once a point and crystal, as is all that follows
//     h = trunk(c), layer by layer: y = W [h] + b or W [h, c] + b; FiLM; ReLU; + h, as its flags say, in this order
//     ρ = head·h + bias, or softplus(head·h + bias) × amplitude of the crystal
//
// Both networks of `crystalnet.model.network` are of this shape (normalisations folded into W and b by the caller).
#pragma once

#include <cstdint>

namespace crystalnet {

enum LayerFlag : unsigned {
  kRelu = 1,
  kFilm = 2,      // the next scale and shift of the crystal
  kConcat = 4,    // the layer sees [h, c], h first
  kResidual = 8,  // its input h is added to its output
};

struct DenseLayer {
  const float* weight;  // (out, in), as torch.nn.Linear
  const float* bias;    // (out)
  std::int64_t in, out;
  unsigned flags;
};

struct FilmDecoder {
  std::int64_t n_frequencies;
  const float* rows;  // (n_frequencies, 3)
  float centre;
  std::int64_t n_position;
  const DenseLayer* position;  // flags: kRelu or none
  bool junction_relu;
  std::int64_t n_trunk;
  const DenseLayer* trunk;
  std::int64_t width;  // of c, h and every FiLM pair
  const float* head_weight;  // (width)
  const float* head_bias;    // (1)
  bool softplus;
};

// out (crystals, n_points). film (crystals, n_film, 2, width): scale then shift, the junction's pair first, then one
// for each trunk layer with kFilm. amplitude (crystals), read where softplus. points (n_points, 3), fractional.
// bf16: products in bfloat16, sums in float32; otherwise float32 throughout. All pointers host pointers.
void film_decode(const FilmDecoder& decoder, std::int64_t crystals, const float* film, const float* amplitude,
                 std::int64_t n_points, const float* points, bool bf16, int n_threads, float* out);

// The instruction set that film_decode and its backward run on: amx, avx512_bf16, avx512, avx2 or plain. CRYSTALNET_CPU in the
// environment asks for a lesser one.
const char* film_decode_instructions(bool bf16);

// Where the gradients go, each as large as what it belongs to; all are overwritten.
struct LayerGradient {
  float *weight, *bias;
};

struct FilmDecoderGradient {
  const LayerGradient *position, *trunk;
  float *head_weight, *head_bias;
  float* film;
  float* amplitude;
};

// Gradients of Σ grad ⊙ out, grad (crystals, n_points). Nothing is kept of the forward pass: it is done again, tile by
// tile. For decoders with one position layer without kRelu and a trunk without kConcat; others are refused.
void film_decode_backward(const FilmDecoder& decoder, std::int64_t crystals, const float* film, const float* amplitude,
                          std::int64_t n_points, const float* points, const float* grad, bool bf16, int n_threads,
                          const FilmDecoderGradient& out);

// film_decode on the device: the structs live on the host, what they point to on the device.
void film_decode_cuda(const FilmDecoder& decoder, std::int64_t crystals, const float* film, const float* amplitude,
                      std::int64_t n_points, const float* points, bool bf16, void* workspace, float* out, void* stream);

// Bytes of device memory that film_decode_cuda wants as workspace (packed weights; nothing that grows with points).
std::int64_t film_decode_workspace(const FilmDecoder& decoder, bool bf16);

}  // namespace crystalnet
