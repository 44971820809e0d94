list(APPEND kernel_sources conv/conv.cc conv/reference.cc)
