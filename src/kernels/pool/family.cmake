list(APPEND kernel_sources pool/pool.cc pool/reference.cc pool/pixel_pool.cc pool/arm_neon.cc pool/x86_avx2.cc
     pool/x86_avx512.cc)
pare_isa_sources(FLAGS ${PARE_NEON} FILES pool/arm_neon.cc)
pare_isa_sources(FLAGS ${PARE_AVX2} FILES pool/x86_avx2.cc)
pare_isa_sources(FLAGS ${PARE_AVX512} FILES pool/x86_avx512.cc)
list(APPEND kernel_tests pool/test.cc)
