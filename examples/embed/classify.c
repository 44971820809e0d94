/* The likeliest class of an image that is in memory, by the C interface.
 *   classify_c MODEL.pare IMAGE.ppm      (a binary PPM of the size that the model wants) */
#include <pare/pare.h>
#include <stdio.h>
#include <stdlib.h>

/* A P6 file's pixels as planes of red, green and blue; 0 unless it is of this size. */
static int read_planes(const char* path, int64_t height, int64_t width, uint8_t* planes) {
  FILE* file = fopen(path, "rb");
  int w = 0, h = 0, maximum = 0;
  if (file == NULL) return 0;
  int good = fscanf(file, "P6 %d %d %d", &w, &h, &maximum) == 3 && w == width && h == height &&
             maximum == 255 && fgetc(file) != EOF;
  const int64_t area = height * width;
  for (int64_t i = 0; good && i < 3 * area; ++i) {
    const int byte = fgetc(file);
    good = byte != EOF;
    planes[i % 3 * area + i / 3] = (uint8_t)byte;
  }
  fclose(file);
  return good;
}

int main(int argc, char** argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: classify_c MODEL.pare IMAGE.ppm\n");
    return 2;
  }
  pare_options options = {.struct_size = sizeof options, .threads = 2};
  pare_session* session = NULL;
  if (pare_load(argv[1], &options, &session) != PARE_OK) {
    fprintf(stderr, "%s\n", pare_last_error());
    return 1;
  }
  pare_model_info info = {.struct_size = sizeof info};
  pare_info(session, &info);
  const size_t pixels_bytes = (size_t)(info.channels * info.height * info.width);
  uint8_t* pixels = malloc(pixels_bytes);
  float* scores = malloc((size_t)info.class_count * sizeof *scores);
  int result = 1;
  if (pixels == NULL || scores == NULL) {
    fprintf(stderr, "out of memory\n");
  } else if (info.channels != 3 || !read_planes(argv[2], info.height, info.width, pixels)) {
    fprintf(stderr, "%s: expected a binary PPM of %dx%d\n", argv[2], (int)info.width,
            (int)info.height);
  } else if (pare_run(session, pixels, pixels_bytes, 1, scores, (size_t)info.class_count) !=
             PARE_OK) {
    fprintf(stderr, "%s\n", pare_last_error());
  } else {
    int64_t best = 0;
    for (int64_t i = 1; i < info.class_count; ++i) {
      if (scores[i] > scores[best]) best = i;
    }
    const char* name = pare_class_name(session, best);
    if (name != NULL) {
      printf("%s\n", name);
    } else {
      printf("%d\n", (int)best);
    }
    result = 0;
  }
  free(scores);
  free(pixels);
  pare_free(session);
  return result;
}
