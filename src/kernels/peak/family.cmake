list(APPEND kernel_sources peak/peak.cc peak/arm_neon.cc peak/x86_avx2.cc peak/x86_avx512.cc
     peak/x86_avx512_vnni.cc peak/x86_avx512_bf16.cc)
pare_isa_sources(FLAGS ${PARE_NEON} FILES peak/arm_neon.cc)
pare_isa_sources(FLAGS ${PARE_AVX2} FILES peak/x86_avx2.cc)
pare_isa_sources(FLAGS ${PARE_AVX512} FILES peak/x86_avx512.cc)
pare_isa_sources(FLAGS ${PARE_AVX512} -mavx512vnni FILES peak/x86_avx512_vnni.cc)
pare_isa_sources(FLAGS ${PARE_AVX512} -mavx512bf16 FILES peak/x86_avx512_bf16.cc)
list(APPEND kernel_tests peak/test.cc)
