"""Settings of the worker: `WORKER__IN_PROCESS=false` sets `settings.worker.in_process`."""

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt


class WorkerSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    # Whether the service works its own queues; else `poe worker` has to run beside it.
    in_process: bool = True
    # Workflows that one process runs at once.
    concurrency: PositiveInt = 8
    # How often it looks for new ones, and for what dead processes left.
    poll_seconds: PositiveFloat = 0.2
    recover_seconds: PositiveFloat = 5
