/* pare.h: the C interface to pare::Session. A classifier, ready to run on this processor.
 *
 *   pare_session* session = NULL;
 *   if (pare_load("model.pare", NULL, &session) != PARE_OK) {
 *     fprintf(stderr, "%s\n", pare_last_error());
 *     return 1;
 *   }
 *   pare_model_info info = {.struct_size = sizeof info};
 *   pare_info(session, &info);
 *   ...pixels: info.channels * info.height * info.width bytes; scores: info.class_count floats...
 *   if (pare_run(session, pixels, pixels_bytes, 1, scores, scores_count) != PARE_OK) ...
 *   pare_free(session);
 *
 * Every function that can fail returns a pare_status; pare_last_error() then says what, where,
 * expected and found. Structs begin with their own size, set by the caller, so that a program
 * compiled against this version runs with a later one. No C++ exception leaves these functions.
 */
#ifndef PARE_PARE_H_
#define PARE_PARE_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* NOLINTBEGIN(readability-identifier-naming): a C library's names carry its own in front. */

/* Raised when something here changes; what was there keeps its meaning as long as the number that
 * pare_api_version() returns is not below the one a program was compiled with. */
#define PARE_API_VERSION 1
int32_t pare_api_version(void);
/* The library's version: "0.1.0". */
const char* pare_library_version(void);

typedef enum pare_status {
  PARE_OK = 0,
  PARE_INVALID_ARGUMENT = 1, /* the caller asked for something impossible */
  PARE_NOT_FOUND = 2,        /* a file that does not exist */
  PARE_CORRUPT = 3,          /* bytes that do not have the form their format demands */
  PARE_UNSUPPORTED = 4,      /* well-formed, but something Pare does not do */
  PARE_IO = 5,               /* the operating system refused */
  PARE_OUT_OF_MEMORY = 6,
  PARE_NUMERIC = 7,   /* NaN or infinity where a finite number is needed */
  PARE_CANCELLED = 8, /* the user asked to stop */
  PARE_INTERNAL = 9   /* a bug in Pare */
} pare_status;

/* "corrupt", "not found", ...; never NULL. */
const char* pare_status_name(pare_status status);
/* One line about the last call in this thread that failed; "" if none has. Valid until the next
 * call in this thread that fails. */
const char* pare_last_error(void);

typedef struct pare_session pare_session;

typedef struct pare_options {
  size_t struct_size; /* sizeof(pare_options) */
  int32_t threads;    /* 0: as many as there are cores */
  /* Storage of float layers: "float32", "bfloat16" or "float16"; NULL: float32. */
  const char* precision;
  /* Highest instruction set to use ("avx2", ...); NULL: the best there is. */
  const char* cpu_level;
} pare_options;

/* Loads .onnx or .pare. `options` may be NULL. On failure *session is NULL. */
pare_status pare_load(const char* path, const pare_options* options, pare_session** session);
/* Frees a session; NULL is allowed. */
void pare_free(pare_session* session);

typedef struct pare_model_info {
  size_t struct_size; /* sizeof(pare_model_info) */
  const char* name;   /* owned by the session */
  int64_t channels;
  int64_t height;
  int64_t width;
  int64_t class_count;
  int64_t parameters;
} pare_model_info;

pare_status pare_info(const pare_session* session, pare_model_info* info);
/* The name of a class, owned by the session; NULL where the file names none or there is no such
 * class. */
const char* pare_class_name(const pare_session* session, int64_t index);

/* `pixels`: count images of uint8, channels x height x width, RGB, one after the other.
 * `scores`: count x class_count floats: logits, unless the model itself ends in a softmax.
 * The sizes are checked. One call at a time a session; several sessions may run at once. */
pare_status pare_run(pare_session* session, const uint8_t* pixels, size_t pixels_bytes,
                     int64_t count, float* scores, size_t scores_count);

typedef struct pare_memory_use {
  size_t struct_size; /* sizeof(pare_memory_use) */
  int64_t weights_bytes;
  int64_t arena_bytes;
  int64_t scratch_bytes;
} pare_memory_use;

/* What runs of `count` images need. */
pare_status pare_memory(pare_session* session, int64_t count, pare_memory_use* memory);

/* NOLINTEND(readability-identifier-naming) */

#ifdef __cplusplus
}
#endif

#endif /* PARE_PARE_H_ */
