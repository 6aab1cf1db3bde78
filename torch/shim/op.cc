// Calls any operator of libtorch's dispatcher by name, arguments boxed.
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/ivalue.h>
#include <ATen/core/stack.h>

#include <cstring>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "internal.h"

namespace arf {

using c10::IValue;
using c10::OperatorHandle;

int op_find(const char *name, const char *overload, int64_t *op) {
  return guard([&] {
    // Handles live for the whole process; each operator is boxed once.
    static std::mutex mutex;
    static std::unordered_map<std::string, std::unique_ptr<OperatorHandle>> known;
    std::lock_guard<std::mutex> lock(mutex);
    auto &slot = known[std::string(name) + "." + overload];
    if (!slot) {
      slot = std::make_unique<OperatorHandle>(
          c10::Dispatcher::singleton().findSchemaOrThrow(name, overload));
    }
    *op = reinterpret_cast<int64_t>(slot.get());
  });
}

namespace {

struct Reader {
  const int64_t *at, *end;

  int64_t word() {
    TORCH_CHECK(at < end, "argument stream ends early");
    return *at++;
  }
  double real() {
    int64_t bits = word();
    double v;
    std::memcpy(&v, &bits, sizeof v);
    return v;
  }
  std::string text() {
    int64_t bytes = word();
    int64_t words = (bytes + 7) / 8;
    TORCH_CHECK(bytes >= 0 && words <= end - at, "argument stream ends inside a string");
    std::string s(reinterpret_cast<const char *>(at), bytes);
    at += words;
    return s;
  }
  int64_t count() {
    int64_t n = word();
    TORCH_CHECK(n >= 0 && n <= end - at, "argument stream ends inside a list");
    return n;
  }

  IValue value() {
    switch (word()) {
      case ARF_NONE:
        return IValue();
      case ARF_TENSOR: {
        int64_t h = word();
        return h ? IValue(tensor(h)) : IValue();
      }
      case ARF_INT:
        return IValue(word());
      case ARF_DOUBLE:
        return IValue(real());
      case ARF_BOOL:
        return IValue(word() != 0);
      case ARF_INT_LIST: {
        c10::List<int64_t> list;
        for (int64_t n = count(); n > 0; n--) list.push_back(word());
        return IValue(std::move(list));
      }
      case ARF_DOUBLE_LIST: {
        c10::List<double> list;
        for (int64_t n = count(); n > 0; n--) list.push_back(real());
        return IValue(std::move(list));
      }
      case ARF_TENSOR_LIST: {
        c10::List<at::Tensor> list;
        for (int64_t n = count(); n > 0; n--) list.push_back(tensor(word()));
        return IValue(std::move(list));
      }
      case ARF_OPTIONAL_TENSOR_LIST: {
        c10::List<c10::optional<at::Tensor>> list;
        for (int64_t n = count(); n > 0; n--) {
          int64_t h = word();
          list.push_back(h ? c10::optional<at::Tensor>(tensor(h)) : c10::nullopt);
        }
        return IValue(std::move(list));
      }
      case ARF_STRING:
        return IValue(text());
      case ARF_DEVICE:
        return IValue(c10::Device(text()));
    }
    TORCH_CHECK(false, "unknown tag in the argument stream");
  }
};

struct Writer {
  int64_t *at, *end;

  void word(int64_t w) {
    TORCH_CHECK(at < end, "result stream is full");
    *at++ = w;
  }
  void value(const IValue &v) {
    if (v.isTensor()) {
      word(ARF_TENSOR);
      word(handle(v.toTensor()));
    } else if (v.isInt()) {
      word(ARF_INT);
      word(v.toInt());
    } else if (v.isBool()) {
      word(ARF_BOOL);
      word(v.toBool());
    } else if (v.isDouble()) {
      double d = v.toDouble();
      int64_t bits;
      std::memcpy(&bits, &d, sizeof bits);
      word(ARF_DOUBLE);
      word(bits);
    } else if (v.isTensorList()) {
      word(ARF_TENSOR_LIST);
      auto list = v.toTensorVector();
      word(list.size());
      for (auto &t : list) word(handle(t));
    } else if (v.isNone()) {
      word(ARF_NONE);
    } else {
      TORCH_CHECK(false, "results of type ", v.tagKind(), " are not supported");
    }
  }
};

}  // namespace

int op_call(int64_t op, const int64_t *args, int64_t arg_words, int64_t *out, int64_t out_capacity,
            int64_t *out_words) {
  return guard([&] {
    sync_threads();
    const auto &operation = *reinterpret_cast<OperatorHandle *>(op);
    const auto &parameters = operation.schema().arguments();
    torch::jit::Stack stack;
    stack.reserve(parameters.size());
    Reader reader{args, args + arg_words};
    while (reader.at < reader.end) stack.push_back(reader.value());
    TORCH_CHECK(stack.size() <= parameters.size(), operation.operator_name(), " takes ",
                parameters.size(), " arguments, got ", stack.size());
    for (size_t i = stack.size(); i < parameters.size(); i++) {
      TORCH_CHECK(parameters[i].default_value(), operation.operator_name(),
                  " lacks its argument ", parameters[i].name());
      stack.push_back(*parameters[i].default_value());
    }
    operation.callBoxed(&stack);
    Writer writer{out, out + out_capacity};
    for (auto &v : stack) writer.value(v);
    *out_words = writer.at - out;
  });
}

}  // namespace arf
