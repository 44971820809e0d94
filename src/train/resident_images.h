// A whole data set on the GPU, as it is on the disk: uint8.
#ifndef PARE_TRAIN_RESIDENT_IMAGES_H_
#define PARE_TRAIN_RESIDENT_IMAGES_H_

#include <optional>

#include "pare/status.h"

#include "data/dataset.h"
#include "train/torch.h"

namespace pare {

struct ResidentImages {
  at::Tensor pixels;  // uint8 [N, C, H, W]
  at::Tensor labels;  // int64 [N]
};

// Nothing if the images would take more than `room_bytes`. An image that cannot be read is an
// error.
Result<std::optional<ResidentImages>> make_resident(const Dataset& data, at::Device device,
                                                    int64_t room_bytes);

}  // namespace pare

#endif  // PARE_TRAIN_RESIDENT_IMAGES_H_
