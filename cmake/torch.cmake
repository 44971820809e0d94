# LibTorch for the train room: imported targets Torch::c10 and Torch::cpu, without CUDA at link time.
#
# PyTorch's own package file does not serve: it demands a CUDA toolkit and links libtorch_cuda, which
# we load at run time where there is a GPU (src/train/device.h).

set(PARE_TORCH_DIR "" CACHE PATH
    "An unpacked LibTorch 2.11.0: a folder with torch/ and nvidia/ (empty: fetched under build/)")

if(PARE_TORCH_DIR)
  set(torch_root ${PARE_TORCH_DIR})
else()
  # Presets build in build/<preset>, and share one LibTorch.
  set(torch_root ${PROJECT_SOURCE_DIR}/build/torch)
  execute_process(COMMAND ${PROJECT_SOURCE_DIR}/scripts/fetch-torch.sh ${torch_root}
                  RESULT_VARIABLE torch_fetched)
  if(NOT torch_fetched EQUAL 0)
    message(FATAL_ERROR "LibTorch could not be fetched (see above). Without training, nothing of it "
                        "is needed: configure with -DPARE_TRAIN=OFF, or `make lite`.")
  endif()
endif()

foreach(file torch/lib/libtorch_cpu.so torch/lib/libc10.so torch/include/ATen/ATen.h
             nvidia/cu13/lib/libcudart.so.13 nvidia/cu13/lib/libcupti.so.13)
  if(NOT EXISTS ${torch_root}/${file})
    message(FATAL_ERROR "${torch_root} is not an unpacked LibTorch: ${file} is missing")
  endif()
endforeach()

add_library(Torch::c10 SHARED IMPORTED GLOBAL)
set_target_properties(Torch::c10 PROPERTIES
  IMPORTED_LOCATION ${torch_root}/torch/lib/libc10.so)
# After the system's own folders (-idirafter), for the wheel brings a fmt of its own and ours must
# win; warnings in these headers are nobody's business here.
target_compile_options(Torch::c10 INTERFACE
  "$<$<COMPILE_LANGUAGE:CXX>:SHELL:-idirafter ${torch_root}/torch/include>"
  "$<$<COMPILE_LANGUAGE:CXX>:SHELL:-idirafter ${torch_root}/torch/include/torch/csrc/api/include>")

add_library(Torch::cpu SHARED IMPORTED GLOBAL)
set_target_properties(Torch::cpu PROPERTIES
  IMPORTED_LOCATION ${torch_root}/torch/lib/libtorch_cpu.so)
# Its kernels register themselves: nothing of ours need name one, so the linker must not drop it.
target_link_libraries(Torch::cpu INTERFACE Torch::c10)
target_link_options(Torch::cpu INTERFACE "LINKER:--no-as-needed"
                    "LINKER:-rpath-link,${torch_root}/nvidia/cu13/lib")

# Gloo, which LibTorch carries inside: the wheel leaves out the headers that its own headers include.
add_library(Torch::gloo INTERFACE IMPORTED GLOBAL)
target_compile_definitions(Torch::gloo INTERFACE USE_C10D_GLOO)
target_compile_options(Torch::gloo INTERFACE "SHELL:-idirafter ${PROJECT_SOURCE_DIR}/third_party/gloo")
