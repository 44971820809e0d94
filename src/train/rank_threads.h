// Ranks as threads of one process, for the tests.
#ifndef PARE_TRAIN_RANK_THREADS_H_
#define PARE_TRAIN_RANK_THREADS_H_

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "train/ranks.h"

namespace pare {

// One that nobody listens on now.
inline int free_port() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* any = reinterpret_cast<sockaddr*>(&address);
  const bool known = bind(fd, any, size) == 0 && getsockname(fd, any, &size) == 0;
  close(fd);
  return known ? ntohs(address.sin_port) : 0;
}

inline RankPlace place_here(int rank, int size, int port) {
  RankPlace place;
  place.rank = place.local_rank = rank;
  place.size = size;
  place.address = "127.0.0.1";
  place.port = port;
  place.launcher = "the test";
  return place;
}

// Runs `work` as so many ranks at once; gives what close() answers to what it returned.
inline std::vector<Status> run_ranks(int size, const std::function<Status(Ranks&)>& work,
                                     const RanksOptions& options = {}) {
  const int port = free_port();
  std::vector<Status> ends(static_cast<size_t>(size));
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r) {
    threads.emplace_back([&, r] {
      auto ranks = Ranks::join(place_here(r, size, port), options);
      ends[static_cast<size_t>(r)] = ranks.ok() ? (*ranks)->close(work(**ranks)) : ranks.status();
    });
  }
  for (std::thread& thread : threads) thread.join();
  return ends;
}

inline void expect_all_ok(const std::vector<Status>& ends) {
  for (const Status& end : ends) EXPECT_TRUE(end.ok()) << end.message();
}

}  // namespace pare

#endif  // PARE_TRAIN_RANK_THREADS_H_
