// FAISS behind the C ABI of arf_faiss.h.
#include <faiss/AutoTune.h>
#include <faiss/Index.h>
#include <faiss/IndexFlatCodes.h>
#include <faiss/IndexHNSW.h>
#include <faiss/IndexIVFFlat.h>
#include <faiss/IndexIVFPQ.h>
#include <faiss/IndexScalarQuantizer.h>
#include <faiss/impl/AuxIndexStructures.h>
#include <faiss/impl/FaissException.h>
#include <faiss/impl/io.h>
#include <faiss/index_factory.h>
#include <faiss/index_io.h>
#include <omp.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <system_error>
#include <typeinfo>

#include "arf_faiss.h"

#define ARF_TEXT2(x) #x
#define ARF_TEXT(x) ARF_TEXT2(x)

namespace {

thread_local std::string error_text;
std::atomic<int> wanted_threads{0};
std::atomic<bool> interrupted{false};

struct Interrupt : faiss::InterruptCallback {
  bool want_interrupt() override { return interrupted.load(std::memory_order_relaxed); }
};

using idx = decltype(faiss::Index::ntotal);

faiss::Index &index_of(int64_t handle) { return *reinterpret_cast<faiss::Index *>(handle); }

// Runs f and turns any exception into the thread's error text.
template <typename F>
int guard(F &&f) {
  try {
    // OpenMP keeps its number of threads for each thread of the system, and Go changes those.
    if (int n = wanted_threads.load(std::memory_order_relaxed)) omp_set_num_threads(n);
    f();
    return 0;
  } catch (const faiss::FaissException &e) {
    error_text = e.msg;
  } catch (const std::bad_alloc &) {
    error_text = "out of memory";
  } catch (const std::exception &e) {
    error_text = e.what();
  } catch (...) {
    error_text = "unknown C++ exception";
  }
  return 1;
}

const char *last_error() { return error_text.c_str(); }

int make(int64_t dim, const char *description, int64_t *index) {
  return guard([&] {
    *index = reinterpret_cast<int64_t>(
        faiss::index_factory(static_cast<int>(dim), description, faiss::METRIC_INNER_PRODUCT));
  });
}

int read(const char *path, int map, int64_t *index) {
  return guard([&] {
    *index = reinterpret_cast<int64_t>(faiss::read_index(path, map ? faiss::IO_FLAG_MMAP | faiss::IO_FLAG_READ_ONLY : 0));
  });
}

int write(int64_t index, const char *path) {
  return guard([&] {
    std::unique_ptr<FILE, int (*)(FILE *)> file(fopen(path, "wb"), fclose);
    if (!file) throw std::system_error(errno, std::generic_category());
    faiss::FileIOWriter writer(file.get());
    faiss::write_index(&index_of(index), &writer);
    // What is still in a buffer may be what the disk has no room for; FAISS's own closing doesn't fail.
    if (fflush(file.get()) != 0) throw std::system_error(errno, std::generic_category());
  });
}

// Inverted lists of rows that add_core fills; packed and de-duplicated ones have ways of their own.
const faiss::IndexIVF *plain_lists(const faiss::Index *x) {
  auto *lists = dynamic_cast<const faiss::IndexIVF *>(x);
  if (!lists || !dynamic_cast<const faiss::ArrayInvertedLists *>(lists->invlists)) return nullptr;
  const std::type_info &kind = typeid(*x);
  bool known = kind == typeid(faiss::IndexIVFFlat) || kind == typeid(faiss::IndexIVFPQ) ||
               kind == typeid(faiss::IndexIVFScalarQuantizer);
  return known ? lists : nullptr;
}

int info(int64_t index, int64_t out[5]) {
  return guard([&] {
    const faiss::Index &x = index_of(index);
    out[0] = x.d;
    out[1] = x.ntotal;
    out[2] = x.is_trained;
    out[3] = x.metric_type == faiss::METRIC_INNER_PRODUCT;
    const faiss::IndexIVF *lists = plain_lists(&x);
    out[4] = lists ? lists->nlist : 0;
  });
}

int train(int64_t index, const float *vectors, int64_t count) {
  return guard([&] { index_of(index).train(count, vectors); });
}

int add(int64_t index, const float *vectors, int64_t count, const int64_t *lists) {
  return guard([&] {
    faiss::Index &x = index_of(index);
    if (!lists) return x.add(count, vectors);
    dynamic_cast<faiss::IndexIVF &>(x).add_core(count, vectors, nullptr, reinterpret_cast<const idx *>(lists));
  });
}

int assign(int64_t index, const float *vectors, int64_t count, int64_t *lists) {
  return guard([&] {
    dynamic_cast<faiss::IndexIVF &>(index_of(index))
        .quantizer->assign(count, vectors, reinterpret_cast<idx *>(lists));
  });
}

// Newer versions' containers may lack reserve; then growing costs what it costs.
template <typename V>
auto reserve_in(V &v, size_t n, int) -> decltype(v.reserve(n)) {
  v.reserve(n);
}
template <typename V>
void reserve_in(V &, size_t, long) {}

// Growing block by block would hold old and new memory side by side, up to three times the vectors.
int reserve(int64_t index, int64_t count) {
  return guard([&] {
    faiss::Index *x = &index_of(index);
    if (auto *graph = dynamic_cast<faiss::IndexHNSW *>(x)) {
      faiss::HNSW &h = graph->hnsw;
      // Each vertex has its links of level 0; one in M has those of another level too.
      size_t links = static_cast<size_t>(h.cum_nb_neighbors(1)) + h.cum_nb_neighbors(1) / 16;
      reserve_in(h.neighbors, count * links, 0);
      reserve_in(h.levels, count, 0);
      reserve_in(h.offsets, count + 1, 0);
      x = graph->storage;
    }
    if (auto *flat = dynamic_cast<faiss::IndexFlatCodes *>(x)) reserve_in(flat->codes, count * flat->code_size, 0);
  });
}

int reserve_lists(int64_t index, const int64_t *sizes) {
  return guard([&] {
    auto &x = dynamic_cast<faiss::IndexIVF &>(index_of(index));
    auto &lists = dynamic_cast<faiss::ArrayInvertedLists &>(*x.invlists);
    for (size_t i = 0; i < x.nlist; i++) {
      reserve_in(lists.codes[i], sizes[i] * x.code_size, 0);
      reserve_in(lists.ids[i], sizes[i], 0);
    }
  });
}

int set(int64_t index, const char *parameter, double value) {
  return guard([&] { faiss::ParameterSpace().set_index_parameter(&index_of(index), parameter, value); });
}

int search(int64_t index, const float *queries, int64_t count, int64_t k, float *scores, int64_t *ids) {
  return guard([&] { index_of(index).search(count, queries, k, scores, ids); });
}

void free_index(int64_t index) { delete reinterpret_cast<faiss::Index *>(index); }

void set_threads(int64_t threads) { wanted_threads.store(static_cast<int>(threads)); }

void interrupt(int on) { interrupted.store(on != 0); }

}  // namespace

extern "C" __attribute__((visibility("default"))) const arf_faiss_api *arf_faiss(void) {
  static const bool once = (faiss::InterruptCallback::instance = std::make_unique<Interrupt>(), true);
  (void)once;
  static const arf_faiss_api api = {
      ARF_FAISS_ABI,
      ARF_TEXT(FAISS_VERSION_MAJOR) "." ARF_TEXT(FAISS_VERSION_MINOR) "." ARF_TEXT(FAISS_VERSION_PATCH),
      last_error, make, read, write, info, train, add, assign, reserve, reserve_lists, set, search, free_index, set_threads, interrupt,
  };
  return &api;
}
