/* pare.h as a C program uses it.
 *   c_api_test FIXTURES
 * tests/fixtures/measure/make_linear.py says what linear.onnx must answer. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pare/pare.h>

enum { kPixels = 3 * 4 * 4, kClasses = 6, kImages = 7 };

static int failures = 0;

#define EXPECT(condition)                                                            \
  do {                                                                               \
    if (!(condition)) {                                                              \
      fprintf(stderr, "%s:%d: %s; last error: %s\n", __FILE__, __LINE__, #condition, \
              pare_last_error());                                                    \
      ++failures;                                                                    \
    }                                                                                \
  } while (0)

static int says(const char* text) { return strstr(pare_last_error(), text) != NULL; }

static float expected_score(const uint8_t* pixels, int c) {
  int sum = 100 * ((5 * c) % 7);
  for (int p = 0; p < kPixels; ++p) {
    sum += ((7 * c * c + 5 * p + 3 * c * p) % 23 - 11) * pixels[p];
  }
  return (float)sum;
}

static void test_answers(const char* path) {
  pare_session* session = NULL;
  const pare_options options = {.struct_size = sizeof options, .threads = 2};
  EXPECT(pare_load(path, &options, &session) == PARE_OK);
  if (session == NULL) return;

  pare_model_info info = {.struct_size = sizeof info};
  EXPECT(pare_info(session, &info) == PARE_OK);
  EXPECT(strcmp(info.name, "linear") == 0);
  EXPECT(info.channels == 3 && info.height == 4 && info.width == 4);
  EXPECT(info.class_count == kClasses && info.parameters == kClasses * (kPixels + 1));
  EXPECT(strcmp(pare_class_name(session, 5), "fox") == 0);
  EXPECT(pare_class_name(session, 6) == NULL && pare_class_name(session, -1) == NULL);

  uint8_t pixels[kImages * kPixels];
  for (int i = 0; i < kImages * kPixels; ++i) pixels[i] = (uint8_t)(i * i * 31 + 7 * i);
  float scores[kImages * kClasses];
  for (int count = 1; count <= kImages; count += 3) {
    memset(scores, 0, sizeof scores);
    const size_t n = (size_t)count;
    EXPECT(pare_run(session, pixels, n * kPixels, count, scores, n * kClasses) == PARE_OK);
    for (int i = 0; i < count; ++i) {
      for (int c = 0; c < kClasses; ++c) {
        EXPECT(scores[i * kClasses + c] == expected_score(pixels + i * kPixels, c));
      }
    }
  }
  pare_memory_use memory = {.struct_size = sizeof memory};
  EXPECT(pare_memory(session, 4, &memory) == PARE_OK);
  EXPECT(memory.weights_bytes >= kClasses * kPixels * 4 && memory.arena_bytes > 0);

  /* What is wrong is refused and named; the session goes on working. */
  EXPECT(pare_run(session, pixels, kPixels - 1, 1, scores, kClasses) == PARE_INVALID_ARGUMENT);
  EXPECT(says("47"));
  EXPECT(pare_run(session, pixels, kPixels, 1, scores, 5) == PARE_INVALID_ARGUMENT);
  EXPECT(pare_run(session, pixels, 0, 0, scores, 0) == PARE_INVALID_ARGUMENT);
  EXPECT(pare_run(session, NULL, kPixels, 1, scores, kClasses) == PARE_INVALID_ARGUMENT);
  EXPECT(says("pixels is NULL"));
  info.struct_size = 8;
  EXPECT(pare_info(session, &info) == PARE_INVALID_ARGUMENT);
  EXPECT(says("pare_model_info.struct_size"));
  EXPECT(pare_run(session, pixels, kPixels, 1, scores, kClasses) == PARE_OK);
  pare_free(session);
}

static void test_what_cannot_be_loaded(const char* path) {
  pare_session* session = (pare_session*)path; /* must be reset */
  EXPECT(pare_load("no-such-file.onnx", NULL, &session) == PARE_NOT_FOUND);
  EXPECT(session == NULL);
  EXPECT(says("no-such-file.onnx"));
  EXPECT(pare_load(NULL, NULL, &session) == PARE_INVALID_ARGUMENT);
  EXPECT(pare_load(path, NULL, NULL) == PARE_INVALID_ARGUMENT);

  pare_options options = {.struct_size = sizeof options, .precision = "float12"};
  EXPECT(pare_load(path, &options, &session) == PARE_INVALID_ARGUMENT);
  EXPECT(says("float12"));
  options.precision = NULL;
  options.threads = -1;
  EXPECT(pare_load(path, &options, &session) == PARE_INVALID_ARGUMENT);
  options.struct_size = 1;
  EXPECT(pare_load(path, &options, &session) == PARE_INVALID_ARGUMENT);
  EXPECT(says("pare_options.struct_size"));
  pare_free(NULL);
}

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: c_api_test FIXTURES\n");
    return 2;
  }
  char path[4096];
  snprintf(path, sizeof path, "%s/measure/linear.onnx", argv[1]);

  EXPECT(pare_api_version() == PARE_API_VERSION);
  EXPECT(strlen(pare_library_version()) > 0);
  EXPECT(strcmp(pare_status_name(PARE_CORRUPT), "corrupt") == 0);
  EXPECT(strcmp(pare_last_error(), "") == 0);
  test_answers(path);
  test_what_cannot_be_loaded(path);
  if (failures == 0) printf("C API: all as promised\n");
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
