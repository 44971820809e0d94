// LibTorch, as this room uses it: ATen and its autograd. Precompiled; torch/torch.h, which takes
// ten times as long, is never included.
#ifndef PARE_TRAIN_TORCH_H_
#define PARE_TRAIN_TORCH_H_

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#endif  // PARE_TRAIN_TORCH_H_
