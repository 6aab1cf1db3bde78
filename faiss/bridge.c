#include "bridge.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

const arf_faiss_api *arf_faiss_open(const char *path, char **error) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    *error = strdup(dlerror());
    return NULL;
  }
  const arf_faiss_api *(*entry)(void) = (const arf_faiss_api *(*)(void))dlsym(library, "arf_faiss");
  if (!entry) {
    *error = strdup("it does not export arf_faiss");
    return NULL;
  }
  return entry();
}
