// The other jobs of a study on this host: this program started again, for trainings alone. What
// they do and with whom is settled in the study's folder (study/steps.h), so jobs on other hosts,
// tasks of a Slurm array for instance, are the same command started there.
#ifndef PARE_CLI_STUDY_JOBS_H_
#define PARE_CLI_STUDY_JOBS_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "pare/status.h"

namespace pare {

class StudyJobs {
 public:
  StudyJobs() = default;
  // Asks those that are at work to stop, and waits until all are saved.
  ~StudyJobs();
  StudyJobs(const StudyJobs&) = delete;
  StudyJobs& operator=(const StudyJobs&) = delete;

  // Starts one more with these arguments behind the program's name. It speaks on stderr alone.
  Status start(std::vector<std::string> arguments);

 private:
  std::vector<pid_t> pids_;
};

}  // namespace pare

#endif  // PARE_CLI_STUDY_JOBS_H_
