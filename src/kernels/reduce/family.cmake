list(APPEND kernel_sources reduce/reduce.cc)
list(APPEND kernel_tests reduce/reduce_test.cc)
