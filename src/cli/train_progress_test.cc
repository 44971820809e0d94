#include "cli/train_progress.h"

#include <gtest/gtest.h>

namespace pare {
namespace {

StepReport half_way() {
  StepReport r;
  r.epoch = 16;
  r.epochs = 30;
  r.step = 150;
  r.total_steps = 300;
  r.loss = 1.23456;
  r.images_per_s = 812.4;
  r.eta_s = 723;
  return r;
}

TEST(TrainProgress, ShowsEverythingWhereThereIsRoom) {
  EXPECT_EQ(progress_text(half_way(), 61.2, 200),
            "epoch 16/30 [##########----------]  50 %  loss 1.2346  top-1 61.20 %  812 images/s  "
            "12:03 left");
  EXPECT_EQ(progress_text(half_way(), std::nullopt, 200),
            "epoch 16/30 [##########----------]  50 %  loss 1.2346  812 images/s  12:03 left");
}

TEST(TrainProgress, ANarrowTerminalGetsTheMostThatFits) {
  EXPECT_EQ(progress_text(half_way(), 61.2, 84),
            "epoch 16/30 [#####-----]  50 %  loss 1.2346  top-1 61.20 %  812 images/s  12:03 left");
  EXPECT_EQ(progress_text(half_way(), 61.2, 70),
            "epoch 16/30 [#####-----]  50 %  loss 1.2346  top-1 61.20 %  12:03 left");
  EXPECT_EQ(progress_text(half_way(), 61.2, 59),
            "epoch 16/30  50 %  loss 1.2346  top-1 61.20 %  12:03 left");
  EXPECT_EQ(progress_text(half_way(), 61.2, 44), "epoch 16/30  50 %  loss 1.2346  12:03 left");
  for (size_t columns = 0; columns < 120; ++columns) {
    EXPECT_LE(progress_text(half_way(), 61.2, columns).size(), columns);
  }
}

TEST(TrainProgress, TimesReadAsClocksDo) {
  EXPECT_EQ(clock_text(-1), "0:00");
  EXPECT_EQ(clock_text(59.6), "1:00");
  EXPECT_EQ(clock_text(125), "2:05");
  EXPECT_EQ(clock_text(3723), "1:02:03");
}

}  // namespace
}  // namespace pare
