"""The options of sbatch for array tasks follow from the profile and a run's resources."""

from jobs.profile import Option, Profile
from jobs.resources import Resources, slurm_mem, slurm_time


def sbatch_parameters(profile: Profile, resources: Resources) -> dict[str, Option]:
    """The options of sbatch for tasks that get `resources`; True stands for a flag without value.

    The caller adds array, output, error and comment. GPUs are asked for by `gres`, which every
    select plugin understands (`gpus-per-node` needs cons_tres).

    Args:
        profile: the cluster's profile.
        resources: the profile's own, overridden by those of the spec.
    """
    r = resources
    gpus = ",".join(f"gpu:{part}" for part in str(r.gpus).split(",")) if r.gpus else None
    wanted: dict[str, Option | None] = {
        "job-name": profile.job_name,
        "partition": r.partition,
        "account": r.account,
        "qos": r.qos,
        "constraint": r.constraint,
        "reservation": r.reservation,
        "nodelist": ",".join(r.nodelist) if r.nodelist else None,
        "exclude": ",".join(r.exclude) if r.exclude else None,
        "time": slurm_time(r.time) if r.time is not None else None,
        "cpus-per-task": r.cpus,
        "mem": slurm_mem(r.mem) if r.mem is not None else None,
        "mem-per-cpu": slurm_mem(r.mem_per_cpu) if r.mem_per_cpu is not None else None,
        "gres": r.gres or gpus,
        "mail-type": profile.mail_type,
        "mail-user": profile.mail_user,
        "signal": f"B:USR2@{profile.lead_of(r)}",
        "requeue": True,
        "open-mode": "append",
    }
    return {name: value for name, value in (wanted | dict(profile.options)).items() if value}
