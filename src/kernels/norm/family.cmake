list(APPEND kernel_sources norm/norm.cc norm/reference.cc)
