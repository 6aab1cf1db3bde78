#include "lines.h"

#include <string.h>

// The compiler writes each function for both kinds of CPU, and the loader chooses.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define VECTORS __attribute__((target_clones("avx2", "default"), optimize("O3")))
#else
#define VECTORS
#endif

enum {
  PRECISION = 32 - 8 - 2,  // as in resize.go
  WIDE = ARF_VECTOR,
  BLOCK = 512,             // bytes of a line that are summed at a time
};

typedef int32_t numbers __attribute__((vector_size(4 * WIDE)));

static inline __attribute__((always_inline)) void add(numbers *sum, const int32_t *a, const int32_t *b) {
  numbers v, w;
  memcpy(&v, a, sizeof v);
  memcpy(&w, b, sizeof w);
  *sum += v * w;
}

static inline uint8_t clip(int32_t v) {
  v >>= PRECISION;
  return v < 0 ? 0 : v > 255 ? 255 : v;
}

int64_t arf_shrink_scratch(int source, int width, int channels) { return (source + width) * (int64_t)channels; }

// Splits a line into its channels, 32 bits a pixel.
VECTORS static void split(int32_t *restrict out, const uint8_t *restrict in, int n, int channels, int64_t plane) {
  if (channels == 1) {
    for (int i = 0; i < n; i++) {
      out[i] = in[i];
    }
    return;
  }
  for (int i = 0; i < n; i++) {
    out[i] = in[3 * i];
    out[i + plane] = in[3 * i + 1];
    out[i + 2 * plane] = in[3 * i + 2];
  }
}

static inline __attribute__((always_inline)) uint8_t total(const numbers *sums) {
  numbers v = *sums;
  return clip((1 << (PRECISION - 1)) + v[0] + v[1] + v[2] + v[3] + v[4] + v[5] + v[6] + v[7]);
}

VECTORS static void line1(uint8_t *out, const int32_t *in, int outputs, const int32_t *first, const int32_t *weights,
                          int width) {
  for (int i = 0; i < outputs; i++, weights += width) {
    const int32_t *p = in + first[i];
    numbers a = {0};
    for (int k = 0; k < width; k += WIDE) {
      add(&a, p + k, weights + k);
    }
    out[i] = total(&a);
  }
}

VECTORS static void line3(uint8_t *out, const int32_t *in, int64_t plane, int outputs, const int32_t *first,
                          const int32_t *weights, int width) {
  for (int i = 0; i < outputs; i++, weights += width) {
    const int32_t *p = in + first[i];
    numbers a = {0}, b = {0}, c = {0};
    for (int k = 0; k < width; k += WIDE) {
      add(&a, p + k, weights + k);
      add(&b, p + k + plane, weights + k);
      add(&c, p + k + 2 * plane, weights + k);
    }
    out[3 * i] = total(&a);
    out[3 * i + 1] = total(&b);
    out[3 * i + 2] = total(&c);
  }
}

void arf_shrink(uint8_t *out, const uint8_t *in, int64_t stride, int rows, int source, int outputs, int channels,
                const int32_t *first, const int32_t *weights, int width, int32_t *scratch) {
  int64_t plane = source + width;  // a vector may reach beyond the line, where weights are 0
  for (int c = 0; c < channels; c++) {
    memset(scratch + c * plane + source, 0, width * sizeof *scratch);
  }
  for (int y = 0; y < rows; y++, in += stride, out += outputs * channels) {
    split(scratch, in, source, channels, plane);
    if (channels == 1) {
      line1(out, scratch, outputs, first, weights, width);
    } else {
      line3(out, scratch, plane, outputs, first, weights, width);
    }
  }
}

VECTORS void arf_sum(uint8_t *restrict out, const uint8_t *restrict in, int64_t stride, int width,
                     const int32_t *restrict weights, int n) {
  for (int i = 0; i < width; i += BLOCK) {
    int32_t sums[BLOCK];
    int m = width - i < BLOCK ? width - i : BLOCK;
    for (int l = 0; l < m; l++) {
      sums[l] = 1 << (PRECISION - 1);
    }
    for (int k = 0; k < n; k++) {
      for (int l = 0; l < m; l++) {
        sums[l] += in[k * stride + i + l] * weights[k];
      }
    }
    for (int l = 0; l < m; l++) {
      out[i + l] = clip(sums[l]);
    }
  }
}
