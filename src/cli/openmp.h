// How LibTorch's threads wait for each other.
#ifndef PARE_CLI_OPENMP_H_
#define PARE_CLI_OPENMP_H_

namespace pare {

// Starts the program anew with OMP_WAIT_POLICY=passive, unless the user has set it: OpenMP reads it
// when its library is loaded, before main. Its default, spinning, makes a training step three to
// ten times slower as soon as anything else (our own loader, another program) wants the cores.
// Returns when nothing need be done, or the start fails: training then is merely slower.
void restart_with_sleeping_openmp(char** argv);

}  // namespace pare

#endif  // PARE_CLI_OPENMP_H_
