// One JPEG file in memory through libjpeg-turbo.
#include <stddef.h>
#include <stdint.h>

enum { ARF_JPEG_MESSAGE = 256 };  // bytes, more than libjpeg's longest message

typedef struct {
  int width, height;
  int components;                  // in the file
  char message[ARF_JPEG_MESSAGE];  // of the error
} arf_jpeg;

// Reads the header. 0 is success.
int arf_jpeg_open(const uint8_t *data, size_t size, arf_jpeg *out);

// Decodes a picture of 1 or 3 components into width·height·components bytes. 0 is success.
int arf_jpeg_decode(const uint8_t *data, size_t size, uint8_t *pixels, arf_jpeg *out);
