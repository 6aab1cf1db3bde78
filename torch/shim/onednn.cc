// Keeps Debian's oneDNN (2.6) from computing with freed memory.
//
// A primitive's copy of its descriptor points into the descriptor it was made from. oneDNN hands that copy
// out when a shape comes again, and ideep, through which libtorch calls oneDNN, keeps it, by default 1,024
// for each thread of the system. Once the original is freed and the primitive left oneDNN's own cache, the
// next product of that shape is compiled from freed memory: most often it silently leaves out the bias,
// sometimes it ends with std::bad_alloc. docs/log.md, 15, has the whole story.
#include <cstdlib>

extern "C" int dnnl_set_primitive_cache_capacity(int capacity) __attribute__((weak));

namespace {

// Primitives that oneDNN keeps; a training step has a few hundred shapes. Evicting one compiles it anew.
constexpr int kept_primitives = 4096;

// Before any thread computes, as ideep reads its variable when a thread first does.
__attribute__((constructor)) void keep_no_copies() {
  setenv("LRU_CACHE_CAPACITY", "1", /*overwrite=*/1);
  if (dnnl_set_primitive_cache_capacity) dnnl_set_primitive_cache_capacity(kept_primitives);
}

}  // namespace
