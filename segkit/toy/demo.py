"""The demo's photos and networks, written where they are missing."""

from pathlib import Path

from segkit import palette, storage
from segkit.models import hub
from segkit.settings import BuildSettings
from segkit.toy import pictures, untrained

_SIZES = ((640, 480), (480, 640), (768, 512), (560, 560))


def prepare(folder: Path, photos: int) -> BuildSettings:
    """Render photos into folder/photos and write networks with random weights into folder/models.

    Returns:
        The settings that build a dataset of them.

    Raises:
        StorageError: the disk is full.
    """
    from io import BytesIO

    for seed in range(photos):
        path = folder / "photos" / f"{'street' if seed % 2 else 'room'} {seed:03}.jpg"
        if not path.exists():
            buffer = BytesIO()
            pictures.render(seed, _SIZES[seed % len(_SIZES)]).save(buffer, "JPEG", quality=92)
            storage.write(path, buffer.getvalue())
    models = folder / "models"
    if not models.exists():
        unfinished = folder / "models.part"
        with hub.quiet():
            untrained.write_oneformer(unfinished / "oneformer", palette.load("ade20k"))
            untrained.write_blip(unfinished / "blip")
        unfinished.rename(models)
    return BuildSettings(segmenter=str(models / "oneformer"), captioner=str(models / "blip"), caption_tokens=12)
