list(APPEND kernel_sources norm/norm.cc norm/reference.cc norm/row_norm.cc norm/arm_neon.cc norm/x86_avx2.cc
     norm/x86_avx512.cc)
pare_isa_sources(FLAGS ${PARE_NEON} FILES norm/arm_neon.cc)
pare_isa_sources(FLAGS ${PARE_AVX2} FILES norm/x86_avx2.cc)
pare_isa_sources(FLAGS ${PARE_AVX512} FILES norm/x86_avx512.cc)
list(APPEND kernel_tests norm/test.cc)
