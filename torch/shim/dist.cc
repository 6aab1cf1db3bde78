// Process groups: rendezvous by TCPStore, collectives by Gloo on the CPU and NCCL on GPUs.
#include "dist.h"

#ifdef ARF_WITH_C10D

#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#ifdef USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#endif
#ifdef USE_C10D_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

#include <cstring>
#include <thread>

namespace arf {

using std::chrono::milliseconds;

namespace {

using StorePtr = c10::intrusive_ptr<c10d::Store>;

StorePtr &store(int64_t handle) { return *reinterpret_cast<StorePtr *>(handle); }

int store_open(const char *host, int64_t port, int serve, const char *prefix, int64_t timeout_ms, int64_t *out) {
  return guard([&] {
    c10d::TCPStoreOptions options;
    options.port = static_cast<uint16_t>(port);
    options.isServer = serve != 0;
    options.waitWorkers = false;
    options.timeout = milliseconds(timeout_ms);
    StorePtr s = c10::make_intrusive<c10d::TCPStore>(host, options);
    if (*prefix) s = c10::make_intrusive<c10d::PrefixStore>(prefix, s);
    *out = reinterpret_cast<int64_t>(new StorePtr(std::move(s)));
  });
}

int store_set(int64_t s, const char *key, const char *value) {
  return guard([&] { store(s)->set(key, std::vector<uint8_t>(value, value + std::strlen(value))); });
}

int store_get(int64_t s, const char *key, char *out, int64_t capacity) {
  return guard([&] {
    auto value = store(s)->get(key);  // waits until it is set, at most the store's time-out
    TORCH_CHECK(static_cast<int64_t>(value.size()) < capacity, "the value of ", key, " has ", value.size(), " bytes");
    std::memcpy(out, value.data(), value.size());
    out[value.size()] = 0;
  });
}

void store_close(int64_t s) { delete &store(s); }

int group_open(int64_t s, int64_t rank, int64_t size, int nccl, const char *address, int64_t timeout_ms,
               int64_t *out) {
  return guard_group([&] {
    auto g = std::make_unique<Group>();
    g->rank = rank, g->size = size, g->nccl = nccl != 0, g->timeout = milliseconds(timeout_ms);
    if (nccl) {
#ifdef USE_C10D_NCCL
      auto options = c10d::ProcessGroupNCCL::Options::create();
      options->timeout = g->timeout;
      g->backend = c10::make_intrusive<c10d::ProcessGroupNCCL>(
          c10::make_intrusive<c10d::PrefixStore>("nccl", store(s)), rank, size, options);
#else
      TORCH_CHECK(false, "this engine has no NCCL; build it against a CUDA libtorch: LIBTORCH=… make engine");
#endif
    } else {
#ifdef USE_C10D_GLOO
      auto options = c10d::ProcessGroupGloo::Options::create();
      options->timeout = g->timeout;
      options->devices.push_back(
          *address == '@' ? c10d::ProcessGroupGloo::createDeviceForInterface(address + 1)
                          : c10d::ProcessGroupGloo::createDeviceForHostname(address));
      g->backend = c10::make_intrusive<c10d::ProcessGroupGloo>(
          c10::make_intrusive<c10d::PrefixStore>("gloo", store(s)), rank, size, options);
#else
      TORCH_CHECK(false, "this engine has no Gloo; install its headers (Debian: libgloo-dev) and run make engine");
#endif
    }
    *out = reinterpret_cast<int64_t>(g.release());
  });
}

void group_abort(int64_t g, const char *reason) {
  std::lock_guard<std::mutex> lock(group(g).mutex);
  if (group(g).aborted) return;
  group(g).reason = reason;
  group(g).aborted = true;
}

void group_close(int64_t g) { delete &group(g); }

}  // namespace

void Group::wait(const Work &work) {
  // In slices, so that an abortion is noticed; the end of the work wakes at once.
  const milliseconds slice(100);
  const auto begun = std::chrono::steady_clock::now();
  while (!work->isCompleted()) {
    if (aborted) {
      std::lock_guard<std::mutex> lock(mutex);
      throw std::runtime_error(kGroupError + reason);
    }
    if (std::chrono::steady_clock::now() - begun > timeout) {
      throw std::runtime_error(std::string(kGroupError) + "no answer from the others within " +
                               std::to_string(timeout.count() / 1000) + " s");
    }
    if (nccl) {  // its wait blocks the stream, not the caller
      std::this_thread::sleep_for(std::chrono::microseconds(50));
      continue;
    }
    try {
      work->wait(slice);
    } catch (...) {
      // The slice is over, or the work failed: then it is completed, and throws again below.
    }
  }
  work->wait();  // throws what failed; on a GPU the stream waits for the result
}

Work Group::start_sum(at::Tensor &t) {
  std::vector<at::Tensor> list{t};
  return backend->allreduce(list);
}

namespace {

at::Tensor gather_rows(Group &g, const at::Tensor &t) {
  auto in = t.contiguous();
  auto shape = in.sizes().vec();
  shape[0] *= g.size;
  auto out = at::empty(shape, in.options());
  Work work;
  if (g.nccl) {
    work = g.backend->_allgather_base(out, in);
  } else {
    std::vector<at::Tensor> inputs{in};
    std::vector<std::vector<at::Tensor>> outputs{out.chunk(g.size, 0)};
    work = g.backend->allgather(outputs, inputs);
  }
  g.wait(work);
  return out;
}

// The gradient of a gathered row is the sum of what each process's loss makes of it.
struct GatherRows : torch::autograd::Function<GatherRows> {
  static at::Tensor forward(torch::autograd::AutogradContext *ctx, const at::Tensor &t, int64_t g) {
    ctx->saved_data["group"] = g;
    return gather_rows(group(g), t);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *ctx,
                                                 torch::autograd::variable_list gradients) {
    auto &g = group(ctx->saved_data["group"].toInt());
    auto sum = gradients[0].clone(at::MemoryFormat::Contiguous);
    g.wait(g.start_sum(sum));
    auto rows = sum.size(0) / g.size;
    return {sum.narrow(0, g.rank * rows, rows), at::Tensor()};
  }
};

int all_gather(int64_t g, int64_t t, int64_t *out) {
  return guard_group([&] {
    TORCH_CHECK(tensor(t).dim() > 0, "all_gather takes rows, got a scalar");
    *out = handle(GatherRows::apply(tensor(t), g));
  });
}

int all_reduce(int64_t g, int64_t t) {
  return guard_group([&] {
    at::NoGradGuard no_grad;
    auto dense = tensor(t).contiguous();
    group(g).wait(group(g).start_sum(dense));
    if (!dense.is_same(tensor(t))) tensor(t).copy_(dense);
  });
}

int broadcast(int64_t g, int64_t t, int64_t root) {
  return guard_group([&] {
    at::NoGradGuard no_grad;
    auto dense = tensor(t).detach().contiguous();
    std::vector<at::Tensor> list{dense};
    c10d::BroadcastOptions options;
    options.rootRank = root;
    group(g).wait(group(g).backend->broadcast(list, options));
    if (dense.data_ptr() != tensor(t).data_ptr()) tensor(t).copy_(dense);
  });
}

}  // namespace

const arf_dist_api dist_table = {
#ifdef USE_C10D_GLOO
    1,
#else
    0,
#endif
#ifdef USE_C10D_NCCL
    1,
#else
    0,
#endif
    store_open,    store_set,    store_get,      store_close,   group_open,
    group_abort,   group_close,  all_reduce,     all_gather,    broadcast,
    reducer_open,  reducer_begin, reducer_finish, reducer_close,
};

}  // namespace arf

#endif
