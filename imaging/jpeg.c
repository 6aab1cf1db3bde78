#include "jpeg.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

// A progressive file with thousands of scans takes minutes to decode; libvips's limit.
enum { MOST_SCANS = 100 };

typedef struct {
  struct jpeg_error_mgr base;
  jmp_buf jump;
  char *message;
} handler;

static void fail(j_common_ptr c) {
  handler *h = (handler *)c->err;
  char text[JMSG_LENGTH_MAX];
  c->err->format_message(c, text);
  snprintf(h->message, ARF_JPEG_MESSAGE, "%s", text);
  longjmp(h->jump, 1);
}

// Damage that libjpeg repairs passes, as in Pillow; a file that is cut short doesn't.
static void warn(j_common_ptr c, int level) {
  if (level < 0 && c->err->msg_code == JWRN_JPEG_EOF) {
    fail(c);
  }
}

static void count_scans(j_common_ptr c) {
  if (((j_decompress_ptr)c)->input_scan_number > MOST_SCANS) {
    handler *h = (handler *)c->err;
    snprintf(h->message, ARF_JPEG_MESSAGE, "more than %d scans", MOST_SCANS);
    longjmp(h->jump, 1);
  }
}

// Reads the header and, with pixels, the rest.
static int run(const uint8_t *data, size_t size, uint8_t *pixels, arf_jpeg *out) {
  struct jpeg_decompress_struct c;
  struct jpeg_progress_mgr progress = {.progress_monitor = count_scans};
  handler h = {.message = out->message};
  memset(&c, 0, sizeof c);
  c.err = jpeg_std_error(&h.base);
  h.base.error_exit = fail;
  h.base.emit_message = warn;
  if (setjmp(h.jump)) {
    jpeg_destroy_decompress(&c);
    return 1;
  }
  jpeg_create_decompress(&c);
  c.progress = &progress;
  jpeg_mem_src(&c, data, size);
  jpeg_read_header(&c, TRUE);
  out->width = c.image_width;
  out->height = c.image_height;
  out->components = c.num_components;
  if (pixels) {
    c.out_color_space = c.num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_start_decompress(&c);
    size_t stride = (size_t)c.output_width * c.output_components;
    while (c.output_scanline < c.output_height) {
      JSAMPROW row = pixels + c.output_scanline * stride;
      jpeg_read_scanlines(&c, &row, 1);
    }
  }
  jpeg_destroy_decompress(&c);
  return 0;
}

int arf_jpeg_open(const uint8_t *data, size_t size, arf_jpeg *out) { return run(data, size, NULL, out); }

int arf_jpeg_decode(const uint8_t *data, size_t size, uint8_t *pixels, arf_jpeg *out) {
  return run(data, size, pixels, out);
}
