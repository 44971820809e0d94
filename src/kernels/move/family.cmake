list(APPEND kernel_sources move/move.cc)
list(APPEND kernel_tests move/move_test.cc)
