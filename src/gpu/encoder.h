// Passes over programs that put several operations into one: transformers above all.
#ifndef PARE_GPU_ENCODER_H_
#define PARE_GPU_ENCODER_H_

#include "gpu/program.h"

namespace pare::gpu {

// Replaces the steps of consecutive transformer blocks, and a layer norm behind them, by one
// EncoderOp where its kernel takes them: 16-bit floats, heads of 64, a width of 64 and up to 32
// tokens or of 128 or 192 and 33 to 64, an MLP whose width is a multiple of 128, and for the wider
// ones images for most processors. The activations of an image then never
// leave the chip.
//
// Operands must still name buffers, one for each value (lowering.cc), so that a value which others
// read is seen.
void fuse_encoders(Program& program);

// Replaces a chain that only adds the same constant to every image of a product's result by that
// product's residual (ProductOp::residual_period): positions of tokens. As above.
void fuse_positions(Program& program);

}  // namespace pare::gpu

#endif  // PARE_GPU_ENCODER_H_
