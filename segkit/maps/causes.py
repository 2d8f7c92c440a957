"""Everything that can be wrong with the colours of a map, and what to do about what cannot be reversed."""

CAUSES = {
    "exact": "every pixel has the colour of its class, or black",
    "unsure": "every pixel has the colour of a class, but the classes make more sense in another reading",
    "shifted": "a list of 151 colours with black first was used for classes that count from 0",
    "bgr": "red and blue are swapped",
    "coco": "the colours are COCO's",
    "cityscapes": "the colours are Cityscapes'",
    "golden-angle": "hues advance by the golden angle from class to class, starting with black",
    "painted": "areas were painted in flat colours that are not quite those of their classes",
    "foreign": "areas were painted in flat colours that stand for no class with certainty",
    "stray": "a few pixels have the colour of no class",
    "noisy": "many colours are a little off those of their classes",
    "outlined": "white lines were drawn between the areas",
    "jpeg": "the map was saved as JPEG",
    "resized": "the map was scaled with a smooth filter",
    "label-ids": "the pixels are class indices, not colours",
    "full-ade": "the pixels hold the classes of ADE20K's full release (red / 10 * 256 + green), which are not these",
    "panoptic-ids": "the pixels are numbers of COCO panoptic segments, whose classes are in a JSON file",
    "greyscale": "the colours were converted to grey",
    "mask": "a mask of one or two values does not tell classes apart",
    "edges": "a drawing of edges has no areas",
    "depth": "a depth map, or another picture that changes gradually, has no classes",
    "photo": "a photo, or another picture that is not painted in flat areas, has no classes",
    "busy": "if it is a map, its areas are too small for its size: JPEG or scaling has blurred nearly all of them",
    "blank": "no pixel has a class",
    "unknown": "the pixels match no known cause",
}
"""Everything that can be wrong with the colours of a map, and descriptions."""

_CREATE = "Create the map again from the photo: segkit build-dataset PHOTOS"
_CURES = {
    **dict.fromkeys(("unknown", "greyscale", "mask", "edges", "depth", "blank", "full-ade", "panoptic-ids"), _CREATE),
    "cityscapes": "Write its classes and colours into a table, and pass that as the palette of the maps",
    "busy": "Use the map as PNG, as it was before that, or a larger one",
    "photo": "Maps of photos are built by: segkit build-dataset PHOTOS",
}


def cure(cause: str) -> str:
    """Return what to do if the classes cannot be recovered from the pixels; "" for causes that can be reversed."""
    return _CURES.get(cause, "")
