/* The C ABI between Go and libtorch.
 *
 * The shared library exports one function, arf_torch(), which returns a table
 * of function pointers. Operators are not wrapped one by one: op_call sends any
 * operator of libtorch's dispatcher, found by its schema name ("aten::linear"),
 * so that this header stays the same from libtorch 1.13 to 2.x.
 *
 * Every call returns 0, or 1 after an exception, whose text last_error() gives
 * (per thread). Tensors are opaque handles that the caller frees.
 */
#ifndef ARF_TORCH_H
#define ARF_TORCH_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Raised whenever the table or the encoding below changes. */
#define ARF_TORCH_ABI 5

/* Tags of the word stream that carries arguments and results: a tag word is
 * followed by its payload words. Strings are a byte count and the bytes, padded
 * to whole words. A TENSOR of handle 0 is None. */
enum {
  ARF_NONE = 0,
  ARF_TENSOR = 1,       /* handle */
  ARF_INT = 2,          /* int64; also dtypes */
  ARF_DOUBLE = 3,       /* bits of a double */
  ARF_BOOL = 4,         /* 0 or 1 */
  ARF_INT_LIST = 5,     /* count, int64... */
  ARF_TENSOR_LIST = 6,  /* count, handle... */
  ARF_STRING = 7,       /* byte count, bytes */
  ARF_DOUBLE_LIST = 8,  /* count, bits... */
  ARF_OPTIONAL_TENSOR_LIST = 9, /* count, handle or 0... */
  ARF_DEVICE = 10       /* byte count, bytes, e.g. "cuda:0" */
};

/* Processes that compute together, over libtorch's c10d. Handles are opaque. A
 * collective must be called by all processes in one order. */
typedef struct arf_dist_api {
  int gloo, nccl; /* which backends the engine has */

  /* The rendezvous: keys and values that all processes see. serve: this process
   * listens on the port; the others wait for it, at most the time-out. */
  int (*store_open)(const char *host, int64_t port, int serve, const char *prefix, int64_t timeout_ms, int64_t *store);
  int (*store_set)(int64_t store, const char *key, const char *value);
  int (*store_get)(int64_t store, const char *key, char *out, int64_t capacity);
  void (*store_close)(int64_t store);

  /* address: of this machine, as the others reach it; "@eth0" names an interface. Gloo only. */
  int (*group_open)(int64_t store, int64_t rank, int64_t size, int nccl, const char *address, int64_t timeout_ms,
                    int64_t *group);
  /* Ends all waiting and later collectives with an error of this text; may be called from any thread. */
  void (*group_abort)(int64_t group, const char *reason);
  void (*group_close)(int64_t group);

  int (*all_reduce)(int64_t group, int64_t tensor); /* sum, in place */
  int (*all_gather)(int64_t group, int64_t tensor, int64_t *gathered); /* [n, …] → [size·n, …], with gradient */
  int (*broadcast)(int64_t group, int64_t tensor, int64_t root); /* in place */

  /* Sums the gradients of params, in buckets; begin before backward, finish after.
   * overlap: the buckets, those of them sent while backward had gradients to
   * compute yet, and the bytes of all. */
  int (*reducer_open)(int64_t group, const int64_t *params, int64_t count, int64_t bucket_bytes, int64_t *reducer);
  int (*reducer_begin)(int64_t reducer);
  int (*reducer_finish)(int64_t reducer, int64_t overlap[3]);
  void (*reducer_close)(int64_t reducer);
} arf_dist_api;

typedef struct arf_torch_api {
  int64_t abi;
  const char *torch_version;
  const char *(*last_error)(void);

  int (*op_find)(const char *name, const char *overload, int64_t *op);
  /* out receives the results as a word stream; *out_words is the words written. */
  int (*op_call)(int64_t op, const int64_t *args, int64_t arg_words, int64_t *out,
                 int64_t out_capacity, int64_t *out_words);

  /* Copies bytes of host memory into a new tensor on the device. */
  int (*from_data)(const void *data, int64_t dtype, const int64_t *shape, int64_t dims,
                   const char *device, int64_t *tensor);
  /* Copies a tensor, made contiguous on the host, to out (bytes must match). */
  int (*to_data)(int64_t tensor, void *out, int64_t bytes);
  /* out: dtype, element size, requires_grad, is_cuda, device index, dims, shape... */
  int (*info)(int64_t tensor, int64_t *out, int64_t capacity);
  void (*free_tensors)(const int64_t *tensors, int64_t count);

  int (*set_requires_grad)(int64_t tensor, int on);
  int (*backward)(int64_t loss, int64_t gradient_or_0);
  int (*grad)(int64_t tensor, int64_t *gradient_or_0);
  int (*set_grad)(int64_t tensor, int64_t gradient_or_0);

  /* The following act on the calling thread; *previous is the former state. */
  int (*grad_mode)(int enabled, int *previous);
  int (*autocast)(int enabled, int cuda, int64_t dtype, int *previous);
  /* The id of the innermost memory scope; 0 = none. The Go side owns scopes. */
  int64_t (*scope)(int64_t set_or_minus_1);

  int (*manual_seed)(int64_t seed);
  /* Operators that give other bits each time are replaced, or become errors. */
  int (*set_deterministic)(int on);
  int (*set_threads)(int64_t threads);
  int64_t (*threads)(void);
  int64_t (*cuda_devices)(void);
  /* Bytes now and at most allocated on a CUDA device; 0 where the build has no CUDA. */
  int (*cuda_memory)(int64_t device, int64_t *now, int64_t *peak);

  /* One step of AdamW on count weights on the CPU, in float32. tensors has four
   * handles for each: weight, gradient, first and second moment. rates: what is
   * kept of the weight, the factors of the gradient, of the moments, eps, the
   * step, and the factor of the root of the second moment. */
  int (*adamw)(const int64_t *tensors, int64_t count, const double *rates);

  /* Sums up what every operator of every thread takes, from 1 (which forgets the
   * sums before) to 0. They are kept apart by the phase that is set when one ends. */
  int (*profile)(int on);
  void (*profile_phase)(int64_t number);
  /* The sums: a line for each phase and operator, of tab-separated phase, name,
   * calls, own nanoseconds, FLOPs, bytes read and written. Valid until the next call. */
  const char *(*profile_result)(void);
  /* How many nodes of autograd's graph the calling thread has recorded so far. */
  int64_t (*graph_nodes)(void);
  const arf_dist_api *dist; /* NULL where the engine was built without c10d */
} arf_torch_api;

const arf_torch_api *arf_torch(void);

#ifdef __cplusplus
}
#endif
#endif
