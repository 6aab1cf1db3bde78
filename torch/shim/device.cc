// Threads, devices and random numbers.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <torch/version.h>

#ifdef ARF_WITH_CUDA
#include <c10/cuda/CUDACachingAllocator.h>
#endif

#include <atomic>

#include "internal.h"

namespace arf {

namespace {
std::atomic<int> wanted_threads{0};
thread_local int current_threads = 0;
}  // namespace

void sync_threads() {
  int n = wanted_threads.load(std::memory_order_relaxed);
  if (n == current_threads) return;
  at::set_num_threads(n);
  current_threads = n;
}

// By default cuBLAS may add parts of a product up in bfloat16, for which the
// bound of the exact search (index/bound.go) has no room.
void add_up_in_float32() {
#if TORCH_VERSION_MAJOR >= 2
  at::globalContext().setAllowBF16ReductionCuBLAS(false);
#endif
}

int manual_seed(int64_t seed) {
  return guard([&] { at::manual_seed(seed); });
}

int set_deterministic(int on) {
  return guard([&] {
    at::globalContext().setDeterministicAlgorithms(on != 0, /*warn_only=*/false);
    at::globalContext().setDeterministicCuDNN(on != 0);
    at::globalContext().setBenchmarkCuDNN(false);
  });
}

int set_threads(int64_t threads) {
  return guard([&] {
    TORCH_CHECK(threads > 0, "the number of threads must be positive, got ", threads);
    wanted_threads.store(static_cast<int>(threads));
    sync_threads();
  });
}

int64_t threads() {
  sync_threads();
  return at::get_num_threads();
}

int64_t cuda_devices() {
  int64_t n = 0;
  guard([&] { n = at::globalContext().hasCUDA() ? at::detail::getCUDAHooks().getNumGPUs() : 0; });
  return n;
}

int cuda_memory(int64_t device, int64_t *now, int64_t *peak) {
  *now = *peak = 0;
#ifdef ARF_WITH_CUDA
  return guard([&] {
    auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(device);
    *now = stats.allocated_bytes[0].current;
    *peak = stats.allocated_bytes[0].peak;
  });
#else
  (void)device;
  return 0;
#endif
}

}  // namespace arf
