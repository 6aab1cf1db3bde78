// AdamW on the CPU in one pass: libtorch's own takes ten over the weights.
#include <ATen/Parallel.h>

#include <cmath>

#include "internal.h"

// As wide as the CPU's vectors; with -fopenmp-simd and -fno-math-errno.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define ARF_VECTORS __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define ARF_VECTORS
#endif

namespace arf {

namespace {

struct Rates {
  float keep, gradient, beta1, rest1, beta2, rest2, eps, step, root;
};

ARF_VECTORS void update(float *__restrict p, const float *__restrict g, float *__restrict m, float *__restrict v, int64_t n,
                        Rates r) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) {
    float x = g[i] * r.gradient;
    float first = m[i] * r.beta1 + x * r.rest1;
    float second = v[i] * r.beta2 + x * x * r.rest2;
    m[i] = first;
    v[i] = second;
    p[i] = p[i] * r.keep - r.step * first / (std::sqrt(second) * r.root + r.eps);
  }
}

void check(const at::Tensor &t, const at::Tensor &p) {
  TORCH_CHECK(t.device().is_cpu() && t.scalar_type() == at::kFloat && t.is_contiguous() && t.numel() == p.numel(),
              "adamw takes contiguous float32 tensors of one size on the CPU");
}

}  // namespace

int adamw(const int64_t *tensors, int64_t count, const double *rates) {
  return guard([&] {
    sync_threads();
    // 1 - beta is taken in double: in float32 that of 0.999 is off by 5e-5 of itself.
    auto f = [](double x) { return static_cast<float>(x); };
    Rates r{f(rates[0]), f(rates[1]), f(rates[2]), f(1 - rates[2]), f(rates[3]), f(1 - rates[3]), f(rates[4]), f(rates[5]), f(rates[6])};
    for (int64_t i = 0; i < count; i++) {
      const auto &p = tensor(tensors[4 * i]), &m = tensor(tensors[4 * i + 2]), &v = tensor(tensors[4 * i + 3]);
      auto g = tensor(tensors[4 * i + 1]).contiguous();  // a convolution's may be in channels-last
      for (const auto &t : {p, g, m, v}) check(t, p);
      auto *pp = p.data_ptr<float>(), *mp = m.data_ptr<float>(), *vp = v.data_ptr<float>();
      const auto *gp = g.data_ptr<float>();
      at::parallel_for(0, p.numel(), 1 << 15,
                       [&](int64_t from, int64_t to) { update(pp + from, gp + from, mp + from, vp + from, to - from, r); });
    }
  });
}

}  // namespace arf
