// Shared by the shim's files: handles, errors and the thread's state.
#pragma once

#include <ATen/ATen.h>

#include <exception>
#include <string>

#include "arf_torch.h"

namespace arf {

inline at::Tensor &tensor(int64_t handle) { return *reinterpret_cast<at::Tensor *>(handle); }

inline int64_t handle(at::Tensor t) {
  return t.defined() ? reinterpret_cast<int64_t>(new at::Tensor(std::move(t))) : 0;
}

void set_error(const char *message);

// Gives the calling thread the number of threads last asked for: libtorch and
// OpenMP keep one for each thread of the system, and Go changes those.
void sync_threads();

// Runs f and turns any exception into the thread's error text.
template <typename F>
int guard(F &&f) {
  try {
    f();
    return 0;
  } catch (const c10::Error &e) {
    set_error(e.what_without_backtrace());
  } catch (const std::exception &e) {
    set_error(e.what());
  } catch (...) {
    set_error("unknown C++ exception");
  }
  return 1;
}

int op_find(const char *name, const char *overload, int64_t *op);
int op_call(int64_t op, const int64_t *args, int64_t arg_words, int64_t *out, int64_t out_capacity,
            int64_t *out_words);

int from_data(const void *data, int64_t dtype, const int64_t *shape, int64_t dims,
              const char *device, int64_t *out);
int to_data(int64_t t, void *out, int64_t bytes);
int info(int64_t t, int64_t *out, int64_t capacity);
void free_tensors(const int64_t *tensors, int64_t count);

int set_requires_grad(int64_t t, int on);
int backward(int64_t loss, int64_t gradient);
int grad(int64_t t, int64_t *out);
int set_grad(int64_t t, int64_t gradient);
int grad_mode(int enabled, int *previous);
int autocast(int enabled, int cuda, int64_t dtype, int *previous);

void add_up_in_float32();
int manual_seed(int64_t seed);
int set_deterministic(int on);
int set_threads(int64_t threads);
int64_t threads();
int64_t cuda_devices();
int cuda_memory(int64_t device, int64_t *now, int64_t *peak);

int adamw(const int64_t *tensors, int64_t count, const double *rates);

int profile(int on);
void profile_phase(int64_t number);
const char *profile_result();
int64_t graph_nodes();

}  // namespace arf
