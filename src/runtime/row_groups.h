// Row groups: steps in a row that treat each row by itself run as one.
//
// Between the attentions of a transformer every step (projection, norm, dense layers, residual
// additions) computes a token from that token alone. Step by step, all threads meet after each: for
// a small net these meetings take as long as the products. In a group each thread takes a block of
// rows through all steps and meets the others once; the values between lie in its cache. The bits
// are the same, since no kernel's sums depend on how many rows it is given.
#ifndef PARE_RUNTIME_ROW_GROUPS_H_
#define PARE_RUNTIME_ROW_GROUPS_H_

#include "runtime/plan.h"

namespace pare {

// Sets plan.row_groups for a plan that `threads` threads run; a value that is shown ends a group.
void form_row_groups(Plan& plan, int threads);

}  // namespace pare

#endif  // PARE_RUNTIME_ROW_GROUPS_H_
