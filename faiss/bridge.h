// Calls through the library's function table: cgo cannot call a C function
// pointer itself.
#ifndef ARF_FAISS_BRIDGE_H
#define ARF_FAISS_BRIDGE_H

#include "arf_faiss.h"

// arf_faiss_open loads the shared library; NULL and a message in *error on failure.
const arf_faiss_api *arf_faiss_open(const char *path, char **error);

static inline const char *arf_faiss_last_error(const arf_faiss_api *a) { return a->last_error(); }
static inline int arf_faiss_make(const arf_faiss_api *a, int64_t dim, const char *description, int64_t *index) {
  return a->make(dim, description, index);
}
static inline int arf_faiss_read(const arf_faiss_api *a, const char *path, int map, int64_t *index) {
  return a->read(path, map, index);
}
static inline int arf_faiss_write(const arf_faiss_api *a, int64_t index, const char *path) {
  return a->write(index, path);
}
static inline int arf_faiss_info(const arf_faiss_api *a, int64_t index, int64_t *out) { return a->info(index, out); }
static inline int arf_faiss_train(const arf_faiss_api *a, int64_t index, const float *v, int64_t n) {
  return a->train(index, v, n);
}
static inline int arf_faiss_add(const arf_faiss_api *a, int64_t index, const float *v, int64_t n, const int64_t *lists) {
  return a->add(index, v, n, lists);
}
static inline int arf_faiss_assign(const arf_faiss_api *a, int64_t index, const float *v, int64_t n, int64_t *lists) {
  return a->assign(index, v, n, lists);
}
static inline int arf_faiss_reserve(const arf_faiss_api *a, int64_t index, int64_t n) { return a->reserve(index, n); }
static inline int arf_faiss_reserve_lists(const arf_faiss_api *a, int64_t index, const int64_t *sizes) {
  return a->reserve_lists(index, sizes);
}
static inline int arf_faiss_set(const arf_faiss_api *a, int64_t index, const char *parameter, double value) {
  return a->set(index, parameter, value);
}
static inline int arf_faiss_search(const arf_faiss_api *a, int64_t index, const float *q, int64_t n, int64_t k,
                                   float *scores, int64_t *ids) {
  return a->search(index, q, n, k, scores, ids);
}
static inline void arf_faiss_free(const arf_faiss_api *a, int64_t index) { a->free_index(index); }
static inline void arf_faiss_set_threads(const arf_faiss_api *a, int64_t n) { a->set_threads(n); }
static inline void arf_faiss_interrupt(const arf_faiss_api *a, int on) { a->interrupt(on); }

#endif
