list(APPEND kernel_sources gemm/gemm.cc gemm/reference.cc)
