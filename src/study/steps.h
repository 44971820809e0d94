// Steps: work whose results are kept in folders and found again as long as their inputs are the
// same.
//
//   FOLDER/steps/<step>/       a finished step: step.json, records.jsonl and its files
//   FOLDER/unfinished/<step>/  one that is at work, or was when the program was killed
//   FOLDER/claims/             who is at work on what (claims.h)
//
// step.json says what the result depends on, input by input (hashes of files and data, settings,
// program), and the hash of every file. A step is run when an input has another value than it says,
// when there is no result yet, or when a file is not what it was. Inputs are compared one by one so
// that it can be said which of them changed.
//
// Several programs may be at work in one folder, on one host or on many that share it. Steps that
// are marked so are dealt out: each is run by whoever claims it first, and by another if that one
// dies. All else is one program's, the one that finishes the study, once nothing is dealt out any
// more; times are taken only then, but for others' work on the same machine. The others leave.
#ifndef PARE_STUDY_STEPS_H_
#define PARE_STUDY_STEPS_H_

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "pare/status.h"

#include "records/record.h"
#include "study/study.h"

namespace pare {

// What finished steps left, for those that need them.
class StudyResults {
 public:
  // Of a step that ran or was cached; not of others.
  bool has(const std::string& step) const { return finished_.contains(step); }
  // The path of one of its files.
  std::string path(const std::string& step, const std::string& file) const;
  const std::vector<Record>& records(const std::string& step) const;
  // Hash over its files and records (dates and machine aside).
  const std::string& hash(const std::string& step) const;

 private:
  friend class StepRunner;
  struct Finished {
    std::string folder;
    std::vector<Record> records;
    std::string hash;
    double seconds = 0;
  };
  const Finished& find(const std::string& step) const;
  std::map<std::string, Finished> finished_;
};

struct StudyStepContext {
  // Its own. Empty, unless a run with the same inputs was interrupted and left something.
  std::string folder;
  const StudyResults& results;
  const StudyEvents& events;

  void say(const std::string& line) const {
    if (events.progress) events.progress(line);
  }
};

struct StudyStepOutput {
  std::vector<std::string> files;  // names within the folder, to be kept
  std::vector<Record> records;
};

struct StudyNeed {
  std::string step;  // one that comes before
  std::string what;  // what it gives, in words: "the model"
  // A step with an optional need runs without it when it failed.
  bool optional = false;
  // Whether the result depends on what the needed step found, or only on its having been found.
  bool keyed = true;
};

struct StudyStep {
  std::string name;
  std::vector<StudyNeed> needs;
  std::map<std::string, std::string> inputs;  // by what they are, in words: "the settings"
  std::string left_out;                       // why it cannot be run here; empty: it can
  bool shared = false;                        // any program may run it; it needs no other step
  std::function<Result<StudyStepOutput>(const StudyStepContext& context)> run;
};

// Runs the steps in order, or finds their results. Names are unique.
Result<StudyResult> run_steps(const std::string& study, const std::vector<StudyStep>& steps,
                              const StudyOptions& options);

}  // namespace pare

#endif  // PARE_STUDY_STEPS_H_
