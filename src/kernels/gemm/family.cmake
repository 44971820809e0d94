list(APPEND kernel_sources gemm/gemm.cc gemm/reference.cc gemm/panels.cc gemm/panel_gemm.cc
     gemm/arm_neon.cc gemm/x86_avx2.cc gemm/x86_avx512.cc gemm/x86_avx512_vnni.cc gemm/x86_avx512_bf16.cc)
# Columns and sparse rows have vectors on x86 alone so far.
list(APPEND x86_sources gemm/columns_gemm.cc gemm/column_weights.cc gemm/sparse_gemm.cc
     gemm/sparse_rows.cc gemm/sparse_weights.cc gemm/sparse_slots.cc)
pare_isa_sources(FLAGS ${PARE_NEON} FILES gemm/arm_neon.cc)
pare_isa_sources(FLAGS ${PARE_AVX2} FILES gemm/x86_avx2.cc)
pare_isa_sources(FLAGS ${PARE_AVX512} FILES gemm/x86_avx512.cc)
pare_isa_sources(FLAGS ${PARE_AVX512} -mavx512vnni FILES gemm/x86_avx512_vnni.cc)
pare_isa_sources(FLAGS ${PARE_AVX512} -mavx512bf16 FILES gemm/x86_avx512_bf16.cc)
list(APPEND kernel_tests gemm/test.cc simd/simd_test.cc)
list(APPEND x86_tests gemm/slots_test.cc)
list(APPEND kernel_benches gemm/bench.cc)
