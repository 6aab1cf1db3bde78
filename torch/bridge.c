#include "bridge.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

const arf_torch_api *arf_open(const char *path, char **error) {
  // RTLD_GLOBAL: libtorch's own libraries look symbols up in each other.
  void *library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
  if (!library) {
    *error = strdup(dlerror());
    return NULL;
  }
  const arf_torch_api *(*entry)(void) = (const arf_torch_api *(*)(void))dlsym(library, "arf_torch");
  if (!entry) {
    *error = strdup("it does not export arf_torch");
    return NULL;
  }
  return entry();
}
