// Sums gradients over the processes, in buckets that travel while backward goes on.
#include "dist.h"

#ifdef ARF_WITH_C10D

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/utils/lambda_post_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <memory>

namespace arf {

namespace {

// As DistributedDataParallel (Li et al., VLDB 2020): a bucket is sent as soon as
// all its gradients are there. All processes send the buckets in one order.
// Gradients become views of their buckets, so that they aren't held twice.
class Reducer {
 public:
  Reducer(Group &group, std::vector<at::Tensor> params, int64_t bucket_bytes)
      : group_(group), params_(std::move(params)), bucket_bytes_(bucket_bytes) {
    for (size_t i = 0; i < params_.size(); i++) {
      auto accumulator = torch::autograd::impl::grad_accumulator(params_[i]);
      TORCH_CHECK(accumulator, "parameter ", i, " takes no gradient");
      hooks_.push_back(accumulator->add_post_hook(std::make_unique<torch::autograd::utils::LambdaPostHook>(
          [this, i](const std::vector<at::Tensor> &outputs, const std::vector<at::Tensor> &) {
            ready(i);
            return outputs;
          })));
      accumulators_.push_back(std::move(accumulator));
    }
    // Backward goes roughly from the last to the first.
    std::vector<int64_t> order(params_.size());
    for (size_t i = 0; i < order.size(); i++) order[i] = order.size() - 1 - i;
    layout(order);
  }

  ~Reducer() {
    for (size_t i = 0; i < hooks_.size(); i++) accumulators_[i]->del_post_hook(hooks_[i]);
  }

  // Before each backward whose gradients are to be summed.
  void begin() {
    for (auto &b : buckets_) b.missing = b.params.size(), b.work.reset();
    std::fill(is_ready_.begin(), is_ready_.end(), false);
    seen_.clear();
    next_ = 0;
    overlapped_ = 0;
    armed_ = true;
  }

  // After it: sends what waits for gradients that don't come, and waits for all.
  // A gradient that no process has stays undefined.
  void finish(int64_t overlap[3]) {
    armed_ = false;
    overlap[0] = buckets_.size(), overlap[1] = overlapped_, overlap[2] = 0;
    for (auto &p : params_) overlap[2] += p.nbytes();
    at::NoGradGuard no_grad;
    while (next_ < buckets_.size()) send(buckets_[next_++]);
    for (auto &b : buckets_) {
      group_.wait(b.work);
      b.work.reset();
      auto flags = b.flat.narrow(0, b.numel, b.params.size()).to(at::kCPU, at::kFloat);
      for (size_t k = 0; k < b.params.size(); k++) {
        auto &p = params_[b.params[k]];
        p.mutable_grad() = flags[k].item<float>() > 0 ? view(b, k) : at::Tensor();
      }
    }
    if (!settled_) settle();
  }

 private:
  struct Bucket {
    std::vector<size_t> params;
    std::vector<int64_t> offsets;
    int64_t numel = 0;
    at::Tensor flat;  // the gradients, then for each whether this process has it
    size_t missing = 0;
    Work work;
  };

  void layout(const std::vector<int64_t> &order) {
    buckets_.clear();
    int64_t bytes = 0;
    for (auto i : order) {
      auto &p = params_[i];
      bool fits = !buckets_.empty() && bytes + static_cast<int64_t>(p.nbytes()) <= bucket_bytes_ &&
                  params_[buckets_.back().params[0]].scalar_type() == p.scalar_type();
      if (!fits) buckets_.emplace_back(), bytes = 0;
      auto &b = buckets_.back();
      b.params.push_back(i);
      b.offsets.push_back(b.numel);
      b.numel += p.numel();
      bytes += p.nbytes();
    }
    bucket_of_.assign(params_.size(), 0);
    is_ready_.assign(params_.size(), false);
    for (size_t k = 0; k < buckets_.size(); k++) {
      for (auto i : buckets_[k].params) bucket_of_[i] = k;
    }
  }

  at::Tensor view(const Bucket &b, size_t k) const {
    auto &p = params_[b.params[k]];
    return b.flat.narrow(0, b.offsets[k], p.numel()).view(p.sizes());
  }

  void ready(size_t i) {
    if (!armed_ || is_ready_[i]) return;
    is_ready_[i] = true;
    seen_.push_back(i);
    buckets_[bucket_of_[i]].missing--;
    at::NoGradGuard no_grad;
    while (next_ < buckets_.size() && buckets_[next_].missing == 0) {
      send(buckets_[next_++]);
      overlapped_ += seen_.size() < params_.size();
    }
  }

  void send(Bucket &b) {
    auto &first = params_[b.params[0]];
    if (!b.flat.defined()) {
      b.flat = at::empty({b.numel + static_cast<int64_t>(b.params.size())}, first.options().requires_grad(false));
    }
    for (size_t k = 0; k < b.params.size(); k++) {
      auto &p = params_[b.params[k]];
      auto &grad = p.mutable_grad();
      auto into = view(b, k);
      b.flat[b.numel + static_cast<int64_t>(k)].fill_(grad.defined() ? 1 : 0);
      if (!grad.defined()) {
        into.zero_();
      } else if (grad.data_ptr() != into.data_ptr()) {
        into.copy_(grad);
        grad = into;
      }
    }
    b.work = group_.start_sum(b.flat);
  }

  // Orders the buckets as the first backward of rank 0 had the gradients.
  void settle() {
    settled_ = true;
    std::vector<int64_t> order(seen_.begin(), seen_.end());
    for (size_t i = 0; i < params_.size(); i++) {
      if (!is_ready_[i]) order.push_back(i);
    }
    auto t = at::tensor(order, at::kLong).to(params_[0].device());
    std::vector<at::Tensor> list{t};
    group_.wait(group_.backend->broadcast(list));
    t = t.to(at::kCPU);
    // Gradients of this step keep their old buckets alive.
    layout(std::vector<int64_t>(t.data_ptr<int64_t>(), t.data_ptr<int64_t>() + t.numel()));
  }

  Group &group_;
  std::vector<at::Tensor> params_;
  int64_t bucket_bytes_;
  // Which pointer to a Node this is depends on libtorch's version.
  std::vector<decltype(torch::autograd::impl::grad_accumulator(at::Tensor()))> accumulators_;
  std::vector<uintptr_t> hooks_;
  std::vector<Bucket> buckets_;
  std::vector<size_t> bucket_of_;  // by parameter
  std::vector<bool> is_ready_;     // by parameter
  std::vector<size_t> seen_;       // parameters in the order of their gradients
  size_t next_ = 0;                // bucket to send
  int64_t overlapped_ = 0;         // buckets sent before the last gradient was there
  bool armed_ = false, settled_ = false;
};

Reducer &reducer(int64_t handle) { return *reinterpret_cast<Reducer *>(handle); }

}  // namespace

int reducer_open(int64_t g, const int64_t *params, int64_t count, int64_t bucket_bytes, int64_t *out) {
  return guard([&] {
    TORCH_CHECK(count > 0, "no parameter takes a gradient");
    std::vector<at::Tensor> list;
    for (int64_t i = 0; i < count; i++) list.push_back(tensor(params[i]));
    *out = reinterpret_cast<int64_t>(new Reducer(group(g), std::move(list), bucket_bytes));
  });
}

int reducer_begin(int64_t r) {
  return guard([&] { reducer(r).begin(); });
}

int reducer_finish(int64_t r, int64_t overlap[3]) {
  return guard_group([&] { reducer(r).finish(overlap); });
}

void reducer_close(int64_t r) { delete &reducer(r); }

}  // namespace arf

#endif
