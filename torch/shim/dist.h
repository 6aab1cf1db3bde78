// A process group of c10d and what the collectives in other files need of it.
#pragma once

#if defined(USE_C10D_GLOO) || defined(USE_C10D_NCCL)
#define ARF_WITH_C10D
#endif

#ifdef ARF_WITH_C10D

#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/version.h>

#include <atomic>
#include <mutex>
#include <string>
#include <vector>

#include "internal.h"

namespace arf {

// libtorch 2.0 split what communicates (Backend) from what picks one (ProcessGroup).
#if TORCH_VERSION_MAJOR >= 2
using Backend = c10d::Backend;
#else
using Backend = c10d::ProcessGroup;
#endif
using Work = c10::intrusive_ptr<c10d::Work>;

// Every message of a failed collective begins so: the Go side tells by it that
// another process may be the cause.
constexpr const char *kGroupError = "process group: ";

struct Group {
  c10::intrusive_ptr<Backend> backend;
  int64_t rank = 0, size = 1;
  bool nccl = false;
  std::chrono::milliseconds timeout{0};

  std::atomic<bool> aborted{false};
  std::mutex mutex;
  std::string reason;  // of the abortion

  // Waits for a collective; throws when it fails, takes longer than the time-out,
  // or the group is aborted from another thread.
  void wait(const Work &work);
  // Starts the sum over the processes, in place; t is contiguous.
  Work start_sum(at::Tensor &t);
};

inline Group &group(int64_t handle) { return *reinterpret_cast<Group *>(handle); }

// guard for collectives, with kGroupError before the message.
template <typename F>
int guard_group(F &&f) {
  return guard([&] {
    try {
      f();
    } catch (const c10::Error &e) {
      std::string text = e.what_without_backtrace();
      if (text.rfind(kGroupError, 0) == 0) throw;
      throw std::runtime_error(kGroupError + text);
    } catch (const std::exception &e) {
      std::string text = e.what();
      if (text.rfind(kGroupError, 0) == 0) throw;
      throw std::runtime_error(kGroupError + text);
    }
  });
}

extern const arf_dist_api dist_table;

int reducer_open(int64_t group, const int64_t *params, int64_t count, int64_t bucket_bytes, int64_t *reducer);
int reducer_begin(int64_t reducer);
int reducer_finish(int64_t reducer, int64_t overlap[3]);
void reducer_close(int64_t reducer);

}  // namespace arf

#endif
