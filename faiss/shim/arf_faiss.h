/* The C ABI between Go and FAISS.
 *
 * The shared library exports one function, arf_faiss(), which returns a table
 * of function pointers. It is a library of its own, so that the engine and all
 * else work where FAISS isn't installed.
 *
 * Every call returns 0, or 1 after an exception, whose text last_error() gives
 * (per thread). Indexes are opaque handles that the caller frees. Vectors are
 * float32 rows, C order.
 */
#ifndef ARF_FAISS_H
#define ARF_FAISS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Raised whenever the table changes. */
#define ARF_FAISS_ABI 3

typedef struct arf_faiss_api {
  int64_t abi;
  const char *version; /* FAISS's, such as "1.7.3" */
  const char *(*last_error)(void);

  /* An empty index of the inner product, by FAISS's description ("HNSW32"). */
  int (*make)(int64_t dim, const char *description, int64_t *index);
  /* map leaves inverted lists on disk, where the kind of index allows it. */
  int (*read)(const char *path, int map, int64_t *index);
  int (*write)(int64_t index, const char *path);
  /* out: dim, vectors, 1 if trained, 1 if it ranks by inner product, inverted lists (0: an index of another kind). */
  int (*info)(int64_t index, int64_t out[5]);
  int (*train)(int64_t index, const float *vectors, int64_t count);
  /* lists: what assign gave for the vectors, or NULL. */
  int (*add)(int64_t index, const float *vectors, int64_t count, const int64_t *lists);
  /* The inverted list that each vector goes into; -1 is none. */
  int (*assign)(int64_t index, const float *vectors, int64_t count, int64_t *lists);
  /* Takes the memory for count vectors at once, where the kind of index allows it. */
  int (*reserve)(int64_t index, int64_t count);
  /* Takes it for inverted lists of those sizes. */
  int (*reserve_lists)(int64_t index, const int64_t *sizes);
  /* Sets a parameter of the search ("nprobe", "efSearch"). */
  int (*set)(int64_t index, const char *parameter, double value);
  /* scores and ids: [count, k], best first; id -1 where fewer are found. */
  int (*search)(int64_t index, const float *queries, int64_t count, int64_t k, float *scores, int64_t *ids);
  void (*free_index)(int64_t index);

  void (*set_threads)(int64_t threads);
  /* Ends running and coming calls of train, add and search with an error while on. */
  void (*interrupt)(int on);
} arf_faiss_api;

const arf_faiss_api *arf_faiss(void);

#ifdef __cplusplus
}
#endif
#endif
