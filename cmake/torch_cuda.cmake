# LibTorch's CUDA part, for modules that are loaded at run time: the imported target Torch::cuda.
# Its own libraries (cuBLAS, cuDNN, ...) need not be there to link with it.
get_target_property(torch_cpu_file Torch::cpu IMPORTED_LOCATION)
get_filename_component(torch_lib ${torch_cpu_file} DIRECTORY)

add_library(Torch::c10_cuda SHARED IMPORTED)
set_target_properties(Torch::c10_cuda PROPERTIES IMPORTED_LOCATION ${torch_lib}/libc10_cuda.so)
add_library(Torch::cuda SHARED IMPORTED)
set_target_properties(Torch::cuda PROPERTIES IMPORTED_LOCATION ${torch_lib}/libtorch_cuda.so)
# Headers of the toolkit that compiles; the runtime library is LibTorch's, so that there is but one.
target_include_directories(Torch::cuda SYSTEM INTERFACE ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
target_link_libraries(Torch::cuda INTERFACE Torch::cpu Torch::c10 Torch::c10_cuda)
target_link_options(Torch::cuda INTERFACE LINKER:--no-as-needed LINKER:--allow-shlib-undefined
                    -L${torch_lib}/../../nvidia/cu13/lib -l:libcudart.so.13)
