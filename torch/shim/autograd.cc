// Gradients, and the thread's gradient and autocast modes.
#include <ATen/SequenceNumber.h>
#include <ATen/autocast_mode.h>
#include <torch/version.h>

#include "internal.h"

namespace arf {

int set_requires_grad(int64_t t, int on) {
  return guard([&] { tensor(t).set_requires_grad(on != 0); });
}

int backward(int64_t loss, int64_t gradient) {
  return guard([&] {
    sync_threads();
    tensor(loss).backward(gradient ? tensor(gradient) : at::Tensor());
  });
}

int grad(int64_t t, int64_t *out) {
  return guard([&] { *out = handle(tensor(t).grad()); });
}

int set_grad(int64_t t, int64_t gradient) {
  return guard([&] { tensor(t).mutable_grad() = gradient ? tensor(gradient) : at::Tensor(); });
}

// Each node takes the thread's next number.
int64_t graph_nodes() { return static_cast<int64_t>(at::sequence_number::peek()); }

int grad_mode(int enabled, int *previous) {
  return guard([&] {
    *previous = at::GradMode::is_enabled();
    at::GradMode::set_enabled(enabled != 0);
  });
}

// Leaving autocast also drops its cache of cast weights: they are stale after
// the optimiser's next step.
int autocast(int enabled, int cuda, int64_t dtype, int *previous) {
  return guard([&] {
    auto type = static_cast<at::ScalarType>(dtype);
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 4)
    auto device = cuda ? at::kCUDA : at::kCPU;
    *previous = at::autocast::is_autocast_enabled(device);
    at::autocast::set_autocast_enabled(device, enabled != 0);
    if (enabled) at::autocast::set_autocast_dtype(device, type);
#else
    if (cuda) {
      *previous = at::autocast::is_enabled();
      at::autocast::set_enabled(enabled != 0);
      if (enabled) at::autocast::set_autocast_gpu_dtype(type);
    } else {
      *previous = at::autocast::is_cpu_enabled();
      at::autocast::set_cpu_enabled(enabled != 0);
      if (enabled) at::autocast::set_autocast_cpu_dtype(type);
    }
#endif
    if (!enabled) at::autocast::clear_cache();
  });
}

}  // namespace arf
