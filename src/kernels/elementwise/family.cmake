list(APPEND kernel_sources elementwise/elementwise.cc elementwise/reference.cc
     elementwise/typed.cc elementwise/arm_neon.cc elementwise/x86_avx2.cc
     elementwise/x86_avx512.cc strided.cc)
list(APPEND kernel_tests elementwise/elementwise_test.cc)
set(loop_flags -O3 -fno-math-errno -fno-trapping-math -ffp-contract=off)
pare_isa_sources(FILES elementwise/arm_neon.cc FLAGS ${loop_flags})
pare_isa_sources(FILES elementwise/x86_avx2.cc FLAGS -mavx2 -mfma -mf16c ${loop_flags})
pare_isa_sources(FILES elementwise/x86_avx512.cc
                 FLAGS -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512cd -mfma -mf16c
                       -mprefer-vector-width=512 ${loop_flags})
