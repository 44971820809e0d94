// What launchers tell the programs that they start.
#include "train/rank_place.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace pare {
namespace {

using testing::HasSubstr;

using Variables = std::map<std::string, std::string>;

Result<std::optional<RankPlace>> place_in(const Variables& variables) {
  return find_rank_place([variables](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional<std::string>(found->second);
  });
}

RankPlace expect_place(const Variables& variables) {
  const auto place = place_in(variables);
  EXPECT_TRUE(place.ok()) << place.status().message();
  EXPECT_TRUE(place.ok() && place->has_value());
  return place.ok() && place->has_value() ? **place : RankPlace();
}

void expect_alone(const Variables& variables) {
  const auto place = place_in(variables);
  ASSERT_TRUE(place.ok()) << place.status().message();
  EXPECT_FALSE(place->has_value());
}

TEST(RankPlace, WithoutALauncherOrWithOneProgramThereAreNoRanks) {
  expect_alone({});
  expect_alone({{"RANK", "0"}, {"WORLD_SIZE", "1"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", "1"}});
  // A batch script of a job of eight tasks is one program.
  expect_alone({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}, {"SLURM_JOB_NODELIST", "n[1-8]"}});
}

TEST(RankPlace, Torchrun) {
  Variables v = {{"RANK", "3"},           {"WORLD_SIZE", "4"},
                 {"LOCAL_RANK", "1"},     {"LOCAL_WORLD_SIZE", "2"},
                 {"MASTER_ADDR", "host"}, {"MASTER_PORT", "29511"}};
  RankPlace place = expect_place(v);
  EXPECT_EQ(place.rank, 3);
  EXPECT_EQ(place.size, 4);
  EXPECT_EQ(place.local_rank, 1);
  EXPECT_EQ(place.address, "host");
  EXPECT_EQ(place.port, 29511);
  EXPECT_EQ(place.launcher, "torchrun");
  EXPECT_FALSE(place.launcher_store);
  EXPECT_FALSE(place.restarted);
  v["TORCHELASTIC_USE_AGENT_STORE"] = "True";
  v["TORCHELASTIC_RESTART_COUNT"] = "2";
  // Started within a Slurm step of two tasks, one torchrun each.
  v["SLURM_PROCID"] = "1";
  v["SLURM_STEP_NUM_TASKS"] = "2";
  place = expect_place(v);
  EXPECT_EQ(place.rank, 3);
  EXPECT_TRUE(place.launcher_store);
  EXPECT_TRUE(place.restarted);
}

TEST(RankPlace, OpenMpiOnOneHostAndOnSeveral) {
  Variables v = {{"OMPI_COMM_WORLD_RANK", "1"},
                 {"OMPI_COMM_WORLD_SIZE", "2"},
                 {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                 {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}};
  RankPlace place = expect_place(v);
  EXPECT_EQ(place.rank, 1);
  EXPECT_EQ(place.address, "127.0.0.1");
  EXPECT_EQ(place.port, 29500);
  v["PMIX_NAMESPACE"] = "prterun-host-4711@1";
  const int port = expect_place(v).port;
  EXPECT_GE(port, 20000);
  EXPECT_LT(port, 30000);
  EXPECT_EQ(expect_place(v).port, port);
  v["PMIX_NAMESPACE"] = "prterun-host-4712@1";
  EXPECT_NE(expect_place(v).port, port);
  v["OMPI_COMM_WORLD_LOCAL_SIZE"] = "1";
  EXPECT_THAT(place_in(v).status().message(), HasSubstr("set MASTER_ADDR"));
  v["MASTER_ADDR"] = "first";
  EXPECT_EQ(expect_place(v).address, "first");
}

TEST(RankPlace, SrunNamesTheFirstHostOfItsStep) {
  const Variables v = {{"SLURM_PROCID", "5"},
                       {"SLURM_STEP_NUM_TASKS", "8"},
                       {"SLURM_LOCALID", "1"},
                       {"SLURM_NTASKS", "16"},
                       {"SLURM_JOB_ID", "77"},
                       {"SLURM_JOB_NODELIST", "gpu[001-016]"},
                       {"SLURM_STEP_NODELIST", "gpu[003-004,009]"},
                       {"SLURM_RESTART_COUNT", "1"},
                       {"PMI_RANK", "0"},
                       {"PMI_SIZE", "2"}};
  const RankPlace place = expect_place(v);
  EXPECT_EQ(place.rank, 5);
  EXPECT_EQ(place.size, 8);
  EXPECT_EQ(place.local_rank, 1);
  EXPECT_EQ(place.address, "gpu003");
  EXPECT_TRUE(place.restarted);
  EXPECT_EQ(first_host("gpu[003-004,009]"), "gpu003");
  EXPECT_EQ(first_host("login,gpu[1-2]"), "login");
  EXPECT_EQ(first_host("rack[1-2]n[07-09]"), "rack1n");  // of several brackets the first alone
  EXPECT_EQ(first_host("rack[1-2]-a,b"), "rack1-a");
  EXPECT_EQ(first_host("one"), "one");
}

TEST(RankPlace, MpichByPmi) {
  const RankPlace place = expect_place(
      {{"PMI_RANK", "2"}, {"PMI_SIZE", "3"}, {"MPI_LOCALRANKID", "2"}, {"MPI_LOCALNRANKS", "3"}});
  EXPECT_EQ(place.rank, 2);
  EXPECT_EQ(place.local_rank, 2);
  EXPECT_EQ(place.address, "127.0.0.1");
}

TEST(RankPlace, WhatIsNoNumberIsNamed) {
  Variables v = {{"RANK", "4"}, {"WORLD_SIZE", "4"}, {"MASTER_ADDR", "a"}};
  EXPECT_THAT(place_in(v).status().message(), HasSubstr("RANK must be a whole number from 0 to 3"));
  v["RANK"] = "x";
  EXPECT_THAT(place_in(v).status().message(), HasSubstr("found 'x'"));
  v["RANK"] = "1";
  v["MASTER_PORT"] = "70000";
  EXPECT_THAT(place_in(v).status().message(), HasSubstr("MASTER_PORT"));
  v["MASTER_PORT"] = "1";
  v["WORLD_SIZE"] = "0";
  EXPECT_EQ(place_in(v).status().code(), StatusCode::kInvalidArgument);
}

TEST(RankPlace, TheAddressTowardsThisHostIsItsOwn) {
  EXPECT_EQ(*address_towards("127.0.0.1", 80), "127.0.0.1");
  EXPECT_FALSE(address_towards("no such host", 80).ok());
}

}  // namespace
}  // namespace pare
