// The inner loops of resampling (see resize.go), which the C compiler turns into vector instructions.
#include <stdint.h>

enum { ARF_VECTOR = 8 };  // numbers that are summed side by side

// Numbers of scratch that arf_shrink takes.
int64_t arf_shrink_scratch(int source, int width, int channels);

// Resamples lines, [rows, source, channels] at a distance of stride bytes, to [rows, outputs, channels]. Output pixel i
// is the sum of weights[i*width+k]·source pixel first[i]+k. channels is 1 or 3, width
// a multiple of ARF_VECTOR: weights behind a pixel's own are 0.
void arf_shrink(uint8_t *out, const uint8_t *in, int64_t stride, int rows, int source, int outputs, int channels,
                const int32_t *first, const int32_t *weights, int width, int32_t *scratch);

// Sums n weighted lines of width bytes, at a distance of stride, into one.
void arf_sum(uint8_t *out, const uint8_t *in, int64_t stride, int width, const int32_t *weights, int n);
