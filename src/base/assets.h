// Files that come with the program: the built-in images, the released models, the recipes.
//
// Where they lie depends on how the program was put there, so each of these is tried in turn:
//   1. $PARE_HOME/<relative>
//   2. <program's folder>/share/pare/<relative>     a folder copied to another machine
//   3. <program's folder>/../share/pare/<relative>  installed under a prefix
//   4. <program's folder>/<up to 6 times ../><relative>  a build folder inside the source tree
// The program is /proc/self/exe, so neither the current folder nor $PATH matters.
#ifndef PARE_BASE_ASSETS_H_
#define PARE_BASE_ASSETS_H_

#include <string>
#include <vector>

#include "pare/status.h"

namespace pare {

// The first place that holds `relative` ("data/cifar-10-builtin/test.pimg"), a file or a folder. If
// none does, the message lists where it was sought.
Result<std::string> find_asset(const std::string& relative);

// The places above, for a program in `program_folder` and $PARE_HOME = `home` (empty: not set).
std::vector<std::string> asset_candidates(const std::string& relative,
                                          const std::string& program_folder,
                                          const std::string& home);

// Where what can be had again is kept: $XDG_CACHE_HOME/pare, else $HOME/.cache/pare, else
// /tmp/pare-cache. The folder need not exist yet.
std::string cache_folder();

}  // namespace pare

#endif  // PARE_BASE_ASSETS_H_
