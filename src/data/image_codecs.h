// The decoders behind decode_image(), and what they share.
#ifndef PARE_DATA_IMAGE_CODECS_H_
#define PARE_DATA_IMAGE_CODECS_H_

#include <string>

#include "data/image.h"

namespace pare {

Result<Image> decode_jpeg(std::span<const std::byte> bytes, const std::string& name);
Result<Image> decode_png(std::span<const std::byte> bytes, const std::string& name);

// Refuses sizes that are empty, beyond kMaxImagePixels, or more than `pixels_per_byte` for each
// byte of the file: what the format's coding can reach at most.
Status check_image_size(const std::string& name, int64_t height, int64_t width, size_t file_bytes,
                        int64_t pixels_per_byte);

// The orientation (1 … 8) of a JPEG's EXIF block; 1 if it has none or it cannot be read.
int exif_orientation(std::span<const std::byte> jpeg);
// Turns and mirrors so that orientation `orientation` stands upright.
Image turn_upright(Image image, int orientation);

}  // namespace pare

#endif  // PARE_DATA_IMAGE_CODECS_H_
