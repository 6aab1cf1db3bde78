// Where time goes: every operator's own time, calls, FLOPs and bytes, by phase.
// RecordFunction has a member more without it than in libtorch, which is built with it.
#ifndef NDEBUG
#define NDEBUG
#endif
#include <ATen/record_function.h>

#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <unordered_set>
#include <vector>

#include "internal.h"

namespace arf {

namespace {

using Clock = std::chrono::steady_clock;

struct Sum {
  int64_t calls = 0, nanoseconds = 0;
  double flops = 0, bytes = 0;
};

std::mutex mutex;
std::map<std::pair<int64_t, std::string>, Sum> sums;
std::string text;
std::atomic<int64_t> phase{0};
at::CallbackHandle callback = 0;
bool on = false;

// An operator that runs; those that it calls are nested.
struct Frame : at::ObserverContext {
  Clock::time_point began;
  int64_t inner = 0;  // nanoseconds in nested operators
  bool counted = false;  // an operator within has counted bytes
  double flops = 0, bytes = 0;
};
thread_local std::vector<Frame *> frames;

double volume(const at::Tensor &t, int64_t from = 0) {
  double n = 1;
  for (int64_t i = from; i < t.dim(); i++) n *= t.size(i);
  return n;
}

double product(const at::Tensor &a, const at::Tensor &b) { return 2 * volume(a) * b.size(-1); }

// FLOPs of the operators that do nearly all of them; a multiply-add is two.
// Those made of others (linear, matmul) count nothing themselves.
double flops_of(const std::string &name, c10::ArrayRef<const c10::IValue> in) {
  auto is = [&](size_t i) { return i < in.size() && in[i].isTensor() && in[i].toTensor().defined(); };
  if ((name == "aten::mm" || name == "aten::bmm") && is(0) && is(1)) return product(in[0].toTensor(), in[1].toTensor());
  if ((name == "aten::addmm" || name == "aten::baddbmm") && is(1) && is(2)) return product(in[1].toTensor(), in[2].toTensor());
  if (name == "aten::convolution" && in.size() >= 7 && is(0) && is(1) && !in[6].toBool()) {
    const auto &x = in[0].toTensor(), &w = in[1].toTensor();
    auto stride = in[3].toIntVector(), padding = in[4].toIntVector(), dilation = in[5].toIntVector();
    double positions = x.size(0);
    for (int64_t i = 2; i < x.dim(); i++) {
      auto at = [&](const std::vector<int64_t> &v) { return v.size() == 1 ? v[0] : v[i - 2]; };
      positions *= (x.size(i) + 2 * at(padding) - at(dilation) * (w.size(i) - 1) - 1) / at(stride) + 1;
    }
    return 2 * positions * volume(w);
  }
  if (name == "aten::convolution_backward" && in.size() >= 11 && is(0) && is(2)) {
    const auto &grad = in[0].toTensor(), &w = in[2].toTensor();
    auto wanted = in[10].toBoolList();
    return 2 * volume(grad) / grad.size(1) * volume(w) * (wanted[0] + wanted[1]);
  }
  return 0;
}

double bytes_of(const c10::IValue &v) {
  if (v.isTensor() && v.toTensor().defined()) return volume(v.toTensor()) * v.toTensor().element_size();
  double n = 0;
  if (v.isTensorList()) {
    for (const at::Tensor &t : v.toTensorVector()) n += t.defined() ? volume(t) * t.element_size() : 0;
  }
  return n;
}

// Views and allocations.
bool moves_nothing(const std::string &name) {
  static const std::unordered_set<std::string> names = {
      "aten::empty", "aten::empty_strided", "aten::empty_like", "aten::resize_", "aten::view", "aten::_unsafe_view",
      "aten::_reshape_alias", "aten::as_strided", "aten::t", "aten::transpose", "aten::permute", "aten::expand",
      "aten::slice", "aten::select", "aten::narrow", "aten::split", "aten::unbind", "aten::unsqueeze", "aten::squeeze",
      "aten::detach", "aten::alias", "aten::resolve_conj", "aten::resolve_neg", "aten::lift_fresh"};
  return names.count(name) > 0 || name.rfind("aten::", 0) != 0;
}

std::unique_ptr<at::ObserverContext> start(const at::RecordFunction &f) {
  auto frame = std::make_unique<Frame>();
  frame->flops = flops_of(f.name(), f.inputs());
  for (const auto &v : f.inputs()) frame->bytes += bytes_of(v);
  frames.push_back(frame.get());
  frame->began = Clock::now();
  return frame;
}

void end(const at::RecordFunction &f, at::ObserverContext *context) {
  auto now = Clock::now();
  auto *frame = static_cast<Frame *>(context);
  if (!frame || frames.empty() || frames.back() != frame) return;  // began before the profile did
  frames.pop_back();
  auto all = std::chrono::duration_cast<std::chrono::nanoseconds>(now - frame->began).count();
  // Its tensors pass through the operator itself, not only through those in it.
  bool works = !frame->counted || all < 2 * (all - frame->inner);
  bool counts = works && !moves_nothing(f.name());
  if (!frames.empty()) {
    frames.back()->inner += all;
    frames.back()->counted |= frame->counted || counts;
  }
  for (const auto &v : f.outputs()) frame->bytes += bytes_of(v);
  std::lock_guard<std::mutex> lock(mutex);
  auto &sum = sums[{phase.load(), f.name()}];
  sum.calls++;
  sum.nanoseconds += all - frame->inner;
  sum.flops += frame->flops;
  if (counts) sum.bytes += frame->bytes;
}

}  // namespace

int profile(int enable) {
  return guard([&] {
    if (enable && !on) {
      std::lock_guard<std::mutex> lock(mutex);
      sums.clear();
      callback = at::addGlobalCallback(
          at::RecordFunctionCallback(start, end).needsInputs(true).needsOutputs(true).scopes({at::RecordScope::FUNCTION}));
    } else if (!enable && on) {
      at::removeCallback(callback);
    }
    on = enable != 0;
  });
}

void profile_phase(int64_t number) { phase.store(number); }

const char *profile_result() {
  std::lock_guard<std::mutex> lock(mutex);
  text.clear();
  for (const auto &[key, s] : sums) {
    text += std::to_string(key.first) + "\t" + key.second + "\t" + std::to_string(s.calls) + "\t" +
            std::to_string(s.nanoseconds) + "\t" + std::to_string(s.flops) + "\t" + std::to_string(s.bytes) + "\n";
  }
  return text.c_str();
}

}  // namespace arf
