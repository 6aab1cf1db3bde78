// Calls through the engine's function table: cgo cannot call a C function
// pointer itself.
#ifndef ARF_BRIDGE_H
#define ARF_BRIDGE_H

#include "arf_torch.h"

// Go's build cache sees a change of this file, not one of the shim's header.
_Static_assert(ARF_TORCH_ABI == 5, "raise the number here with ARF_TORCH_ABI");

// arf_open loads the shared library; NULL and a message in *error on failure.
const arf_torch_api *arf_open(const char *path, char **error);

static inline int arf_op_find(const arf_torch_api *a, const char *name, const char *overload, int64_t *op) {
  return a->op_find(name, overload, op);
}
static inline int arf_op_call(const arf_torch_api *a, int64_t op, const int64_t *args, int64_t n, int64_t *out,
                              int64_t capacity, int64_t *written) {
  return a->op_call(op, args, n, out, capacity, written);
}
static inline const char *arf_last_error(const arf_torch_api *a) { return a->last_error(); }
static inline int arf_from_data(const arf_torch_api *a, const void *data, int64_t dtype, const int64_t *shape,
                                int64_t dims, const char *device, int64_t *out) {
  return a->from_data(data, dtype, shape, dims, device, out);
}
static inline int arf_to_data(const arf_torch_api *a, int64_t t, void *out, int64_t bytes) {
  return a->to_data(t, out, bytes);
}
static inline int arf_info(const arf_torch_api *a, int64_t t, int64_t *out, int64_t capacity) {
  return a->info(t, out, capacity);
}
static inline void arf_free(const arf_torch_api *a, const int64_t *tensors, int64_t n) { a->free_tensors(tensors, n); }
static inline int arf_set_requires_grad(const arf_torch_api *a, int64_t t, int on) {
  return a->set_requires_grad(t, on);
}
static inline int arf_backward(const arf_torch_api *a, int64_t loss, int64_t g) { return a->backward(loss, g); }
static inline int arf_grad(const arf_torch_api *a, int64_t t, int64_t *out) { return a->grad(t, out); }
static inline int arf_set_grad(const arf_torch_api *a, int64_t t, int64_t g) { return a->set_grad(t, g); }
static inline int arf_grad_mode(const arf_torch_api *a, int on, int *previous) { return a->grad_mode(on, previous); }
static inline int arf_autocast(const arf_torch_api *a, int on, int cuda, int64_t dtype, int *previous) {
  return a->autocast(on, cuda, dtype, previous);
}
static inline int64_t arf_scope(const arf_torch_api *a, int64_t id) { return a->scope(id); }
static inline int arf_manual_seed(const arf_torch_api *a, int64_t seed) { return a->manual_seed(seed); }
static inline int arf_set_deterministic(const arf_torch_api *a, int on) { return a->set_deterministic(on); }
static inline int arf_set_threads(const arf_torch_api *a, int64_t n) { return a->set_threads(n); }
static inline int64_t arf_threads(const arf_torch_api *a) { return a->threads(); }
static inline int64_t arf_cuda_devices(const arf_torch_api *a) { return a->cuda_devices(); }
static inline int arf_cuda_memory(const arf_torch_api *a, int64_t device, int64_t *now, int64_t *peak) {
  return a->cuda_memory(device, now, peak);
}
static inline int arf_adamw(const arf_torch_api *a, const int64_t *tensors, int64_t n, const double *rates) {
  return a->adamw(tensors, n, rates);
}
static inline int arf_profile(const arf_torch_api *a, int on) { return a->profile(on); }
static inline void arf_profile_phase(const arf_torch_api *a, int64_t number) { a->profile_phase(number); }
static inline const char *arf_profile_result(const arf_torch_api *a) { return a->profile_result(); }
static inline int64_t arf_graph_nodes(const arf_torch_api *a) { return a->graph_nodes(); }

static inline int arf_store_open(const arf_dist_api *d, const char *host, int64_t port, int serve, const char *prefix,
                                 int64_t timeout_ms, int64_t *store) {
  return d->store_open(host, port, serve, prefix, timeout_ms, store);
}
static inline int arf_store_set(const arf_dist_api *d, int64_t store, const char *key, const char *value) {
  return d->store_set(store, key, value);
}
static inline int arf_store_get(const arf_dist_api *d, int64_t store, const char *key, char *out, int64_t capacity) {
  return d->store_get(store, key, out, capacity);
}
static inline void arf_store_close(const arf_dist_api *d, int64_t store) { d->store_close(store); }
static inline int arf_group_open(const arf_dist_api *d, int64_t store, int64_t rank, int64_t size, int nccl,
                                 const char *address, int64_t timeout_ms, int64_t *group) {
  return d->group_open(store, rank, size, nccl, address, timeout_ms, group);
}
static inline void arf_group_abort(const arf_dist_api *d, int64_t group, const char *reason) {
  d->group_abort(group, reason);
}
static inline void arf_group_close(const arf_dist_api *d, int64_t group) { d->group_close(group); }
static inline int arf_all_reduce(const arf_dist_api *d, int64_t group, int64_t t) { return d->all_reduce(group, t); }
static inline int arf_all_gather(const arf_dist_api *d, int64_t group, int64_t t, int64_t *out) {
  return d->all_gather(group, t, out);
}
static inline int arf_broadcast(const arf_dist_api *d, int64_t group, int64_t t, int64_t root) {
  return d->broadcast(group, t, root);
}
static inline int arf_reducer_open(const arf_dist_api *d, int64_t group, const int64_t *params, int64_t count,
                                   int64_t bucket_bytes, int64_t *reducer) {
  return d->reducer_open(group, params, count, bucket_bytes, reducer);
}
static inline int arf_reducer_begin(const arf_dist_api *d, int64_t reducer) { return d->reducer_begin(reducer); }
static inline int arf_reducer_finish(const arf_dist_api *d, int64_t reducer, int64_t *overlap) {
  return d->reducer_finish(reducer, overlap);
}
static inline void arf_reducer_close(const arf_dist_api *d, int64_t reducer) { d->reducer_close(reducer); }

#endif
