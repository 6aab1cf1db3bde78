// Tensors to and from host memory.
#include <ATen/core/grad_mode.h>

#include <cstring>

#include "internal.h"

namespace arf {

int from_data(const void *data, int64_t dtype, const int64_t *shape, int64_t dims,
              const char *device, int64_t *out) {
  return guard([&] {
    c10::Device to(device);
    // From pinned memory a copy to a GPU runs beside the engine; libtorch's host allocator reuses it only after the copy.
    auto host = at::empty(at::IntArrayRef(shape, dims), at::TensorOptions()
                                                            .dtype(static_cast<at::ScalarType>(dtype))
                                                            .pinned_memory(to.is_cuda()));
    if (host.nbytes() > 0) std::memcpy(host.data_ptr(), data, host.nbytes());
    *out = handle(host.to(to, /*non_blocking=*/to.is_cuda()));
  });
}

int to_data(int64_t t, void *out, int64_t bytes) {
  return guard([&] {
    at::NoGradGuard no_grad;
    auto host = tensor(t).detach().to(at::kCPU).contiguous();
    TORCH_CHECK(static_cast<int64_t>(host.nbytes()) == bytes, "tensor has ", host.nbytes(),
                " bytes, the buffer ", bytes);
    if (bytes > 0) std::memcpy(out, host.data_ptr(), bytes);
  });
}

int info(int64_t h, int64_t *out, int64_t capacity) {
  return guard([&] {
    const auto &t = tensor(h);
    TORCH_CHECK(capacity >= 6 + t.dim(), "tensor of ", t.dim(), " dimensions");
    out[0] = static_cast<int64_t>(t.scalar_type());
    out[1] = t.element_size();
    out[2] = t.requires_grad();
    out[3] = t.is_cuda();
    out[4] = t.is_cuda() ? t.get_device() : 0;
    out[5] = t.dim();
    for (int64_t i = 0; i < t.dim(); i++) out[6 + i] = t.size(i);
  });
}

void free_tensors(const int64_t *tensors, int64_t count) {
  for (int64_t i = 0; i < count; i++) delete reinterpret_cast<at::Tensor *>(tensors[i]);
}

}  // namespace arf
