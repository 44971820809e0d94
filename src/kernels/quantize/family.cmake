list(APPEND kernel_sources quantize/integer_products.cc quantize/quantize.cc quantize/reference.cc quantize/arm_neon.cc quantize/x86_avx2.cc
     quantize/x86_avx512.cc)
list(APPEND kernel_tests quantize/quantize_test.cc)
pare_isa_sources(FILES quantize/arm_neon.cc FLAGS ${loop_flags})
pare_isa_sources(FILES quantize/x86_avx2.cc FLAGS -mavx2 -mfma ${loop_flags})
pare_isa_sources(FILES quantize/x86_avx512.cc
                 FLAGS -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512cd -mfma
                       -mprefer-vector-width=512 ${loop_flags})
