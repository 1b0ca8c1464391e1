#!/bin/sh
# Train on several machines of a Slurm cluster: one torchrun on each, which starts its processes.
#
#     sbatch --nodes 4 slurm_train.sh --data imagefolder:photos --out runs/photos
#
# All machines see the same folder. The words behind the script are train-snn's, --out among them.
# A run goes on where it was: when a process dies, and when Slurm starts the job again.
#SBATCH --ntasks-per-node=1
#SBATCH --requeue
#SBATCH --open-mode=append
set -eu
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

# A new store after each restart: in the one that is shared, processes find addresses of dead ones.
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
# PROCESSES: on each machine; gpu is one for each GPU.
exec srun torchrun --nnodes "$SLURM_JOB_NUM_NODES" --nproc-per-node "${PROCESSES:-1}" \
  --rdzv-backend c10d --rdzv-endpoint "$first:${PORT:-29400}" --rdzv-id "$SLURM_JOB_ID" \
  --max-restarts 3 --no-python train-snn "$@"
