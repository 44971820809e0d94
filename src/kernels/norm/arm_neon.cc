#include "kernels/norm/rows.inl"

namespace pare {

const NormRows norm_rows_neon = PARE_NORM_ROWS;

}  // namespace pare
