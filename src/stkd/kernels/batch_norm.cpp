// Batch normalisation with the addition and the ReLU that often follow it, for channels-last CPU tensors.
//
// In training two passes over memory forward (statistics; result) and two backward (sums; gradients), each as wide as
// the machine's vectors; in evaluation one. The second pass goes the other way, so that it begins with what the first
// has left in the cache. Float sums are kept short and added up in double. Ioffe and Szegedy, Batch Normalization,
// ICML 2015, and the gradients there.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <numeric>
#include <optional>
#include <vector>

namespace {

using at::Tensor;
using std::optional;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kLanes = 64;    // floats that are summed beside each other; a multiple of every vector's width
constexpr int64_t kWidest = 4096; // elements of a row
constexpr int64_t kBlock = 1024;  // rows that are summed in float before they are added in double
constexpr int64_t kGrain = 32768; // elements from which another thread pays
constexpr int64_t kShift = 32;    // pixels whose mean is taken from all others before squaring

// ---- one element: float as it is, bfloat16 as the upper half of a float ----

inline float widen(float v) { return v; }

inline float widen(uint16_t v) {
  const uint32_t bits = static_cast<uint32_t>(v) << 16;
  float out;
  std::memcpy(&out, &bits, sizeof out);
  return out;
}

inline void narrow(float v, float& out) { out = v; }

inline void narrow(float v, uint16_t& out) {
  uint32_t bits;
  std::memcpy(&bits, &v, sizeof bits);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16; // to the nearest, ties to even
  out = static_cast<uint16_t>(v != v ? 0x7fc0u : rounded);
}

inline bool passes(float result) { return !(result <= 0.0f); } // a NaN passes, as in torch

inline bool passes(uint16_t result) { // positive, or a NaN of either sign
  return static_cast<int16_t>(result) > 0 || (result & 0x7fffu) > 0x7f80u;
}

// ---- rows of `width` elements; `fixed` is the width where it is known when this is compiled, else 0 ----

struct Shape {
  int64_t channels, pixels, width, rows;

  explicit Shape(const Tensor& x) : channels(x.size(1)), pixels(x.numel() / x.size(1)), width(channels) {
    const int64_t several = std::lcm(channels, kLanes); // pixels that fill whole vectors
    if (several <= kWidest && x.numel() % several == 0) width = several;
    rows = x.numel() / width;
  }

  int64_t grain() const { return std::max<int64_t>(1, kGrain / width); } // rows from which another thread pays
};

std::vector<float> spread(const float* values, const Shape& shape) {
  std::vector<float> out(shape.width);
  for (int64_t i = 0; i < shape.width; ++i) out[i] = values[i % shape.channels];
  return out;
}

// Two sums over the rows, by channel: add(row, first, second) adds a row to two arrays of floats.
template <typename Add>
std::vector<double> two_sums(const Shape& shape, const Add& add) {
  const int64_t channels = shape.channels, width = shape.width, threads = at::get_num_threads();
  std::vector<double> parts(threads * 2 * channels, 0.0);
  at::parallel_for(0, shape.rows, shape.grain(), [&](int64_t begin, int64_t end) {
    std::vector<float> sums(2 * width);
    std::vector<double> total(2 * channels, 0.0);
    for (int64_t from = begin; from < end; from += kBlock) {
      std::fill(sums.begin(), sums.end(), 0.0f);
      add(from, std::min(end, from + kBlock), sums.data(), sums.data() + width);
      for (int64_t i = 0; i < width; ++i) {
        total[i % channels] += sums[i];
        total[channels + i % channels] += sums[width + i];
      }
    }
    std::copy(total.begin(), total.end(), parts.begin() + at::get_thread_num() * 2 * channels);
  });
  std::vector<double> out(2 * channels, 0.0);
  for (size_t i = 0; i < parts.size(); ++i) out[i % out.size()] += parts[i];
  return out;
}

template <typename T, int64_t fixed>
void add_moments(const T* x, int64_t rows, int64_t width, const float* shift, float* sums, float* squares) {
  const int64_t w = fixed ? fixed : width;
  float sf[fixed ? fixed : 1] = {}, qf[fixed ? fixed : 1] = {}; // in registers
  float* __restrict s = fixed ? sf : sums;
  float* __restrict q = fixed ? qf : squares;
  for (int64_t r = 0; r < rows; ++r, x += w)
#pragma omp simd
    for (int64_t i = 0; i < w; ++i) {
      const float v = widen(x[i]) - shift[i];
      s[i] += v;
      q[i] += v * v;
    }
  if constexpr (fixed > 0) {
    std::copy(sf, sf + fixed, sums);
    std::copy(qf, qf + fixed, squares);
  }
}

template <typename T, int64_t fixed, bool relu>
void add_gradients(
    const T* g, const T* y, const T* x, int64_t rows, int64_t width, const float* mean, float* sums, float* products) {
  const int64_t w = fixed ? fixed : width;
  float sf[fixed ? fixed : 1] = {}, pf[fixed ? fixed : 1] = {};
  float* __restrict s = fixed ? sf : sums;
  float* __restrict p = fixed ? pf : products;
  for (int64_t r = 0; r < rows; ++r, g += w, x += w, y += relu ? w : 0)
#pragma omp simd
    for (int64_t i = 0; i < w; ++i) {
      const float all = widen(g[i]), v = !relu || passes(y[i]) ? all : 0.0f;
      s[i] += v;
      p[i] += v * (widen(x[i]) - mean[i]);
    }
  if constexpr (fixed > 0) {
    std::copy(sf, sf + fixed, sums);
    std::copy(pf, pf + fixed, products);
  }
}

template <typename T, int64_t fixed, bool relu, bool residual>
void normalise(
    const T* x, const T* added, T* y, int64_t begin, int64_t end, int64_t width, const float* scale, const float* offset) {
  const int64_t w = fixed ? fixed : width;
  for (int64_t r = end - 1; r >= begin; --r) {
    const T* __restrict xr = x + r * w;
    const T* __restrict ar = residual ? added + r * w : nullptr;
    T* __restrict yr = y + r * w;
#pragma omp simd
    for (int64_t i = 0; i < w; ++i) {
      float v = widen(xr[i]) * scale[i] + offset[i];
      if constexpr (residual) v += widen(ar[i]);
      if constexpr (relu) v = v < 0.0f ? 0.0f : v;
      narrow(v, yr[i]);
    }
  }
}

// dx = a * g + b * (x - mean) + c, where g is what comes through the ReLU; that is also the gradient of what was added
template <typename T, int64_t fixed, bool relu, bool residual>
void differentiate(
    const T* g, const T* y, const T* x, T* dx, T* dr, int64_t begin, int64_t end, int64_t width, const float* mean,
    const float* a, const float* b, const float* c) {
  const int64_t w = fixed ? fixed : width;
  for (int64_t r = end - 1; r >= begin; --r) {
    const T* __restrict gr = g + r * w;
    const T* __restrict yr = relu ? y + r * w : nullptr;
    const T* __restrict xr = x + r * w;
    T* __restrict dxr = dx + r * w;
    T* __restrict drr = residual ? dr + r * w : nullptr;
#pragma omp simd
    for (int64_t i = 0; i < w; ++i) {
      const float all = widen(gr[i]), v = !relu || passes(yr[i]) ? all : 0.0f;
      if constexpr (residual) narrow(v, drr[i]);
      narrow(a[i] * v + b[i] * (widen(xr[i]) - mean[i]) + c[i], dxr[i]);
    }
  }
}

// Calls f(element, fixed width, relu, residual), each as a value of a type of its own.
template <typename F>
void with_kind(const Tensor& x, const Shape& shape, bool relu, bool residual, const F& f) {
  const auto chosen = [&](auto element, auto width) {
    using Yes = std::true_type;
    using No = std::false_type;
    if (relu && residual) f(element, width, Yes{}, Yes{});
    else if (relu) f(element, width, Yes{}, No{});
    else if (residual) f(element, width, No{}, Yes{});
    else f(element, width, No{}, No{});
  };
  const auto wide = [&](auto element) {
    if (shape.width == kLanes) chosen(element, std::integral_constant<int64_t, kLanes>{});
    else chosen(element, std::integral_constant<int64_t, 0>{});
  };
  if (x.scalar_type() == at::kBFloat16) wide(uint16_t{});
  else wide(float{});
}

template <typename T>
T* data(const Tensor& x) {
  return x.defined() ? static_cast<T*>(x.data_ptr()) : nullptr;
}

// ---- forward and backward of a whole tensor ----

// y = relu(scale * x + offset + added), by channel
Tensor transformed(const Tensor& x, const Tensor& added, const float* scale, const float* offset, bool relu) {
  const Shape shape(x);
  const Tensor y = at::empty_like(x);
  const auto a = spread(scale, shape), b = spread(offset, shape);
  with_kind(x, shape, relu, added.defined(), [&](auto element, auto fixed, auto relu_, auto residual_) {
    using T = decltype(element);
    at::parallel_for(0, shape.rows, shape.grain(), [&](int64_t begin, int64_t end) {
      normalise<T, decltype(fixed)::value, relu_(), residual_()>(
          data<T>(x), data<T>(added), data<T>(y), begin, end, shape.width, a.data(), b.data());
    });
  });
  return y;
}

struct Result {
  Tensor y, moments; // (2, C): mean, 1 / standard deviation
};

Result forward(
    const Tensor& x, const Tensor& added, const Tensor& weight, const Tensor& bias, const Tensor& running_mean,
    const Tensor& running_var, double momentum, double eps, bool relu) {
  const Shape shape(x);
  const int64_t channels = shape.channels, width = shape.width;
  Result out{Tensor(), at::empty({2, channels}, weight.options())};
  float* mean = data<float>(out.moments);
  float* inverse = mean + channels;
  std::vector<float> scale(channels), offset(channels);
  with_kind(x, shape, relu, added.defined(), [&](auto element, auto fixed, auto relu_, auto residual_) {
    using T = decltype(element);
    constexpr int64_t w = decltype(fixed)::value;
    const T* xs = data<T>(x);
    std::vector<float> near(channels, 0.0f); // squares of large numbers would hide a small variance
    const int64_t few = std::min(shape.pixels, kShift);
    for (int64_t p = 0; p < few; ++p)
      for (int64_t c = 0; c < channels; ++c) near[c] += widen(xs[p * channels + c]) / few;
    const auto shift = spread(near.data(), shape);
    const auto sums = two_sums(shape, [&](int64_t begin, int64_t end, float* s, float* q) {
      add_moments<T, w>(xs + begin * width, end - begin, width, shift.data(), s, q);
    });
    const double n = shape.pixels;
    float* rm = data<float>(running_mean);
    float* rv = data<float>(running_var);
    for (int64_t c = 0; c < channels; ++c) {
      const double m = sums[c] / n;
      double variance = sums[channels + c] / n - m * m;
      if (variance < 0) variance = 0; // by rounding; a NaN stays
      mean[c] = static_cast<float>(m + near[c]);
      inverse[c] = static_cast<float>(1.0 / std::sqrt(variance + eps));
      scale[c] = data<float>(weight)[c] * inverse[c];
      offset[c] = data<float>(bias)[c] - mean[c] * scale[c];
      if (rm) rm[c] = static_cast<float>((1 - momentum) * rm[c] + momentum * (m + near[c]));
      if (rv) rv[c] = static_cast<float>((1 - momentum) * rv[c] + momentum * variance * n / (n - 1));
    }
  });
  out.y = transformed(x, added, scale.data(), offset.data(), relu);
  return out;
}

struct Gradients {
  Tensor x, added, weight, bias;
};

Gradients backward(
    const Tensor& g, const Tensor& y, const Tensor& x, const Tensor& weight, const Tensor& moments, bool relu,
    bool residual) {
  const Shape shape(x);
  const int64_t channels = shape.channels, width = shape.width;
  Gradients out{at::empty_like(x), residual ? at::empty_like(x) : Tensor(), at::empty_like(weight), at::empty_like(weight)};
  const float* mean = data<float>(moments);
  const float* inverse = mean + channels;
  std::vector<float> a(channels), b(channels), c(channels);
  with_kind(x, shape, relu, residual, [&](auto element, auto fixed, auto relu_, auto residual_) {
    using T = decltype(element);
    constexpr int64_t w = decltype(fixed)::value;
    const T *gs = data<T>(g), *ys = data<T>(y), *xs = data<T>(x);
    const auto middle = spread(mean, shape);
    const auto sums = two_sums(shape, [&](int64_t begin, int64_t end, float* s, float* p) {
      add_gradients<T, w, relu_()>(
          gs + begin * width, relu_() ? ys + begin * width : nullptr, xs + begin * width, end - begin, width,
          middle.data(), s, p);
    });
    const double n = shape.pixels;
    for (int64_t k = 0; k < channels; ++k) {
      const double factor = static_cast<double>(data<float>(weight)[k]) * inverse[k];
      const double slope = -factor * inverse[k] * inverse[k] * sums[channels + k] / n;
      data<float>(out.bias)[k] = static_cast<float>(sums[k]);
      data<float>(out.weight)[k] = static_cast<float>(sums[channels + k] * inverse[k]);
      a[k] = static_cast<float>(factor);
      b[k] = static_cast<float>(slope);
      c[k] = static_cast<float>(-factor * sums[k] / n);
    }
    const auto as = spread(a.data(), shape), bs = spread(b.data(), shape), cs = spread(c.data(), shape);
    at::parallel_for(0, shape.rows, shape.grain(), [&](int64_t begin, int64_t end) {
      differentiate<T, w, relu_(), residual_()>(
          gs, ys, xs, data<T>(out.x), data<T>(out.added), begin, end, width, middle.data(), as.data(), bs.data(), cs.data());
    });
  });
  return out;
}

class BatchNormAct : public torch::autograd::Function<BatchNormAct> {
 public:
  static Tensor forward(
      AutogradContext* context, const Tensor& x, const optional<Tensor>& added, const Tensor& weight, const Tensor& bias,
      const optional<Tensor>& running_mean, const optional<Tensor>& running_var, double momentum, double eps, bool relu) {
    const Result made = ::forward(
        x, added.value_or(Tensor()), weight, bias, running_mean.value_or(Tensor()), running_var.value_or(Tensor()),
        momentum, eps, relu);
    context->save_for_backward({x, weight, made.moments, relu ? made.y : Tensor()});
    context->saved_data["relu"] = relu;
    context->saved_data["residual"] = added.has_value();
    return made.y;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "this batch normalisation has no second derivative; train with --compile none");
    const variable_list saved = context->get_saved_variables();
    const Tensor g = grads[0].to(saved[0].scalar_type()).contiguous(at::MemoryFormat::ChannelsLast);
    const Gradients found = ::backward(
        g, saved[3], saved[0], saved[1], saved[2], context->saved_data["relu"].toBool(),
        context->saved_data["residual"].toBool());
    const Tensor none;
    return {found.x, found.added, found.weight, found.bias, none, none, none, none, none};
  }
};

bool plain(const optional<Tensor>& t) {
  return t.has_value() && t->defined() && t->scalar_type() == at::kFloat && t->is_contiguous();
}

bool absent_or_plain(const optional<Tensor>& t) {
  return !t.has_value() || !t->defined() || plain(t);
}

bool fits(const Tensor& x, const optional<Tensor>& added) {
  const bool same = !added.has_value() ||
      (added->sizes() == x.sizes() && added->scalar_type() == x.scalar_type() &&
       added->is_contiguous(at::MemoryFormat::ChannelsLast));
  const bool element = x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16;
  return x.is_cpu() && x.dim() == 4 && element && x.is_contiguous(at::MemoryFormat::ChannelsLast) &&
      x.numel() > x.size(1) && same;
}

// With the running statistics; without gradients.
Tensor evaluated(
    const Tensor& x, const Tensor& added, const Tensor& weight, const Tensor& bias, const Tensor& running_mean,
    const Tensor& running_var, double eps, bool relu) {
  std::vector<float> scale(x.size(1)), offset(x.size(1));
  for (int64_t c = 0; c < x.size(1); ++c) {
    scale[c] = static_cast<float>(data<float>(weight)[c] / std::sqrt(data<float>(running_var)[c] + eps));
    offset[c] = data<float>(bias)[c] - data<float>(running_mean)[c] * scale[c];
  }
  return transformed(x, added, scale.data(), offset.data(), relu);
}

bool learns(std::initializer_list<optional<Tensor>> tensors) {
  return at::GradMode::is_enabled() && std::any_of(tensors.begin(), tensors.end(), [](const optional<Tensor>& t) {
           return t.has_value() && t->defined() && t->requires_grad();
         });
}

Tensor batch_norm_act(
    const Tensor& x, const optional<Tensor>& added, const optional<Tensor>& weight, const optional<Tensor>& bias,
    const optional<Tensor>& running_mean, const optional<Tensor>& running_var, bool training, double momentum, double eps,
    bool relu) {
  TORCH_CHECK_VALUE(
      !training || x.dim() < 2 || x.numel() != x.size(1), "Expected more than 1 value per channel when training, got input size ", x.sizes());
  if (fits(x, added) && plain(weight) && plain(bias)) {
    if (training && absent_or_plain(running_mean) && absent_or_plain(running_var))
      return BatchNormAct::apply(x, added, *weight, *bias, running_mean, running_var, momentum, eps, relu);
    if (!training && plain(running_mean) && plain(running_var) && !learns({x, added, weight, bias}))
      return evaluated(x, added.value_or(Tensor()), *weight, *bias, *running_mean, *running_var, eps, relu);
  }
  Tensor y = at::batch_norm(x, weight, bias, running_mean, running_var, training, momentum, eps, false);
  if (added.has_value()) y = y + *added;
  return relu ? at::relu(y) : y;
}

} // namespace

TORCH_LIBRARY(stkd, m) {
  m.def(
      "batch_norm_act(Tensor x, Tensor? added, Tensor? weight, Tensor? bias, Tensor(a!)? running_mean, "
      "Tensor(b!)? running_var, bool training, float momentum, float eps, bool relu) -> Tensor",
      TORCH_FN(batch_norm_act));
}
