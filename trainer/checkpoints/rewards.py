"""Which segmenters gave a reward in the training of a ControlNet: they flatter it when they judge its pictures."""

from pathlib import Path

from trainer.checkpoints import runs, safe_load

WEIGHTS, EARLIER = "reward_weights", "earlier_rewards"
"""Keys in the facts of a run, and in the metadata of its .safetensors file: the SHA-256 of the weights of the segmenter
that gave the reward, and those of the trainings before, separated by spaces."""


def of_controlnet(name: str) -> list[str]:
    """Return the SHA-256 of the weights of each segmenter that is known to have given a reward to a ControlNet.

    Runs, what lies in them, and .safetensors files know them; other files, folders and hub ids do not.

    Args:
        name: as for load.load_controlnet.

    Raises:
        ModelError: a run's run.json or a .safetensors file is damaged.
    """
    path = Path(name).expanduser()
    if run := runs.containing(path):
        facts = runs.facts(run)
    else:
        is_readable = path.suffix == ".safetensors" and path.is_file()  # pickles would be read whole, and say nothing
        facts = safe_load.read(path).metadata if is_readable else {}
    return [*facts.get(WEIGHTS, "").split(), *facts.get(EARLIER, "").split()]
