#include "kernels/norm/rows.inl"

namespace pare {

const NormRows norm_rows_avx2 = PARE_NORM_ROWS;

}  // namespace pare
