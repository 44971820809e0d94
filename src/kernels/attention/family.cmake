list(APPEND kernel_sources attention/attention.cc attention/reference.cc
     attention/head_attention.cc)
list(APPEND kernel_tests attention/test.cc)
