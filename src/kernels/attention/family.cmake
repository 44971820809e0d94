list(APPEND kernel_sources attention/attention.cc attention/reference.cc attention/head.cc
     attention/head_attention.cc attention/head_projected.cc)
list(APPEND kernel_tests attention/test.cc attention/projected_test.cc)
