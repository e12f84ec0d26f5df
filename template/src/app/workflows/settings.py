"""Settings of the worker: `WORKER__IN_PROCESS=false` sets `settings.worker.in_process`."""

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt


class WorkerSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    # Whether the service works its own queues; else `poe worker` has to run beside it.
    in_process: bool = True
    # Workflows that one process runs at once. This and how often it looks for new ones are stored
    # with the queue: the process that started last decides for all.
    concurrency: PositiveInt = 8
    poll_seconds: PositiveFloat = 0.2
    # How often it looks for what dead processes left.
    recover_seconds: PositiveFloat = 5
