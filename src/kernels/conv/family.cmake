list(APPEND kernel_sources conv/conv.cc conv/reference.cc conv/panel_conv.cc)
list(APPEND x86_sources conv/sparse_conv.cc)
list(APPEND kernel_tests conv/test.cc)
list(APPEND kernel_benches conv/bench.cc)
