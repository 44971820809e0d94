// The library is made of rooms (library.cmake); CMake asks every library for a source of its own.
