// The exported table, the thread's error text and its memory scope.
#include <malloc.h>
#include <torch/version.h>

#include "dist.h"
#include "internal.h"

namespace arf {

static thread_local std::string error_text;
static thread_local int64_t current_scope = 0;

void set_error(const char *message) { error_text = message; }
static const char *last_error() { return error_text.c_str(); }

static int64_t scope(int64_t set_or_minus_1) {
  int64_t previous = current_scope;
  if (set_or_minus_1 >= 0) current_scope = set_or_minus_1;
  return previous;
}

// A step frees and takes the same large blocks as the one before. By default
// glibc gives such blocks back to the kernel and has them zeroed again, which
// took a sixth of a training run's CPU time; keep them instead.
static void keep_freed_memory() {
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, -1);
  mallopt(M_TOP_PAD, 64 << 20);
}

}  // namespace arf

extern "C" __attribute__((visibility("default"))) const arf_torch_api *arf_torch(void) {
  static const bool once = (arf::keep_freed_memory(), arf::add_up_in_float32(), true);
  (void)once;
  static const arf_torch_api api = {
      ARF_TORCH_ABI,
      TORCH_VERSION,
      arf::last_error,
      arf::op_find,
      arf::op_call,
      arf::from_data,
      arf::to_data,
      arf::info,
      arf::free_tensors,
      arf::set_requires_grad,
      arf::backward,
      arf::grad,
      arf::set_grad,
      arf::grad_mode,
      arf::autocast,
      arf::scope,
      arf::manual_seed,
      arf::set_deterministic,
      arf::set_threads,
      arf::threads,
      arf::cuda_devices,
      arf::cuda_memory,
      arf::adamw,
      arf::profile,
      arf::profile_phase,
      arf::profile_result,
      arf::graph_nodes,
#ifdef ARF_WITH_C10D
      &arf::dist_table,
#else
      nullptr,
#endif
  };
  return &api;
}
