// Where a program stands among those that train together: read from the environment that torchrun,
// mpirun or srun gives each of them.
//
//   torchrun        RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT; restarts are counted in
//                   TORCHELASTIC_RESTART_COUNT, and with TORCHELASTIC_USE_AGENT_STORE=True the
//                   launcher itself keeps the store at that address
//   Open MPI        OMPI_COMM_WORLD_RANK, _SIZE, _LOCAL_RANK, _LOCAL_SIZE
//   srun            SLURM_PROCID, SLURM_STEP_NUM_TASKS, SLURM_LOCALID, SLURM_STEP_NODELIST;
//                   restarts in SLURM_RESTART_COUNT
//   MPICH, Intel    PMI_RANK, PMI_SIZE, MPI_LOCALRANKID
//
// In this order, for one may have started the other. Of Slurm the variables of a step count, not
// those of the job (SLURM_NTASKS): a batch script sees these too, and what it starts without srun
// is one program. MASTER_ADDR and MASTER_PORT serve all launchers; without them rank 0's host is
// the first of the node list, or this host where all ranks are on it, and the port follows from the
// job.
#ifndef PARE_TRAIN_RANK_PLACE_H_
#define PARE_TRAIN_RANK_PLACE_H_

#include <functional>
#include <optional>
#include <string>

#include "pare/status.h"

namespace pare {

struct RankPlace {
  int rank = 0;
  int size = 1;
  int local_rank = 0;  // among those on this host: the GPU to take
  std::string address;
  int port = 0;                 // of the store through which ranks find each other
  bool launcher_store = false;  // the launcher keeps it; else rank 0 does
  std::string launcher;         // "torchrun"
  bool restarted = false;       // the launcher starts it again after a failure
};

// A variable's value; nothing where it is not set.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;
Environment process_environment();

// Nothing where no launcher speaks, or only of one program. Errors name the variable
// (kInvalidArgument).
Result<std::optional<RankPlace>> find_rank_place(const Environment& environment);

// "node[01-03,07],login2" -> "node01". Nothing in it is expanded further.
std::string first_host(const std::string& slurm_node_list);

// The address that this host has on its way to another: the one by which that network reaches it.
Result<std::string> address_towards(const std::string& host, int port);

}  // namespace pare

#endif  // PARE_TRAIN_RANK_PLACE_H_
